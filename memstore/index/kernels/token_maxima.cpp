#include "token_maxima.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "alignment.h"

namespace memstore {
namespace {

// Query tokens that share a panel: the 32-bit lanes of one 256-bit register.
constexpr std::size_t lanes = 8;

// A query rounded to integers: value[q, d] * scale[q] is about query[q, d].
struct IntegerQuery {
    std::size_t tokens;
    std::size_t padded_tokens;  // multiple of `lanes`; the added rows are zero
    std::size_t padded_dim;     // multiple of 4; the added columns are zero
    std::vector<std::int16_t> values;
    std::vector<float> scales;

    const std::int16_t* row(std::size_t token) const { return &values[token * padded_dim]; }
};

// 127 * 128: a value is 128 * high + low with both parts signed bytes. Beyond 1,032 dimensions a
// sum of |code| <= 128 times that many could leave 32 bits, so longer vectors get fewer levels.
std::int32_t query_levels(std::size_t dim) {
    constexpr std::int64_t largest_sum = std::numeric_limits<std::int32_t>::max();
    return static_cast<std::int32_t>(
        std::min<std::int64_t>(127 * 128, largest_sum / (128 * static_cast<std::int64_t>(dim))));
}

IntegerQuery round_query(const float* query, std::size_t tokens, std::size_t dim) {
    IntegerQuery result;
    result.tokens = tokens;
    result.padded_tokens = round_up(tokens, lanes);
    result.padded_dim = round_up(dim, 4);
    result.values.assign(result.padded_tokens * result.padded_dim, 0);
    result.scales.assign(tokens, 0.0F);
    const std::int32_t levels = query_levels(dim);
    for (std::size_t q = 0; q < tokens; ++q) {
        const float* source = query + q * dim;
        float largest = 0.0F;
        for (std::size_t d = 0; d < dim; ++d) largest = std::max(largest, std::fabs(source[d]));
        if (largest == 0.0F) continue;
        result.scales[q] = static_cast<float>(static_cast<double>(largest) / levels);
        const double factor = levels / static_cast<double>(largest);
        std::int16_t* target = &result.values[q * result.padded_dim];
        for (std::size_t d = 0; d < dim; ++d)
            target[d] = static_cast<std::int16_t>(std::nearbyint(source[d] * factor));
    }
    return result;
}

void scalar_maxima(const Documents& documents, const Passages& passages, const IntegerQuery& query,
                   float* maxima) {
    for (std::size_t p = 0; p < passages.count; ++p) {
        float* best = maxima + p * query.tokens;
        std::fill_n(best, query.tokens, -std::numeric_limits<float>::infinity());
        for (std::int64_t t = passages.starts[p]; t < passages.starts[p] + passages.lengths[p];
             ++t) {
            const std::int8_t* code = documents.codes + t * documents.dim;
            for (std::size_t q = 0; q < query.tokens; ++q) {
                const std::int16_t* value = query.row(q);
                std::int32_t sum = 0;
                for (std::size_t d = 0; d < documents.dim; ++d) sum += code[d] * value[d];
                const float similarity = static_cast<float>(sum) * documents.scales[t];
                best[q] = similarity > best[q] ? similarity : best[q];
            }
        }
        // Scaling after the maximum: rounding is monotone, so it is the maximum of the scaled.
        for (std::size_t q = 0; q < query.tokens; ++q) best[q] *= query.scales[q];
    }
}

#ifdef MEMSTORE_X86

void store_lanes(const float* best, const IntegerQuery& query, float* maxima) {
    for (std::size_t q = 0; q < query.tokens; ++q) maxima[q] = best[q] * query.scales[q];
}

// ---------------------------------------------------------------------------------------------
// AVX-512 VNNI. Eight query tokens sit in the lanes of a register twice, high bytes and low bytes,
// four dimensions per lane; four bytes of a document token are broadcast against them. VNNI
// multiplies unsigned by signed bytes: documents become code + 128, and -128 * sum(value) starts
// the accumulator to undo it.

// Panels that are searched together: four while there are as many, then the rest.
constexpr std::size_t most_panels = 4;

struct VnniQuery {
    std::size_t panels;
    std::size_t steps;         // groups of four dimensions
    std::vector<Line> lines;   // [group of panels][step][panel]: 8 x four high, 8 x four low bytes
    std::vector<Line> starts;  // [panel]: 8 x int32 of zero, 8 x int32 of -128 * sum(value)
};

VnniQuery arrange_for_vnni(const IntegerQuery& query) {
    VnniQuery result;
    result.panels = query.padded_tokens / lanes;
    result.steps = query.padded_dim / 4;
    result.lines.resize(result.panels * result.steps);
    result.starts.resize(result.panels);
    for (std::size_t token = 0; token < query.padded_tokens; ++token) {
        const std::size_t panel = token / lanes;
        const std::size_t lane = token % lanes;
        const std::size_t group = panel / most_panels * most_panels;
        const std::size_t group_size = std::min(most_panels, result.panels - group);
        Line* lines = &result.lines[group * result.steps + panel % most_panels];
        const std::int16_t* row = query.row(token);
        std::int32_t sum = 0;
        for (std::size_t d = 0; d < query.padded_dim; ++d) {
            std::uint8_t* line = lines[d / 4 * group_size].bytes;
            const std::int32_t low = ((row[d] + 64) & 127) - 64;
            line[lane * 4 + d % 4] = static_cast<std::uint8_t>((row[d] - low) / 128);
            line[32 + lane * 4 + d % 4] = static_cast<std::uint8_t>(low);
            sum += row[d];
        }
        const std::int32_t start = -128 * sum;
        std::memcpy(result.starts[panel].bytes + 32 + lane * 4, &start, sizeof start);
    }
    return result;
}

// Document tokens are copied in blocks, [chunk of dimensions][token][dimension], so that the inner
// loop reaches all of them from one pointer at distances that the compiler knows.
constexpr std::size_t block_tokens = 8;
constexpr std::size_t chunk_dims = 128;

// GCC 12 copies the accumulator around the intrinsic and runs out of registers.
MEMSTORE_VNNI inline __attribute__((always_inline)) __m512i dot_bytes(__m512i sum,
                                                                      __m512i unsigned_bytes,
                                                                      __m512i signed_bytes) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
    return sum;
}

// Folds `Tokens` document tokens into the running maxima of `Panels` x 8 query tokens. Several at
// once because each accumulator waits five cycles for its last multiplication, while two could
// start in each cycle.
template <int Panels, int Tokens>
MEMSTORE_VNNI void fold_vnni(const VnniQuery& query, std::size_t first_panel,
                             const std::uint8_t* tokens, const float* scales, __m256* best) {
    // Unrolled throughout: an index that is no constant would keep the sums in memory.
    __m512i sums[Panels][Tokens];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
#pragma GCC unroll 8
        for (int t = 0; t < Tokens; ++t)
            sums[p][t] = _mm512_load_si512(&query.starts[first_panel + p]);
    }
    const Line* line = &query.lines[first_panel * query.steps];
    constexpr std::size_t chunk_steps = chunk_dims / 4;
    for (std::size_t first_step = 0; first_step < query.steps; first_step += chunk_steps) {
        const std::uint8_t* four_bytes = tokens + first_step * 4 * block_tokens;
        const Line* end = line + std::min(chunk_steps, query.steps - first_step) * Panels;
        for (; line < end; line += Panels, four_bytes += 4) {
            __m512i of_query[Panels];
#pragma GCC unroll 4
            for (int p = 0; p < Panels; ++p) of_query[p] = _mm512_load_si512(line + p);
#pragma GCC unroll 8
            for (int t = 0; t < Tokens; ++t) {
                std::int32_t four;
                std::memcpy(&four, four_bytes + t * chunk_dims, sizeof four);
                const __m512i of_token = _mm512_set1_epi32(four);
#pragma GCC unroll 4
                for (int p = 0; p < Panels; ++p)
                    sums[p][t] = dot_bytes(sums[p][t], of_token, of_query[p]);
            }
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
#pragma GCC unroll 8
        for (int t = 0; t < Tokens; ++t) {
            const __m256i high = _mm512_castsi512_si256(sums[p][t]);
            const __m256i low = _mm512_extracti64x4_epi64(sums[p][t], 1);
            const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 7), low);
            const __m256 similarity =
                _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scales[t]));
            best[p] = _mm256_max_ps(similarity, best[p]);
        }
    }
}

