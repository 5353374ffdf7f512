// The Python module memstore.encoders._bert; its contract is in _bert.pyi.
#include <nanobind/stl/tuple.h>

#include <tuple>
#include <utility>

#include "arrays.h"
#include "float_sets.h"
#include "forward.h"

namespace nb = nanobind;

namespace memstore {
namespace {

using Matrix = Input<float, 2>;
using Vector = Input<float, 1>;
using Lengths = Input<std::int64_t, 1>;
using Adapter = std::tuple<Matrix, Matrix>;
using LinearArrays = std::tuple<Matrix, std::optional<Vector>, std::optional<Adapter>>;
using NormArrays = std::tuple<Vector, Vector>;
using LayerArrays = std::tuple<LinearArrays, LinearArrays, LinearArrays, LinearArrays, NormArrays,
                               LinearArrays, LinearArrays, NormArrays>;

template <typename Array>
std::string shape_of(const Array& array) {
    std::string shape;
    for (std::size_t i = 0; i < array.ndim(); ++i)
        shape += (i ? ", " : "") + text(array.shape(i));
    return "(" + shape + ")";
}

// Pointers to checked arrays, which it keeps alive.
class Model {
public:
    Model(const Matrix& words, const Matrix& positions, const Vector& segment,
          const NormArrays& norm, const std::vector<LayerArrays>& layers, std::size_t heads,
          float epsilon, const std::optional<LinearArrays>& head) {
        bert_.vocabulary = words.shape(0);
        bert_.hidden = words.shape(1);
        bert_.longest = positions.shape(0);
        bert_.heads = heads;
        bert_.epsilon = epsilon;
        require(bert_.hidden >= 1 && bert_.vocabulary >= 1, "words are " + shape_of(words));
        require(heads >= 1 && bert_.hidden % heads == 0,
                text(bert_.hidden) + " features are no multiple of " + text(heads) + " heads");
        require(epsilon >= 0.0F, "epsilon is negative or not a number");
        require(!layers.empty(), "there are no layers");
        bert_.words = checked(words, "words", {bert_.vocabulary, bert_.hidden});
        bert_.positions = checked(positions, "positions", {bert_.longest, bert_.hidden});
        bert_.segment = checked(segment, "segment", {bert_.hidden});
        bert_.norm = checked(norm, "norm");
        bert_.intermediate = std::get<0>(std::get<5>(layers.front())).shape(0);
        require(bert_.intermediate >= 1, "the intermediate layer has no features");
        for (std::size_t i = 0; i < layers.size(); ++i)
            bert_.layers.push_back(checked(layers[i], "layer " + text(i)));
        if (head) {
            const std::size_t dim = std::get<0>(*head).shape(0);
            require(dim >= 1, "the head has no dimensions");
            head_ = checked(*head, "head", dim, bert_.hidden);
            bert_.head = &head_;
        }
    }

    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    Output<float, 2> encode(const Input<std::int32_t, 1>& ids, const Lengths& lengths,
                            const std::optional<Lengths>& seen, std::size_t threads,
                            const std::optional<std::string>& instruction_set) const {
        const InstructionSet set = set_named(instruction_set, available_float_sets());
        require(threads >= 1, "no threads");
        const std::size_t tokens = ids.shape(0);
        const std::size_t width = width_of(bert_);
        AlignedArray<float> rows;
        {
            nb::gil_scoped_release without_gil;
            const std::vector<Length> sizes = checked_lengths(lengths, seen, tokens);
            // A copy: what was checked is what is used.
            const std::vector<std::int32_t> words = checked_ids(ids);
            rows = aligned_array<float>(tokens * width);
            memstore::encode(set, bert_, words.data(), sizes, threads, rows.get());
        }
        return to_numpy(std::move(rows), {tokens, width});
    }

private:
    template <typename Array>
    const float* checked(const Array& array, const std::string& what,
                         std::initializer_list<std::size_t> shape) {
        std::string expected;
        bool right = true;
        std::size_t axis = 0;
        for (std::size_t size : shape) {
            right = right && array.shape(axis) == size;
            expected += (axis++ ? ", " : "") + text(size);
        }
        require(right, what + " is " + shape_of(array) + ", not (" + expected + ")");
        require(reinterpret_cast<std::uintptr_t>(array.data()) % alignof(float) == 0,
                what + " is not aligned");
        kept_.push_back(nb::ndarray<>(array));
        return array.data();
    }

    Norm checked(const NormArrays& norm, const std::string& what) {
        return {checked(std::get<0>(norm), what + ".scale", {bert_.hidden}),
                checked(std::get<1>(norm), what + ".shift", {bert_.hidden})};
    }

