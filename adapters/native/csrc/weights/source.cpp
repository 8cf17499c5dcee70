#include "weights/source.h"

#include <string.h>

#include "core/float16.h"

namespace litgpt {

namespace {

void decode_blocks(SourceFormat source, SourceGroup group, float* out) {
  BlockGroup values;
  load_group(source, group, &values);
  for (int64_t i = 0; i < kGroup; ++i) {
    const int64_t half = i / (kGroup / 2);
    out[i] = values.scale[half] * static_cast<float>(values.q[i]) + values.minimum[half];
  }
}

}  // namespace

void load_group(SourceFormat source, SourceGroup group, BlockGroup* out) {
  switch (source) {
    case kSourceQ8_0: return load_q8_0(group.block, out);
    case kSourceQ4_0: return load_q4_0(group.block, out);
    case kSourceQ4_1: return load_q4_1(group.block, out);
    case kSourceQ5_0: return load_q5_0(group.block, out);
    case kSourceQ5_1: return load_q5_1(group.block, out);
    case kSourceMXFP4: return load_mxfp4(group.block, out);
    case kSourceQ2_K: return load_q2_k(group.block, group.index, out);
    case kSourceQ3_K: return load_q3_k(group.block, group.index, out);
    case kSourceQ4_K: return load_q4_k(group.block, group.index, out);
    case kSourceQ5_K: return load_q5_k(group.block, group.index, out);
    case kSourceQ6_K: return load_q6_k(group.block, group.index, out);
    case kSourceQ4Z: return load_q4z(group.block, out);
    default: memset(out, 0, sizeof *out);
  }
}

BlockShape source_block(SourceFormat source) {
  switch (source) {
    case kSourceF32: return {1, 4};
    case kSourceBF16:
    case kSourceF16: return {1, 2};
    case kSourceQ8_0: return {kGroup, 34};
    case kSourceQ4_0: return {kGroup, 18};
    case kSourceQ4_1: return {kGroup, 20};
    case kSourceQ5_0: return {kGroup, 22};
    case kSourceQ5_1: return {kGroup, 24};
    case kSourceMXFP4: return {kGroup, 17};
    case kSourceQ4Z: return {kGroup, 19};
    case kSourceQ2_K: return {8 * kGroup, 84};
    case kSourceQ3_K: return {8 * kGroup, 110};
    case kSourceQ4_K: return {8 * kGroup, 144};
    case kSourceQ5_K: return {8 * kGroup, 176};
    case kSourceQ6_K: return {8 * kGroup, 210};
    default: return {1, 0};
  }
}

int64_t source_row_bytes(SourceFormat source, int64_t cols) {
  const BlockShape block = source_block(source);
  return cols % block.values == 0 ? cols / block.values * block.bytes : 0;
}

GroupPlace find_group(SourceFormat source, int64_t group) {
  const BlockShape block = source_block(source);
  const int64_t first = group * kGroup;
  return {first / block.values * block.bytes, first % block.values / kGroup};
}

void decode_group(SourceFormat source, SourceGroup group, int64_t count, float* out) {
  switch (source) {
    case kSourceF32: memcpy(out, group.block, static_cast<size_t>(count) * sizeof(float)); break;
    case kSourceBF16:
      for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_float(load_u16(group.block + 2 * i));
      break;
    case kSourceF16:
      for (int64_t i = 0; i < count; ++i) out[i] = load_f16(group.block + 2 * i);
      break;
    default: return decode_blocks(source, group, out);
  }
  for (int64_t i = count; i < kGroup; ++i) out[i] = 0.0F;
}

bool convert_to_q8_0(SourceFormat source, SourceGroup group, uint8_t* block) {
  if (source != kSourceQ4_0 && source != kSourceQ5_0 && source != kSourceQ4Z && source != kSourceMXFP4) return false;
  BlockGroup values;
  load_group(source, group, &values);
  const uint16_t scale = float_to_f16(values.scale[0]);
  memcpy(block, &scale, sizeof scale);
  memcpy(block + sizeof scale, values.q, kGroup);
  return f16_to_float(scale) == values.scale[0];  // not for all exponents of MXFP4
}

}  // namespace litgpt
