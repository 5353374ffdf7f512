// One segment's passages by slot, and the checks that keep a wrong number from reading elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "instruction_sets.h"

namespace memstore {

struct TokenRange {
    std::size_t begin;
    std::size_t end;
};

[[noreturn, gnu::noinline, gnu::cold]] inline void fail_range(const char* what,
                                                              std::int64_t number,
                                                              std::size_t size) {
    throw std::out_of_range(std::string(what) + " " + std::to_string(number) + " of " +
                            std::to_string(size));
}

// offsets (passages + 1,) into `tokens` tokens.
struct Segment {
    const std::int64_t* offsets;
    std::size_t passages;
    std::size_t tokens;

    MEMSTORE_INLINE TokenRange range(std::int64_t slot) const {
        if (slot < 0 || static_cast<std::size_t>(slot) >= passages)
            fail_range("there is no slot", slot, passages);
        const std::int64_t begin = offsets[slot];
        const std::int64_t end = offsets[slot + 1];
        if (begin < 0 || begin > end || static_cast<std::size_t>(end) > tokens)
            fail_tokens(slot, begin, end);
        return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
    }

    [[noreturn, gnu::noinline, gnu::cold]] void fail_tokens(std::int64_t slot, std::int64_t begin,
                                                            std::int64_t end) const {
        throw std::out_of_range("slot " + std::to_string(slot) + " is tokens " +
                                std::to_string(begin) + " to " + std::to_string(end) + " of " +
                                std::to_string(tokens));
    }
};

// The code, which indexes a table of `centroids` rows.
template <typename Code>
inline std::size_t checked_code(Code code, std::size_t centroids) {
    if (code >= centroids) fail_range("there is no centroid", code, centroids);
    return code;
}

}  // namespace memstore
