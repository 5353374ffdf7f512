#include "dot_products.h"

#include <algorithm>
#include <cstring>

namespace memstore {
namespace {

constexpr std::size_t chunk_steps = chunk_dims / 2;

void multiply_scalar(const Panels& vectors, std::size_t first, std::size_t panels,
                     const std::int16_t* block, std::int32_t* sums) {
    for (std::size_t row = 0; row < block_rows; ++row) {
        for (std::size_t p = 0; p < panels; ++p) {
            const Line* line = &vectors.lines[(first + p) * vectors.steps];
            std::uint32_t sum[lanes] = {};  // unsigned, for which wrapping around is defined
            for (std::size_t step = 0; step < vectors.steps; ++step) {
                const std::int16_t* pair = block + step / chunk_steps * block_rows * chunk_dims +
                                           row * chunk_dims + step % chunk_steps * 2;
                std::int16_t values[2 * lanes];
                std::memcpy(values, line + step, sizeof values);
                for (std::size_t lane = 0; lane < lanes; ++lane)
                    sum[lane] += static_cast<std::uint32_t>(pair[0] * values[2 * lane]) +
                                 static_cast<std::uint32_t>(pair[1] * values[2 * lane + 1]);
            }
            std::memcpy(sums + (row * panels + p) * lanes, sum, sizeof sum);
        }
    }
}

#ifdef MEMSTORE_X86

// GCC 12 copies the accumulator around the intrinsic and runs out of registers.
MEMSTORE_VNNI MEMSTORE_INLINE __m512i dot_pairs(__m512i sum, __m512i a, __m512i b) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

// Multiplies `Rows` rows with `Count` panels; writes sums at a distance of `stride`. There are 16
// sums because each waits five cycles for its last multiplication, while two could start in each.
template <int Count, int Rows>
MEMSTORE_VNNI void multiply_tile(const Line* lines, std::size_t steps, const std::int16_t* rows,
                                 std::int32_t* sums, std::size_t stride) {
    // Unrolled throughout: an index that is no constant would keep the sums in memory.
    __m512i tile[Count][Rows];
#pragma GCC unroll 2
    for (int p = 0; p < Count; ++p) {
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) tile[p][r] = _mm512_setzero_si512();
    }
    const Line* line = lines;
    for (std::size_t first = 0; first < steps; first += chunk_steps) {
        const std::int16_t* pair = rows + first / chunk_steps * block_rows * chunk_dims;
        const Line* end = line + std::min(chunk_steps, steps - first);
        for (; line < end; ++line, pair += 2) {
            __m512i of_panel[Count];
#pragma GCC unroll 2
            for (int p = 0; p < Count; ++p) of_panel[p] = _mm512_load_si512(line + p * steps);
#pragma GCC unroll 16
            for (int r = 0; r < Rows; ++r) {
                std::int32_t two;
                std::memcpy(&two, pair + r * chunk_dims, sizeof two);
                const __m512i of_row = _mm512_set1_epi32(two);
#pragma GCC unroll 2
                for (int p = 0; p < Count; ++p)
                    tile[p][r] = dot_pairs(tile[p][r], of_row, of_panel[p]);
            }
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < Count; ++p) {
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r)
            _mm512_storeu_si512(sums + r * stride + p * lanes, tile[p][r]);
    }
}

void multiply_vnni(const Panels& vectors, std::size_t first, std::size_t panels,
                   const std::int16_t* block, std::int32_t* sums) {
    const std::size_t stride = panels * lanes;
    const Line* lines = &vectors.lines[first * vectors.steps];
    std::size_t p = 0;
    for (; p + 2 <= panels; p += 2)
        for (std::size_t row = 0; row < block_rows; row += 8)
            multiply_tile<2, 8>(lines + p * vectors.steps, vectors.steps, block + row * chunk_dims,
                                sums + row * stride + p * lanes, stride);
    if (p < panels)
        multiply_tile<1, 16>(lines + p * vectors.steps, vectors.steps, block, sums + p * lanes,
                             stride);
}

// Four rows with one panel, half a line at a time.
MEMSTORE_AVX2 void multiply_tile_avx2(const Line* lines, std::size_t steps,
                                      const std::int16_t* rows, std::int32_t* sums,
                                      std::size_t stride) {
    constexpr int tile_rows = 4;
    __m256i tile[2][tile_rows];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 4
        for (int r = 0; r < tile_rows; ++r) tile[h][r] = _mm256_setzero_si256();
    }
    const Line* line = lines;
    for (std::size_t first = 0; first < steps; first += chunk_steps) {
        const std::int16_t* pair = rows + first / chunk_steps * block_rows * chunk_dims;
        const Line* end = line + std::min(chunk_steps, steps - first);
        for (; line < end; ++line, pair += 2) {
            const auto* halves = reinterpret_cast<const __m256i*>(line);
            const __m256i of_panel[2] = {_mm256_load_si256(halves), _mm256_load_si256(halves + 1)};
#pragma GCC unroll 4
            for (int r = 0; r < tile_rows; ++r) {
                std::int32_t two;
                std::memcpy(&two, pair + r * chunk_dims, sizeof two);
                const __m256i of_row = _mm256_set1_epi32(two);
#pragma GCC unroll 2
                for (int h = 0; h < 2; ++h)
                    tile[h][r] =
                        _mm256_add_epi32(tile[h][r], _mm256_madd_epi16(of_row, of_panel[h]));
            }
        }
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 4
        for (int r = 0; r < tile_rows; ++r)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * stride + h * 8), tile[h][r]);
    }
}

