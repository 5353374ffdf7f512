// What the processor can run, and how a function asks to be compiled for it.
#pragma once

#include <vector>

#if defined(__x86_64__)
#define MEMSTORE_X86 1
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own header leaves a don't-care operand unset and then warns of it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
#define MEMSTORE_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define MEMSTORE_AVX2 __attribute__((target("avx2")))
#endif

// A function with this is compiled for the instruction set of whoever calls it.
#define MEMSTORE_INLINE inline __attribute__((always_inline))

namespace memstore {

enum class InstructionSet { scalar, avx2, avx512_vnni };

// What this processor (and its operating system) can run, fastest first; never empty.
const std::vector<InstructionSet>& available_instruction_sets();

const char* name_of(InstructionSet set);

#ifdef MEMSTORE_X86
template <auto body, typename... Arguments>
MEMSTORE_VNNI void run_with_vnni(Arguments&... arguments) {
    body(arguments...);
}

template <auto body, typename... Arguments>
MEMSTORE_AVX2 void run_with_avx2(Arguments&... arguments) {
    body(arguments...);
}
#endif

// Calls `body`, a MEMSTORE_INLINE function of plain loops, as compiled for an instruction set.
template <auto body, typename... Arguments>
void run_with(InstructionSet set, Arguments&&... arguments) {
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni) return run_with_vnni<body>(arguments...);
    if (set == InstructionSet::avx2) return run_with_avx2<body>(arguments...);
#endif
    (void)set;
    body(arguments...);
}

}  // namespace memstore
