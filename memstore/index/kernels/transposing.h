// Columns of 32-bit numbers out of rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "instruction_sets.h"

namespace memstore {

#ifdef MEMSTORE_X86

// Four columns of 16 rows, from 16 bytes of each. Loading to where the bytes belong leaves half the
// shuffles to do, and only one kind of execution unit shuffles.
MEMSTORE_VNNI MEMSTORE_INLINE void load_columns(const std::uint8_t* const* rows,
                                                std::size_t offset, __m512i (&columns)[4]) {
    const auto four = [&](std::size_t row) MEMSTORE_VNNI {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[row] + offset));
    };
    __m512i some[4];  // row r, r + 4, r + 8 and r + 12
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r) {
        const __m512i one = _mm512_castsi128_si512(four(r));
        const __m512i two = _mm512_inserti32x4(one, four(r + 4), 1);
        const __m512i three = _mm512_inserti32x4(two, four(r + 8), 2);
        some[r] = _mm512_inserti32x4(three, four(r + 12), 3);
    }
    const __m512i even_low = _mm512_unpacklo_epi32(some[0], some[1]);
    const __m512i even_high = _mm512_unpackhi_epi32(some[0], some[1]);
    const __m512i odd_low = _mm512_unpacklo_epi32(some[2], some[3]);
    const __m512i odd_high = _mm512_unpackhi_epi32(some[2], some[3]);
    columns[0] = _mm512_unpacklo_epi64(even_low, odd_low);
    columns[1] = _mm512_unpackhi_epi64(even_low, odd_low);
    columns[2] = _mm512_unpacklo_epi64(even_high, odd_high);
    columns[3] = _mm512_unpackhi_epi64(even_high, odd_high);
}

// The same of 8 rows.
MEMSTORE_AVX2 MEMSTORE_INLINE void load_columns(const std::uint8_t* const* rows,
                                                std::size_t offset, __m256i (&columns)[4]) {
    __m256i some[4];  // row r and r + 4
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r)
        some[r] = _mm256_loadu2_m128i(
            reinterpret_cast<const __m128i*>(rows[r + 4] + offset),
            reinterpret_cast<const __m128i*>(rows[r] + offset));
    const __m256i even_low = _mm256_unpacklo_epi32(some[0], some[1]);
    const __m256i even_high = _mm256_unpackhi_epi32(some[0], some[1]);
    const __m256i odd_low = _mm256_unpacklo_epi32(some[2], some[3]);
    const __m256i odd_high = _mm256_unpackhi_epi32(some[2], some[3]);
    columns[0] = _mm256_unpacklo_epi64(even_low, odd_low);
    columns[1] = _mm256_unpackhi_epi64(even_low, odd_low);
    columns[2] = _mm256_unpacklo_epi64(even_high, odd_high);
    columns[3] = _mm256_unpackhi_epi64(even_high, odd_high);
}

#endif  // MEMSTORE_X86

}  // namespace memstore
