// MaxSim of passages by the centroids of their tokens alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "instruction_sets.h"
#include "segment.h"

namespace memstore {

// Blocks of `width` query tokens; a table has blocks x centroids x width bytes.
struct TableShape {
    std::size_t blocks;
    std::size_t centroids;
    std::size_t width;  // 16, 32 or 64
};

TableShape table_shape(std::size_t query_tokens, std::size_t centroids);

// Writes the table of weighted scores as bytes, from what `centroid_scores` wrote.
void byte_table(const float* scores, const float* bounds, const float* weights,
                std::size_t query_tokens, const TableShape& shape, InstructionSet set,
                std::uint8_t* table);

// Writes the approximate MaxSim of each slot. Throws std::out_of_range.
template <typename Code>
void approximate_scores(const Code* codes, const Segment& segment, const std::int64_t* slots,
                        std::size_t count, const std::uint8_t* table, const TableShape& shape,
                        InstructionSet set, std::uint32_t* scores);

// Writes the positions of the `count` <= `size` largest scores, ascending.
void largest(const std::uint32_t* scores, std::size_t size, std::size_t count,
             std::int64_t* positions);

}  // namespace memstore
