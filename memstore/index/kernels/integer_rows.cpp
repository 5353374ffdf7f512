#include "integer_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace memstore {
namespace {

constexpr double largest_value = std::numeric_limits<std::int16_t>::max();

// To the nearest integer, ties to even: adding 1.5 * 2**52 leaves no bits for a fraction. The
// standard functions are a call per value where the processor may lack SSE4.1.
std::int16_t round_to_integer(double value) {
    constexpr double no_fraction = 6755399441055744.0;
    const double rounded = (value + no_fraction) - no_fraction;
    return static_cast<std::int16_t>(static_cast<std::int32_t>(rounded));
}

}  // namespace

IntegerRows round_rows(const float* source, std::size_t rows, std::size_t dim) {
    IntegerRows result{rows, dim, std::vector<std::int16_t>(rows * dim),
                       std::vector<double>(rows, 0.0)};
    // Rounding moves each value by up to a half; the last 1 covers the errors of these doubles.
    const double length_limit = longest_row - 0.5 * std::sqrt(static_cast<double>(dim)) - 1;
    for (std::size_t r = 0; r < rows; ++r) {
        const float* row = source + r * dim;
        double squares = 0.0;
        float largest = 0.0F;
        for (std::size_t d = 0; d < dim; ++d) {
            squares += static_cast<double>(row[d]) * row[d];
            largest = std::max(largest, std::fabs(row[d]));
        }
        if (largest == 0.0F) continue;
        const double factor = std::min(length_limit / std::sqrt(squares), largest_value / largest);
        result.scales[r] = 1.0 / factor;
        std::int16_t* values = &result.values[r * dim];
        for (std::size_t d = 0; d < dim; ++d) values[d] = round_to_integer(row[d] * factor);
    }
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
