// Vectors rounded to 16-bit integers so that every dot product of two fits 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "instruction_sets.h"

namespace memstore {

// Two rows no longer than this have a dot product, and all its partial sums, within 32 bits
// (Cauchy-Schwarz): 46,340 squared is just below 2**31.
constexpr std::int32_t longest_row = 46340;

// The residuals of longer rows would be left with fewer than 8 bits.
constexpr std::size_t max_row_dim = 65536;

// values[r * dim + d] * scales[r] is about the row given.
struct IntegerRows {
    std::size_t rows;
    std::size_t dim;
    std::vector<std::int16_t> values;
    std::vector<double> scales;
};

// Rounds rows to integers no longer than `longest_row`, each with a scale of its own. The values
// are finite and dim >= 1.
IntegerRows round_rows(const float* source, std::size_t rows, std::size_t dim,
                       InstructionSet set);

// Residual weights rounded so that no vector of `dim` of them is longer than `longest_row`.
struct IntegerWeights {
    std::vector<std::int16_t> values;
    double scale;
};

IntegerWeights round_weights(const float* weights, std::size_t count, std::size_t dim);

}  // namespace memstore
