#include "centroids.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "dot_products.h"
#include "lanes.h"

namespace memstore {
namespace {

MEMSTORE_INLINE void scores_body(const Centroids& centroids, const Panels& query,
                                 const float* factors, DotProducts multiply, float* scores) {
    const std::size_t width = query.count * lanes;
    BlockReader reader(centroids.values, centroids.count, centroids.dim);
    const auto sums = aligned_array<std::int32_t>(block_rows * width);
    const std::size_t block_bytes = block_rows * centroids.dim * sizeof *centroids.values;
    for (std::size_t first = 0; first < centroids.count; first += block_rows) {
        // Sixteen rows at once are more streams than the hardware looks ahead in. An address past
        // the end does no harm.
        const std::int16_t* rows_now = centroids.values + first * centroids.dim;
        const auto next = reinterpret_cast<std::uintptr_t>(rows_now) + block_bytes;
        for (std::size_t i = 0; i < block_bytes; i += sizeof(Line))
            __builtin_prefetch(reinterpret_cast<const char*>(next + i));
        multiply(query, 0, query.count, reader.block(first), sums.get());
        const std::size_t rows = std::min(block_rows, centroids.count - first);
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t q = 0; q < width; q += group) {
                Integers sum;
                Floats factor;
                load(sum, &sums[r * width + q]);
                load(factor, factors + q);
                store(__builtin_convertvector(sum, Floats) * factor,
                      scores + (first + r) * width + q);
            }
        }
    }
}

// A centroid as the list of the best holds it: worse ones come first in the order of a heap.
struct Ranked {
    float score;
    std::int32_t centroid;
};

bool better(const Ranked& a, const Ranked& b) {
    return a.score > b.score || (a.score == b.score && a.centroid < b.centroid);
}

// Whether one of 16 scores is above its threshold.
MEMSTORE_INLINE bool any_above(const float* row, const float* thresholds) {
    Integers above = {};
    for (std::size_t q = 0; q < lanes; q += group) {
        Floats score, threshold;
        load(score, row + q);
        load(threshold, thresholds + q);
        above |= score > threshold;
    }
    std::uint64_t parts[sizeof above / 8];
    store(above, parts);
    std::uint64_t any = 0;
    for (std::uint64_t part : parts) any |= part;
    return any != 0;
}

MEMSTORE_INLINE void nearest_body(const float* scores, std::size_t centroids,
                                  std::size_t query_tokens, std::size_t count,
                                  std::int32_t* nearest) {
    const std::size_t width = round_up(query_tokens, lanes);
    std::vector<Ranked> best(lanes * count);
    for (std::size_t first = 0; first < query_tokens; first += lanes) {
        const std::size_t tokens = std::min(lanes, query_tokens - first);
        float worst[lanes];  // what a further centroid must exceed to be among the best
        std::fill_n(worst, lanes, std::numeric_limits<float>::infinity());
        for (std::size_t q = 0; q < tokens; ++q) {
            Ranked* heap = &best[q * count];
            for (std::size_t k = 0; k < count; ++k)
                heap[k] = {scores[k * width + first + q], static_cast<std::int32_t>(k)};
            std::make_heap(heap, heap + count, better);
            worst[q] = heap->score;
        }
        for (std::size_t k = count; k < centroids; ++k) {
            const float* row = scores + k * width + first;
            if (!any_above(row, worst)) continue;
            for (std::size_t q = 0; q < tokens; ++q) {
                if (!(row[q] > worst[q])) continue;
                Ranked* heap = &best[q * count];
                std::pop_heap(heap, heap + count, better);
                heap[count - 1] = {row[q], static_cast<std::int32_t>(k)};
                std::push_heap(heap, heap + count, better);
                worst[q] = heap->score;
            }
        }
        for (std::size_t q = 0; q < tokens; ++q) {
            Ranked* heap = &best[q * count];
            std::sort_heap(heap, heap + count, better);
            for (std::size_t i = 0; i < count; ++i)
                nearest[(first + q) * count + i] = heap[i].centroid;
        }
    }
}

MEMSTORE_INLINE void first_too_long_body(const Centroids& centroids, std::size_t& first) {
    for (first = 0; first < centroids.count; ++first) {
        const std::int16_t* row = centroids.values + first * centroids.dim;
        std::int64_t squares = 0;
        for (std::size_t d = 0; d < centroids.dim; ++d) squares += std::int32_t{row[d]} * row[d];
        if (squares > std::int64_t{longest_row} * longest_row) return;
    }
}

