// What a function of 32-bit floats is compiled for. AVX2 here means fused multiply-adds as well.
#pragma once

#include <cstddef>
#include <vector>

#include "instruction_sets.h"

#ifdef MEMSTORE_X86
#define MEMSTORE_FMA __attribute__((target("avx2,fma")))
#endif

namespace memstore {

// What this processor can run of it, fastest first; never empty.
const std::vector<InstructionSet>& available_float_sets();

#ifdef MEMSTORE_X86
template <auto body, typename... Arguments>
MEMSTORE_FMA void run_with_fma(Arguments&... arguments) {
    body(arguments...);
}
#endif

// The lanes of a register: `Body::run<lanes>` is a MEMSTORE_INLINE function of plain loops.
template <typename Body, typename... Arguments>
void run_in_float_lanes(InstructionSet set, Arguments&&... arguments) {
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni)
        return run_with_vnni<Body::template run<16>>(arguments...);
    if (set == InstructionSet::avx2) return run_with_fma<Body::template run<8>>(arguments...);
#endif
    (void)set;
    Body::template run<4>(arguments...);
}

}  // namespace memstore
