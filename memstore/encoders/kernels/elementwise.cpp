#include "elementwise.h"

#include <algorithm>
#include <cmath>

#include "lanes.h"

namespace memstore {
namespace {

// A sum in four parts: they do not wait for each other, and rounding errors grow less.
constexpr std::size_t parts = 4;

template <typename Floats, typename Term>
MEMSTORE_INLINE void sum(std::size_t features, Floats& total, const Term& term) {
    Floats sums[parts] = {};
    std::size_t f = 0;
    for (; f + parts <= features; f += parts)
        for (std::size_t p = 0; p < parts; ++p) term(f + p, sums[p]);
    for (; f < features; ++f) term(f, sums[f % parts]);
    total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// One by one in the source: the compiler takes as many at once as the processor can.
template <typename Floats>
MEMSTORE_INLINE void square_root(Floats& values) {
    for (std::size_t i = 0; i < sizeof values / sizeof(float); ++i)
        values[i] = std::sqrt(values[i]);
}

struct Normalise {
    template <std::size_t lanes>
    static MEMSTORE_INLINE void run(const Norm& norm, float epsilon, std::size_t features,
                                    const float* added, float* states) {
        using Floats = typename Lanes<lanes>::Floats;
        const float size = static_cast<float>(features);
        for (std::size_t lane = 0; lane < panel_tokens; lane += lanes) {
            Floats mean;
            sum(features, mean, [&](std::size_t f, Floats& part) __attribute__((always_inline)) {
                const std::size_t place = f * panel_tokens + lane;
                Floats value;
                load(value, states + place);
                if (added) {
                    Floats more;
                    load(more, added + place);
                    value += more;
                    store(value, states + place);
                }
                part += value;
            });
            mean /= size;
            Floats factor;
            sum(features, factor, [&](std::size_t f, Floats& part) __attribute__((always_inline)) {
                Floats value;
                load(value, states + f * panel_tokens + lane);
                value -= mean;
                part += value * value;
            });
            factor = factor / size + epsilon;
            square_root(factor);
            factor = 1.0F / factor;
            for (std::size_t f = 0; f < features; ++f) {
                Floats value;
                float* place = states + f * panel_tokens + lane;
                load(value, place);
                value = (value - mean) * factor;
                value = value * norm.scale[f] + norm.shift[f];
                store(value, place);
            }
        }
    }
};

struct ToUnitLength {
    template <std::size_t lanes>
    static MEMSTORE_INLINE void run(std::size_t features, float* states) {
        using Floats = typename Lanes<lanes>::Floats;
        for (std::size_t lane = 0; lane < panel_tokens; lane += lanes) {
            Floats factor;
            sum(features, factor, [&](std::size_t f, Floats& part) __attribute__((always_inline)) {
                Floats value;
                load(value, states + f * panel_tokens + lane);
                part += value * value;
            });
            // The floor only guards against a division by zero; no state has a length near it.
            factor = factor < 1e-24F ? Floats{} + 1e-24F : factor;
            square_root(factor);
            factor = 1.0F / factor;
            for (std::size_t f = 0; f < features; ++f) {
                Floats value;
                load(value, states + f * panel_tokens + lane);
                value *= factor;
                store(value, states + f * panel_tokens + lane);
            }
        }
    }
};

// erf as a ratio of polynomials in x², exact to float32 on [-4, 4], outside which it is ±1.
// Source: the coefficients of Eigen's and XLA's float32 erf.
constexpr float numerator[] = {-2.72614225801306e-10F, 2.77068142495902e-08F,
                               -2.10102402082508e-06F, -5.69250639462346e-05F,
                               -7.34990630326855e-04F, -2.95459980854025e-03F,
                               -1.60960333262415e-02F};
constexpr float denominator[] = {-1.45660718464996e-05F, -2.13374055278905e-04F,
                                 -1.68282697438203e-03F, -7.37332916720468e-03F,
                                 -1.42647390514189e-02F};

// Horner's rule, the highest power first.
template <typename Floats, std::size_t size>
MEMSTORE_INLINE void polynomial(const float (&coefficients)[size], const Floats& x,
                                Floats& result) {
    result = Floats{} + coefficients[0];
    for (std::size_t i = 1; i < size; ++i) result = result * x + coefficients[i];
}

struct Gelu {
    template <std::size_t lanes>
    static MEMSTORE_INLINE void run(std::size_t size, float* states) {
        using Floats = typename Lanes<lanes>::Floats;
        for (std::size_t i = 0; i < size; i += lanes) {
            Floats value;
            load(value, states + i);
            Floats x = value * 0.70710678118654752F;
            x = x < -4.0F ? Floats{} - 4.0F : x;
            x = x > 4.0F ? Floats{} + 4.0F : x;
            const Floats square = x * x;
            Floats above;
            Floats below;
            polynomial(numerator, square, above);
            polynomial(denominator, square, below);
            const Floats erf = x * above / below;
            value = value * (erf * 0.5F + 0.5F);
            store(value, states + i);
        }
    }
};

}  // namespace

void embed(const Bert& bert, const std::int32_t* ids, const std::int32_t* places,
           std::size_t tokens, float* states) {
    const std::size_t hidden = bert.hidden;
    for (std::size_t t = 0; t < round_up(tokens, panel_tokens); ++t) {
        float* to = states + t / panel_tokens * hidden * panel_tokens + t % panel_tokens;
        if (t >= tokens) {
            for (std::size_t f = 0; f < hidden; ++f) to[f * panel_tokens] = 0.0F;
            continue;
        }
        const float* word = bert.words + static_cast<std::size_t>(ids[t]) * hidden;
        const float* position = bert.positions + static_cast<std::size_t>(places[t]) * hidden;
        for (std::size_t f = 0; f < hidden; ++f)
            to[f * panel_tokens] = word[f] + position[f] + bert.segment[f];
    }
}

void normalise(InstructionSet set, const Norm& norm, float epsilon, std::size_t features,
               std::size_t panels, const float* added, float* states) {
    for (std::size_t p = 0; p < panels; ++p) {
        const std::size_t panel = p * features * panel_tokens;
        run_in_float_lanes<Normalise>(set, norm, epsilon, features,
                                      added ? added + panel : nullptr, states + panel);
    }
}

void gelu(InstructionSet set, std::size_t features, std::size_t panels, float* states) {
    run_in_float_lanes<Gelu>(set, features * panels * panel_tokens, states);
}

void to_unit_length(InstructionSet set, std::size_t features, std::size_t panels, float* states) {
    for (std::size_t p = 0; p < panels; ++p)
        run_in_float_lanes<ToUnitLength>(set, features, states + p * features * panel_tokens);
}

void to_rows(const float* states, std::size_t features, std::size_t tokens, float* rows) {
    for (std::size_t t = 0; t < tokens; ++t) {
        const float* from = states + t / panel_tokens * features * panel_tokens + t % panel_tokens;
        for (std::size_t f = 0; f < features; ++f) rows[t * features + f] = from[f * panel_tokens];
    }
}

}  // namespace memstore
