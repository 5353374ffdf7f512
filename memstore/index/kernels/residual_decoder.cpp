#include "residual_decoder.h"

#include <algorithm>
#include <cstring>

namespace memstore {

std::uint8_t reversed(std::uint8_t bucket, int bits) {
    std::uint8_t result = 0;
    for (int bit = 0; bit < bits; ++bit)
        result = static_cast<std::uint8_t>(result << 1 | (bucket >> bit & 1));
    return result;
}

ResidualDecoder::ResidualDecoder(const std::vector<std::int16_t>& bucket_weights, std::size_t dim,
                                 int bits, InstructionSet set)
    : dim_(dim), bits_(bits), decode_(decode_for(bits, set)), of_field_(bucket_weights.size()) {
    for (std::size_t bucket = 0; bucket < bucket_weights.size(); ++bucket)
        of_field_[reversed(static_cast<std::uint8_t>(bucket), bits)] = bucket_weights[bucket];
    of_byte_.reserve(256 * 8 / bits);
    for (std::size_t byte = 0; byte < 256; ++byte)
        for (int shift = 8 - bits; shift >= 0; shift -= bits)
            of_byte_.push_back(of_field_[byte >> shift & (of_field_.size() - 1)]);
    for (std::size_t i = 0; i < word_lanes; ++i)
        word_weights_.values[i] = of_field_[i % of_field_.size()];
    for (std::size_t d = 0; d < chunk_dims; ++d) {
        const std::size_t byte = d * bits / 8;
        const std::size_t shift = byte % 2 * 8 + (8 - bits) - d * bits % 8;
        word_of_[d / word_lanes].values[d % word_lanes] = static_cast<std::int16_t>(byte / 2);
        shift_of_[d / word_lanes].values[d % word_lanes] = static_cast<std::int16_t>(shift);
    }
}

template <std::size_t per_byte>
void ResidualDecoder::by_table(const ResidualDecoder& decoder,
                               const std::uint8_t* const* residuals, std::size_t rows,
                               std::int16_t* block) {
    constexpr std::size_t chunk_bytes = chunk_dims / per_byte;
    const std::int16_t* weights = decoder.of_byte_.data();
    for (std::size_t r = 0; r < rows; ++r) {
        std::int16_t* row = block + r * chunk_dims;
        const std::uint8_t* byte = residuals[r];
        for (std::size_t left = decoder.bytes(); left > 0; row += block_rows * chunk_dims) {
            const std::size_t size = std::min(chunk_bytes, left);
            for (std::size_t i = 0; i < size; ++i)
                std::memcpy(row + i * per_byte, weights + byte[i] * per_byte,
                            per_byte * sizeof *weights);
            byte += size;
            left -= size;
        }
    }
}

#ifdef MEMSTORE_X86

// Up to four bits, where a chunk is at most one register. For each 32 dimensions, their words are
// brought to the dimensions' places, shifted until the fields are lowest, and looked up.
MEMSTORE_VNNI void ResidualDecoder::by_words(const ResidualDecoder& decoder,
                                             const std::uint8_t* const* residuals,
                                             std::size_t rows, std::int16_t* block) {
    const __m512i weights = _mm512_load_si512(&decoder.word_weights_);
    __m512i words[word_vectors];
    __m512i shifts[word_vectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < word_vectors; ++v) {
        words[v] = _mm512_load_si512(&decoder.word_of_[v]);
        shifts[v] = _mm512_load_si512(&decoder.shift_of_[v]);
    }
    const std::size_t chunk_bytes = chunk_dims * decoder.bits_ / 8;
    const std::size_t bytes = decoder.bytes();
    for (std::size_t first = 0; first < bytes; first += chunk_bytes) {
        const std::size_t size = std::min(chunk_bytes, bytes - first);
        const __mmask64 within = ~__mmask64{0} >> (64 - size);
        for (std::size_t r = 0; r < rows; ++r) {
            const __m512i packed = _mm512_maskz_loadu_epi8(within, residuals[r] + first);
            std::int16_t* row = block + r * chunk_dims;
#pragma GCC unroll 4
            for (std::size_t v = 0; v < word_vectors; ++v) {
                const __m512i fields =
                    _mm512_srlv_epi16(_mm512_permutexvar_epi16(words[v], packed), shifts[v]);
                _mm512_store_si512(row + v * word_lanes, _mm512_permutexvar_epi16(fields, weights));
            }
        }
        block += block_rows * chunk_dims;
    }
}

// Four bits, 32 bytes at a time: low and high bytes of the weights are looked up apart.
MEMSTORE_AVX2 void ResidualDecoder::by_nibbles(const ResidualDecoder& decoder,
                                               const std::uint8_t* const* residuals,
                                               std::size_t rows, std::int16_t* block) {
    constexpr std::size_t step_bytes = 32;
    constexpr std::size_t chunk_bytes = chunk_dims / 2;
    std::uint8_t low_of[16];
    std::uint8_t high_of[16];
    for (std::size_t i = 0; i < 16; ++i) {
        low_of[i] = static_cast<std::uint8_t>(decoder.of_field_[i]);
        high_of[i] = static_cast<std::uint8_t>(decoder.of_field_[i] >> 8);
    }
    const auto load = [](const std::uint8_t* bytes) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    };
    const __m256i low = _mm256_broadcastsi128_si256(load(low_of));
    const __m256i high = _mm256_broadcastsi128_si256(load(high_of));
    const __m256i nibble = _mm256_set1_epi8(15);
    // Unpacking works in the halves of a register: the double words that it takes from both halves
    // together are laid there, so that all comes out in the order of dimensions.
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    const std::size_t bytes = decoder.bytes();
    for (std::size_t first = 0; first < bytes; first += step_bytes) {
        std::int16_t* target = block + first / chunk_bytes * block_rows * chunk_dims +
                               first % chunk_bytes * 2;
        for (std::size_t r = 0; r < rows; ++r) {
            __m256i packed;
            if (bytes - first >= step_bytes) {
                std::memcpy(&packed, residuals[r] + first, sizeof packed);
            } else {
                std::uint8_t rest[step_bytes] = {};
                std::memcpy(rest, residuals[r] + first, bytes - first);
                std::memcpy(&packed, rest, sizeof packed);
            }
            packed = _mm256_permutevar8x32_epi32(packed, order);
            const __m256i even = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
            const __m256i odd = _mm256_and_si256(packed, nibble);
            const __m256i even_low = _mm256_shuffle_epi8(low, even);
            const __m256i even_high = _mm256_shuffle_epi8(high, even);
            const __m256i odd_low = _mm256_shuffle_epi8(low, odd);
            const __m256i odd_high = _mm256_shuffle_epi8(high, odd);
            const __m256i evens[2] = {_mm256_unpacklo_epi8(even_low, even_high),
                                      _mm256_unpackhi_epi8(even_low, even_high)};
            const __m256i odds[2] = {_mm256_unpacklo_epi8(odd_low, odd_high),
                                     _mm256_unpackhi_epi8(odd_low, odd_high)};
            auto* row = reinterpret_cast<__m256i*>(target + r * chunk_dims);
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                _mm256_store_si256(row + 2 * i, _mm256_unpacklo_epi16(evens[i], odds[i]));
                _mm256_store_si256(row + 2 * i + 1, _mm256_unpackhi_epi16(evens[i], odds[i]));
            }
        }
    }
}

#endif  // MEMSTORE_X86

ResidualDecoder::Decode ResidualDecoder::decode_for(int bits, InstructionSet set) {
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni && bits <= 4) return by_words;
    if (set == InstructionSet::avx2 && bits == 4) return by_nibbles;
#endif
    (void)set;
    switch (bits) {
        case 1: return by_table<8>;
        case 2: return by_table<4>;
        case 4: return by_table<2>;
        default: return by_table<1>;
    }
}

}  // namespace memstore
