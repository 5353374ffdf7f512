// Highest similarity of each query token in each passage, over int8 document tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "instruction_sets.h"

namespace memstore {

// Document tokens: codes (tokens, dim), row-major; one scale per token.
struct Documents {
    const std::int8_t* codes;
    const float* scales;
    std::size_t dim;
};

// Passage p is rows starts[p] .. starts[p] + lengths[p] of the documents; lengths[p] >= 1.
struct Passages {
    const std::int64_t* starts;
    const std::int64_t* lengths;
    std::size_t count;
};

// The sum of a dot product stays inside 32 bits up to here, with at least 8 bits per query value.
constexpr std::size_t max_dim = 65536;

// Writes maxima (passages, query tokens), row-major:
//
//     max over the passage's tokens t of  float(sum_d codes[t, d] * value[q, d]) * scales[t]
//     times query_scale[q]
//
// where value is the query rounded to integers of about 15 bits. The sum is exact, and every
// rounding after it is the same operation in the same order whatever the instruction set, so
// results are equal to the bit on every processor, and for every choice of passages in a call.
// The caller has checked shapes and ranges; query values are finite and dim <= max_dim.
void token_maxima(const Documents& documents, const Passages& passages, const float* query,
                  std::size_t query_tokens, InstructionSet set, float* maxima);

}  // namespace memstore
