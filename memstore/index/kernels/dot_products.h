// Dot products of rows of 16-bit integers with many vectors at once, exact in 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alignment.h"
#include "instruction_sets.h"
#include "integer_rows.h"

namespace memstore {

// Vectors that share a panel: the 32-bit lanes of one 512-bit register.
constexpr std::size_t lanes = 16;

// Vectors with one lane each, two dimensions at a time. The lanes added to fill the last panel are
// zero, as is the dimension added to an odd number of them.
struct Panels {
    std::size_t count;
    std::size_t steps;        // pairs of dimensions
    std::vector<Line> lines;  // [panel][step]: 16 x two int16
};

Panels arrange(const IntegerRows& vectors);

// Rows are multiplied in blocks of 16, stored [chunk of 128 dimensions][row][dimension], so that
// the inner loop reaches all of them from one pointer at distances that the compiler knows. Padding
// may hold anything: the panels are zero there.
constexpr std::size_t block_rows = 16;
constexpr std::size_t chunk_dims = 128;

constexpr std::size_t block_size(std::size_t dim) {
    return block_rows * round_up(dim, chunk_dims);
}

// Rows of a matrix as blocks.
class BlockReader {
public:
    BlockReader(const std::int16_t* rows, std::size_t count, std::size_t dim);

    // Up to 16 rows from `first`; rows of the block past the last one hold anything.
    const std::int16_t* block(std::size_t first);

private:
    const std::int16_t* rows_;
    std::size_t count_;
    std::size_t dim_;
    AlignedArray<std::int16_t> copy_;
};

// Writes sums (16 rows, panels x 16 lanes): each row of the block with the vectors of `panels`
// panels from `first`. Sums that do not fit 32 bits wrap around.
using DotProducts = void (*)(const Panels& vectors, std::size_t first, std::size_t panels,
                             const std::int16_t* block, std::int32_t* sums);

DotProducts dot_products_for(InstructionSet set);

}  // namespace memstore
