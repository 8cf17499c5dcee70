// The integers and scales of the block formats: those of GGUF files (ggml-common.h of llama.cpp), and kSourceQ4Z.
#pragma once

#include <stdint.h>
#include <string.h>

#include "core/float16.h"
#include "weights/format.h"

namespace litgpt {

inline uint16_t load_u16(const uint8_t* from) {
  uint16_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline float load_f16(const uint8_t* from) { return f16_to_float(load_u16(from)); }

// 2^(exponent - 128): half of the E8M0 value, because the E2M1 values are doubled.
inline float half_e8m0(uint8_t exponent) {
  const uint32_t bits = exponent;
  return float_from_bits(bits < 2 ? uint32_t{0x200000} << bits : (bits - 1) << 23);
}

// 32 integers with a scale and a minimum for each 16: value = scale * q + minimum. The minimum of formats without one
// is -0, which keeps the sign of zeros. K-quants store the scales in steps of one that groups share.
struct BlockGroup {
  int8_t q[kGroup];
  float scale[2];
  float minimum[2];
  uint8_t steps[2];  // of Q4_K and Q5_K, and, as int8, of Q6_K
  uint8_t minimum_steps;
};

inline constexpr int64_t kQ6KScale = 208;  // where in its blocks the shared scale is

// The blocks of 32 values.
void load_q8_0(const uint8_t* block, BlockGroup* out);
void load_q4_0(const uint8_t* block, BlockGroup* out);
void load_q4_1(const uint8_t* block, BlockGroup* out);
void load_q5_0(const uint8_t* block, BlockGroup* out);
void load_q5_1(const uint8_t* block, BlockGroup* out);
void load_mxfp4(const uint8_t* block, BlockGroup* out);
void load_q4z(const uint8_t* block, BlockGroup* out);

// The group `index` of a K-quant, whose superblocks have 256 values.
void load_q2_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q3_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q4_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q5_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q6_k(const uint8_t* block, int64_t index, BlockGroup* out);

}  // namespace litgpt
