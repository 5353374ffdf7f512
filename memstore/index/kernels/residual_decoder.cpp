#include "residual_decoder.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "transposing.h"

namespace memstore {
namespace {

constexpr std::size_t word_bytes = 4;  // of each vector, decoded together
constexpr std::size_t half_bits = 16;  // each lane of a panel takes a field of both halves

}  // namespace

std::uint8_t reversed(std::uint8_t bucket, int bits) {
    std::uint8_t result = 0;
    for (int bit = 0; bit < bits; ++bit)
        result = static_cast<std::uint8_t>(result << 1 | (bucket >> bit & 1));
    return result;
}

ResidualDecoder::ResidualDecoder(const std::vector<std::int16_t>& bucket_weights, std::size_t dim,
                                 int bits, InstructionSet set)
    : dim_(dim),
      bits_(static_cast<std::size_t>(bits)),
      steps_(round_up(bytes(), word_bytes) / word_bytes * (half_bits / bits_)),
      decode_(decode_for(bits, set)),
      of_field_(bucket_weights.size()) {
    for (std::size_t bucket = 0; bucket < bucket_weights.size(); ++bucket)
        of_field_[reversed(static_cast<std::uint8_t>(bucket), bits)] = bucket_weights[bucket];
    for (std::size_t i = 0; i < std::size(of_five_bits_); ++i)
        of_five_bits_[i] = of_field_[i % of_field_.size()];
}

std::vector<std::size_t> ResidualDecoder::dimensions() const {
    const std::size_t per_half = half_bits / bits_;
    std::vector<std::size_t> result;
    result.reserve(2 * steps_);
    for (std::size_t step = 0; step < steps_; ++step) {
        const std::size_t shift = step % per_half * bits_;
        for (std::size_t half : {0, 1}) {
            const std::size_t byte = step / per_half * word_bytes + half * 2 + shift / 8;
            result.push_back((byte * 8 + (8 - bits_) - shift % 8) / bits_);
        }
    }
    return result;
}

template <int bits>
void ResidualDecoder::by_fields(const ResidualDecoder& decoder,
                                const std::uint8_t* const* residuals, std::int16_t* panel) {
    constexpr std::uint32_t mask = (1U << bits) - 1;
    const std::size_t bytes = decoder.bytes();
    const std::int16_t* weights = decoder.of_field_.data();
    for (std::size_t first = 0; first < bytes; first += word_bytes) {
        const std::size_t size = std::min(word_bytes, bytes - first);
        for (std::size_t v = 0; v < panel_vectors; ++v) {
            std::uint32_t word = 0;  // one load where the size is constant
            if (size == word_bytes)
                std::memcpy(&word, residuals[v] + first, word_bytes);
            else
                std::memcpy(&word, residuals[v] + first, size);
            std::int16_t* pair = panel + 2 * v;
            for (std::size_t shift = 0; shift < half_bits; shift += bits) {
                pair[0] = weights[word >> shift & mask];
                pair[1] = weights[word >> (half_bits + shift) & mask];
                pair += panel_size(1);
            }
        }
        panel += panel_size(half_bits / bits);
    }
}

#ifdef MEMSTORE_X86

// Sixteen bytes of each of some residuals, or as many as there are left and zeros.
template <std::size_t count>
class Sixteen {
public:
    static constexpr std::size_t size = 4 * word_bytes;

    Sixteen(const std::uint8_t* const* residuals, std::size_t first, std::size_t bytes)
        : rows(residuals), offset(first) {
        if (bytes - first >= size) return;
        for (std::size_t v = 0; v < count; ++v) {
            std::memset(copy_[v], 0, size);
            std::memcpy(copy_[v], residuals[v] + first, bytes - first);
            copies_[v] = copy_[v];
        }
        rows = copies_;
        offset = 0;
    }

