#include "dot_products.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "transposing.h"

namespace memstore {
namespace {

constexpr std::size_t chunk_steps = chunk_dims / 2;

const std::int16_t* at(const std::int16_t* block, std::size_t row, std::size_t step) {
    return block + (step / chunk_steps * block_rows + row) * chunk_dims + step % chunk_steps * 2;
}

void multiply_scalar(const std::int16_t* panel, std::size_t steps, std::size_t /*ahead*/,
                     const std::int16_t* block, std::size_t count, std::int32_t* sums) {
    for (std::size_t row = 0; row < count; ++row) {
        std::uint32_t sum[panel_vectors] = {};  // unsigned, for which wrapping around is defined
        for (std::size_t step = 0; step < steps; ++step) {
            const std::int16_t* pair = at(block, row, step);
            const std::int16_t* values = panel + step * panel_vectors * 2;
            for (std::size_t v = 0; v < panel_vectors; ++v)
                sum[v] += static_cast<std::uint32_t>(pair[0] * values[2 * v]) +
                          static_cast<std::uint32_t>(pair[1] * values[2 * v + 1]);
        }
        std::memcpy(sums + row * panel_vectors, sum, sizeof sum);
    }
}

void transpose_scalar(const std::int32_t* sums, std::size_t count, std::int32_t* rows,
                      std::size_t stride) {
    for (std::size_t v = 0; v < panel_vectors; ++v)
        for (std::size_t row = 0; row < block_rows; ++row)
            rows[v * stride + row] = row < count ? sums[row * panel_vectors + v] : 0;
}

#ifdef MEMSTORE_X86

// Sixteen rows of sums, zero beyond `count`.
struct RowsOfSums {
    RowsOfSums(const std::int32_t* sums, std::size_t count) {
        static constexpr std::int32_t zeros[panel_vectors] = {};
        for (std::size_t r = 0; r < block_rows; ++r)
            rows[r] = reinterpret_cast<const std::uint8_t*>(
                r < count ? sums + r * panel_vectors : zeros);
    }

