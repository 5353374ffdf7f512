#include "approximate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "alignment.h"
#include "dot_products.h"
#include "columns.h"

namespace memstore {
namespace {

// The sum of up to 64 bytes, eight at a time.
template <typename Bytes>
MEMSTORE_INLINE std::uint32_t sum_of_bytes(const Bytes& bytes) {
    constexpr std::uint64_t even = 0x00ff00ff00ff00ff;
    std::uint64_t words[sizeof bytes / 8];
    std::memcpy(words, &bytes, sizeof bytes);
    std::uint64_t sums = 0;  // four of 16 bits
    for (std::uint64_t word : words) sums += (word & even) + (word >> 8 & even);
    return static_cast<std::uint32_t>(sums * 0x0001000100010001 >> 48);
}

template <typename Code, std::size_t width>
MEMSTORE_INLINE void scores_of_block(const Code* codes, const Segment& segment,
                                     const std::int64_t* slots, std::size_t count,
                                     const std::uint8_t* table, std::size_t centroids,
                                     std::uint32_t* scores) {
    constexpr std::size_t size = width < 32 ? width : 32;
    constexpr std::size_t parts = width / size;
    using Part = typename Lanes<size>::Bytes;
    // How far ahead codes are asked for where the hardware cannot: slots that jump.
    constexpr std::uint32_t ahead = 4;
    constexpr std::size_t at_once = 8;
    for (std::size_t i = 0; i < count; ++i) {
        const TokenRange tokens = segment.range(slots[i]);
        if (i + ahead < count && slots[i + ahead] != slots[i] + std::int64_t{ahead}) {
            const TokenRange later = segment.range(slots[i + ahead]);
            __builtin_prefetch(codes + later.begin);
            __builtin_prefetch(codes + later.end);
        }
        Part best[parts] = {};
        const auto include = [&](Code code) __attribute__((always_inline)) {
            const std::uint8_t* row = table + checked_code(code, centroids) * width;
#pragma GCC unroll 2
            for (std::size_t p = 0; p < parts; ++p) {
                Part part;
                load(part, row + p * size);
                best[p] = part > best[p] ? part : best[p];
            }
        };
        // The last tokens once more rather than one by one: a maximum is none the worse for it.
        std::size_t t = tokens.begin;
        if (tokens.end - t >= at_once) {
            do {
                const Code* from = codes + std::min(t, tokens.end - at_once);
#pragma GCC unroll 8
                for (std::size_t j = 0; j < at_once; ++j) include(from[j]);
                t += at_once;
            } while (t < tokens.end);
        } else {
            for (; t < tokens.end; ++t) include(codes[t]);
        }
        scores[i] += sum_of_bytes(best);
    }
}

struct ByteTable {
    template <std::size_t group>
    MEMSTORE_INLINE static void run(const float* scores, const float* bounds, const float* weights,
                                    std::size_t query_tokens, const TableShape& shape,
                                    std::uint8_t* table) {
        using Floats = typename Lanes<group>::Floats;
        using Integers = typename Lanes<group>::Integers;
        using Bytes = typename Lanes<group>::Bytes;
        const std::size_t stride = round_up(query_tokens, columns);
        const std::size_t panels = round_up(shape.centroids, panel_vectors) / panel_vectors;
        std::vector<float> weight(weights, weights + query_tokens);
        weight.resize(stride);
        std::vector<float> lowest(stride);
        float widest = 0.0F;
        for (std::size_t q = 0; q < query_tokens && panels > 0; ++q) {
            float low = bounds[q];
            float high = bounds[stride + q];
            for (std::size_t p = 1; p < panels; ++p) {
                low = std::min(low, bounds[p * 2 * stride + q]);
                high = std::max(high, bounds[p * 2 * stride + stride + q]);
            }
            // Weights are not negative, and rounding is monotone.
            lowest[q] = weight[q] * low;
            widest = std::max(widest, weight[q] * high - lowest[q]);
        }
        const float quotient = 255.0F / widest;
        const float per_unit = std::isfinite(quotient) ? quotient : 0.0F;
        if (shape.blocks * shape.width != stride)
            std::memset(table, 0, shape.blocks * shape.centroids * shape.width);
        for (std::size_t first = 0; first < stride; first += columns) {
            Row<group> of_tokens, low, row;
            of_tokens.read(&weight[first]);
            low.read(&lowest[first]);
            std::uint8_t* const target = table +
                                         first / shape.width * shape.centroids * shape.width +
                                         first % shape.width;
            for (std::size_t k = 0; k < shape.centroids; ++k) {
                row.read(scores + k * stride + first);
                for (std::size_t i = 0; i < row.size; ++i) {
                    // Adding 2**23 leaves no bits for a fraction and rounds to even; the low bits
                    // are the integer.
                    const Floats weighted = of_tokens.parts[i] * row.parts[i];
                    const Floats rounded = (weighted - low.parts[i]) * per_unit + 8388608.0F;
                    Integers bits;
                    std::memcpy(&bits, &rounded, sizeof bits);
                    store(__builtin_convertvector(bits & 255, Bytes),
                          target + k * shape.width + i * group);
                }
            }
        }
    }
};

}  // namespace

TableShape table_shape(std::size_t query_tokens, std::size_t centroids) {
    if (query_tokens <= 16) return {1, centroids, 16};
    if (query_tokens <= 32) return {1, centroids, 32};
    return {round_up(query_tokens, 64) / 64, centroids, 64};
}

void byte_table(const float* scores, const float* bounds, const float* weights,
                std::size_t query_tokens, const TableShape& shape, InstructionSet set,
                std::uint8_t* table) {
    run_in_lanes<ByteTable>(set, scores, bounds, weights, query_tokens, shape, table);
}

template <typename Code>
void approximate_scores(const Code* codes, const Segment& segment, const std::int64_t* slots,
                        std::size_t count, const std::uint8_t* table, const TableShape& shape,
                        InstructionSet set, std::uint32_t* scores) {
    std::fill_n(scores, count, 0U);
    for (std::size_t block = 0; block < shape.blocks; ++block) {
        const std::uint8_t* rows = table + block * shape.centroids * shape.width;
        const auto run = [&](auto width) {
            run_with<scores_of_block<Code, width.value>>(set, codes, segment, slots, count, rows,
                                                         shape.centroids, scores);
        };
        switch (shape.width) {
            case 16: run(std::integral_constant<std::size_t, 16>{}); break;
            case 32: run(std::integral_constant<std::size_t, 32>{}); break;
            default: run(std::integral_constant<std::size_t, 64>{});
        }
    }
}

template void approximate_scores(const std::uint16_t*, const Segment&, const std::int64_t*,
                                 std::size_t, const std::uint8_t*, const TableShape&,
                                 InstructionSet, std::uint32_t*);
template void approximate_scores(const std::uint32_t*, const Segment&, const std::int64_t*,
                                 std::size_t, const std::uint8_t*, const TableShape&,
                                 InstructionSet, std::uint32_t*);

void largest(const std::uint32_t* scores, std::size_t size, std::size_t count,
             std::int64_t* positions) {
    if (count == 0) return;
    // The count-th largest score, some bits at a time from the top: at first as many as the scores
    // of 16 query tokens take.
    constexpr int digit_bits = 12;
    constexpr std::uint32_t digits = 1U << digit_bits;
    std::uint32_t highest = 0;
    for (std::size_t i = 0; i < size; ++i) highest = std::max(highest, scores[i]);
    int shift = 0;
    while (highest >> shift >= digits) shift += digit_bits;
    std::uint32_t threshold = 0;  // its digits known so far
    std::size_t ties = count;     // scores to take among those with these digits
    std::vector<std::uint32_t> histogram(digits);
    for (; shift >= 0; shift -= digit_bits) {
        std::fill(histogram.begin(), histogram.end(), 0);
        const std::uint64_t known = std::uint64_t{threshold} >> shift >> digit_bits;
        for (std::size_t i = 0; i < size; ++i)
            if (std::uint64_t{scores[i]} >> shift >> digit_bits == known)
                ++histogram[scores[i] >> shift & (digits - 1)];
        std::uint32_t digit = digits - 1;
        while (histogram[digit] < ties) ties -= histogram[digit--];
        threshold |= digit << shift;
    }
    std::size_t found = 0;
    for (std::size_t i = 0; found < count; ++i) {
        const bool tie = scores[i] == threshold && ties > 0;
        positions[found] = static_cast<std::int64_t>(i);
        ties -= tie;
        found += tie || scores[i] > threshold;
    }
}

}  // namespace memstore