    const std::uint8_t* const* rows;
    std::size_t offset;

private:
    std::uint8_t copy_[count][size];
    const std::uint8_t* copies_[count];
};

// Up to four bits. A register holds four bytes of each of sixteen vectors; their fields are shifted
// to be lowest and looked up by the lowest five bits, whatever lies above the field.
template <int bits>
MEMSTORE_VNNI void ResidualDecoder::by_words(const ResidualDecoder& decoder,
                                             const std::uint8_t* const* residuals,
                                             std::int16_t* panel) {
    constexpr std::size_t vectors = 16;
    constexpr std::size_t steps_per_word = half_bits / bits;
    const __m512i weights = _mm512_loadu_si512(decoder.of_five_bits_);
    const std::size_t bytes = decoder.bytes();
    for (std::size_t v = 0; v < panel_vectors; v += vectors) {
        std::int16_t* line = panel + 2 * v;
        for (std::size_t first = 0; first < bytes; first += Sixteen<vectors>::size) {
            const Sixteen<vectors> sixteen(residuals + v, first, bytes);
            __m512i words[4];
            load_columns(sixteen.rows, sixteen.offset, words);
#pragma GCC unroll 4
            for (std::size_t word = 0; word < 4; ++word) {
                if (first + word * word_bytes >= bytes) break;
                __m512i fields = words[word];
#pragma GCC unroll 16
                for (std::size_t step = 0; step < steps_per_word; ++step) {
                    _mm512_storeu_si512(line, _mm512_permutexvar_epi16(fields, weights));
                    fields = _mm512_srli_epi16(fields, bits);
                    line += panel_size(1);
                }
            }
        }
    }
}

// Up to four bits. A register holds four bytes of each of eight vectors; low and high bytes of the
// weights are looked up apart.
template <int bits>
MEMSTORE_AVX2 void ResidualDecoder::by_bytes(const ResidualDecoder& decoder,
                                             const std::uint8_t* const* residuals,
                                             std::int16_t* panel) {
    constexpr std::size_t vectors = 8;
    constexpr std::size_t steps_per_byte = 8 / bits;
    std::uint8_t low_of[16];
    std::uint8_t high_of[16];
    for (std::size_t i = 0; i < 16; ++i) {
        low_of[i] = static_cast<std::uint8_t>(decoder.of_five_bits_[i]);
        high_of[i] = static_cast<std::uint8_t>(decoder.of_five_bits_[i] >> 8);
    }
    const auto load = [](const std::uint8_t* bytes) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    };
    const __m256i low = _mm256_broadcastsi128_si256(load(low_of));
    const __m256i high = _mm256_broadcastsi128_si256(load(high_of));
    const __m256i field = _mm256_set1_epi8((1 << bits) - 1);
    const __m256i low_byte = _mm256_set1_epi16(255);
    const std::size_t bytes = decoder.bytes();
    for (std::size_t v = 0; v < panel_vectors; v += vectors) {
        std::int16_t* line = panel + 2 * v;
        for (std::size_t first = 0; first < bytes; first += Sixteen<vectors>::size) {
            const Sixteen<vectors> sixteen(residuals + v, first, bytes);
            __m256i words[4];
            load_columns(sixteen.rows, sixteen.offset, words);
#pragma GCC unroll 4
            for (std::size_t word = 0; word < 4; ++word) {
                if (first + word * word_bytes >= bytes) break;
                __m256i packed = words[word];
                // Of each half, a field of its first byte and the same one of its second.
#pragma GCC unroll 8
                for (std::size_t step = 0; step < steps_per_byte; ++step) {
                    const __m256i fields = _mm256_and_si256(packed, field);
                    const __m256i lows = _mm256_shuffle_epi8(low, fields);
                    const __m256i highs = _mm256_shuffle_epi8(high, fields);
                    const __m256i first_byte = _mm256_or_si256(_mm256_and_si256(lows, low_byte),
                                                               _mm256_slli_epi16(highs, 8));
                    const __m256i second_byte = _mm256_or_si256(
                        _mm256_srli_epi16(lows, 8), _mm256_andnot_si256(low_byte, highs));
                    auto* const target = line + panel_size(step);
                    _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), first_byte);
                    _mm256_storeu_si256(
                        reinterpret_cast<__m256i*>(target + panel_size(steps_per_byte)),
                        second_byte);
                    packed = _mm256_srli_epi16(packed, bits);
                }
                line += panel_size(half_bits / bits);
            }
        }
    }
}

#endif  // MEMSTORE_X86

ResidualDecoder::Decode ResidualDecoder::decode_for(int bits, InstructionSet set) {
#ifdef MEMSTORE_X86
    if (set == InstructionSet::avx512_vnni) {
        switch (bits) {
            case 1: return by_words<1>;
            case 2: return by_words<2>;
            case 4: return by_words<4>;
        }
    }
    if (set == InstructionSet::avx2) {
        switch (bits) {
            case 1: return by_bytes<1>;
            case 2: return by_bytes<2>;
            case 4: return by_bytes<4>;
        }
    }
#endif
    (void)set;
    switch (bits) {
        case 1: return by_fields<1>;
        case 2: return by_fields<2>;
        case 4: return by_fields<4>;
        default: return by_fields<8>;
    }
}

}  // namespace memstore
