// Dot products of 8-bit integers for AVX2: 8 rows of a group of 32 columns, exactly, for several tokens.
#pragma once

#include "simd/avx2.h"
#include "simd/codes.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 4;
inline constexpr int kHalfDotTokens = 2;  // if the halves of a group have sums of their own
inline constexpr int kDotParts = 1;
inline constexpr int kFloatTokens = 4;
inline constexpr int kFloatParts = 2;

LITGPT_INLINE Int broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}
LITGPT_INLINE Words look_up(const uint8_t (&table)[16], Words bytes) {
  const Int tables = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  return (Words)_mm256_shuffle_epi8(tables, (Int)bytes);
}
// Keeps a sum in its register here: GCC would reorder the additions, and then run out of registers.
LITGPT_INLINE void pin(Int& sum) { __asm__("" : "+x"(sum)); }
LITGPT_INLINE Int load_quants(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const Int*>(from)); }

// The dot products of the codes of a format with x: of all columns, or of the first and the last 16.
template <Format kFormat, int kTokens, int kSums>
LITGPT_INLINE void dot_codes(const uint8_t* codes, const int8_t* x, int64_t stride, Int (&sums)[kTokens][kSums]) {
  constexpr int kSteps = steps_in_16_bits(kFormat, kSums);
  for (int first = 0; first < 4; first += kSteps) {
    Int pairs[kTokens][kSums];
    for (int t = 0; t < kTokens; ++t) {
      for (int s = 0; s < kSums; ++s) pairs[t][s] = _mm256_setzero_si256();
    }
    _Pragma("GCC unroll 4") for (int step = first; step < first + kSteps; ++step) {
      const CodePair pair = load_codes<kFormat>(codes, step);
      const Int low = (Int)pair.low;
      const Int high = (Int)pair.high;
      _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
        const int8_t* columns = x + t * stride + 4 * step;
        Int* to = pairs[t];
        to[0] = _mm256_add_epi16(to[0], _mm256_maddubs_epi16(low, broadcast_columns(columns)));
        to[kSums - 1] = _mm256_add_epi16(to[kSums - 1], _mm256_maddubs_epi16(high, broadcast_columns(columns + 16)));
        pin(to[0]);
        if constexpr (kSums == 2) pin(to[1]);
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int s = 0; s < kSums; ++s) {
        const Int wide = _mm256_madd_epi16(pairs[t][s], _mm256_set1_epi16(1));
        sums[t][s] = first == 0 ? wide : _mm256_add_epi32(sums[t][s], wide);
      }
    }
  }
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
inline constexpr float kQ8Excess = 0.0F;

// The first factor of maddubs is unsigned: the weight gives its sign to x. One product fits in 16 bits
// (2 * 128 * 127 = 32512), but two do not.
template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens][1]) {
  const Int ones = _mm256_set1_epi16(1);
  for (int t = 0; t < kTokens; ++t) sums[t][0] = _mm256_setzero_si256();
  _Pragma("GCC unroll 8") for (int step = 0; step < 8; ++step) {
    const Int weight = load_quants(quants + step * kStepBytes);
    const Int magnitude = _mm256_abs_epi8(weight);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const Int columns = _mm256_sign_epi8(broadcast_columns(x + t * stride + 4 * step), weight);
      sums[t][0] = _mm256_add_epi32(sums[t][0], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, columns), ones));
      pin(sums[t][0]);
    }
  }
}

inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
