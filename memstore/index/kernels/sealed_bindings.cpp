// The kernels of sealed segments as Python functions.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "approximate.h"
#include "arrays.h"
#include "centroids.h"
#include "columns.h"
#include "dot_products.h"
#include "inverted_lists.h"
#include "residuals.h"
#include "sealed_bindings.h"

#include <nanobind/stl/pair.h>

namespace nb = nanobind;

namespace memstore {
namespace {

using SetName = std::optional<std::string>;

std::size_t checked_dim(std::size_t dim) {
    require(dim >= 1 && dim <= max_row_dim,
            "centroids have " + text(dim) + " dimensions, not 1 to " + text(max_row_dim));
    return dim;
}

std::size_t checked_width(const Input<float, 2>& scores, std::size_t query_tokens) {
    require(query_tokens >= 1, "the query has no tokens");
    const std::size_t width = round_up(query_tokens, columns);
    require(scores.shape(1) == width, "the scores have " + text(scores.shape(1)) +
                                          " columns, not " + text(width) + " for " +
                                          text(query_tokens) + " query tokens");
    return width;
}

void check_bounds(const Input<float, 2>& scores, const Input<float, 3>& bounds,
                  std::size_t query_tokens) {
    const std::size_t width = checked_width(scores, query_tokens);
    const std::size_t panels = round_up(scores.shape(0), panel_vectors) / panel_vectors;
    require(bounds.shape(0) == panels && bounds.shape(1) == 2 && bounds.shape(2) == width,
            "bounds of " + text(bounds.shape(0)) + " x " + text(bounds.shape(1)) + " x " +
                text(bounds.shape(2)) + " numbers, not " + text(panels) + " x 2 x " + text(width));
}

std::size_t checked_count(std::int64_t count) {
    require(count >= 0, "a count of " + std::to_string(count));
    return static_cast<std::size_t>(count);
}

Segment segment_of(const Input<std::int64_t, 1>& offsets, std::size_t tokens) {
    require(offsets.shape(0) >= 1, "there are no offsets, not even of no passages");
    return {offsets.data(), offsets.shape(0) - 1, tokens};
}

using Scored = std::pair<Output<float, 2>, Output<float, 3>>;

Scored bound_centroid_scores(Input<std::int16_t, 4> panels, std::int64_t centroids,
                             double scale, Input<float, 2> query,
                             const SetName& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t query_tokens = query.shape(0);
    const std::size_t dim = checked_dim(query.shape(1));
    const std::size_t count = checked_count(centroids);
    require(std::isfinite(scale), "the scale of the centroids is not finite");
    require(panels.shape(1) == steps_of(dim) && panels.shape(2) == panel_vectors &&
                panels.shape(3) == 2,
            "panels of " + text(panels.shape(1)) + " x " + text(panels.shape(2)) + " x " +
                text(panels.shape(3)) + " numbers, not " + text(steps_of(dim)) + " x 32 x 2 for " +
                text(dim) + " dimensions of the query");
    require(round_up(count, panel_vectors) == panels.shape(0) * panel_vectors,
            text(panels.shape(0)) + " panels of 32 for " + text(count) + " centroids");
    require(query_tokens >= 1, "the query has no tokens");
    const std::size_t width = round_up(query_tokens, columns);
    AlignedArray<float> scores;
    AlignedArray<float> bounds;
    {
        nb::gil_scoped_release without_gil;
        require_finite(query, "query token");
        scores = aligned_array<float>(count * width);
        bounds = aligned_array<float>(panels.shape(0) * 2 * width);
        centroid_scores({panels.data(), count, dim}, scale, query.data(), query_tokens, set,
                        scores.get(), bounds.get());
    }
    return {to_numpy(std::move(scores), {count, width}),
            to_numpy(std::move(bounds), {panels.shape(0), 2, width})};
}

Output<std::int32_t, 2> bound_nearest_centroids(Input<float, 2> scores, Input<float, 3> bounds,
                                                std::int64_t query_tokens, std::int64_t count,
                                                const SetName& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t tokens = checked_count(query_tokens);
    const std::size_t centroids = scores.shape(0);
    const std::size_t found = std::min(checked_count(count), centroids);
    check_bounds(scores, bounds, tokens);
    AlignedArray<std::int32_t> nearest;
    {
        nb::gil_scoped_release without_gil;
        nearest = aligned_array<std::int32_t>(tokens * found);
        nearest_centroids(scores.data(), bounds.data(), centroids, tokens, found, set,
                          nearest.get());
    }
    return to_numpy(std::move(nearest), {tokens, found});
}

Output<std::uint8_t, 3> bound_byte_table(Input<float, 2> scores, Input<float, 3> bounds,
                                         Input<float, 1> weights,
                                         const SetName& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t query_tokens = weights.shape(0);
    check_bounds(scores, bounds, query_tokens);
    const TableShape shape = table_shape(query_tokens, scores.shape(0));
    AlignedArray<std::uint8_t> table;
    {
        nb::gil_scoped_release without_gil;
        require_finite(weights, "the weight of query token");
        for (std::size_t q = 0; q < query_tokens; ++q)
            require(weights.data()[q] >= 0, "the weight of query token " + text(q) +
                                                " is negative: " +
                                                std::to_string(weights.data()[q]));
        table = aligned_array<std::uint8_t>(shape.blocks * shape.centroids * shape.width);
        byte_table(scores.data(), bounds.data(), weights.data(), query_tokens, shape, set,
                   table.get());
    }
    return to_numpy(std::move(table), {shape.blocks, shape.centroids, shape.width});
}

template <typename Code>
Output<std::uint32_t, 1> bound_approximate_scores(Input<Code, 1> codes,
                                                  Input<std::int64_t, 1> offsets,
                                                  Input<std::int64_t, 1> slots,
                                                  Input<std::uint8_t, 3> table,
                                                  const SetName& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const TableShape shape{table.shape(0), table.shape(1), table.shape(2)};
    require(shape.width == 16 || shape.width == 32 || shape.width == 64,
            "the rows of the table have " + text(shape.width) + " bytes, not 16, 32 or 64");
    const Segment segment = segment_of(offsets, codes.shape(0));
    const std::size_t count = slots.shape(0);
    AlignedArray<std::uint32_t> scores;
    {
        nb::gil_scoped_release without_gil;
        scores = aligned_array<std::uint32_t>(count);
        approximate_scores(codes.data(), segment, slots.data(), count, table.data(), shape, set,
                           scores.get());
    }
    return to_numpy(std::move(scores), {count});
}

Output<std::int64_t, 1> bound_largest(Input<std::uint32_t, 1> scores, std::int64_t count) {
    const std::size_t found = std::min(checked_count(count), scores.shape(0));
    AlignedArray<std::int64_t> positions;
    {
        nb::gil_scoped_release without_gil;
        positions = aligned_array<std::int64_t>(found);
        largest(scores.data(), scores.shape(0), found, positions.get());
    }
    return to_numpy(std::move(positions), {found});
}

Output<std::int64_t, 1> bound_probe(Input<std::int32_t, 1> cells, Input<std::int32_t, 1> lists,
                                    Input<std::int64_t, 1> list_offsets, Input<bool, 1> allowed) {
    require(list_offsets.shape(0) >= 1, "there are no list offsets, not even of no centroids");
    AlignedArray<std::int64_t> slots;
    std::size_t count;
    {
        nb::gil_scoped_release without_gil;
        const ListsView view{lists.data(), lists.shape(0), list_offsets.data(),
                             list_offsets.shape(0) - 1};
        const std::vector<std::int64_t> found =
            probe(cells.data(), cells.shape(0), view, allowed.data(), allowed.shape(0));
        count = found.size();
        slots = aligned_array<std::int64_t>(count);
        std::copy(found.begin(), found.end(), slots.get());
    }
    return to_numpy(std::move(slots), {count});
}

// 0 where `weights` is no power of two of a number of bits that divides a byte.
int bits_of(std::size_t weights) {
    for (int bits : {1, 2, 4, 8})
        if (weights == std::size_t{1} << bits) return bits;
    return 0;
}

int checked_bits(const Input<float, 1>& bucket_weights, std::size_t dim) {
    const int bits = bits_of(bucket_weights.shape(0));
    require(bits != 0,
            text(bucket_weights.shape(0)) + " bucket weights, not 2, 4, 16 or 256");
    require(dim * bits % 8 == 0, text(dim) + " dimensions of " + text(bits) +
                                     " bits do not fill whole bytes");
    require_finite(bucket_weights, "bucket weight");
    return bits;
}

template <typename Code>
Output<float, 2> bound_sealed_maxima(Input<Code, 1> codes, Input<std::uint8_t, 2> residuals,
                                     Input<float, 1> inverse_norms, Input<std::int64_t, 1> offsets,
                                     Input<std::int64_t, 1> slots, Input<float, 2> scores,
                                     Input<float, 2> query, Input<float, 1> bucket_weights,
                                     const SetName& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t tokens = codes.shape(0);
    const std::size_t query_tokens = query.shape(0);
    const std::size_t dim = checked_dim(query.shape(1));
    const int bits = checked_bits(bucket_weights, dim);
    require(residuals.shape(0) == tokens,
            text(residuals.shape(0)) + " residuals for " + text(tokens) + " codes");
    require(residuals.shape(1) == dim * bits / 8,
            "residuals of " + text(residuals.shape(1)) + " bytes, not " + text(dim * bits / 8) +
                " for " + text(dim) + " dimensions of " + text(bits) + " bits");
    require(inverse_norms.shape(0) == tokens,
            text(inverse_norms.shape(0)) + " inverse norms for " + text(tokens) + " codes");
    checked_width(scores, query_tokens);
    const Segment segment = segment_of(offsets, tokens);
    const std::size_t count = slots.shape(0);
    AlignedArray<float> maxima;
    {
        nb::gil_scoped_release without_gil;
        require_finite(query, "query token");
        maxima = aligned_array<float>(count * query_tokens);
        const SealedTokens<Code> documents{codes.data(), residuals.data(), inverse_norms.data(),
                                           segment,      dim,              bits};
        sealed_maxima(documents, slots.data(), count,
                      {scores.data(), scores.shape(0), query.data(), query_tokens,
                       bucket_weights.data()},
                      set, maxima.get());
    }
    return to_numpy(std::move(maxima), {count, query_tokens});
}

using Assigned = std::pair<Output<std::int32_t, 1>, Output<std::int32_t, 1>>;

Assigned bound_assign(Input<float, 2> vectors, Input<std::int16_t, 2> centroids,
                      const SetName& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t count = vectors.shape(0);
    const std::size_t dim = checked_dim(centroids.shape(1));
    require(centroids.shape(0) >= 1, "there are no centroids");
    require(vectors.shape(1) == dim, "vectors have " + text(vectors.shape(1)) +
                                         " dimensions and the centroids " + text(dim));
    AlignedArray<std::int32_t> nearest;
    AlignedArray<std::int32_t> products;
    {
        nb::gil_scoped_release without_gil;
        require_finite(vectors, "vector");
        const Centroids all{centroids.data(), centroids.shape(0), dim};
        const std::size_t longer = first_too_long(all, set);
        require(longer == all.count,
                "centroid " + text(longer) + " is longer than " + text(longest_row));
        nearest = aligned_array<std::int32_t>(count);
        products = aligned_array<std::int32_t>(count);
        assign(vectors.data(), count, all, set, nearest.get(), products.get());
    }
    return {to_numpy(std::move(nearest), {count}), to_numpy(std::move(products), {count})};
}

using Encoded = std::pair<Output<std::uint8_t, 2>, Output<float, 1>>;

template <typename Code>
Encoded bound_encode_residuals(Input<float, 2> vectors, Input<Code, 1> codes,
                               Input<float, 2> centroids, Input<float, 1> cutoffs,
                               Input<float, 1> bucket_weights) {
    const std::size_t tokens = vectors.shape(0);
    const std::size_t dim = checked_dim(centroids.shape(1));
    const int bits = checked_bits(bucket_weights, dim);
    require(vectors.shape(1) == dim, "vectors have " + text(vectors.shape(1)) +
                                         " dimensions and the centroids " + text(dim));
    require(codes.shape(0) == tokens,
            text(codes.shape(0)) + " codes for " + text(tokens) + " vectors");
    require(cutoffs.shape(0) + 1 == bucket_weights.shape(0),
            text(cutoffs.shape(0)) + " cutoffs for " + text(bucket_weights.shape(0)) +
                " bucket weights");
    require_finite(cutoffs, "cutoff");
    require(std::is_sorted(cutoffs.data(), cutoffs.data() + cutoffs.size()),
            "the cutoffs are not ascending");
    AlignedArray<std::uint8_t> residuals;
    AlignedArray<float> inverse_norms;
    const std::size_t bytes = dim * bits / 8;
    {
        nb::gil_scoped_release without_gil;
        require_finite(vectors, "vector");
        residuals = aligned_array<std::uint8_t>(tokens * bytes);
        inverse_norms = aligned_array<float>(tokens);
        encode_residuals(vectors.data(), tokens, codes.data(), centroids.data(),
                         centroids.shape(0), dim, {cutoffs.data(), bucket_weights.data(), bits},
                         residuals.get(), inverse_norms.get());
    }
    return {to_numpy(std::move(residuals), {tokens, bytes}),
            to_numpy(std::move(inverse_norms), {tokens})};
}

using Inverted = std::pair<Output<std::int32_t, 1>, Output<std::int64_t, 1>>;

template <typename Code>
Inverted bound_inverted_lists(Input<Code, 1> codes, Input<std::int64_t, 1> offsets,
                              std::int64_t centroids) {
    const Segment segment = segment_of(offsets, codes.shape(0));
    const std::size_t count = checked_count(centroids);
    require(segment.passages <= std::size_t{std::numeric_limits<std::int32_t>::max()},
            text(segment.passages) + " passages are more than 32 bits can number");
    InvertedLists lists;
    {
        nb::gil_scoped_release without_gil;
        lists = invert(codes.data(), segment, count);
    }
    const auto entries = static_cast<std::size_t>(lists.offsets[count]);
    return {to_numpy(std::move(lists.slots), {entries}),
            to_numpy(std::move(lists.offsets), {count + 1})};
}

template <typename Code>
void bind_for(nb::module_& module) {
    module.def("approximate_scores", &bound_approximate_scores<Code>, nb::arg("codes").noconvert(),
               nb::arg("offsets").noconvert(), nb::arg("slots").noconvert(),
               nb::arg("table").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    module.def("sealed_maxima", &bound_sealed_maxima<Code>, nb::arg("codes").noconvert(),
               nb::arg("residuals").noconvert(), nb::arg("inverse_norms").noconvert(),
               nb::arg("offsets").noconvert(), nb::arg("slots").noconvert(),
               nb::arg("scores").noconvert(), nb::arg("query").noconvert(),
               nb::arg("bucket_weights").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    module.def("encode_residuals", &bound_encode_residuals<Code>, nb::arg("vectors").noconvert(),
               nb::arg("codes").noconvert(), nb::arg("centroids").noconvert(),
               nb::arg("cutoffs").noconvert(), nb::arg("bucket_weights").noconvert());
    module.def("inverted_lists", &bound_inverted_lists<Code>, nb::arg("codes").noconvert(),
               nb::arg("offsets").noconvert(), nb::arg("centroids"));
}

}  // namespace

void bind_sealed_kernels(nb::module_& module) {
    module.def("centroid_scores", &bound_centroid_scores, nb::arg("panels").noconvert(),
               nb::arg("centroids"), nb::arg("scale"), nb::arg("query").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    module.def("nearest_centroids", &bound_nearest_centroids, nb::arg("scores").noconvert(),
               nb::arg("bounds").noconvert(), nb::arg("query_tokens"), nb::arg("count"),
               nb::kw_only(), nb::arg("instruction_set") = nb::none());
    module.def("byte_table", &bound_byte_table, nb::arg("scores").noconvert(),
               nb::arg("bounds").noconvert(), nb::arg("weights").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    module.def("largest", &bound_largest, nb::arg("scores").noconvert(), nb::arg("count"));
    module.def("probe", &bound_probe, nb::arg("cells").noconvert(), nb::arg("lists").noconvert(),
               nb::arg("list_offsets").noconvert(), nb::arg("allowed").noconvert());
    module.def("assign", &bound_assign, nb::arg("vectors").noconvert(),
               nb::arg("centroids").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    bind_for<std::uint16_t>(module);
    bind_for<std::uint32_t>(module);
}

}  // namespace memstore
