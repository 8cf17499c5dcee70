// Conversions between float32 and the 16-bit formats.
#pragma once

#include <stdint.h>
#include <string.h>

namespace litgpt {

inline uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline float bf16_to_float(uint16_t half) { return float_from_bits(static_cast<uint32_t>(half) << 16); }

// Rounds to nearest even; NaN stays NaN.
inline uint16_t float_to_bf16(float value) {
  const uint32_t bits = float_bits(value);
  if (value != value) return static_cast<uint16_t>((bits | 0x400000U) >> 16);
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline float f16_to_float(uint16_t half) {
  const uint32_t magnitude = (half & 0x7fffU) << 13;
  const uint32_t sign = (half & 0x8000U) << 16;
  if (magnitude >= 0x0f800000U) return float_from_bits(magnitude | 0x7f800000U | sign);
  // Times 2^112: moves the exponent's bias from 15 to 127, and makes subnormal numbers normal.
  return float_from_bits(float_bits(float_from_bits(magnitude) * 5.192296858534828e+33F) | sign);
}

// Rounds to nearest even; values beyond 65504 become infinite; NaN stays NaN.
inline uint16_t float_to_f16(float value) {
  const uint32_t bits = float_bits(value);
  const uint32_t sign = (bits >> 16) & 0x8000U;
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);
  if (magnitude < 0x38800000U) {
    // Subnormal: adding 0.5 leaves multiples of 2^-24, rounded, in the lowest bits.
    const uint32_t rounded = float_bits(float_from_bits(magnitude) + 0.5F) - float_bits(0.5F);
    return static_cast<uint16_t>(sign | rounded);
  }
  const uint32_t rebiased = magnitude - 0x38000000U;
  return static_cast<uint16_t>(sign | ((rebiased + 0xfffU + ((rebiased >> 13) & 1U)) >> 13));
}

}  // namespace litgpt
