// One register of NEON on 64-bit ARM: 4 lanes of float32.
#pragma once

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "core/inline.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

using Float = float32x4_t;
using Int = int32x4_t;
inline constexpr int kLanes = 4;

LITGPT_INLINE Float broadcast(float value) { return vdupq_n_f32(value); }
LITGPT_INLINE Float load(const float* from) { return vld1q_f32(from); }
LITGPT_INLINE void store(float* to, Float value) { vst1q_f32(to, value); }

LITGPT_INLINE Float load_part(const float* from, int count) {
  float lanes[kLanes] = {0.0F, 0.0F, 0.0F, 0.0F};
  for (int lane = 0; lane < count; ++lane) lanes[lane] = from[lane];
  return vld1q_f32(lanes);
}
LITGPT_INLINE void store_part(float* to, Float value, int count) {
  float lanes[kLanes];
  vst1q_f32(lanes, value);
  for (int lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
}

LITGPT_INLINE Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
LITGPT_INLINE Float max(Float a, Float b) { return vmaxq_f32(a, b); }
LITGPT_INLINE Float min(Float a, Float b) { return vminq_f32(a, b); }
LITGPT_INLINE Float abs(Float a) { return vabsq_f32(a); }
LITGPT_INLINE Float sqrt(Float a) { return vsqrtq_f32(a); }
LITGPT_INLINE Float round(Float a) { return vrndnq_f32(a); }
LITGPT_INLINE Float to_float(Int a) { return vcvtq_f32_s32(a); }

// 2 to the power of an integer from -126 to 127.
LITGPT_INLINE Float power_of_two(Float integer) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(integer), vdupq_n_s32(127)), 23));
}

LITGPT_INLINE float sum(Float a) { return vaddvq_f32(a); }
LITGPT_INLINE float max_lane(Float a) { return vmaxvq_f32(a); }
// Bit i: whether lane i of `a` is greater.
LITGPT_INLINE uint32_t greater_lanes(Float a, Float b) {
  const uint32x4_t bits = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), bits));
}

LITGPT_INLINE Float load_f16(const uint16_t* from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
LITGPT_INLINE Float load_bf16(const uint16_t* from) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16)); }
// The even and the odd elements of 2 * kLanes.
LITGPT_INLINE void load_bf16_pairs(const uint16_t* from, Float* even, Float* odd) {
  const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(from));
  *even = vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
  *odd = vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000U)));
}
// Rounds to nearest even; NaN stays NaN.
LITGPT_INLINE void store_bf16(uint16_t* to, Float value) {
  const uint32x4_t bits = vreinterpretq_u32_f32(value);
  const uint32x4_t lowest = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(lowest, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  vst1_u16(to, vshrn_n_u32(vbslq_u32(vceqq_f32(value, value), rounded, quiet), 16));
}

LITGPT_INLINE Int load_u8(const uint8_t* from) {
  uint8_t eight[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  memcpy(eight, from, kLanes);
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vld1_u8(eight)))));
}
LITGPT_INLINE Float load_i8(const int8_t* from) {
  int8_t eight[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  memcpy(eight, from, kLanes);
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(eight)))));
}
// Rounds to nearest even and saturates.
LITGPT_INLINE void store_i8(int8_t* to, Float value) {
  const int16x4_t half = vqmovn_s32(vcvtnq_s32_f32(value));
  int8_t eight[8];
  vst1_s8(eight, vqmovn_s16(vcombine_s16(half, half)));
  memcpy(to, eight, kLanes);
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg

#include "simd/floats.h"
