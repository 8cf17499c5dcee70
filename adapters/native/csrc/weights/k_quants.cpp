#include "weights/blocks.h"

namespace litgpt {

namespace {

int8_t as_int8(int value) { return static_cast<int8_t>(value); }

// The 2-bit values of a group: 32 bytes hold four groups, at rising bits.
void load_pairs(const uint8_t* from, int64_t index, int8_t* q) {
  from += index / 4 * kGroup;
  for (int64_t i = 0; i < kGroup; ++i) q[i] = as_int8(from[i] >> (index % 4 * 2) & 3);
}

// The 4-bit values of a group: 32 bytes hold two groups.
void load_nibbles(const uint8_t* from, int64_t index, int8_t* q) {
  from += index / 2 * kGroup;
  for (int64_t i = 0; i < kGroup; ++i) q[i] = as_int8(from[i] >> (index % 2 * 4) & 15);
}

// Bit `index` of each of 32 bytes, times `weight`.
void add_bits(const uint8_t* from, int64_t index, int weight, int8_t* q) {
  for (int64_t i = 0; i < kGroup; ++i) q[i] = as_int8(q[i] + (from[i] >> index & 1) * weight);
}

// The 6-bit multipliers of Q4_K and Q5_K: those of groups 0 to 3 are the low bits of bytes 0 to 3 (scales) and 4 to 7
// (minimums); of the others, the low 4 bits are in bytes 8 to 11, and the upper 2 are those of the first eight bytes.
void load_scale_and_minimum(const uint8_t* block, int64_t index, BlockGroup* out) {
  const uint8_t* packed = block + 4;
  int scale = packed[index] & 63;
  int minimum = packed[index + 4] & 63;
  if (index >= 4) {
    scale = (packed[index + 4] & 15) | packed[index - 4] >> 6 << 4;
    minimum = packed[index + 4] >> 4 | packed[index] >> 6 << 4;
  }
  out->minimum_steps = static_cast<uint8_t>(minimum);
  for (int64_t half = 0; half < 2; ++half) {
    out->steps[half] = static_cast<uint8_t>(scale);
    out->scale[half] = load_f16(block) * static_cast<float>(scale);
    out->minimum[half] = -load_f16(block + 2) * static_cast<float>(minimum);
  }
}

// The 6-bit multipliers of Q3_K: 16 times 4 low bits, then 16 times 2 upper bits.
int q3_k_multiplier(const uint8_t* packed, int64_t at) {
  const int low = packed[at % 8] >> (at / 8 * 4) & 15;
  const int high = packed[8 + at % 4] >> (at / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

}  // namespace

void load_q2_k(const uint8_t* block, int64_t index, BlockGroup* out) {
  load_pairs(block + 16, index, out->q);
  for (int64_t half = 0; half < 2; ++half) {
    const uint8_t multipliers = block[2 * index + half];
    out->scale[half] = load_f16(block + 80) * static_cast<float>(multipliers & 15);
    out->minimum[half] = -load_f16(block + 82) * static_cast<float>(multipliers >> 4);
  }
}

void load_q3_k(const uint8_t* block, int64_t index, BlockGroup* out) {
  load_pairs(block + 32, index, out->q);
  add_bits(block, index, 4, out->q);
  for (int8_t& q : out->q) q = as_int8(q - 4);
  for (int64_t half = 0; half < 2; ++half) {
    const int multiplier = q3_k_multiplier(block + 96, 2 * index + half);
    out->scale[half] = load_f16(block + 108) * static_cast<float>(multiplier);
    out->minimum[half] = -0.0F;
  }
}

void load_q4_k(const uint8_t* block, int64_t index, BlockGroup* out) {
  load_nibbles(block + 16, index, out->q);
  load_scale_and_minimum(block, index, out);
}

void load_q5_k(const uint8_t* block, int64_t index, BlockGroup* out) {
  load_nibbles(block + 48, index, out->q);
  add_bits(block + 16, index, 16, out->q);
  load_scale_and_minimum(block, index, out);
}

void load_q6_k(const uint8_t* block, int64_t index, BlockGroup* out) {
  // Of 128 values, 64 bytes have the low 4 bits: groups 0 and 1, then, in the upper half of each byte, 2 and 3.
  const uint8_t* low = block + index / 4 * 64 + index % 2 * kGroup;
  const uint8_t* high = block + 128 + index / 4 * kGroup;
  for (int64_t i = 0; i < kGroup; ++i) {
    const int nibble = low[i] >> (index % 4 / 2 * 4) & 15;
    out->q[i] = as_int8((nibble | (high[i] >> (index % 4 * 2) & 3) << 4) - 32);
  }
  for (int64_t half = 0; half < 2; ++half) {
    out->steps[half] = block[192 + 2 * index + half];
    out->scale[half] = load_f16(block + kQ6KScale) * static_cast<float>(static_cast<int8_t>(out->steps[half]));
    out->minimum[half] = -0.0F;
  }
}

}  // namespace litgpt
