#include <cmath>
#include <vector>

#include "residual_decoder.h"
#include "residuals.h"

namespace memstore {
namespace {

// Writes the number of cutoffs below each residual.
MEMSTORE_INLINE void find_buckets(const float* vector, const float* centroid, std::size_t dim,
                                  const Buckets& buckets, std::uint8_t* found) {
    constexpr std::size_t width = 16;
    const int cutoffs = (1 << buckets.bits) - 1;
    for (std::size_t first = 0; first < dim; first += width) {
        const std::size_t size = dim - first < width ? dim - first : width;
        float residual[width] = {};
        std::int32_t below[width] = {};
        for (std::size_t d = 0; d < size; ++d)
            residual[d] = vector[first + d] - centroid[first + d];
        for (int c = 0; c < cutoffs; ++c)
            for (std::size_t d = 0; d < width; ++d) below[d] += buckets.cutoffs[c] < residual[d];
        for (std::size_t d = 0; d < size; ++d)
            found[first + d] = static_cast<std::uint8_t>(below[d]);
    }
}

float inverse_length(const std::uint8_t* found, const float* centroid, std::size_t dim,
                     const float* weights) {
    double squares = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
        const float value = centroid[d] + weights[found[d]];
        squares += static_cast<double>(value) * value;
    }
    return squares > 0.0 ? static_cast<float>(1.0 / std::sqrt(squares)) : 0.0F;
}

}  // namespace

template <typename Code>
void encode_residuals(const float* vectors, std::size_t tokens, const Code* codes,
                      const float* centroids, std::size_t centroid_count, std::size_t dim,
                      const Buckets& buckets, std::uint8_t* residuals, float* inverse_norms) {
    const std::size_t per_byte = 8 / buckets.bits;
    std::uint8_t fields[256];
    for (int bucket = 0; bucket < 1 << buckets.bits; ++bucket)
        fields[bucket] = reversed(static_cast<std::uint8_t>(bucket), buckets.bits);
    std::vector<std::uint8_t> found(dim);
    for (std::size_t t = 0; t < tokens; ++t) {
        const float* centroid = centroids + checked_code(codes[t], centroid_count) * dim;
        find_buckets(vectors + t * dim, centroid, dim, buckets, found.data());
        inverse_norms[t] = inverse_length(found.data(), centroid, dim, buckets.weights);
        for (std::size_t d = 0; d < dim; d += per_byte) {
            unsigned byte = 0;
            for (std::size_t i = 0; i < per_byte; ++i)
                byte = byte << buckets.bits | fields[found[d + i]];
            *residuals++ = static_cast<std::uint8_t>(byte);
        }
    }
}

template void encode_residuals(const float*, std::size_t, const std::uint16_t*, const float*,
                               std::size_t, std::size_t, const Buckets&, std::uint8_t*, float*);
template void encode_residuals(const float*, std::size_t, const std::uint32_t*, const float*,
                               std::size_t, std::size_t, const Buckets&, std::uint8_t*, float*);

}  // namespace memstore
