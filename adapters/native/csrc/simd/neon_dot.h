// Dot products of 8-bit integers for NEON with the dot product extension: 4 rows of a group of 32 columns, exactly,
// for several tokens.
#pragma once

#include "simd/neon.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 4;
inline constexpr int kDotParts = 2;
inline constexpr int kFloatTokens = 4;
inline constexpr int kFloatParts = 4;

inline constexpr int kStepBytes = 64;  // 4 columns of 16 rows

LITGPT_INLINE int8x16_t broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

// The highest bits of each 32-bit lane after a shift to the left: 4 without a sign, or 8 with one.
template <int kBits>
LITGPT_INLINE Float load_high_bits(const uint8_t* words, int shift) {
  const int32x4_t shifted = vshlq_s32(vreinterpretq_s32_u8(vld1q_u8(words)), vdupq_n_s32(shift));
  if constexpr (kBits == 8) return to_float(vshrq_n_s32(shifted, 24));
  return to_float(vandq_s32(vshrq_n_s32(shifted, 28), vdupq_n_s32(15)));
}

template <int kTokens>
LITGPT_INLINE void dot_q4(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  for (int t = 0; t < kTokens; ++t) sums[t] = vdupq_n_s32(0);
  _Pragma("GCC unroll 4") for (int step = 0; step < 4; ++step) {
    const uint8x16_t both = vld1q_u8(quants + step * kStepBytes);
    const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
    const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const int8_t* columns = x + t * stride + 4 * step;
      sums[t] = vdotq_s32(sums[t], low, broadcast_columns(columns));
      sums[t] = vdotq_s32(sums[t], high, broadcast_columns(columns + 16));
    }
  }
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
inline constexpr float kQ8Excess = 0.0F;

template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  for (int t = 0; t < kTokens; ++t) sums[t] = vdupq_n_s32(0);
  _Pragma("GCC unroll 8") for (int step = 0; step < 8; ++step) {
    const int8x16_t weight = vreinterpretq_s8_u8(vld1q_u8(quants + step * kStepBytes));
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      sums[t] = vdotq_s32(sums[t], weight, broadcast_columns(x + t * stride + 4 * step));
    }
  }
}

inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
