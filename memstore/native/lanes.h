// Several numbers in one register of whatever size the function is compiled for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "instruction_sets.h"

namespace memstore {

// Vector types, because GCC does not keep arrays in registers from one row to the next; no longer
// than a register, because it does not split longer ones well.
template <std::size_t group>
struct Lanes {
    typedef float Floats __attribute__((vector_size(group * sizeof(float))));
    typedef std::int32_t Integers __attribute__((vector_size(group * sizeof(std::int32_t))));
    typedef std::uint8_t Bytes __attribute__((vector_size(group)));
};

template <typename Vector>
MEMSTORE_INLINE void load(Vector& vector, const void* from) {
    std::memcpy(&vector, from, sizeof vector);
}

template <typename Vector>
MEMSTORE_INLINE void store(const Vector& vector, void* to) {
    std::memcpy(to, &vector, sizeof vector);
}

}  // namespace memstore
