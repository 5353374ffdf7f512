// Packed residuals as rows of integer weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alignment.h"
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

    // Writes up to 16 residuals as rows of a block.
    void operator()(const std::uint8_t* const* residuals, std::size_t rows,
                    std::int16_t* block) const {
        decode_(*this, residuals, rows, block);
    }

private:
    using Decode = void (*)(const ResidualDecoder&, const std::uint8_t* const*, std::size_t,
                            std::int16_t*);

    template <std::size_t per_byte>
    static void by_table(const ResidualDecoder&, const std::uint8_t* const*, std::size_t,
                         std::int16_t*);
    static void by_words(const ResidualDecoder&, const std::uint8_t* const*, std::size_t,
                         std::int16_t*);
    static void by_nibbles(const ResidualDecoder&, const std::uint8_t* const*, std::size_t,
                           std::int16_t*);

    static Decode decode_for(int bits, InstructionSet set);

    std::size_t dim_;
    int bits_;
    Decode decode_;
    std::vector<std::int16_t> of_field_;  // weight by field, that is reversed bucket number
    std::vector<std::int16_t> of_byte_;   // (256, 8 / bits): weights of a byte's dimensions

    // For `by_words`: where each dimension of a chunk lies, and the weight by the lowest five bits
    // of a word, whatever lies above the field.
    static constexpr std::size_t word_lanes = 32;
    static constexpr std::size_t word_vectors = chunk_dims / word_lanes;
    struct alignas(64) Words {
        std::int16_t values[word_lanes];
    };
    Words word_of_[word_vectors];
    Words shift_of_[word_vectors];
    Words word_weights_;
};

}  // namespace memstore
