// Dot products of 8-bit integers in standard operations: 4 rows of a group of 32 columns, exactly, for several tokens.
#pragma once

#include "simd/portable.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

// The tokens and registers of rows that a block of a product has, so that its sums stay in registers.
inline constexpr int kDotTokens = 4;
inline constexpr int kDotParts = 1;
inline constexpr int kFloatTokens = 2;
inline constexpr int kFloatParts = 4;

inline constexpr int kStepBytes = 64;  // 4 columns of 16 rows

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
// Each 16-bit lane has two bytes: the even column in its low bits, the odd column in its high bits.
LITGPT_INLINE Shorts even_columns(Shorts pairs) { return (pairs << 8) >> 8; }
LITGPT_INLINE Shorts odd_columns(Shorts pairs) { return pairs >> 8; }
LITGPT_INLINE Int add_neighbors(Shorts pairs) {
  const Int both = reinterpret_cast<Int>(pairs);
  return ((both << 16) >> 16) + (both >> 16);
}

// The highest bits of each 32-bit lane after a shift to the left: 4 without a sign, or 8 with one.
template <int kBits>
LITGPT_INLINE Float load_high_bits(const uint8_t* words, int shift) {
  const Int shifted = reinterpret_cast<Int>(load_quants(words)) << shift;
  return to_float(kBits == 8 ? shifted >> 24 : shifted >> 28 & 15);
}

// Adding all products in 16 bits cannot overflow: 16 * 15 * 127 = 30480.
template <int kTokens>
LITGPT_INLINE void dot_q4(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  Shorts pairs[kTokens];
  for (int t = 0; t < kTokens; ++t) pairs[t] = Shorts{};
  for (int step = 0; step < 4; ++step) {
    const Shorts both = load_quants(quants + step * kStepBytes);
    const Shorts low = both & 0x0f0f;
    const Shorts high = (both >> 4) & 0x0f0f;
    for (int t = 0; t < kTokens; ++t) {
      const Shorts first = broadcast_columns(x + t * stride + 4 * step);
      const Shorts second = broadcast_columns(x + t * stride + 4 * step + 16);
      pairs[t] += even_columns(low) * even_columns(first) + odd_columns(low) * odd_columns(first);
      pairs[t] += even_columns(high) * even_columns(second) + odd_columns(high) * odd_columns(second);
    }
  }
  for (int t = 0; t < kTokens; ++t) sums[t] = add_neighbors(pairs[t]);
}

// What dot_q8 returns, less the sum of x times this, is the dot product.
inline constexpr float kQ8Excess = 0.0F;

// Two products fit in 16 bits: 2 * 128 * 127 = 32512.
template <int kTokens>
LITGPT_INLINE void dot_q8(const uint8_t* quants, const int8_t* x, int64_t stride, Int (&sums)[kTokens]) {
  for (int t = 0; t < kTokens; ++t) sums[t] = Int{};
  for (int step = 0; step < 8; ++step) {
    const Shorts weight = load_quants(quants + step * kStepBytes);
    for (int t = 0; t < kTokens; ++t) {
      const Shorts columns = broadcast_columns(x + t * stride + 4 * step);
      const Shorts even = even_columns(weight) * even_columns(columns);
      sums[t] += add_neighbors(even + odd_columns(weight) * odd_columns(columns));
    }
  }
}

inline constexpr bool kBf16Dot = false;
LITGPT_INLINE Float dot_bf16(Float sum, const uint16_t*, const uint16_t*) { return sum; }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
