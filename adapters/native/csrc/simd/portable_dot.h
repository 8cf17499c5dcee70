// Dot products of 8-bit integers in standard operations: 4 rows of a group of 32 columns, exactly, for several tokens.
#pragma once

#include "simd/portable.h"
#include "simd/codes.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 4;
inline constexpr int kHalfDotTokens = 2;  // if the halves of a group have sums of their own
inline constexpr int kDotParts = 1;
inline constexpr int kFloatTokens = 2;
inline constexpr int kFloatParts = 4;

using Shorts __attribute__((vector_size(16))) = int16_t;

LITGPT_INLINE Shorts load_quants(const uint8_t* from) {
  Shorts out;
  memcpy(&out, from, sizeof out);
  return out;
}
LITGPT_INLINE Shorts broadcast_columns(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return reinterpret_cast<Shorts>(Int{four, four, four, four});
}
LITGPT_INLINE Words look_up(const uint8_t (&table)[16], Words bytes) {
  uint8_t each[sizeof bytes];
  memcpy(each, &bytes, sizeof bytes);
  for (uint8_t& byte : each) byte = table[byte];
  memcpy(&bytes, each, sizeof bytes);
  return bytes;
}
// Each 16-bit lane has two bytes: the even column in its low bits, the odd column in its high bits.
LITGPT_INLINE Shorts even_columns(Shorts pairs) { return (pairs << 8) >> 8; }
LITGPT_INLINE Shorts odd_columns(Shorts pairs) { return pairs >> 8; }
LITGPT_INLINE Int add_neighbors(Shorts pairs) {
  const Int both = reinterpret_cast<Int>(pairs);
  return ((both << 16) >> 16) + (both >> 16);
}

// The dot products of the codes of a format with x: of all columns, or of the first and the last 16.
template <Format kFormat, int kTokens, int kSums>
LITGPT_INLINE void dot_codes(const uint8_t* codes, const int8_t* x, int64_t stride, Int (&sums)[kTokens][kSums]) {
  constexpr int kSteps = steps_in_16_bits(kFormat, kSums);
  for (int first = 0; first < 4; first += kSteps) {
    Shorts pairs[kTokens][kSums] = {};
    for (int step = first; step < first + kSteps; ++step) {
      const CodePair pair = load_codes<kFormat>(codes, step);
      const Shorts low = (Shorts)pair.low;
      const Shorts high = (Shorts)pair.high;
      for (int t = 0; t < kTokens; ++t) {
        const Shorts near = broadcast_columns(x + t * stride + 4 * step);
        const Shorts far = broadcast_columns(x + t * stride + 4 * step + 16);
        pairs[t][0] += even_columns(low) * even_columns(near) + odd_columns(low) * odd_columns(near);
        pairs[t][kSums - 1] += even_columns(high) * even_columns(far) + odd_columns(high) * odd_columns(far);
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int s = 0; s < kSums; ++s) {
        const Int wide = add_neighbors(pairs[t][s]);
        sums[t][s] = first == 0 ? wide : sums[t][s] + wide;
      }
    }
  }
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
inline constexpr float kQ8Excess = 0.0F;

// Two products fit in 16 bits: 2 * 128 * 127 = 32512.
template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens][1]) {
  for (int t = 0; t < kTokens; ++t) sums[t][0] = Int{};
  for (int step = 0; step < 8; ++step) {
    const Shorts weight = load_quants(quants + step * kStepBytes);
    for (int t = 0; t < kTokens; ++t) {
      const Shorts columns = broadcast_columns(x + t * stride + 4 * step);
      const Shorts even = even_columns(weight) * even_columns(columns);
      sums[t][0] += add_neighbors(even + odd_columns(weight) * odd_columns(columns));
    }
  }
}

inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