    const std::uint8_t* rows[block_rows];
};

// GCC 12 copies the accumulator around the intrinsic and runs out of registers.
MEMSTORE_VNNI MEMSTORE_INLINE __m512i dot_pairs(__m512i sum, __m512i a, __m512i b) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

// Multiplies `Rows` rows with the panel. Many at once because each sum waits five cycles for its
// last multiplication, while two could start in each; more than 14, with two sums each, would not
// fit the 32 registers.
template <std::size_t Rows>
MEMSTORE_VNNI void multiply_tile(const std::int16_t* panel, std::size_t steps, std::size_t ahead,
                                 const std::int16_t* rows, std::int32_t* sums) {
    // Unrolled throughout: an index that is no constant would keep the sums in memory.
    __m512i tile[Rows][2];
#pragma GCC unroll 14
    for (std::size_t r = 0; r < Rows; ++r) tile[r][0] = tile[r][1] = _mm512_setzero_si512();
    for (std::size_t first = 0; first < steps; first += chunk_steps) {
        const std::int16_t* pair = at(rows, 0, first);
        const std::int16_t* end = panel + panel_size(std::min(chunk_steps, steps - first));
        for (; panel < end; panel += panel_vectors * 2, pair += 2) {
            // An address past the end does no harm.
            __builtin_prefetch(panel + ahead);
            __builtin_prefetch(panel + ahead + panel_vectors);
            const __m512i low = _mm512_loadu_si512(panel);
            const __m512i high = _mm512_loadu_si512(panel + panel_vectors);
#pragma GCC unroll 14
            for (std::size_t r = 0; r < Rows; ++r) {
                std::int32_t two;
                std::memcpy(&two, pair + r * chunk_dims, sizeof two);
                const __m512i of_row = _mm512_set1_epi32(two);
                tile[r][0] = dot_pairs(tile[r][0], of_row, low);
                tile[r][1] = dot_pairs(tile[r][1], of_row, high);
            }
        }
    }
#pragma GCC unroll 14
    for (std::size_t r = 0; r < Rows; ++r) {
        _mm512_storeu_si512(sums + r * panel_vectors, tile[r][0]);
        _mm512_storeu_si512(sums + r * panel_vectors + panel_vectors / 2, tile[r][1]);
    }
}

constexpr std::size_t most_tile_rows = 14;
using MultiplyTile = void (*)(const std::int16_t*, std::size_t, std::size_t, const std::int16_t*,
                              std::int32_t*);

template <std::size_t... Less>
constexpr std::array<MultiplyTile, sizeof...(Less)> tiles(std::index_sequence<Less...>) {
    return {multiply_tile<Less + 1>...};
}

void multiply_vnni(const std::int16_t* panel, std::size_t steps, std::size_t ahead,
                   const std::int16_t* block, std::size_t count, std::int32_t* sums) {
    static constexpr auto tile_of = tiles(std::make_index_sequence<most_tile_rows>{});
    const std::size_t first = count <= most_tile_rows ? count : count / 2;
    if (first > 0) tile_of[first - 1](panel, steps, ahead, block, sums);
    if (count > first)
        tile_of[count - first - 1](panel, steps, 0, at(block, first, 0),
                                   sums + first * panel_vectors);
}

MEMSTORE_VNNI void transpose_vnni(const std::int32_t* sums, std::size_t count, std::int32_t* rows,
                                  std::size_t stride) {
    const RowsOfSums from(sums, count);
    for (std::size_t v = 0; v < panel_vectors; v += 4) {
        __m512i columns[4];
        load_columns(from.rows, v * sizeof *sums, columns);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < 4; ++i)
            _mm512_storeu_si512(rows + (v + i) * stride, columns[i]);
    }
}

// Multiplies up to four rows with half of the panel, in two registers.
template <std::size_t Rows>
MEMSTORE_AVX2 void multiply_tile_avx2(const std::int16_t* panel, std::size_t steps,
                                      const std::int16_t* rows, std::int32_t* sums) {
    __m256i tile[Rows][2];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < Rows; ++r) tile[r][0] = tile[r][1] = _mm256_setzero_si256();
    for (std::size_t first = 0; first < steps; first += chunk_steps) {
        const std::int16_t* pair = at(rows, 0, first);
        const std::int16_t* end = panel + panel_size(std::min(chunk_steps, steps - first));
        for (; panel < end; panel += panel_vectors * 2, pair += 2) {
            const auto* vectors = reinterpret_cast<const __m256i*>(panel);
            const __m256i of_panel[2] = {_mm256_loadu_si256(vectors),
                                         _mm256_loadu_si256(vectors + 1)};
#pragma GCC unroll 4
            for (std::size_t r = 0; r < Rows; ++r) {
                std::int32_t two;
                std::memcpy(&two, pair + r * chunk_dims, sizeof two);
                const __m256i of_row = _mm256_set1_epi32(two);
#pragma GCC unroll 2
                for (int h = 0; h < 2; ++h)
                    tile[r][h] =
                        _mm256_add_epi32(tile[r][h], _mm256_madd_epi16(of_row, of_panel[h]));
            }
        }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < Rows; ++r) {
        auto* of_row = reinterpret_cast<__m256i*>(sums + r * panel_vectors);
        _mm256_storeu_si256(of_row, tile[r][0]);
        _mm256_storeu_si256(of_row + 1, tile[r][1]);
    }
}

void multiply_avx2(const std::int16_t* panel, std::size_t steps, std::size_t /*ahead*/,
                   const std::int16_t* block, std::size_t count, std::int32_t* sums) {
    for (std::size_t row = 0; row < count; row += 4) {
        const std::int16_t* rows = at(block, row, 0);
        for (std::size_t half : {0, 1}) {
            const std::int16_t* vectors = panel + half * panel_vectors;
            std::int32_t* target = sums + row * panel_vectors + half * panel_vectors / 2;
            switch (std::min<std::size_t>(count - row, 4)) {
                case 1: multiply_tile_avx2<1>(vectors, steps, rows, target); break;
                case 2: multiply_tile_avx2<2>(vectors, steps, rows, target); break;
                case 3: multiply_tile_avx2<3>(vectors, steps, rows, target); break;
                default: multiply_tile_avx2<4>(vectors, steps, rows, target);
            }
        }
    }
}

