// Dot products of 8-bit integers for AVX-512, with and without VNNI: 16 rows of a group of 32 columns, exactly, for
// several tokens.
#pragma once

#include "simd/avx512.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 8;
inline constexpr int kDotParts = 1;
inline constexpr int kFloatTokens = 8;
inline constexpr int kFloatParts = 1;

inline constexpr int kStepBytes = 64;  // 4 columns of 16 rows

LITGPT_INLINE Int broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}
// Keeps a sum in its register here: GCC would reorder the additions, and then run out of registers.
LITGPT_INLINE void pin(Int& sum) { __asm__("" : "+v"(sum)); }
LITGPT_INLINE Int load_quants(const uint8_t* from) { return _mm512_loadu_si512(from); }

// The highest bits of each 32-bit lane after a shift to the left: 4 without a sign, or 8 with one.
template <int kBits>
LITGPT_INLINE Float load_high_bits(const uint8_t* words, int shift) {
  const Int shifted = _mm512_sll_epi32(load_quants(words), _mm_cvtsi32_si128(shift));
  return to_float(kBits == 8 ? _mm512_srai_epi32(shifted, 24) : _mm512_srli_epi32(shifted, 28));
}

// sum + the products of unsigned and signed bytes. Without VNNI, a product of two pairs must fit in 16 bits.
LITGPT_INLINE Int dot_step(Int sum, Int unsigned_bytes, Int signed_bytes) {
#ifdef __AVX512VNNI__
  return _mm512_dpbusd_epi32(sum, unsigned_bytes, signed_bytes);
#else
  const Int pairs = _mm512_maddubs_epi16(unsigned_bytes, signed_bytes);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
}

template <int kTokens>
LITGPT_INLINE void dot_q4(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  const Int low_bits = _mm512_set1_epi8(15);
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
  _Pragma("GCC unroll 4") for (int step = 0; step < 4; ++step) {
    const Int both = load_quants(quants + step * kStepBytes);
    const Int low = _mm512_and_si512(both, low_bits);
    const Int high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_bits);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const int8_t* columns = x + t * stride + 4 * step;
      sums[t] = dot_step(sums[t], low, broadcast_columns(columns));
      sums[t] = dot_step(sums[t], high, broadcast_columns(columns + 16));
      pin(sums[t]);
    }
  }
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
#ifdef __AVX512VNNI__
inline constexpr float kQ8Excess = 128.0F;
#else
inline constexpr float kQ8Excess = 0.0F;
#endif

template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
  _Pragma("GCC unroll 8") for (int step = 0; step < 8; ++step) {
    const Int weight = load_quants(quants + step * kStepBytes);
#ifdef __AVX512VNNI__
    const Int raised = _mm512_xor_si512(weight, _mm512_set1_epi8(-128));
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      sums[t] = dot_step(sums[t], raised, broadcast_columns(x + t * stride + 4 * step));
      pin(sums[t]);
    }
#else
    // The weight gives its sign to x.
    const Int magnitude = _mm512_abs_epi8(weight);
    const __mmask64 negative = _mm512_movepi8_mask(weight);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const Int columns = broadcast_columns(x + t * stride + 4 * step);
      const Int signed_columns = _mm512_mask_sub_epi8(columns, negative, _mm512_setzero_si512(), columns);
      sums[t] = dot_step(sums[t], magnitude, signed_columns);
      pin(sums[t]);
    }
#endif
  }
}

// sum + the products of pairs of bf16: one pair per row of `weight`, the same pair of `x` for all rows.
#ifdef __AVX512BF16__
inline constexpr bool kBf16Dot = true;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t* weight, const uint16_t* x) {
  const Int pairs = _mm512_loadu_si512(weight);
  const Int columns = broadcast_columns(reinterpret_cast<const int8_t*>(x));
  return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)columns);
}
#else
inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }
#endif

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
