// Dot products of centroids with query tokens, and what is chosen by them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "instruction_sets.h"

namespace memstore {

// Centroids as integers, none longer than `longest_row`: rows for `assign`, panels for the rest.
struct Centroids {
    const std::int16_t* values;
    std::size_t count;
    std::size_t dim;
};

// Writes scores (centroids, query tokens rounded up to whole columns), and of each panel's
// centroids the least and the largest ones: bounds (panels, 2, columns).
void centroid_scores(const Centroids& panels, double scale, const float* query,
                     std::size_t query_tokens, InstructionSet set, float* scores, float* bounds);

// Writes the `count` <= `centroids` best centroids of each query token, best first.
void nearest_centroids(const float* scores, const float* bounds, std::size_t centroids,
                       std::size_t query_tokens, std::size_t count, InstructionSet set,
                       std::int32_t* nearest);

// The first centroid longer than `longest_row`, or their number if there is none.
std::size_t first_too_long(const Centroids& rows, InstructionSet set);

// Writes each vector's nearest centroid and their dot product as integers.
void assign(const float* vectors, std::size_t count, const Centroids& centroids,
            InstructionSet set, std::int32_t* nearest, std::int32_t* products);

}  // namespace memstore