MEMSTORE_AVX2 void transpose_avx2(const std::int32_t* sums, std::size_t count, std::int32_t* rows,
                                  std::size_t stride) {
    const RowsOfSums from(sums, count);
    for (std::size_t v = 0; v < panel_vectors; v += 4) {
        for (std::size_t row = 0; row < block_rows; row += 8) {
            __m256i columns[4];
            load_columns(from.rows + row, v * sizeof *sums, columns);
#pragma GCC unroll 4
            for (std::size_t i = 0; i < 4; ++i)
                _mm256_storeu_si256(
                    reinterpret_cast<__m256i*>(rows + (v + i) * stride + row), columns[i]);
        }
    }
}

#endif  // MEMSTORE_X86

void copy_block(const std::int16_t* source, std::size_t rows, std::size_t dim,
                std::int16_t* block) {
    for (std::size_t d = 0; d < dim; d += chunk_dims) {
        const std::size_t size = std::min(chunk_dims, dim - d);
        for (std::size_t r = 0; r < rows; ++r) {
            std::int16_t* row = block + d * block_rows + r * chunk_dims;
            std::memcpy(row, source + r * dim + d, size * sizeof *source);
            if (size % 2 != 0) row[size] = 0;  // of the last pair
        }
    }
}

}  // namespace

AlignedArray<std::int16_t> arrange(const IntegerRows& vectors) {
    const std::size_t steps = steps_of(vectors.dim);
    const std::size_t panels = round_up(vectors.rows, panel_vectors) / panel_vectors;
    auto result = aligned_array<std::int16_t>(panels * panel_size(steps));
    std::fill_n(result.get(), panels * panel_size(steps), std::int16_t{0});
    for (std::size_t r = 0; r < vectors.rows; ++r) {
        const std::int16_t* values = &vectors.values[r * vectors.dim];
        std::int16_t* pairs = result.get() + r / panel_vectors * panel_size(steps) +
                              r % panel_vectors * 2;
        for (std::size_t d = 0; d < vectors.dim; ++d)
            pairs[d / 2 * (2 * panel_vectors) + d % 2] = values[d];
    }
    return result;
}

AlignedArray<std::int16_t> blocks_of(const IntegerRows& rows) {
    const std::size_t blocks = round_up(rows.rows, block_rows) / block_rows;
    auto result = aligned_array<std::int16_t>(blocks * block_size(rows.dim));
    for (std::size_t b = 0; b < blocks; ++b)
        copy_block(&rows.values[b * block_rows * rows.dim],
                   std::min(block_rows, rows.rows - b * block_rows), rows.dim,
                   result.get() + b * block_size(rows.dim));
    return result;
}

BlockReader::BlockReader(const std::int16_t* rows, std::size_t count, std::size_t dim)
    : rows_(rows), count_(count), dim_(dim), copy_(aligned_array<std::int16_t>(block_size(dim))) {}

const std::int16_t* BlockReader::block(std::size_t first) {
    const std::size_t rows = std::min(block_rows, count_ - first);
    const std::int16_t* source = rows_ + first * dim_;
    if (dim_ == chunk_dims) return source;  // it lies so already
    copy_block(source, rows, dim_, copy_.get());
    return copy_.get();
}

const DotProducts& dot_products_for(InstructionSet set) {
#ifdef MEMSTORE_X86
    static constexpr DotProducts vnni{multiply_vnni, transpose_vnni};
    static constexpr DotProducts avx2{multiply_avx2, transpose_avx2};
    if (set == InstructionSet::avx512_vnni) return vnni;
    if (set == InstructionSet::avx2) return avx2;
#endif
    (void)set;
    static constexpr DotProducts scalar{multiply_scalar, transpose_scalar};
    return scalar;
}

}  // namespace memstore
