#include "linear.h"

#include <algorithm>

#include "lanes.h"

namespace memstore {
namespace {

// One call's matrix and panels.
struct Product {
    const float* weight;  // [outputs][inputs]
    const float* bias;    // null for none
    std::size_t inputs;
    std::size_t outputs;
    const float* from;
    float* to;
    std::size_t to_panel;  // floats from one panel to the next
    bool add;              // to what is there, instead of to the bias
};

// Weights are read as they lie in the file, a number at a time out of several rows at once, and each
// is multiplied with a register of tokens. `count` registers share what was read.
template <std::size_t lanes, std::size_t count, std::size_t rows>
MEMSTORE_INLINE void multiply_tile(const Product& product, std::size_t row, std::size_t token,
                                   bool first) {
    using Floats = typename Lanes<lanes>::Floats;
    constexpr std::size_t threes = (rows + 2) / 3;
    const std::size_t inputs = product.inputs;
    const std::size_t panel = token / panel_tokens;
    const std::size_t lane = token % panel_tokens;
    // Registers of a panel, or whole panels.
    const std::size_t from_next = lanes == panel_tokens ? inputs * panel_tokens : lanes;
    const std::size_t to_next = lanes == panel_tokens ? product.to_panel : lanes;
    const float* from = product.from + panel * inputs * panel_tokens + lane;
    float* to = product.to + panel * product.to_panel + row * panel_tokens + lane;

    Floats sums[rows][count];
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t c = 0; c < count; ++c) {
            if (product.add)
                load(sums[r][c], to + r * panel_tokens + c * to_next);
            else
                sums[r][c] = Floats{} + (product.bias ? product.bias[row + r] : 0.0F);
        }
    }
    // Three rows to a pointer: an address is a pointer, once or twice the length of a row, and a
    // constant.
    const float* weights[threes];
    for (std::size_t t = 0; t < threes; ++t)
        weights[t] = product.weight + (row + 3 * t) * inputs;

    const auto step = [&](std::size_t i) __attribute__((always_inline)) {
        Floats states[count];
#pragma GCC unroll 2
        for (std::size_t c = 0; c < count; ++c)
            load(states[c], from + i * panel_tokens + c * from_next);
#pragma GCC unroll 12
        for (std::size_t r = 0; r < rows; ++r) {
            const float weight = weights[r / 3][(r % 3) * inputs + i];
#pragma GCC unroll 2
            for (std::size_t c = 0; c < count; ++c) sums[r][c] += states[c] * weight;
        }
    };
    constexpr std::size_t line = 16;
    std::size_t i = 0;
    for (; i + line <= inputs; i += line) {
        // Of the next rows; beyond the matrix, asking does no harm.
        if (first) {
#pragma GCC unroll 12
            for (std::size_t r = 0; r < rows; ++r)
                __builtin_prefetch(weights[r / 3] + (r % 3 + rows) * inputs, 0, 2);
        }
        for (std::size_t quarter = 0; quarter < 4; ++quarter) {
#pragma GCC unroll 4
            for (std::size_t s = 0; s < 4; ++s) step(s);
            from += 4 * panel_tokens;
#pragma GCC unroll 4
            for (std::size_t t = 0; t < threes; ++t) weights[t] += 4;
        }
    }
    for (std::size_t rest = 0; i + rest < inputs; ++rest) step(rest);

    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < count; ++c)
            store(sums[r][c], to + r * panel_tokens + c * to_next);
}

template <std::size_t lanes, std::size_t rows>
MEMSTORE_INLINE void multiply_rows(const Product& product, std::size_t row, std::size_t tokens) {
    // Half a panel takes half the time where a register holds a whole one.
    constexpr std::size_t half = lanes == panel_tokens ? lanes / 2 : lanes;
    std::size_t token = 0;
    for (; tokens - token > lanes + (lanes - half); token += 2 * lanes) {
        multiply_tile<lanes, 2, rows>(product, row, token, token == 0);
        if (tokens - token <= 2 * lanes) return;
    }
    if (tokens - token > half || half == lanes) {
        multiply_tile<lanes, 1, rows>(product, row, token, token == 0);
        token += lanes;
    }
    if (half != lanes && token < tokens)
        multiply_tile<half, 1, rows>(product, row, token, token == 0);
}

struct Multiply {
    template <std::size_t lanes>
    static MEMSTORE_INLINE void run(const Product& product, std::size_t tokens) {
        // As many sums as registers: 32 in AVX-512, 16 elsewhere.
        constexpr std::size_t rows = lanes == panel_tokens ? 12 : 6;
        std::size_t row = 0;
        for (; row + rows <= product.outputs; row += rows)
            multiply_rows<lanes, rows>(product, row, tokens);
        for (; row < product.outputs; ++row) multiply_rows<lanes, 1>(product, row, tokens);
    }
};

}  // namespace

void multiply(InstructionSet set, const Linear& linear, const float* from, std::size_t tokens,
              float* to, std::size_t features, std::size_t first, float* scratch) {
    float* target = to + first * panel_tokens;
    const std::size_t panel = features * panel_tokens;
    run_in_float_lanes<Multiply>(set,
                                 Product{linear.weight, linear.bias, linear.inputs, linear.outputs,
                                         from, target, panel, false},
                                 tokens);
    if (linear.rank == 0) return;
    run_in_float_lanes<Multiply>(set,
                                 Product{linear.down, nullptr, linear.inputs, linear.rank, from,
                                         scratch, linear.rank * panel_tokens, false},
                                 tokens);
    run_in_float_lanes<Multiply>(set,
                                 Product{linear.up, nullptr, linear.rank, linear.outputs, scratch,
                                         target, panel, true},
                                 tokens);
}

}  // namespace memstore
