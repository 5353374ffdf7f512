// Arrays to and from Python, and the checks that bindings share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "alignment.h"
#include "instruction_sets.h"

namespace memstore {

template <typename Scalar, std::size_t Dimensions>
using Input = nanobind::ndarray<const Scalar, nanobind::ndim<Dimensions>, nanobind::c_contig,
                                nanobind::device::cpu>;
template <typename Scalar, std::size_t Dimensions>
using Output = nanobind::ndarray<nanobind::numpy, Scalar, nanobind::ndim<Dimensions>>;

template <typename Scalar, std::size_t Dimensions>
Output<Scalar, Dimensions> to_numpy(AlignedArray<Scalar> array,
                                    const std::size_t (&shape)[Dimensions]) {
    nanobind::capsule owner(array.get(), [](void* data) noexcept { AlignedDelete{}(data); });
    return Output<Scalar, Dimensions>(array.release(), Dimensions, shape, owner);
}

inline void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

inline std::string text(std::size_t value) { return std::to_string(value); }

// `what` names one row of the array, as in "query token".
template <typename Array>
void require_finite(const Array& array, const char* what) {
    constexpr std::uint32_t exponent = 0x7f800000;  // all of it set: infinite or not a number
    const float* values = array.data();
    const std::size_t size = array.size();
    std::uint32_t any = 0;
    for (std::size_t i = 0; i < size; ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, values + i, sizeof bits);
        any |= (bits & exponent) == exponent;
    }
    if (!any) return;
    std::size_t i = 0;
    while (std::isfinite(values[i])) ++i;
    const std::size_t row_size = array.ndim() == 2 ? array.shape(1) : 1;
    throw std::invalid_argument(std::string(what) + " " + text(i / row_size) +
                                " holds a value that is not finite");
}

// Of those at hand, the first unless one is named.
inline InstructionSet set_named(
    const std::optional<std::string>& name,
    const std::vector<InstructionSet>& available = available_instruction_sets()) {
    if (!name) return available.front();
    std::string known;
    for (InstructionSet set : available) {
        if (*name == name_of(set)) return set;
        known += (known.empty() ? "" : ", ") + std::string(name_of(set));
    }
    throw std::invalid_argument("instruction set '" + *name + "' is not one of this machine's: " +
                                known);
}

inline std::vector<std::string> names_of(const std::vector<InstructionSet>& sets) {
    std::vector<std::string> names;
    for (InstructionSet set : sets) names.emplace_back(name_of(set));
    return names;
}

}  // namespace memstore
