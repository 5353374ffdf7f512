#include "float_sets.h"

namespace memstore {
namespace {

std::vector<InstructionSet> detect() {
    std::vector<InstructionSet> sets;
    for (InstructionSet set : available_instruction_sets()) {
#ifdef MEMSTORE_X86
        if (set == InstructionSet::avx2 && !__builtin_cpu_supports("fma")) continue;
#endif
        sets.push_back(set);
    }
    return sets;
}

}  // namespace

const std::vector<InstructionSet>& available_float_sets() {
    static const std::vector<InstructionSet> sets = detect();
    return sets;
}

}  // namespace memstore
