// The Python module memstore.index._kernels; its contract is in _kernels.pyi.
#include "arrays.h"
#include "sealed_bindings.h"
#include "token_maxima.h"

namespace nb = nanobind;

namespace memstore {
namespace {

Output<float, 2> bound_token_maxima(Input<std::int8_t, 2> codes, Input<float, 1> scales,
                                    Input<std::int64_t, 1> starts, Input<std::int64_t, 1> lengths,
                                    Input<float, 2> query,
                                    const std::optional<std::string>& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t tokens = codes.shape(0);
    const std::size_t dim = codes.shape(1);
    const std::size_t count = starts.shape(0);
    const std::size_t query_tokens = query.shape(0);
    require(dim >= 1 && dim <= max_dim,
            "codes have " + text(dim) + " dimensions, not 1 to " + text(max_dim));
    require(query.shape(1) == dim, "the query has " + text(query.shape(1)) +
                                       " dimensions and the codes have " + text(dim));
    require(query_tokens >= 1, "the query has no tokens");
    require(scales.shape(0) == tokens,
            text(scales.shape(0)) + " scales for " + text(tokens) + " tokens");
    require(lengths.shape(0) == count,
            text(lengths.shape(0)) + " lengths for " + text(count) + " starts");

    AlignedArray<float> maxima;
    {
        nb::gil_scoped_release without_gil;
        // Checked here and not by the caller: a wrong row number would read foreign memory.
        const auto last = static_cast<std::int64_t>(tokens);
        for (std::size_t p = 0; p < count; ++p) {
            const std::int64_t start = starts.data()[p];
            const std::int64_t length = lengths.data()[p];
            if (length < 1 || start < 0 || start > last || length > last - start)
                throw std::out_of_range("passage " + text(p) + " starts at token " +
                                        std::to_string(start) + " and is " +
                                        std::to_string(length) + " long, in " + text(tokens) +
                                        " tokens");
        }
        require_finite(query, "query token");
        maxima = aligned_array<float>(count * query_tokens);
        token_maxima({codes.data(), scales.data(), dim}, {starts.data(), lengths.data(), count},
                     query.data(), query_tokens, set, maxima.get());
    }
    return to_numpy(std::move(maxima), {count, query_tokens});
}

}  // namespace
}  // namespace memstore

NB_MODULE(_kernels, module) {
    module.def("token_maxima", &memstore::bound_token_maxima, nb::arg("codes").noconvert(),
               nb::arg("scales").noconvert(), nb::arg("starts").noconvert(),
               nb::arg("lengths").noconvert(), nb::arg("query").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    module.def("instruction_sets",
               [] { return memstore::names_of(memstore::available_instruction_sets()); });
    memstore::bind_sealed_kernels(module);
}
