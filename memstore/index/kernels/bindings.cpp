// The Python module memstore.index._kernels; its contract is in _kernels.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "token_maxima.h"

namespace nb = nanobind;
using memstore::InstructionSet;

namespace {

template <typename Scalar, std::size_t Dimensions>
using Input = nb::ndarray<const Scalar, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

InstructionSet set_named(const std::optional<std::string>& name) {
    const auto& available = memstore::available_instruction_sets();
    if (!name) return available.front();
    std::string known;
    for (InstructionSet set : available) {
        if (*name == memstore::name_of(set)) return set;
        known += (known.empty() ? "" : ", ") + std::string(memstore::name_of(set));
    }
    throw std::invalid_argument("instruction set '" + *name + "' is not one of this machine's: " +
                                known);
}

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

Matrix token_maxima(Input<std::int8_t, 2> codes, Input<float, 1> scales,
                    Input<std::int64_t, 1> starts, Input<std::int64_t, 1> lengths,
                    Input<float, 2> query, const std::optional<std::string>& instruction_set) {
    const InstructionSet set = set_named(instruction_set);
    const std::size_t tokens = codes.shape(0);
    const std::size_t dim = codes.shape(1);
    const std::size_t count = starts.shape(0);
    const std::size_t query_tokens = query.shape(0);
    const auto text = [](std::size_t value) { return std::to_string(value); };
    require(dim >= 1 && dim <= memstore::max_dim,
            "codes have " + text(dim) + " dimensions, not 1 to " + text(memstore::max_dim));
    require(query.shape(1) == dim, "the query has " + text(query.shape(1)) +
                                       " dimensions and the codes have " + text(dim));
    require(query_tokens >= 1, "the query has no tokens");
    require(scales.shape(0) == tokens,
            text(scales.shape(0)) + " scales for " + text(tokens) + " tokens");
    require(lengths.shape(0) == count,
            text(lengths.shape(0)) + " lengths for " + text(count) + " starts");

    std::unique_ptr<float[]> maxima;
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
        for (std::size_t i = 0; i < query_tokens * dim; ++i)
            if (!std::isfinite(query.data()[i]))
                throw std::invalid_argument("query token " + text(i / dim) +
                                            " holds a value that is not finite");
        maxima = std::make_unique<float[]>(count * query_tokens);
        memstore::token_maxima({codes.data(), scales.data(), dim},
                               {starts.data(), lengths.data(), count}, query.data(), query_tokens,
                               set, maxima.get());
    }
    nb::capsule owner(maxima.get(),
                      [](void* data) noexcept { delete[] static_cast<float*>(data); });
    return Matrix(maxima.release(), {count, query_tokens}, owner);
}

}  // namespace

NB_MODULE(_kernels, module) {
    module.def("token_maxima", &token_maxima, nb::arg("codes").noconvert(),
               nb::arg("scales").noconvert(), nb::arg("starts").noconvert(),
               nb::arg("lengths").noconvert(), nb::arg("query").noconvert(), nb::kw_only(),
               nb::arg("instruction_set") = nb::none());
    module.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (InstructionSet set : memstore::available_instruction_sets())
            names.emplace_back(memstore::name_of(set));
        return names;
    });
}
