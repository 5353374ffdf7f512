// What happens to every token by itself, between the multiplications.
#pragma once

#include <cstddef>
#include <cstdint>

#include "float_sets.h"
#include "model.h"
#include "panels.h"

namespace memstore {

// Sets panels to the sum of word, position and segment; lanes beyond the last token are zero.
// `places` are the tokens' positions in their sequence.
void embed(const Bert& bert, const std::int32_t* ids, const std::int32_t* places,
           std::size_t tokens, float* states);

// Sets `states` to norm(states + added), where there is something to add.
void normalise(InstructionSet set, const Norm& norm, float epsilon, std::size_t features,
               std::size_t panels, const float* added, float* states);

// GELU by the exact error function, within 5e-7 of it.
void gelu(InstructionSet set, std::size_t features, std::size_t panels, float* states);

// Scales every token to length 1.
void to_unit_length(InstructionSet set, std::size_t features, std::size_t panels, float* states);

// Writes tokens as rows.
void to_rows(const float* states, std::size_t features, std::size_t tokens, float* rows);

}  // namespace memstore
