#include "weights/source.h"

#include <string.h>

#include "core/float16.h"

namespace litgpt {

namespace {

uint16_t load_u16(const uint8_t* from) {
  uint16_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

void decode_q4(const uint8_t* quants, float scale, float zero_point, float minimum, float* out) {
  for (int64_t i = 0; i < kGroup / 2; ++i) {
    out[i] = scale * (static_cast<float>(quants[i] & 15) - zero_point) + minimum;
    out[i + kGroup / 2] = scale * (static_cast<float>(quants[i] >> 4) - zero_point) + minimum;
  }
}

}  // namespace

int64_t source_row_bytes(SourceFormat source, int64_t cols) {
  if (is_quantized(source)) return cols % kGroup == 0 ? cols / kGroup * source_group_bytes(source) : 0;
  return cols * source_group_bytes(source) / kGroup;
}

void decode_source(SourceFormat source, const uint8_t* group, int64_t count, float* out) {
  switch (source) {
    case kSourceF32: memcpy(out, group, static_cast<size_t>(count) * sizeof(float)); break;
    case kSourceBF16:
      for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_float(load_u16(group + 2 * i));
      break;
    case kSourceF16:
      for (int64_t i = 0; i < count; ++i) out[i] = f16_to_float(load_u16(group + 2 * i));
      break;
    case kSourceQ8_0: {
      const float scale = f16_to_float(load_u16(group));
      for (int64_t i = 0; i < kGroup; ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(group[2 + i]));
      break;
    }
    case kSourceQ4_0: decode_q4(group + 2, f16_to_float(load_u16(group)), 8.0F, 0.0F, out); break;
    case kSourceQ4_1:
      decode_q4(group + 4, f16_to_float(load_u16(group)), 0.0F, f16_to_float(load_u16(group + 2)), out);
      break;
    default: break;
  }
  for (int64_t i = count; i < kGroup; ++i) out[i] = 0.0F;
}

}  // namespace litgpt
