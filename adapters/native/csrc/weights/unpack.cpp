#include <string.h>

#include "core/float16.h"
#include "weights/pack.h"

namespace litgpt {

namespace {

template <class T>
T load_as(const uint8_t* from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

// Column `c` of row `row` in one group of a tile.
float value_at(Format format, const uint8_t* group, int64_t row, int64_t c) {
  switch (format) {
    case kF32: return load_as<float>(group + (c * kTileRows + row) * 4);
    case kBF16: return bf16_to_float(load_as<uint16_t>(group + ((c / 2 * kTileRows + row) * 2 + c % 2) * 2));
    case kF16: return f16_to_float(load_as<uint16_t>(group + (c * kTileRows + row) * 2));
    default: break;
  }
  const float scale = f16_to_float(load_as<uint16_t>(group + 2 * row));
  if (format == kQ8) {
    const uint8_t* quants = group + 2 * kTileRows;
    return scale * static_cast<float>(load_as<int8_t>(quants + (c / 4 * kTileRows + row) * 4 + c % 4));
  }
  const uint8_t* quants = group + (format == kQ4M ? 4 : 2) * kTileRows;
  const int64_t at = c % (kGroup / 2);
  const uint8_t both = quants[(at / 4 * kTileRows + row) * 4 + at % 4];
  const int quant = c < kGroup / 2 ? both & 15 : both >> 4;
  if (format == kQ4) return scale * static_cast<float>(quant - 8);
  return scale * static_cast<float>(quant) + f16_to_float(load_as<uint16_t>(group + 2 * (kTileRows + row)));
}

}  // namespace

void unpack_rows(const Matrix& matrix, int64_t first, int64_t count, float* out) {
  const int64_t group_bytes = tile_group_bytes(matrix.format);
  for (int64_t row = first; row < first + count; ++row) {
    const uint8_t* tile = matrix.data + row / kTileRows * matrix.tile_bytes();
    for (int64_t c = 0; c < matrix.cols; ++c) {
      *out++ = value_at(matrix.format, tile + c / kGroup * group_bytes, row % kTileRows, c % kGroup);
    }
  }
}

}  // namespace litgpt
