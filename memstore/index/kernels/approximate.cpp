#include "approximate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "alignment.h"

namespace memstore {
namespace {

// A byte as the low bits of a float: adding 2**23 leaves no bits for a fraction and rounds to even.
MEMSTORE_INLINE std::uint8_t round_to_byte(float value) {
    const float rounded = value + 8388608.0F;
    std::uint32_t bits;
    std::memcpy(&bits, &rounded, sizeof bits);
    return static_cast<std::uint8_t>(bits);
}

// Vector types, because GCC does not keep an array of bytes in registers; no longer than 32 bytes,
// because it does not split longer ones well.
template <std::size_t size>
struct Vector {
    typedef std::uint8_t Type __attribute__((vector_size(size)));
};

template <typename Code, std::size_t width>
MEMSTORE_INLINE void scores_of_block(const Code* codes, const Segment& segment,
                                     const std::int64_t* slots, std::size_t count,
                                     const std::uint8_t* table, std::size_t centroids,
                                     std::uint32_t* scores) {
    constexpr std::size_t size = width < 32 ? width : 32;
    constexpr std::size_t parts = width / size;
    using Part = typename Vector<size>::Type;
    // How far ahead codes are asked for where the hardware cannot: slots that jump.
    constexpr std::uint32_t ahead = 4;
    for (std::size_t i = 0; i < count; ++i) {
        const TokenRange tokens = segment.range(slots[i]);
        if (i + ahead < count && slots[i + ahead] != slots[i] + std::int64_t{ahead}) {
            const TokenRange later = segment.range(slots[i + ahead]);
            __builtin_prefetch(codes + later.begin);
            __builtin_prefetch(codes + later.end);
        }
        Part best[parts] = {};
        for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
            const std::uint8_t* row = table + checked_code(codes[t], centroids) * width;
#pragma GCC unroll 2
            for (std::size_t p = 0; p < parts; ++p) {
                Part part;
                std::memcpy(&part, row + p * size, size);
                best[p] = part > best[p] ? part : best[p];
            }
        }
        std::uint8_t bytes[width];
        std::memcpy(bytes, best, width);
        std::uint32_t sum = 0;
        for (std::size_t q = 0; q < width; ++q) sum += bytes[q];
        scores[i] += sum;
    }
}

// Query tokens that are ranged and rounded together.
constexpr std::size_t columns = 16;

struct Range {
    float low[columns];
    float high[columns];
};

MEMSTORE_INLINE Range range_of_columns(const float* scores, std::size_t centroids,
                                       std::size_t stride) {
    Range range;
    std::copy_n(scores, columns, range.low);
    std::copy_n(scores, columns, range.high);
    for (std::size_t k = 1; k < centroids; ++k) {
        for (std::size_t q = 0; q < columns; ++q) {
            const float score = scores[k * stride + q];
            range.low[q] = score < range.low[q] ? score : range.low[q];
            range.high[q] = score > range.high[q] ? score : range.high[q];
        }
    }
    return range;
}

MEMSTORE_INLINE void byte_table_body(const float* scores, const float* weights,
                                     std::size_t query_tokens, const TableShape& shape,
                                     std::uint8_t* table) {
    const std::size_t stride = round_up(query_tokens, columns);
    std::vector<float> weight(weights, weights + query_tokens);
    weight.resize(stride);
    std::vector<float> lowest(stride);
    float widest = 0.0F;
    for (std::size_t first = 0; first < stride && shape.centroids > 0; first += columns) {
        const Range range = range_of_columns(scores + first, shape.centroids, stride);
        for (std::size_t q = 0; q < columns; ++q) {
            // Weights are not negative, and rounding is monotone.
            lowest[first + q] = weight[first + q] * range.low[q];
            widest = std::max(widest, weight[first + q] * range.high[q] - lowest[first + q]);
        }
    }
    const float quotient = 255.0F / widest;
    const float per_unit = std::isfinite(quotient) ? quotient : 0.0F;
    if (shape.blocks * shape.width != stride)
        std::memset(table, 0, shape.blocks * shape.centroids * shape.width);
    for (std::size_t k = 0; k < shape.centroids; ++k) {
        for (std::size_t first = 0; first < stride; first += columns) {
            const float* row = scores + k * stride + first;
            std::uint8_t bytes[columns];
            for (std::size_t q = 0; q < columns; ++q)
                bytes[q] = round_to_byte((weight[first + q] * row[q] - lowest[first + q]) *
                                         per_unit);
            const std::size_t block = first / shape.width;
            std::memcpy(table + (block * shape.centroids + k) * shape.width + first % shape.width,
                        bytes, columns);
        }
    }
}

}  // namespace

TableShape table_shape(std::size_t query_tokens, std::size_t centroids) {
    if (query_tokens <= 16) return {1, centroids, 16};
    if (query_tokens <= 32) return {1, centroids, 32};
    return {round_up(query_tokens, 64) / 64, centroids, 64};
}

void byte_table(const float* scores, const float* weights, std::size_t query_tokens,
                const TableShape& shape, std::uint8_t* table) {
    run_with<byte_table_body>(available_instruction_sets().front(), scores, weights, query_tokens,
                              shape, table);
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
    // of 64 query tokens take.
    constexpr int digit_bits = 14;
    constexpr std::uint32_t digits = 1U << digit_bits;
    std::uint32_t highest = 0;
    for (std::size_t i = 0; i < size; ++i) highest = std::max(highest, scores[i]);
    int shift = 0;
    while (highest >> shift >= digits) shift += digit_bits;
    std::uint32_t threshold = 0;  // its digits known so far
    std::size_t ties = count;     // scores to take among those with these digits
    std::vector<std::size_t> histogram(digits);
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
