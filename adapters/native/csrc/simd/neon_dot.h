// Dot products of 8-bit integers for NEON with the dot product extension: 4 rows of a group of 32 columns, exactly,
// for several tokens.
#pragma once

#include "simd/neon.h"
#include "simd/codes.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 4;
inline constexpr int kHalfDotTokens = 2;  // if the halves of a group have sums of their own
inline constexpr int kDotParts = 2;
inline constexpr int kFloatTokens = 4;
inline constexpr int kFloatParts = 4;

LITGPT_INLINE int8x16_t broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

LITGPT_INLINE Words look_up(const uint8_t (&table)[16], Words bytes) {
  return (Words)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)bytes);
}

// The dot products of the codes of a format with x: of all columns, or of the first and the last 16.
template <Format kFormat, int kTokens, int kSums>
LITGPT_INLINE void dot_codes(const uint8_t* codes, const int8_t* x, int64_t stride, Int (&sums)[kTokens][kSums]) {
  for (int t = 0; t < kTokens; ++t) {
    for (int s = 0; s < kSums; ++s) sums[t][s] = vdupq_n_s32(0);
  }
  _Pragma("GCC unroll 4") for (int step = 0; step < 4; ++step) {
    const CodePair pair = load_codes<kFormat>(codes, step);
    const int8x16_t low = (int8x16_t)pair.low;
    const int8x16_t high = (int8x16_t)pair.high;
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const int8_t* columns = x + t * stride + 4 * step;
      sums[t][0] = vdotq_s32(sums[t][0], low, broadcast_columns(columns));
      sums[t][kSums - 1] = vdotq_s32(sums[t][kSums - 1], high, broadcast_columns(columns + 16));
    }
  }
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
inline constexpr float kQ8Excess = 0.0F;

template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens][1]) {
  for (int t = 0; t < kTokens; ++t) sums[t][0] = vdupq_n_s32(0);
  _Pragma("GCC unroll 8") for (int step = 0; step < 8; ++step) {
    const int8x16_t weight = vreinterpretq_s8_u8(vld1q_u8(quants + step * kStepBytes));
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      sums[t][0] = vdotq_s32(sums[t][0], weight, broadcast_columns(x + t * stride + 4 * step));
    }
  }
}

inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