// Folds a block of four or eight tokens.
template <int Panels>
MEMSTORE_VNNI void fold_block(const VnniQuery& query, std::size_t first_panel,
                              const std::uint8_t* tokens, const float* scales, std::size_t count,
                              __m256* best) {
    // Four panels of eight tokens would need 32 registers for the sums alone.
    if (count == 8 && Panels < 4)
        return fold_vnni<Panels, Panels < 4 ? 8 : 4>(query, first_panel, tokens, scales, best);
    for (std::size_t t = 0; t < count; t += 4)
        fold_vnni<Panels, 4>(query, first_panel, tokens + t * chunk_dims, scales + t, best);
}

// Copies one token as code + 128 to where its rows of a block begin. Padding may hold anything:
// the query is zero there. Asks for what lies two blocks on: passages mostly follow one another,
// and the hardware stops looking ahead at every page. An address past the end does no harm.
MEMSTORE_VNNI inline __attribute__((always_inline)) void copy_unsigned(const std::int8_t* codes,
                                                                       std::size_t dim,
                                                                       std::uint8_t* target) {
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const auto ahead = reinterpret_cast<std::uintptr_t>(codes) + 2 * block_tokens * dim;
    for (std::size_t d = 0; d < dim; d += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(ahead + d), _MM_HINT_T0);
        const __m512i code =
            dim - d >= 64 ? _mm512_loadu_si512(codes + d)
                          : _mm512_maskz_loadu_epi8((__mmask64{1} << (dim - d)) - 1, codes + d);
        const std::size_t chunk = d / chunk_dims * chunk_dims;
        _mm512_store_si512(target + chunk * block_tokens + (d - chunk),
                           _mm512_xor_si512(code, sign));
    }
}