// Vectors assigned in one pass over the centroids, and centroids that stay in the cache while they
// pass: 256 kB of each at 128 dimensions.
constexpr std::size_t vectors_at_once = 1024;
constexpr std::size_t centroids_at_once = 1024;
constexpr std::size_t panels_at_once = 2;

struct Best {
    std::int32_t products[panels_at_once * lanes];
    std::int32_t centroids[panels_at_once * lanes];
};

MEMSTORE_INLINE void keep_best(const std::int32_t* sums, std::size_t rows, std::size_t width,
                               std::size_t first_centroid, Best& best) {
    for (std::size_t v = 0; v < width; v += group) {
        Integers products, centroids;
        load(products, best.products + v);
        load(centroids, best.centroids + v);
        for (std::size_t r = 0; r < rows; ++r) {
            Integers sum;
            load(sum, sums + r * width + v);
            const auto centroid = static_cast<std::int32_t>(first_centroid + r);
            centroids = sum > products ? Integers{} + centroid : centroids;
            products = sum > products ? sum : products;
        }
        store(products, best.products + v);
        store(centroids, best.centroids + v);
    }
}

// Assigns the vectors of some panels; `best` has one element per group of panels.
MEMSTORE_INLINE void assign_panels(const Panels& panels, const Centroids& centroids,
                                   BlockReader& reader, DotProducts multiply, std::int32_t* sums,
                                   std::vector<Best>& best) {
    for (std::size_t first = 0; first < centroids.count; first += centroids_at_once) {
        const std::size_t last = std::min(first + centroids_at_once, centroids.count);
        for (std::size_t g = 0; g < best.size(); ++g) {
            const std::size_t panel = g * panels_at_once;
            const std::size_t count = std::min(panels_at_once, panels.count - panel);
            for (std::size_t c = first; c < last; c += block_rows) {
                multiply(panels, panel, count, reader.block(c), sums);
                keep_best(sums, std::min(block_rows, last - c), count * lanes, c, best[g]);
            }
        }
    }
}

MEMSTORE_INLINE void assign_body(const float* vectors, std::size_t count,
                                 const Centroids& centroids, DotProducts multiply,
                                 std::int32_t* nearest, std::int32_t* products) {
    constexpr std::size_t width = panels_at_once * lanes;
    BlockReader reader(centroids.values, centroids.count, centroids.dim);
    const auto sums = aligned_array<std::int32_t>(block_rows * width);
    for (std::size_t begin = 0; begin < count; begin += vectors_at_once) {
        const std::size_t at_once = std::min(vectors_at_once, count - begin);
        const Panels panels =
            arrange(round_rows(vectors + begin * centroids.dim, at_once, centroids.dim));
        std::vector<Best> best(round_up(panels.count, panels_at_once) / panels_at_once);
        for (Best& some : best)
            std::fill_n(some.products, width, std::numeric_limits<std::int32_t>::min());
        assign_panels(panels, centroids, reader, multiply, sums.get(), best);
        for (std::size_t v = 0; v < at_once; ++v) {
            nearest[begin + v] = best[v / width].centroids[v % width];
            products[begin + v] = best[v / width].products[v % width];
        }
    }
}

}  // namespace

void centroid_scores(const Centroids& centroids, double scale, const float* query,
                     std::size_t query_tokens, InstructionSet set, float* scores) {
    const IntegerRows rounded = round_rows(query, query_tokens, centroids.dim);
    const Panels panels = arrange(rounded);
    std::vector<float> factors(panels.count * lanes);
    for (std::size_t q = 0; q < query_tokens; ++q)
        factors[q] = static_cast<float>(scale * rounded.scales[q]);
    run_with<scores_body>(set, centroids, panels, factors.data(), dot_products_for(set), scores);
}

void nearest_centroids(const float* scores, std::size_t centroids, std::size_t query_tokens,
                       std::size_t count, std::int32_t* nearest) {
    if (count > 0)
        run_with<nearest_body>(available_instruction_sets().front(), scores, centroids,
                               query_tokens, count, nearest);
}

std::size_t first_too_long(const Centroids& centroids) {
    std::size_t first;
    run_with<first_too_long_body>(available_instruction_sets().front(), centroids, first);
    return first;
}

void assign(const float* vectors, std::size_t count, const Centroids& centroids,
            InstructionSet set, std::int32_t* nearest, std::int32_t* products) {
    run_with<assign_body>(set, vectors, count, centroids, dot_products_for(set), nearest, products);
}

}  // namespace memstore
