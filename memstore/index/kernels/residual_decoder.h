// Packed residuals as panels of integer weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dot_products.h"
#include "instruction_sets.h"

namespace memstore {

// A byte holds 8 / bits dimensions, the first in its highest bits; each dimension's bucket number
// has its lowest bit first, that is highest.
std::uint8_t reversed(std::uint8_t bucket, int bits);

class ResidualDecoder {
public:
    // 2**bits weights of buckets; bits is 1, 2, 4 or 8 and dim * bits a multiple of 8.
    ResidualDecoder(const std::vector<std::int16_t>& bucket_weights, std::size_t dim, int bits,
                    InstructionSet set);

    std::size_t bytes() const { return dim_ * bits_ / 8; }

    // Pairs of dimensions in a panel. They come in the order that takes least to unpack: four bytes
    // after four bytes, and of these the fields of each two bytes from the lowest one up.
    std::size_t steps() const { return steps_; }

    // The dimension of each value of a vector in a panel, (2 * steps): `dim` or more where there is
    // none, and the panel may hold anything.
    std::vector<std::size_t> dimensions() const;

    // Writes 32 residuals as a panel.
    void operator()(const std::uint8_t* const* residuals, std::int16_t* panel) const {
        decode_(*this, residuals, panel);
    }

private:
    using Decode = void (*)(const ResidualDecoder&, const std::uint8_t* const*, std::int16_t*);

    template <int bits>
    static void by_fields(const ResidualDecoder&, const std::uint8_t* const*, std::int16_t*);
    template <int bits>
    static void by_words(const ResidualDecoder&, const std::uint8_t* const*, std::int16_t*);
    template <int bits>
    static void by_bytes(const ResidualDecoder&, const std::uint8_t* const*, std::int16_t*);

    static Decode decode_for(int bits, InstructionSet set);

    std::size_t dim_;
    std::size_t bits_;
    std::size_t steps_;
    Decode decode_;
    std::vector<std::int16_t> of_field_;  // weight by field, that is reversed bucket number
    std::int16_t of_five_bits_[32];       // the same, whatever lies above the field
};

}  // namespace memstore