MEMSTORE_VNNI void vnni_maxima(const Documents& documents, const Passages& passages,
                               const IntegerQuery& query, float* maxima) {
    const VnniQuery arranged = arrange_for_vnni(query);
    // One block at a time, so that copying the next overlaps with multiplying this one.
    std::vector<Line> block(block_tokens * round_up(documents.dim, chunk_dims) / sizeof(Line));
    std::uint8_t* tokens = block.data()->bytes;
    float scales[block_tokens];
    std::vector<float> best_lanes(query.padded_tokens);
    std::vector<Line> best_lines((arranged.panels + 1) / 2);
    auto* best = reinterpret_cast<__m256*>(best_lines.data());
    for (std::size_t p = 0; p < passages.count; ++p) {
        for (std::size_t panel = 0; panel < arranged.panels; ++panel)
            best[panel] = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
        const auto end = static_cast<std::size_t>(passages.starts[p] + passages.lengths[p]);
        for (std::size_t first = passages.starts[p]; first < end; first += block_tokens) {
            const std::size_t count = end - first > 4 ? 8 : 4;
            for (std::size_t t = 0; t < count; ++t) {
                // Past the end the last token is repeated, which changes no maximum.
                const std::size_t token = std::min(first + t, end - 1);
                copy_unsigned(documents.codes + token * documents.dim, documents.dim,
                              tokens + t * chunk_dims);
                scales[t] = documents.scales[token];
            }
            std::size_t panel = 0;
            for (; panel + most_panels <= arranged.panels; panel += most_panels)
                fold_block<4>(arranged, panel, tokens, scales, count, best + panel);
            switch (arranged.panels - panel) {
                case 3: fold_block<3>(arranged, panel, tokens, scales, count, best + panel); break;
                case 2: fold_block<2>(arranged, panel, tokens, scales, count, best + panel); break;
                case 1: fold_block<1>(arranged, panel, tokens, scales, count, best + panel); break;
            }
        }
        for (std::size_t panel = 0; panel < arranged.panels; ++panel)
            _mm256_storeu_ps(&best_lanes[panel * lanes], best[panel]);
        store_lanes(best_lanes.data(), query, maxima + p * query.tokens);
    }
}

// ---------------------------------------------------------------------------------------------
// AVX2. Eight query tokens in the lanes, two dimensions per lane, in 16-bit integers: vpmaddubsw,
// the 8-bit instruction, saturates its sums.

struct Avx2Query {
    std::size_t panels;
    std::size_t steps;        // groups of two dimensions
    std::vector<Line> lines;  // [panel][step]: 8 x two int16; two steps share a line
};

Avx2Query arrange_for_avx2(const IntegerQuery& query) {
    Avx2Query result;
    result.panels = query.padded_tokens / lanes;
    result.steps = query.padded_dim / 2;
    result.lines.resize(result.panels * result.steps / 2);
    for (std::size_t token = 0; token < query.padded_tokens; ++token) {
        std::uint8_t* panel = result.lines[token / lanes * result.steps / 2].bytes;
        for (std::size_t step = 0; step < result.steps; ++step)
            std::memcpy(panel + step * 32 + token % lanes * 4, query.row(token) + step * 2, 4);
    }
    return result;
}

