#include "weights/blocks.h"

namespace litgpt {

namespace {

void set_scale(float scale, float minimum, BlockGroup* out) {
  out->scale[0] = out->scale[1] = scale;
  out->minimum[0] = out->minimum[1] = minimum;
}

// The low 4 bits of 16 bytes, then the high ones, minus an offset.
void load_nibbles(const uint8_t* from, int offset, int8_t* q) {
  constexpr int64_t kHalf = kGroup / 2;
  for (int64_t i = 0; i < kHalf; ++i) {
    q[i] = static_cast<int8_t>((from[i] & 15) - offset);
    q[kHalf + i] = static_cast<int8_t>((from[i] >> 4) - offset);
  }
}

void add_fifth_bits(const uint8_t* from, int8_t* q) {
  for (int64_t i = 0; i < kGroup; ++i) q[i] = static_cast<int8_t>(q[i] + ((from[i / 8] >> (i % 8) & 1) << 4));
}

}  // namespace

void load_q8_0(const uint8_t* block, BlockGroup* out) {
  memcpy(out->q, block + 2, kGroup);
  set_scale(load_f16(block), -0.0F, out);
}

void load_q4_0(const uint8_t* block, BlockGroup* out) {
  load_nibbles(block + 2, 8, out->q);
  set_scale(load_f16(block), -0.0F, out);
}

void load_q4_1(const uint8_t* block, BlockGroup* out) {
  load_nibbles(block + 4, 0, out->q);
  set_scale(load_f16(block), load_f16(block + 2), out);
}

void load_q5_0(const uint8_t* block, BlockGroup* out) {
  load_nibbles(block + 6, 16, out->q);
  add_fifth_bits(block + 2, out->q);
  set_scale(load_f16(block), -0.0F, out);
}

void load_q5_1(const uint8_t* block, BlockGroup* out) {
  load_nibbles(block + 8, 0, out->q);
  add_fifth_bits(block + 4, out->q);
  set_scale(load_f16(block), load_f16(block + 2), out);
}

void load_mxfp4(const uint8_t* block, BlockGroup* out) {
  load_nibbles(block + 1, 0, out->q);
  for (int8_t& q : out->q) q = kFp4Values[q];
  set_scale(half_e8m0(block[0]), -0.0F, out);
}

void load_q4z(const uint8_t* block, BlockGroup* out) {
  load_nibbles(block + 3, 0, out->q);
  for (int8_t& q : out->q) q = static_cast<int8_t>(q - block[2]);
  set_scale(load_f16(block), -0.0F, out);
}

}  // namespace litgpt
