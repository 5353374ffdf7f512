// Dot products of rows of 16-bit integers with a panel of vectors at once, exact in 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alignment.h"
#include "instruction_sets.h"
#include "integer_rows.h"

namespace memstore {

// A panel holds 32 vectors, each in a 32-bit lane: [pair of dimensions][vector][two int16].
// Vectors added to fill it are zero, as is the dimension added to an odd number of them.
constexpr std::size_t panel_vectors = 32;

constexpr std::size_t steps_of(std::size_t dim) { return round_up(dim, 2) / 2; }

// int16 in one panel.
constexpr std::size_t panel_size(std::size_t steps) { return steps * panel_vectors * 2; }

// The vectors' panels, one after another.
AlignedArray<std::int16_t> arrange(const IntegerRows& vectors);

// Rows are multiplied in blocks of up to 16, stored [chunk of 128 dimensions][row][dimension], so
// that the inner loop reaches all of them from one pointer at distances that the compiler knows.
// What lies beyond the rows, and beyond their last pair of dimensions, may be anything.
constexpr std::size_t block_rows = 16;
constexpr std::size_t chunk_dims = 128;

constexpr std::size_t block_size(std::size_t dim) {
    return block_rows * round_up(dim, chunk_dims);
}

// All rows as blocks, `block_size` apart.
AlignedArray<std::int16_t> blocks_of(const IntegerRows& rows);

// Rows of a matrix as one block after another.
class BlockReader {
public:
    BlockReader(const std::int16_t* rows, std::size_t count, std::size_t dim);

    // Up to 16 rows from `first`.
    const std::int16_t* block(std::size_t first);

private:
    const std::int16_t* rows_;
    std::size_t count_;
    std::size_t dim_;
    AlignedArray<std::int16_t> copy_;
};

struct DotProducts {
    // Writes sums (count, 32): each of the block's first `count` rows with each of the panel's
    // vectors. Sums that do not fit 32 bits wrap around. Meanwhile it asks for the memory of a
    // panel that lies `ahead` int16 further on: at 0 that is this one, which costs nothing.
    void (*multiply)(const std::int16_t* panel, std::size_t steps, std::size_t ahead,
                     const std::int16_t* block, std::size_t count, std::int32_t* sums);

    // Turns sums (count <= 16, 32) into 32 rows of 16 at a distance of `stride`, zero where there
    // are fewer.
    void (*transpose)(const std::int32_t* sums, std::size_t count, std::int32_t* rows,
                      std::size_t stride);
};

const DotProducts& dot_products_for(InstructionSet set);

}  // namespace memstore
