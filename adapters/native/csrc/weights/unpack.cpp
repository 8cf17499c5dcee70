#include <string.h>

#include "core/float16.h"
#include "weights/blocks.h"
#include "weights/pack.h"

namespace litgpt {

namespace {

template <class T>
T load_as(const uint8_t* from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

// Column `c` of a row in one group of a tile that is not quantized.
float float_at(Format format, const uint8_t* group, int64_t row, int64_t c) {
  switch (format) {
    case kF32: return load_as<float>(group + (c * kTileRows + row) * 4);
    case kBF16: return bf16_to_float(load_as<uint16_t>(group + ((c / 2 * kTileRows + row) * 2 + c % 2) * 2));
    default: return f16_to_float(load_as<uint16_t>(group + (c * kTileRows + row) * 2));
  }
}

// The code of column `c`; `codes` begins with those of the tile's first row.
int code_at(int bits, const uint8_t* codes, int64_t row, int64_t c) {
  constexpr int64_t kHalf = kGroup / 2;
  const auto byte_at = [&](int64_t at) { return codes[(at / 4 * kTileRows + row) * 4 + at % 4]; };
  if (bits == 8) return static_cast<int8_t>(byte_at(c));
  const int64_t at = c % kHalf;
  const int64_t second = c / kHalf;  // 1 for the upper columns
  const int low = byte_at(at) >> (4 * second) & 15;
  if (bits == 5) return low | (byte_at(kHalf + at % 4) >> (4 * second + at / 4) & 1) << 4;
  if (bits == 6) return low | (byte_at(kHalf + 4 * second + at % 4) >> (2 * (at / 4)) & 3) << 4;
  return low;
}

// Column `c` of a row in group `g` of a tile.
float value_at(Format format, const uint8_t* tile, int64_t g, int64_t row, int64_t c) {
  const uint8_t* group = tile + group_offset(format, g);
  if (!is_quantized(format)) return float_at(format, group, row, c);
  const Quantization quantized = quantization(format);
  const int code = code_at(quantized.bits, group + tile_scale_bytes(format), row, c);
  const auto half = [&](const uint8_t* from) { return f16_to_float(load_as<uint16_t>(from + 2 * row)); };
  const uint8_t* second = group + 2 * kTileRows;
  const uint8_t* shared = tile + super_offset(format, g);
  const auto value = static_cast<float>(code - quantized.zero);
  switch (quantized.scales) {
    case ScaleKind::kScale: return half(group) * value;
    case ScaleKind::kScaleMinimum: return half(group) * value + half(second);
    case ScaleKind::kScaleZero: return half(group) * static_cast<float>(code - second[row]);
    case ScaleKind::kExponent: return half_e8m0(group[row]) * static_cast<float>(kFp4Values[code]);
    case ScaleKind::kSteps: {
      const float minimum = half(shared + 2 * kTileRows) * static_cast<float>(group[kTileRows + row]);
      return half(shared) * static_cast<float>(group[row]) * value - minimum;
    }
    case ScaleKind::kHalfSteps: {
      const auto steps = static_cast<int8_t>(group[c / (kGroup / 2) * kTileRows + row]);
      return half(shared) * static_cast<float>(steps) * value;
    }
    default: return 0.0F;
  }
}

}  // namespace

void unpack_rows(const Matrix& matrix, int64_t first, int64_t count, float* out) {
  for (int64_t row = first; row < first + count; ++row) {
    const uint8_t* tile = matrix.data + row / kTileRows * matrix.tile_bytes();
    for (int64_t c = 0; c < matrix.cols; ++c) {
      *out++ = value_at(matrix.format, tile, c / kGroup, row % kTileRows, c % kGroup);
    }
  }
}

}  // namespace litgpt
