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

// Writes a row per token: its vector of length 1, or its state where the model has no head.
// `ids` are those of all sequences one after the other, `lengths` at least 1 each.
void encode(InstructionSet set, const Bert& bert, const std::int32_t* ids,
            const std::vector<std::size_t>& lengths, std::size_t threads, float* rows);

}  // namespace memstore
