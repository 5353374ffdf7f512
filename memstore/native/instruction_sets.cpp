#include "instruction_sets.h"

namespace memstore {
namespace {

std::vector<InstructionSet> detect() {
    std::vector<InstructionSet> sets;
#ifdef MEMSTORE_X86
    // GCC and Clang also ask the operating system whether it saves the wide registers.
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512f"))
        sets.push_back(InstructionSet::avx512_vnni);
    if (__builtin_cpu_supports("avx2")) sets.push_back(InstructionSet::avx2);
#endif
    sets.push_back(InstructionSet::scalar);
    return sets;
}

}  // namespace

const std::vector<InstructionSet>& available_instruction_sets() {
    static const std::vector<InstructionSet> sets = detect();
    return sets;
}

const char* name_of(InstructionSet set) {
    switch (set) {
        case InstructionSet::avx512_vnni: return "avx512_vnni";
        case InstructionSet::avx2: return "avx2";
        case InstructionSet::scalar: break;
    }
    return "scalar";
}

}  // namespace memstore
