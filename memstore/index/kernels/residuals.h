// Residuals in a few bits per dimension: packing them, and similarities with what they stand for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "instruction_sets.h"
#include "segment.h"

namespace memstore {

// 2**bits - 1 cutoffs and 2**bits weights; bits is 1, 2, 4 or 8.
struct Buckets {
    const float* cutoffs;
    const float* weights;
    int bits;
};

// Writes residuals (tokens, dim * bits / 8) and the inverse length of what each decodes to. Throws
// std::out_of_range.
template <typename Code>
void encode_residuals(const float* vectors, std::size_t tokens, const Code* codes,
                      const float* centroids, std::size_t centroid_count, std::size_t dim,
                      const Buckets& buckets, std::uint8_t* residuals, float* inverse_norms);

template <typename Code>
struct SealedTokens {
    const Code* codes;
    const std::uint8_t* residuals;
    const float* inverse_norms;
    Segment segment;
    std::size_t dim;
    int bits;
};

// What a call searches for: scores are those of `centroids` centroids with the same query.
struct SealedQuery {
    const float* scores;
    std::size_t centroids;
    const float* query;
    std::size_t tokens;
    const float* bucket_weights;
};

// Writes maxima (slots, query tokens), row-major:
//
//     max over the passage's tokens t of
//         (scores[codes[t], q] + float(sum_d weight[t, d] * value[q, d]) * factor[q])
//         * inverse_norms[t]
//
// where weight and value are the bucket weights and the query rounded to integers. Throws
// std::out_of_range.
template <typename Code>
void sealed_maxima(const SealedTokens<Code>& documents, const std::int64_t* slots,
                   std::size_t count, const SealedQuery& query, InstructionSet set,
                   float* maxima);

}  // namespace memstore
