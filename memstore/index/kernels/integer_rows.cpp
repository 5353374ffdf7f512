#include "integer_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace memstore {
namespace {

constexpr double largest_value = std::numeric_limits<std::int16_t>::max();

// To the nearest integer, ties to even: adding 1.5 * 2**52 leaves no bits for a fraction. The
// standard functions are a call per value where the processor may lack SSE4.1.
MEMSTORE_INLINE std::int16_t round_to_integer(double value) {
    constexpr double no_fraction = 6755399441055744.0;
    const double rounded = (value + no_fraction) - no_fraction;
    return static_cast<std::int16_t>(static_cast<std::int32_t>(rounded));
}

// Sums of squares and the largest values, eight of each side by side: compilers then keep them in a
// register. Without their sign, the bits of floats sort as the floats do.
struct Eight {
    double squares[8] = {};
    std::uint32_t largest[8] = {};

    MEMSTORE_INLINE void include(const float* values) {
        for (std::size_t i = 0; i < 8; ++i) {
            squares[i] += static_cast<double>(values[i]) * values[i];
            std::uint32_t bits;
            std::memcpy(&bits, values + i, sizeof bits);
            largest[i] = std::max(largest[i], bits & 0x7fffffff);
        }
    }
};

MEMSTORE_INLINE void round_row(const float* row, std::size_t dim, double length_limit,
                               std::int16_t* values, double& scale) {
    Eight eight;
    std::size_t d = 0;
    for (; d + 8 <= dim; d += 8) eight.include(row + d);
    if (d < dim) {
        float rest[8] = {};
        std::copy(row + d, row + dim, rest);
        eight.include(rest);
    }
    const std::uint32_t bits = *std::max_element(eight.largest, eight.largest + 8);
    float largest;
    std::memcpy(&largest, &bits, sizeof largest);
    if (largest == 0.0F) return;
    double squares = 0.0;
    for (double square : eight.squares) squares += square;
    const double factor = std::min(length_limit / std::sqrt(squares), largest_value / largest);
    scale = 1.0 / factor;
    for (d = 0; d < dim; ++d) values[d] = round_to_integer(row[d] * factor);
}

MEMSTORE_INLINE void round_rows_body(const float* source, IntegerRows& result) {
    // Rounding moves each value by up to a half; the last 1 covers the errors of these doubles.
    const double length_limit =
        longest_row - 0.5 * std::sqrt(static_cast<double>(result.dim)) - 1;
    for (std::size_t r = 0; r < result.rows; ++r)
        round_row(source + r * result.dim, result.dim, length_limit,
                  &result.values[r * result.dim], result.scales[r]);
}

}  // namespace

IntegerRows round_rows(const float* source, std::size_t rows, std::size_t dim,
                       InstructionSet set) {
    IntegerRows result{rows, dim, std::vector<std::int16_t>(rows * dim),
                       std::vector<double>(rows)};
    run_with<round_rows_body>(set, source, result);
    return result;
}

IntegerWeights round_weights(const float* weights, std::size_t count, std::size_t dim) {
    IntegerWeights result{std::vector<std::int16_t>(count), 0.0};
    const double levels =
        std::min(largest_value, std::floor(longest_row / std::sqrt(static_cast<double>(dim))));
    float largest = 0.0F;
    for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(weights[i]));
    if (largest == 0.0F) return result;
    result.scale = largest / levels;
    for (std::size_t i = 0; i < count; ++i)
        result.values[i] = round_to_integer(weights[i] * (levels / largest));
    return result;
}

}  // namespace memstore