    Linear checked(const LinearArrays& arrays, const std::string& what, std::size_t outputs,
                   std::size_t inputs) {
        const auto& [weight, bias, adapter] = arrays;
        Linear linear{inputs,  outputs, checked(weight, what + ".weight", {outputs, inputs}),
                      nullptr, 0,       nullptr,
                      nullptr};
        if (bias) linear.bias = checked(*bias, what + ".bias", {outputs});
        if (adapter) {
            const auto& [down, up] = *adapter;
            linear.rank = down.shape(0);
            linear.down = checked(down, what + ".down", {linear.rank, inputs});
            linear.up = checked(up, what + ".up", {outputs, linear.rank});
        }
        return linear;
    }

    Layer checked(const LayerArrays& arrays, const std::string& what) {
        const auto& [query, key, value, attention_output, attention_norm, intermediate, output,
                     output_norm] = arrays;
        const std::size_t hidden = bert_.hidden;
        const std::size_t wide = bert_.intermediate;
        return {checked(query, what + " query", hidden, hidden),
                checked(key, what + " key", hidden, hidden),
                checked(value, what + " value", hidden, hidden),
                checked(attention_output, what + " attention_output", hidden, hidden),
                checked(attention_norm, what + " attention_norm"),
                checked(intermediate, what + " intermediate", wide, hidden),
                checked(output, what + " output", hidden, wide),
                checked(output_norm, what + " output_norm")};
    }

    std::vector<Length> checked_lengths(const Lengths& lengths, const std::optional<Lengths>& seen,
                                        std::size_t tokens) const {
        const std::size_t count = lengths.shape(0);
        require(!seen || seen->shape(0) == count, "there are " + text(count) + " lengths, and " +
                                                      text(seen ? seen->shape(0) : 0) + " seen");
        std::vector<Length> sizes;
        sizes.reserve(count);
        std::size_t total = 0;
        for (std::size_t s = 0; s < count; ++s) {
            const std::size_t length = checked_length(lengths.data()[s], bert_.longest, s);
            sizes.push_back({length, seen ? checked_length(seen->data()[s], length, s) : length});
            total += length;
        }
        require(total == tokens, "the lengths add up to " + text(total) + ", and there are " +
                                     text(tokens) + " ids");
        return sizes;
    }

    static std::size_t checked_length(std::int64_t length, std::size_t longest, std::size_t s) {
        require(length >= 1 && static_cast<std::uint64_t>(length) <= longest,
                "sequence " + text(s) + " has " + std::to_string(length) + " tokens, not 1 to " +
                    text(longest));
        return static_cast<std::size_t>(length);
    }

    std::vector<std::int32_t> checked_ids(const Input<std::int32_t, 1>& ids) const {
        std::vector<std::int32_t> words(ids.data(), ids.data() + ids.shape(0));
        for (std::size_t t = 0; t < words.size(); ++t)
            if (words[t] < 0 || static_cast<std::size_t>(words[t]) >= bert_.vocabulary)
                throw std::out_of_range("token " + text(t) + " is " + std::to_string(words[t]) +
                                        ", and there are " + text(bert_.vocabulary) + " words");
        return words;
    }

    Bert bert_{};
    Linear head_{};
    std::vector<nb::ndarray<>> kept_;
};

}  // namespace
}  // namespace memstore

NB_MODULE(_bert, module) {
    using memstore::Model;
    // Encoders may live until the interpreter ends.
    nb::set_leak_warnings(false);
    nb::class_<Model>(module, "Model")
        .def(nb::init<const memstore::Matrix&, const memstore::Matrix&, const memstore::Vector&,
                      const memstore::NormArrays&, const std::vector<memstore::LayerArrays>&,
                      std::size_t, float, const std::optional<memstore::LinearArrays>&>(),
             nb::arg("words").noconvert(), nb::arg("positions").noconvert(),
             nb::arg("segment").noconvert(), nb::arg("norm").noconvert(),
             nb::arg("layers").noconvert(), nb::kw_only(), nb::arg("heads"), nb::arg("epsilon"),
             nb::arg("head").noconvert() = nb::none())
        .def("encode", &Model::encode, nb::arg("ids").noconvert(), nb::arg("lengths").noconvert(),
             nb::kw_only(), nb::arg("seen").noconvert() = nb::none(), nb::arg("threads"),
             nb::arg("instruction_set") = nb::none());
    module.def("instruction_sets",
               [] { return memstore::names_of(memstore::available_float_sets()); });
}
