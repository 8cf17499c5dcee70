// Dot products of 8-bit integers for AVX-512, with and without VNNI: 16 rows of a group of 32 columns, exactly, for
// several tokens.
#pragma once

#include "simd/avx512.h"
#include "simd/codes.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 8;
inline constexpr int kHalfDotTokens = 8;  // if the halves of a group have sums of their own
inline constexpr int kDotParts = 1;
inline constexpr int kFloatTokens = 8;
inline constexpr int kFloatParts = 1;

LITGPT_INLINE Int broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}
LITGPT_INLINE Words look_up(const uint8_t (&table)[16], Words bytes) {
  const Int tables = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  return (Words)_mm512_shuffle_epi8(tables, (Int)bytes);
}
// Keeps a sum in its register here: GCC would reorder the additions, and then run out of registers.
LITGPT_INLINE void pin(Int& sum) { __asm__("" : "+v"(sum)); }
LITGPT_INLINE Int load_quants(const uint8_t* from) { return _mm512_loadu_si512(from); }

// sum + the products of unsigned bytes and, in each lane, the same four columns.
#ifdef __AVX512VNNI__
LITGPT_INLINE Int dot_step(Int sum, Int unsigned_bytes, const int8_t* columns) {
  // Compilers would load the columns into a register first, with one more instruction.
  using Columns __attribute__((may_alias, aligned(1))) = int32_t;
  const auto* four = reinterpret_cast<const Columns*>(columns);
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "m"(*four));
  return sum;
}
#else
// Two products must fit in 16 bits.
LITGPT_INLINE Int dot_step(Int sum, Int unsigned_bytes, Int signed_bytes) {
  const Int pairs = _mm512_maddubs_epi16(unsigned_bytes, signed_bytes);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
LITGPT_INLINE Int dot_step(Int sum, Int unsigned_bytes, const int8_t* columns) {
  return dot_step(sum, unsigned_bytes, broadcast_columns(columns));
}
#endif

// The dot products of the codes of a format with x: of all columns, or of the first and the last 16.
template <Format kFormat, int kTokens, int kSums>
LITGPT_INLINE void dot_codes(const uint8_t* codes, const int8_t* x, int64_t stride, Int (&sums)[kTokens][kSums]) {
  for (int t = 0; t < kTokens; ++t) {
    for (int s = 0; s < kSums; ++s) sums[t][s] = _mm512_setzero_si512();
  }
  _Pragma("GCC unroll 4") for (int step = 0; step < 4; ++step) {
    const CodePair pair = load_codes<kFormat>(codes, step);
    const Int low = (Int)pair.low;
    const Int high = (Int)pair.high;
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const int8_t* columns = x + t * stride + 4 * step;
      sums[t][0] = dot_step(sums[t][0], low, columns);
      sums[t][kSums - 1] = dot_step(sums[t][kSums - 1], high, columns + 16);
      pin(sums[t][0]);
      if constexpr (kSums == 2) pin(sums[t][1]);
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
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens][1]) {
  for (int t = 0; t < kTokens; ++t) sums[t][0] = _mm512_setzero_si512();
  _Pragma("GCC unroll 8") for (int step = 0; step < 8; ++step) {
    const Int weight = load_quants(quants + step * kStepBytes);
#ifdef __AVX512VNNI__
    const Int raised = _mm512_xor_si512(weight, _mm512_set1_epi8(-128));
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      sums[t][0] = dot_step(sums[t][0], raised, x + t * stride + 4 * step);
      pin(sums[t][0]);
    }
#else
    // The weight gives its sign to x.
    const Int magnitude = _mm512_abs_epi8(weight);
    const __mmask64 negative = _mm512_movepi8_mask(weight);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const Int columns = broadcast_columns(x + t * stride + 4 * step);
      const Int signed_columns = _mm512_mask_sub_epi8(columns, negative, _mm512_setzero_si512(), columns);
      sums[t][0] = dot_step(sums[t][0], magnitude, signed_columns);
      pin(sums[t][0]);
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
