// Multiplication of token states by a matrix of weights.
#pragma once

#include <cstddef>

#include "float_sets.h"
#include "model.h"
#include "panels.h"

namespace memstore {

// Sets features `first` to `first + outputs` of the panels `to`, which have `features` each.
// `scratch` has room for as many panels of `rank` features.
void multiply(InstructionSet set, const Linear& linear, const float* from, std::size_t tokens,
              float* to, std::size_t features, std::size_t first, float* scratch);

}  // namespace memstore
