// Query tokens side by side.
#pragma once

#include <cstddef>

#include "lanes.h"

namespace memstore {

// Query tokens whose values lie side by side in tables; those added to fill the last are zero.
constexpr std::size_t columns = 16;

// One row of sixteen columns.
template <std::size_t group>
struct Row {
    static constexpr std::size_t size = columns / group;
    typename Lanes<group>::Floats parts[size];

    MEMSTORE_INLINE void read(const float* from) {
        for (std::size_t i = 0; i < size; ++i) load(parts[i], from + i * group);
    }

    MEMSTORE_INLINE void write(float* to) const {
        for (std::size_t i = 0; i < size; ++i) store(parts[i], to + i * group);
    }
};

// Calls `Body::run<group>`, with as many lanes in a group as a register of the instruction set has.
template <typename Body, typename... Arguments>
void run_in_lanes(InstructionSet set, Arguments&&... arguments) {
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni)
        return run_with_vnni<Body::template run<16>>(arguments...);
#endif
    run_with<Body::template run<8>>(set, arguments...);
}

}  // namespace memstore
