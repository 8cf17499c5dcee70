// The integers and scales of the block formats of GGUF files (ggml-common.h of llama.cpp).
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

// 32 integers with a scale and a minimum for each 16: value = scale * q + minimum. The minimum of formats without one
// is -0, which keeps the sign of zeros.
struct BlockGroup {
  int8_t q[kGroup];
  float scale[2];
  float minimum[2];
};

// The blocks of 32 values.
void load_q8_0(const uint8_t* block, BlockGroup* out);
void load_q4_0(const uint8_t* block, BlockGroup* out);
void load_q4_1(const uint8_t* block, BlockGroup* out);
void load_q5_0(const uint8_t* block, BlockGroup* out);
void load_q5_1(const uint8_t* block, BlockGroup* out);
void load_mxfp4(const uint8_t* block, BlockGroup* out);

// The group `index` of a K-quant, whose superblocks have 256 values.
void load_q2_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q3_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q4_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q5_k(const uint8_t* block, int64_t index, BlockGroup* out);
void load_q6_k(const uint8_t* block, int64_t index, BlockGroup* out);

}  // namespace litgpt