void multiply_avx2(const Panels& vectors, std::size_t first, std::size_t panels,
                   const std::int16_t* block, std::int32_t* sums) {
    const std::size_t stride = panels * lanes;
    for (std::size_t p = 0; p < panels; ++p)
        for (std::size_t row = 0; row < block_rows; row += 4)
            multiply_tile_avx2(&vectors.lines[(first + p) * vectors.steps], vectors.steps,
                               block + row * chunk_dims, sums + row * stride + p * lanes, stride);
}

#endif  // MEMSTORE_X86

}  // namespace

Panels arrange(const IntegerRows& vectors) {
    Panels result;
    result.count = round_up(vectors.rows, lanes) / lanes;
    result.steps = round_up(vectors.dim, 2) / 2;
    result.lines.resize(result.count * result.steps);
    for (std::size_t r = 0; r < vectors.rows; ++r) {
        const std::int16_t* values = &vectors.values[r * vectors.dim];
        auto* pairs = reinterpret_cast<std::int16_t*>(&result.lines[r / lanes * result.steps]) +
                      r % lanes * 2;
        for (std::size_t d = 0; d < vectors.dim; ++d)
            pairs[d / 2 * (2 * lanes) + d % 2] = values[d];
    }
    return result;
}

BlockReader::BlockReader(const std::int16_t* rows, std::size_t count, std::size_t dim)
    : rows_(rows), count_(count), dim_(dim), copy_(aligned_array<std::int16_t>(block_size(dim))) {
    std::fill_n(copy_.get(), block_size(dim), std::int16_t{0});
}

const std::int16_t* BlockReader::block(std::size_t first) {
    const std::size_t rows = std::min(block_rows, count_ - first);
    const std::int16_t* source = rows_ + first * dim_;
    if (dim_ == chunk_dims && rows == block_rows) return source;  // it lies so already
    for (std::size_t d = 0; d < dim_; d += chunk_dims) {
        const std::size_t size = std::min(chunk_dims, dim_ - d) * sizeof *source;
        for (std::size_t r = 0; r < rows; ++r)
            std::memcpy(copy_.get() + d * block_rows + r * chunk_dims, source + r * dim_ + d,
                        size);
    }
    return copy_.get();
}

DotProducts dot_products_for(InstructionSet set) {
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni) return multiply_vnni;
    if (set == InstructionSet::avx2) return multiply_avx2;
#endif
    (void)set;
    return multiply_scalar;
}

}  // namespace memstore
