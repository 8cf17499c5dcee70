// Dot products of 8-bit integers for AVX2: 8 rows of a group of 32 columns, exactly, for several tokens.
#pragma once

#include "simd/avx2.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 4;
inline constexpr int kDotParts = 1;
inline constexpr int kFloatTokens = 4;
inline constexpr int kFloatParts = 2;

inline constexpr int kStepBytes = 64;  // 4 columns of 16 rows

LITGPT_INLINE Int broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}
// Keeps a sum in its register here: GCC would reorder the additions, and then run out of registers.
LITGPT_INLINE void pin(Int& sum) { __asm__("" : "+x"(sum)); }
LITGPT_INLINE Int load_quants(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const Int*>(from)); }

// The highest bits of each 32-bit lane after a shift to the left: 4 without a sign, or 8 with one.
template <int kBits>
LITGPT_INLINE Float load_high_bits(const uint8_t* words, int shift) {
  const Int shifted = _mm256_sll_epi32(load_quants(words), _mm_cvtsi32_si128(shift));
  return to_float(kBits == 8 ? _mm256_srai_epi32(shifted, 24) : _mm256_srli_epi32(shifted, 28));
}

// Adding all eight products in 16 bits cannot overflow: 8 * 2 * 15 * 127 = 30480.
template <int kTokens>
LITGPT_INLINE void dot_q4(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  const Int low_bits = _mm256_set1_epi8(15);
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm256_setzero_si256();
  _Pragma("GCC unroll 4") for (int step = 0; step < 4; ++step) {
    const Int both = load_quants(quants + step * kStepBytes);
    const Int low = _mm256_and_si256(both, low_bits);
    const Int high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low_bits);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const int8_t* columns = x + t * stride + 4 * step;
      sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(low, broadcast_columns(columns)));
      sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(high, broadcast_columns(columns + 16)));
      pin(sums[t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm256_madd_epi16(sums[t], _mm256_set1_epi16(1));
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
inline constexpr float kQ8Excess = 0.0F;

// The first factor of maddubs is unsigned: the weight gives its sign to x. One product fits in 16 bits
// (2 * 128 * 127 = 32512), but two do not.
template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  const Int ones = _mm256_set1_epi16(1);
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm256_setzero_si256();
  _Pragma("GCC unroll 8") for (int step = 0; step < 8; ++step) {
    const Int weight = load_quants(quants + step * kStepBytes);
    const Int magnitude = _mm256_abs_epi8(weight);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const Int columns = _mm256_sign_epi8(broadcast_columns(x + t * stride + 4 * step), weight);
      sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, columns), ones));
      pin(sums[t]);
    }
  }
}

inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
