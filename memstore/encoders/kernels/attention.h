// Every token of a sequence looks at all of them, or at the first ones.
#pragma once

#include <cstddef>

#include "float_sets.h"
#include "panels.h"

namespace memstore {

// A sequence is some tokens of a block of panels, wherever they begin.
struct Sequence {
    std::size_t begin;
    std::size_t end;
    std::size_t seen;  // the end of those that are looked at
};

// Floats that `attend` needs for itself, for sequences of up to so many tokens.
std::size_t attention_scratch(std::size_t tokens, std::size_t head_size);

// Sets the sequence's lanes of the panels `to`. Panels of `from` have queries, keys and values one
// after the other, those of `to` one such part.
void attend(InstructionSet set, const Sequence& sequence, std::size_t heads,
            std::size_t head_size, const float* from, float* to, float* scratch);

}  // namespace memstore