// Folds four document tokens into the running maxima of `Panels` x 8 query tokens.
template <int Panels>
MEMSTORE_AVX2 inline __attribute__((always_inline)) void fold_avx2(const Avx2Query& query,
                                                                   std::size_t first_panel,
                                                                   const std::int16_t* tokens,
                                                                   std::size_t stride,
                                                                   const float* scales,
                                                                   __m256* best) {
    constexpr int tokens_at_once = 4;
    __m256i sums[Panels][tokens_at_once];
    const __m256i* lines[Panels];
#pragma GCC unroll 2
    for (int p = 0; p < Panels; ++p) {
        lines[p] = reinterpret_cast<const __m256i*>(query.lines.data()) +
                   (first_panel + p) * query.steps;
#pragma GCC unroll 4
        for (int t = 0; t < tokens_at_once; ++t) sums[p][t] = _mm256_setzero_si256();
    }
    for (std::size_t step = 0; step < query.steps; ++step) {
        __m256i two_of_query[Panels];
#pragma GCC unroll 2
        for (int p = 0; p < Panels; ++p) two_of_query[p] = _mm256_load_si256(lines[p] + step);
#pragma GCC unroll 4
        for (int t = 0; t < tokens_at_once; ++t) {
            std::int32_t two;
            std::memcpy(&two, tokens + t * stride + step * 2, sizeof two);
            const __m256i two_of_token = _mm256_set1_epi32(two);
#pragma GCC unroll 2
            for (int p = 0; p < Panels; ++p)
                sums[p][t] = _mm256_add_epi32(sums[p][t],
                                              _mm256_madd_epi16(two_of_token, two_of_query[p]));
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < Panels; ++p) {
#pragma GCC unroll 4
        for (int t = 0; t < tokens_at_once; ++t) {
            const __m256 similarity =
                _mm256_mul_ps(_mm256_cvtepi32_ps(sums[p][t]), _mm256_set1_ps(scales[t]));
            best[p] = _mm256_max_ps(similarity, best[p]);
        }
    }
}

MEMSTORE_AVX2 void avx2_maxima(const Documents& documents, const Passages& passages,
                               const IntegerQuery& query, float* maxima) {
    constexpr std::size_t block = 4;
    const Avx2Query arranged = arrange_for_avx2(query);
    const std::size_t stride = query.padded_dim;
    std::vector<std::int16_t> tokens(block * stride);
    float scales[block];
    std::vector<float> best_lanes(query.padded_tokens);
    std::vector<Line> best_lines((arranged.panels + 1) / 2);
    auto* best = reinterpret_cast<__m256*>(best_lines.data());
    for (std::size_t p = 0; p < passages.count; ++p) {
        for (std::size_t panel = 0; panel < arranged.panels; ++panel)
            best[panel] = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
        const auto end = static_cast<std::size_t>(passages.starts[p] + passages.lengths[p]);
        for (std::size_t first = passages.starts[p]; first < end; first += block) {
            for (std::size_t t = 0; t < block; ++t) {
                const std::size_t token = std::min(first + t, end - 1);  // as for VNNI
                const std::int8_t* codes = documents.codes + token * documents.dim;
                for (std::size_t d = 0; d < documents.dim; ++d) tokens[t * stride + d] = codes[d];
                scales[t] = documents.scales[token];
            }
            std::size_t panel = 0;
            for (; panel + 2 <= arranged.panels; panel += 2)
                fold_avx2<2>(arranged, panel, tokens.data(), stride, scales, best + panel);
            if (panel < arranged.panels)
                fold_avx2<1>(arranged, panel, tokens.data(), stride, scales, best + panel);
        }
        for (std::size_t panel = 0; panel < arranged.panels; ++panel)
            _mm256_storeu_ps(&best_lanes[panel * lanes], best[panel]);
        store_lanes(best_lanes.data(), query, maxima + p * query.tokens);
    }
}

#endif  // MEMSTORE_X86

}  // namespace

void token_maxima(const Documents& documents, const Passages& passages, const float* query,
                  std::size_t query_tokens, InstructionSet set, float* maxima) {
    if (passages.count == 0) return;
    const IntegerQuery rounded = round_query(query, query_tokens, documents.dim);
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni)
        return vnni_maxima(documents, passages, rounded, maxima);
    if (set == InstructionSet::avx2) return avx2_maxima(documents, passages, rounded, maxima);
#endif
    (void)set;
    scalar_maxima(documents, passages, rounded, maxima);
}

}  // namespace memstore
