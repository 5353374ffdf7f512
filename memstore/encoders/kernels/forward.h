// The forward pass of a BERT over many sequences, on several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "float_sets.h"
#include "model.h"

namespace memstore {

// Numbers per token of the result.
std::size_t width_of(const Bert& bert);

struct Length {
    std::size_t tokens;
    std::size_t seen;  // of these, the first so many are what all of them look at
};

// Writes a row per token: its vector of length 1, or its state where the model has no head.
// `ids` are those of all sequences one after the other, both numbers of a length at least 1.
void encode(InstructionSet set, const Bert& bert, const std::int32_t* ids,
            const std::vector<Length>& lengths, std::size_t threads, float* rows);

}  // namespace memstore
