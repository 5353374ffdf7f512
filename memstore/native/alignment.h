// Memory in cache lines, so that a load of 64 bytes touches one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace memstore {

struct alignas(64) Line {
    std::uint8_t bytes[64];
};

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

struct AlignedDelete {
    void operator()(void* data) const noexcept {
        ::operator delete(data, std::align_val_t{alignof(Line)});
    }
};

template <typename Scalar>
using AlignedArray = std::unique_ptr<Scalar[], AlignedDelete>;

// An array on a line boundary, its values not set.
template <typename Scalar>
AlignedArray<Scalar> aligned_array(std::size_t size) {
    return AlignedArray<Scalar>(static_cast<Scalar*>(
        ::operator new(size * sizeof(Scalar), std::align_val_t{alignof(Line)})));
}

}  // namespace memstore
