// Weight formats. A matrix is stored in tiles of 16 rows, so that a vector register holds one column step of all
// rows and no horizontal sum is needed. Columns are padded with zeros to a multiple of 32.
#pragma once

#include <stdint.h>

#include "core/inline.h"

namespace litgpt {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kGroup = 32;  // columns that share a scale

// The bytes of one tile, for each group of 32 columns:
//   kF32   float[32][16]
//   kBF16  uint16[16][16][2]: pairs of columns, for instructions that multiply pairs
//   kF16   uint16[32][16]
// and of quantized formats, with scales as in `ScaleKind`, and then
//   8 bits  int8[8][16][4]
//   4 bits  uint8[4][16][4]: the low 4 bits of byte [j][row][i] are column 4 * j + i, the high 4 bits column
//           16 + 4 * j + i
//   5 bits  these, and uint8[16][4]: bit j of byte [row][i] is the fifth of column 4 * j + i, bit 4 + j that of column
//           16 + 4 * j + i
//   6 bits  these, and uint8[2][16][4]: bits 2 * j and 2 * j + 1 of byte [h][row][i] are the upper ones of column
//           16 * h + 4 * j + i
enum Format : int32_t {
  kF32 = 0,
  kBF16 = 1,
  kF16 = 2,
  kQ8 = 3,
  kQ4 = 4,
  kQ4M = 5,
  kQ4Z = 6,
  kQ5 = 7,
  kQ5M = 8,
  kFP4 = 9,
  kQ4K = 10,
  kQ5K = 11,
  kQ6K = 12,
  kFormatCount = 13
};

// The scales of 16 rows of a group, and the value of a code.
enum class ScaleKind {
  kNone,
  kScale,         // fp16 scale[16]: scale * (code - zero)
  kScaleMinimum,  // fp16 scale[16], fp16 minimum[16]: scale * code + minimum
  kScaleZero,     // fp16 scale[16], uint8 zero[16]: scale * (code - zero)
  kExponent,      // uint8 exponent[16]: 2^(exponent - 128) * (twice the E2M1 value)
  // Every 8 groups, fp16 scale[16] and minimum[16]; for each group, uint8 steps[16] and minimum_steps[16]:
  // scale * steps * code - minimum * minimum_steps
  kSteps,
  // Every 8 groups, fp16 scale[16]; for each group, int8 steps[2][16], of the first and the last 16 columns:
  // scale * steps * (code - zero)
  kHalfSteps,
};

struct Quantization {
  int bits;
  ScaleKind scales;
  int zero;
};

LITGPT_INLINE constexpr Quantization quantization(Format format) {
  switch (format) {
    case kQ8: return {8, ScaleKind::kScale, 0};
    case kQ4: return {4, ScaleKind::kScale, 8};
    case kQ4M: return {4, ScaleKind::kScaleMinimum, 0};
    case kQ4Z: return {4, ScaleKind::kScaleZero, 0};
    case kQ5: return {5, ScaleKind::kScale, 16};
    case kQ5M: return {5, ScaleKind::kScaleMinimum, 0};
    case kFP4: return {4, ScaleKind::kExponent, 0};
    case kQ4K: return {4, ScaleKind::kSteps, 0};
    case kQ5K: return {5, ScaleKind::kSteps, 0};
    case kQ6K: return {6, ScaleKind::kHalfSteps, 32};
    default: return {0, ScaleKind::kNone, 0};
  }
}

LITGPT_INLINE constexpr bool is_quantized(Format format) { return quantization(format).bits != 0; }

// Twice the E2M1 values (1 sign, 2 exponent and 1 mantissa bit), which are integers.
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

LITGPT_INLINE constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The bytes of the scales of 16 rows of one group of columns; the codes follow them.
LITGPT_INLINE constexpr int64_t tile_scale_bytes(Format format) {
  switch (quantization(format).scales) {
    case ScaleKind::kNone: return 0;
    case ScaleKind::kScaleMinimum: return 4 * kTileRows;
    case ScaleKind::kScaleZero: return 3 * kTileRows;
    case ScaleKind::kExponent: return kTileRows;
    default: return 2 * kTileRows;
  }
}

// The bytes of 16 rows of one group of columns.
LITGPT_INLINE constexpr int64_t tile_group_bytes(Format format) {
  const int bits = is_quantized(format) ? quantization(format).bits : format == kF32 ? 32 : 16;
  return tile_scale_bytes(format) + bits * kTileRows * kGroup / 8;
}

inline constexpr int64_t kSuperGroups = 8;  // groups that share scales, if steps of these are the groups' own

// The bytes that come before each kSuperGroups groups.
LITGPT_INLINE constexpr int64_t tile_super_bytes(Format format) {
  const ScaleKind scales = quantization(format).scales;
  return scales == ScaleKind::kSteps ? 4 * kTileRows : scales == ScaleKind::kHalfSteps ? 2 * kTileRows : 0;
}

// Where the shared scales of group `g`, and its own bytes, begin in a tile.
LITGPT_INLINE constexpr int64_t super_offset(Format format, int64_t g) {
  return g / kSuperGroups * (tile_super_bytes(format) + kSuperGroups * tile_group_bytes(format));
}
LITGPT_INLINE constexpr int64_t group_offset(Format format, int64_t g) {
  if (tile_super_bytes(format) == 0) return g * tile_group_bytes(format);
  return super_offset(format, g) + tile_super_bytes(format) + g % kSuperGroups * tile_group_bytes(format);
}

struct Matrix {
  Format format;
  int64_t rows;
  int64_t cols;
  const uint8_t* data;

  LITGPT_INLINE_MEMBER int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  LITGPT_INLINE_MEMBER int64_t groups() const { return (cols + kGroup - 1) / kGroup; }
  LITGPT_INLINE_MEMBER int64_t tile_bytes() const {
    return groups() * tile_group_bytes(format) + groups() / kSuperGroups * tile_super_bytes(format);
  }
  LITGPT_INLINE_MEMBER int64_t bytes() const { return tiles() * tile_bytes(); }
};

}  // namespace litgpt
