// Token states as everything here holds them: sixteen tokens side by side.
//
// A panel is [feature][16 tokens]; the panels of a block follow each other. A token is one lane from
// the first multiplication to the last, lanes do not meet, and what happens in one does not depend on
// which it is: so a token's bits do not depend on the company that it is computed in.
#pragma once

#include <cstddef>

#include "alignment.h"

namespace memstore {

constexpr std::size_t panel_tokens = 16;

constexpr std::size_t panels_of(std::size_t tokens) {
    return round_up(tokens, panel_tokens) / panel_tokens;
}

}  // namespace memstore
