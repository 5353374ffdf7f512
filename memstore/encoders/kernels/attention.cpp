#include "attention.h"

#include <algorithm>
#include <cmath>

#include "lanes.h"

namespace memstore {
namespace {

// Keys scored together, and values summed together.
constexpr std::size_t tile = 8;

// 2 to the power of x <= 0, within 2e-7 of it; 0 below the smallest normal number.
// The polynomial is the interpolation of 2**x on [-1/2, 1/2] at Chebyshev's points.
template <std::size_t lanes>
MEMSTORE_INLINE void power_of_two(typename Lanes<lanes>::Floats& x) {
    using Floats = typename Lanes<lanes>::Floats;
    using Integers = typename Lanes<lanes>::Integers;
    constexpr float coefficients[] = {1.5461444693294768e-04F, 1.34004281782533e-03F, 9.618056678553505e-03F,
                                      5.550327226668675e-02F, 2.4022650922288294e-01F,
                                      6.931472067028335e-01F, 1.0F};
    const Floats smallest = Floats{} - 126.0F;
    const auto too_small = x < smallest;
    x = too_small ? smallest : x;
    // Adding 1.5 * 2**23 leaves no bits for a fraction, and the integer in the lowest ones.
    constexpr float no_fraction = 12582912.0F;
    const Floats shifted = x + no_fraction;
    const Floats fraction = x - (shifted - no_fraction);
    Floats power = Floats{} + coefficients[0];
    for (std::size_t i = 1; i < sizeof coefficients / sizeof(float); ++i)
        power = power * fraction + coefficients[i];
    Integers exponent;
    load(exponent, &shifted);
    Integers bits;
    load(bits, &power);
    bits += exponent << 23;
    load(power, &bits);
    x = too_small ? Floats{} : power;
}

// One register of queries of one head, against the keys of its sequence.
template <std::size_t lanes>
struct Queries {
    using Floats = typename Lanes<lanes>::Floats;

    const Sequence& sequence;
    const std::size_t head_size;
    const std::size_t panel;     // floats of a panel that holds queries, keys and values
    const float* keys;           // this head's, in the first panel
    const float* values;
    float* queries;              // [head_size][lanes]
    float* scores;               // [tokens from `first`][lanes]
    const std::size_t first;     // `sequence.begin`, down to a multiple of `tile`

    // A number of a key or a value, and those of the tokens after it in the same panel.
    MEMSTORE_INLINE const float* at(const float* part, std::size_t token) const {
        return part + token / panel_tokens * panel + token % panel_tokens;
    }

    MEMSTORE_INLINE void score() const {
        // Tokens of other sequences in the first and last tile are scored and not looked at.
        for (std::size_t token = first; token < sequence.seen; token += tile) {
            const float* key = at(keys, token);
            Floats sums[tile] = {};
            for (std::size_t d = 0; d < head_size; ++d) {
                Floats query;
                load(query, queries + d * lanes);
#pragma GCC unroll 8
                for (std::size_t k = 0; k < tile; ++k)
                    sums[k] += query * key[d * panel_tokens + k];
            }
#pragma GCC unroll 8
            for (std::size_t k = 0; k < tile; ++k)
                store(sums[k], scores + (token - first + k) * lanes);
        }
    }

    // Scores become powers; returns one over their sum.
    MEMSTORE_INLINE void to_powers(Floats& factor) const {
        float* begin = scores + (sequence.begin - first) * lanes;
        float* end = scores + (sequence.seen - first) * lanes;
        Floats largest;
        load(largest, begin);
        for (const float* score = begin; score < end; score += lanes) {
            Floats value;
            load(value, score);
            largest = value > largest ? value : largest;
        }
        Floats sum = {};
        for (float* score = begin; score < end; score += lanes) {
            Floats value;
            load(value, score);
            value -= largest;
            power_of_two<lanes>(value);
            sum += value;
            store(value, score);
        }
        factor = 1.0F / sum;
    }

    // Sums `count` numbers of the values from `d` on, each weighted by its power.
    template <std::size_t count>
    MEMSTORE_INLINE void mix(std::size_t d, const Floats& factor, std::size_t before,
                             std::size_t after, float* to) const {
        Floats sums[count] = {};
        const float* power = scores + (sequence.begin - first) * lanes;
        for (std::size_t token = sequence.begin; token < sequence.seen;) {
            const float* value = at(values, token) + d * panel_tokens;
            const std::size_t end =
                std::min(sequence.seen, (token / panel_tokens + 1) * panel_tokens);
            for (; token < end; ++token, ++value, power += lanes) {
                Floats weight;
                load(weight, power);
#pragma GCC unroll 8
                for (std::size_t i = 0; i < count; ++i)
                    sums[i] += weight * value[i * panel_tokens];
            }
        }
#pragma GCC unroll 8
        for (std::size_t i = 0; i < count; ++i) {
            const Floats result = sums[i] * factor;
            float* place = to + (d + i) * panel_tokens;
            if (before == 0 && after == lanes) {
                store(result, place);
            } else {
                float all[lanes];
                store(result, all);
                std::copy(all + before, all + after, place + before);
            }
        }
    }

    MEMSTORE_INLINE void run(std::size_t before, std::size_t after, float* to) const {
        score();
        Floats factor;
        to_powers(factor);
        std::size_t d = 0;
        for (; d + tile <= head_size; d += tile) mix<tile>(d, factor, before, after, to);
        for (; d < head_size; ++d) mix<1>(d, factor, before, after, to);
    }
};

struct Attend {
    template <std::size_t lanes>
    static MEMSTORE_INLINE void run(const Sequence& sequence, std::size_t heads,
                                    std::size_t head_size, const float* from, float* to,
                                    float* scratch) {
        const std::size_t part = heads * head_size * panel_tokens;
        const std::size_t panel = 3 * part;
        // Powers of two instead of e: the scores are scaled anyhow.
        const float scale =
            static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(head_size)));
        float* scores = scratch + head_size * lanes;
        for (std::size_t h = 0; h < heads; ++h) {
            const float* head = from + h * head_size * panel_tokens;
            const Queries<lanes> queries{sequence, head_size,       panel,   head + part,
                                         head + 2 * part, scratch, scores,
                                         sequence.begin / tile * tile};
            for (std::size_t token = sequence.begin / lanes * lanes; token < sequence.end;
                 token += lanes) {
                const std::size_t lane = token % panel_tokens;
                const float* query = head + token / panel_tokens * panel + lane;
                for (std::size_t d = 0; d < head_size; ++d) {
                    typename Lanes<lanes>::Floats values;
                    load(values, query + d * panel_tokens);
                    values *= scale;
                    store(values, scratch + d * lanes);
                }
                queries.run(std::max(sequence.begin, token) - token,
                            std::min(sequence.end - token, lanes),
                            to + (token / panel_tokens * part + h * head_size * panel_tokens) +
                                lane);
            }
        }
    }
};

}  // namespace

std::size_t attention_scratch(std::size_t tokens, std::size_t head_size) {
    return (head_size + round_up(tokens + tile, tile) + tile) * panel_tokens;
}

void attend(InstructionSet set, const Sequence& sequence, std::size_t heads,
            std::size_t head_size, const float* from, float* to, float* scratch) {
    run_in_float_lanes<Attend>(set, sequence, heads, head_size, from, to, scratch);
}

}  // namespace memstore
