// Weight formats. A matrix is stored in tiles of 16 rows, so that a vector register holds one column step of all
// rows and no horizontal sum is needed. Columns are padded with zeros to a multiple of 32.
#pragma once

#include <stdint.h>

namespace litgpt {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kGroup = 32;  // columns that share a scale

// The bytes of one tile, for each group of 32 columns:
//   kF32   float[32][16]
//   kBF16  uint16[16][16][2]: pairs of columns, for instructions that multiply pairs
//   kF16   uint16[32][16]
//   kQ8    fp16 scale[16], int8[8][16][4]: value = scale * q
//   kQ4    fp16 scale[16], uint8[4][16][4]: value = scale * (q - 8)
//   kQ4M   fp16 scale[16], fp16 minimum[16], uint8[4][16][4]: value = scale * q + minimum
// The low 4 bits of byte [j][row][i] are column 4 * j + i, the high 4 bits column 16 + 4 * j + i.
enum Format : int32_t { kF32 = 0, kBF16 = 1, kF16 = 2, kQ8 = 3, kQ4 = 4, kQ4M = 5, kFormatCount = 6 };

inline constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The bytes of the scales, and minimums, of 16 rows of one group of columns; the quantized values follow them.
inline constexpr int64_t tile_scale_bytes(Format format) {
  switch (format) {
    case kQ8:
    case kQ4: return 2 * kTileRows;
    case kQ4M: return 4 * kTileRows;
    default: return 0;
  }
}

// The bytes of 16 rows of one group of columns.
inline constexpr int64_t tile_group_bytes(Format format) {
  switch (format) {
    case kF32: return 4 * kTileRows * kGroup;
    case kBF16:
    case kF16: return 2 * kTileRows * kGroup;
    case kQ8: return tile_scale_bytes(format) + kTileRows * kGroup;
    case kQ4:
    case kQ4M: return tile_scale_bytes(format) + kTileRows * kGroup / 2;
    default: return 0;
  }
}

struct Matrix {
  Format format;
  int64_t rows;
  int64_t cols;
  const uint8_t* data;

  int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  int64_t groups() const { return (cols + kGroup - 1) / kGroup; }
  int64_t tile_bytes() const { return groups() * tile_group_bytes(format); }
  int64_t bytes() const { return tiles() * tile_bytes(); }
};

}  // namespace litgpt
