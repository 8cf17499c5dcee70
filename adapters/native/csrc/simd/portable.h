// Four lanes of float32 in standard operations (vector extensions of GCC and clang), for every processor.
#pragma once

#include <stdint.h>
#include <string.h>

#include "core/inline.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

using Float __attribute__((vector_size(16))) = float;
using Int __attribute__((vector_size(16))) = int32_t;
using Bits __attribute__((vector_size(16))) = uint32_t;
inline constexpr int kLanes = 4;

LITGPT_INLINE Bits to_bits(Float a) { return reinterpret_cast<Bits>(a); }
LITGPT_INLINE Float from_bits(Bits a) { return reinterpret_cast<Float>(a); }

LITGPT_INLINE Float broadcast(float value) { return Float{value, value, value, value}; }
LITGPT_INLINE Float load(const float* from) {
  Float lanes;
  memcpy(&lanes, from, sizeof lanes);
  return lanes;
}
LITGPT_INLINE void store(float* to, Float value) { memcpy(to, &value, sizeof value); }

LITGPT_INLINE Float load_part(const float* from, int count) {
  Float lanes = {0.0F, 0.0F, 0.0F, 0.0F};
  for (int lane = 0; lane < count; ++lane) lanes[lane] = from[lane];
  return lanes;
}
LITGPT_INLINE void store_part(float* to, Float value, int count) {
  for (int lane = 0; lane < count; ++lane) to[lane] = value[lane];
}

// Rounds twice: a fused operation would be a slow function call.
LITGPT_INLINE Float fma(Float a, Float b, Float c) { return a * b + c; }
LITGPT_INLINE Float max(Float a, Float b) { return a > b ? a : b; }
LITGPT_INLINE Float min(Float a, Float b) { return a < b ? a : b; }
LITGPT_INLINE Float abs(Float a) { return from_bits(to_bits(a) & 0x7fffffffU); }
LITGPT_INLINE Float sqrt(Float a) {
  for (int lane = 0; lane < kLanes; ++lane) a[lane] = __builtin_sqrtf(a[lane]);
  return a;
}
// Adding 1.5 * 2^23 leaves no bits for a fraction. For values up to 2^22.
LITGPT_INLINE Float round(Float a) {
  const Float large = broadcast(12582912.0F);
  return (a + large) - large;
}
LITGPT_INLINE Float to_float(Int a) { return __builtin_convertvector(a, Float); }

// 2 to the power of an integer from -126 to 127.
LITGPT_INLINE Float power_of_two(Float integer) {
  return from_bits(reinterpret_cast<Bits>(__builtin_convertvector(integer, Int) + 127) << 23);
}

LITGPT_INLINE float sum(Float a) { return (a[0] + a[2]) + (a[1] + a[3]); }
LITGPT_INLINE float max_lane(Float a) {
  const float even = a[0] > a[2] ? a[0] : a[2];
  const float odd = a[1] > a[3] ? a[1] : a[3];
  return even > odd ? even : odd;
}
// Bit i: whether lane i of `a` is greater.
LITGPT_INLINE uint32_t greater_lanes(Float a, Float b) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= (a[i] > b[i] ? 1U : 0U) << i;
  return bits;
}

LITGPT_INLINE Bits load_u16(const uint16_t* from) { return Bits{from[0], from[1], from[2], from[3]}; }
// Scaling by 2^112 moves the exponent's bias from 15 to 127, and makes subnormal numbers normal.
LITGPT_INLINE Float load_f16(const uint16_t* from) {
  const Bits half = load_u16(from);
  const Bits magnitude = (half & 0x7fffU) << 13;
  const Float finite = from_bits(magnitude) * broadcast(5.192296858534828e+33F);
  const Bits special = magnitude | 0x7f800000U;
  const Bits bits = reinterpret_cast<Int>(magnitude) >= 0x0f800000 ? special : to_bits(finite);
  return from_bits(bits | (half & 0x8000U) << 16);
}
LITGPT_INLINE Float load_bf16(const uint16_t* from) { return from_bits(load_u16(from) << 16); }
// The even and the odd elements of 2 * kLanes.
LITGPT_INLINE void load_bf16_pairs(const uint16_t* from, Float* even, Float* odd) {
  *even = from_bits(Bits{from[0], from[2], from[4], from[6]} << 16);
  *odd = from_bits(Bits{from[1], from[3], from[5], from[7]} << 16);
}
// Rounds to nearest even; NaN stays NaN.
LITGPT_INLINE void store_bf16(uint16_t* to, Float value) {
  const Bits bits = to_bits(value);
  const Bits rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
  const Bits kept = (value == value ? rounded : bits | 0x400000U) >> 16;
  for (int lane = 0; lane < kLanes; ++lane) to[lane] = static_cast<uint16_t>(kept[lane]);
}

LITGPT_INLINE Int load_u8(const uint8_t* from) { return Int{from[0], from[1], from[2], from[3]}; }
LITGPT_INLINE Float load_i8(const int8_t* from) { return to_float(Int{from[0], from[1], from[2], from[3]}); }
// Rounds to nearest even and saturates.
LITGPT_INLINE void store_i8(int8_t* to, Float value) {
  const Float bounded = round(min(max(value, broadcast(-128.0F)), broadcast(127.0F)));
  for (int lane = 0; lane < kLanes; ++lane) to[lane] = static_cast<int8_t>(bounded[lane]);
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg

#include "simd/floats.h"
