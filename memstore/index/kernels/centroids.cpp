#include "centroids.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "dot_products.h"
#include "columns.h"

namespace memstore {

static_assert(columns == block_rows, "a block of query tokens fills a row of a table");

namespace {

// Leaves the smaller ones in `low` and the larger ones in `high`.
template <std::size_t group>
MEMSTORE_INLINE void widen(Row<group>& low, Row<group>& high, const Row<group>& row) {
    for (std::size_t i = 0; i < row.size; ++i) {
        low.parts[i] = row.parts[i] < low.parts[i] ? row.parts[i] : low.parts[i];
        high.parts[i] = row.parts[i] > high.parts[i] ? row.parts[i] : high.parts[i];
    }
}

// Scales the sums of a panel's centroids with 16 query tokens, and finds their bounds.
struct Scale {
    template <std::size_t group>
    MEMSTORE_INLINE static void run(const std::int32_t* sums, std::size_t count,
                                    const float* factors, std::size_t width, float* scores,
                                    float* bounds) {
        Row<group> factor, low{}, high{};
        factor.read(factors);
        for (std::size_t r = 0; r < count; ++r) {
            Row<group> row;
            for (std::size_t i = 0; i < row.size; ++i) {
                typename Lanes<group>::Integers sum;
                load(sum, sums + r * columns + i * group);
                row.parts[i] =
                    __builtin_convertvector(sum, typename Lanes<group>::Floats) * factor.parts[i];
            }
            row.write(scores + r * width);
            if (r == 0) low = high = row;
            widen(low, high, row);
        }
        low.write(bounds);
        high.write(bounds + width);
    }
};

struct Ranked {
    float score;
    std::int32_t centroid;
};

bool better(const Ranked& a, const Ranked& b) {
    return a.score > b.score || (a.score == b.score && a.centroid < b.centroid);
}

// The count-th largest among the largest of each panel cannot be more than the count-th largest
// score, and few others reach it. With fewer panels than that, all are looked at.
struct Nearest {
    template <std::size_t group>
    MEMSTORE_INLINE static void run(const float* scores, const float* bounds,
                                    std::size_t centroids, std::size_t query_tokens,
                                    std::size_t count, std::int32_t* nearest) {
        constexpr float none = -std::numeric_limits<float>::infinity();
        const std::size_t width = round_up(query_tokens, columns);
        const std::size_t panels = round_up(centroids, panel_vectors) / panel_vectors;
        const std::size_t depth = std::min(count, panels);
        const auto best = aligned_array<float>(depth * columns);  // of each column, largest first
        std::vector<Ranked> found[columns];
        for (std::size_t first = 0; first < query_tokens; first += columns) {
            const float* const largest = bounds + width + first;
            std::fill_n(best.get(), depth * columns, none);
            for (std::size_t p = 0; p < panels; ++p) {
                Row<group> rest;
                rest.read(largest + p * 2 * width);
                for (std::size_t i = 0; i < depth; ++i) {
                    Row<group> kept;
                    kept.read(&best[i * columns]);
                    Row<group> smaller = rest;
                    widen(smaller, rest, kept);
                    rest.write(&best[i * columns]);
                    rest = smaller;
                }
            }
            if (count > panels) std::fill_n(&best[(depth - 1) * columns], columns, none);
            const float* const thresholds = &best[(depth - 1) * columns];
            const std::size_t tokens = std::min(columns, query_tokens - first);
            for (std::size_t p = 0; p < panels; ++p) {
                const float* const of_panel = largest + p * 2 * width;
                const std::size_t begin = p * panel_vectors;
                const std::size_t end = std::min(begin + panel_vectors, centroids);
                for (std::size_t q = 0; q < tokens; ++q) {
                    if (!(of_panel[q] >= thresholds[q])) continue;
                    for (std::size_t k = begin; k < end; ++k) {
                        const float score = scores[k * width + first + q];
                        if (score >= thresholds[q])
                            found[q].push_back({score, static_cast<std::int32_t>(k)});
                    }
                }
            }
            for (std::size_t q = 0; q < tokens; ++q) {
                if (found[q].size() < count) throw std::invalid_argument("bounds of other scores");
                const auto end_of_best = found[q].begin() + static_cast<std::ptrdiff_t>(count);
                std::partial_sort(found[q].begin(), end_of_best, found[q].end(), better);
                for (std::size_t i = 0; i < count; ++i)
                    nearest[(first + q) * count + i] = found[q][i].centroid;
                found[q].clear();
            }
        }
    }
};

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
struct Best {
    std::int32_t products[panel_vectors];
    std::int32_t centroids[panel_vectors];
};

MEMSTORE_INLINE void keep_best(const std::int32_t* sums, std::size_t rows,
                               std::size_t first_centroid, Best& best) {
    constexpr std::size_t group = 8;
    using Integers = Lanes<group>::Integers;
    for (std::size_t v = 0; v < panel_vectors; v += group) {
        Integers products, centroids;
        load(products, best.products + v);
        load(centroids, best.centroids + v);
        for (std::size_t r = 0; r < rows; ++r) {
            Integers sum;
            load(sum, sums + r * panel_vectors + v);
            const auto centroid = static_cast<std::int32_t>(first_centroid + r);
            centroids = sum > products ? Integers{} + centroid : centroids;
            products = sum > products ? sum : products;
        }
        store(products, best.products + v);
        store(centroids, best.centroids + v);
    }
}

MEMSTORE_INLINE void assign_body(const float* vectors, std::size_t count,
                                 const Centroids& centroids, InstructionSet set,
                                 std::int32_t* nearest, std::int32_t* products) {
    const DotProducts& dot = dot_products_for(set);
    const std::size_t steps = steps_of(centroids.dim);
    BlockReader reader(centroids.values, centroids.count, centroids.dim);
    std::int32_t sums[block_rows * panel_vectors];
    for (std::size_t begin = 0; begin < count; begin += vectors_at_once) {
        const std::size_t at_once = std::min(vectors_at_once, count - begin);
        const auto panels =
            arrange(round_rows(vectors + begin * centroids.dim, at_once, centroids.dim, set));
        std::vector<Best> best(round_up(at_once, panel_vectors) / panel_vectors);
        for (Best& some : best)
            std::fill_n(some.products, panel_vectors, std::numeric_limits<std::int32_t>::min());
        for (std::size_t first = 0; first < centroids.count; first += centroids_at_once) {
            const std::size_t last = std::min(first + centroids_at_once, centroids.count);
            for (std::size_t p = 0; p < best.size(); ++p) {
                for (std::size_t c = first; c < last; c += block_rows) {
                    const std::size_t rows = std::min(block_rows, last - c);
                    dot.multiply(panels.get() + p * panel_size(steps), steps, 0, reader.block(c),
                                 rows, sums);
                    keep_best(sums, rows, c, best[p]);
                }
            }
        }
        for (std::size_t v = 0; v < at_once; ++v) {
            nearest[begin + v] = best[v / panel_vectors].centroids[v % panel_vectors];
            products[begin + v] = best[v / panel_vectors].products[v % panel_vectors];
        }
    }
}

}  // namespace

void centroid_scores(const Centroids& panels, double scale, const float* query,
                     std::size_t query_tokens, InstructionSet set, float* scores, float* bounds) {
    const IntegerRows rounded = round_rows(query, query_tokens, panels.dim, set);
    std::vector<float> factors(round_up(query_tokens, columns));
    for (std::size_t q = 0; q < query_tokens; ++q)
        factors[q] = static_cast<float>(scale * rounded.scales[q]);
    const std::size_t width = factors.size();
    const std::size_t steps = steps_of(panels.dim);
    const DotProducts& products = dot_products_for(set);
    const auto blocks = blocks_of(rounded);
    std::int32_t sums[block_rows * panel_vectors];
    std::int32_t rows[panel_vectors * block_rows];
    const std::int16_t* panel = panels.values;
    for (std::size_t first = 0; first < panels.count; first += panel_vectors) {
        const std::size_t count = std::min(panel_vectors, panels.count - first);
        for (std::size_t q = 0; q < width; q += block_rows) {
            const std::size_t block = std::min(block_rows, query_tokens - q);
            products.multiply(panel, steps, panel_size(steps),
                              &blocks[q / block_rows * block_size(panels.dim)], block, sums);
            products.transpose(sums, block, rows, block_rows);
            run_in_lanes<Scale>(set, rows, count, &factors[q], width,
                                scores + first * width + q, bounds + q);
        }
        panel += panel_size(steps);
        bounds += 2 * width;
    }
}

void nearest_centroids(const float* scores, const float* bounds, std::size_t centroids,
                       std::size_t query_tokens, std::size_t count, InstructionSet set,
                       std::int32_t* nearest) {
    if (count > 0)
        run_in_lanes<Nearest>(set, scores, bounds, centroids, query_tokens, count, nearest);
}

std::size_t first_too_long(const Centroids& rows, InstructionSet set) {
    std::size_t first;
    run_with<first_too_long_body>(set, rows, first);
    return first;
}

void assign(const float* vectors, std::size_t count, const Centroids& centroids,
            InstructionSet set, std::int32_t* nearest, std::int32_t* products) {
    run_with<assign_body>(set, vectors, count, centroids, set, nearest, products);
}

}  // namespace memstore
