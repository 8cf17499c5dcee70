#include "weights/pack.h"

#include <string.h>

#include "core/float16.h"
#include "weights/own_bits.h"
#include "weights/quantize.h"
#include "weights/source.h"

namespace litgpt {

namespace {

template <class T>
void store_columns(uint8_t* tile_group, int64_t row, const T* values) {
  for (int64_t c = 0; c < kGroup; ++c) memcpy(tile_group + (c * kTileRows + row) * sizeof(T), &values[c], sizeof(T));
}

void store_pairs(uint8_t* tile_group, int64_t row, const uint16_t* values) {
  for (int64_t c = 0; c < kGroup; c += 2) memcpy(tile_group + (c * kTileRows + 2 * row) * 2, values + c, 4);
}

// Writes `group`, one group of columns of a tile that is not quantized.
void store_floats(Format format, uint8_t* group, int64_t row, const float* values) {
  uint16_t halves[kGroup];
  switch (format) {
    case kF32: return store_columns(group, row, values);
    case kBF16:
      for (int64_t c = 0; c < kGroup; ++c) halves[c] = float_to_bf16(values[c]);
      return store_pairs(group, row, halves);
    default:
      for (int64_t c = 0; c < kGroup; ++c) halves[c] = float_to_f16(values[c]);
      return store_columns(group, row, halves);
  }
}

// Packs `count` values (at most 32) of a row without a change, if the format has the source's bits.
bool store_bits(Format format, SourceFormat source, uint8_t* tile, int64_t g, int64_t row, SourceGroup group,
                int64_t count) {
  uint16_t halves[kGroup] = {};
  if (format == kBF16 && source == kSourceBF16) {
    memcpy(halves, group.block, static_cast<size_t>(count) * 2);
    store_pairs(tile + group_offset(format, g), row, halves);
    return true;
  }
  if (format == kF16 && source == kSourceF16) {
    memcpy(halves, group.block, static_cast<size_t>(count) * 2);
    store_columns(tile + group_offset(format, g), row, halves);
    return true;
  }
  uint8_t block[kMaxQuantizedBytes];
  if (format == kQ8 && convert_to_q8_0(source, group, block)) {
    store_own_bits(format, tile, g, row, {block, 0});
    return true;
  }
  return false;
}

Status store_group(Format format, SourceFormat source, uint8_t* tile, int64_t g, int64_t row, SourceGroup group,
                   int64_t count) {
  if (store_bits(format, source, tile, g, row, group, count)) return kOk;
  float values[kGroup];
  decode_group(source, group, count, values);
  if (!is_quantized(format)) {
    store_floats(format, tile + group_offset(format, g), row, values);
    return kOk;
  }
  uint8_t block[kMaxQuantizedBytes];
  LITGPT_REQUIRE(quantize_group(format, values, block),
                 "A weight is not finite, or too large for a float16 scale: it cannot be quantized.");
  store_own_bits(format, tile, g, row, {block, 0});
  return kOk;
}

// Whether whole groups of all rows of a tile are only transposed.
bool is_transposed(Format format, SourceFormat source) {
  return (format == kBF16 && source == kSourceBF16) || (format == kF32 && source == kSourceF32);
}

// Values are quantized to formats with one scale for each group.
bool can_pack(Format format, SourceFormat source) { return format <= kQ4M || source == own_source(format); }

}  // namespace

Status check_matrix(const Matrix& matrix) {
  LITGPT_REQUIRE(matrix.format >= 0 && matrix.format < kFormatCount, "Weight format %d does not exist.", matrix.format);
  LITGPT_REQUIRE(matrix.rows > 0 && matrix.rows <= kMaxRows && matrix.cols > 0 && matrix.cols <= kMaxCols,
                 "A matrix cannot have %lld rows and %lld columns.", static_cast<long long>(matrix.rows),
                 static_cast<long long>(matrix.cols));
  LITGPT_REQUIRE(tile_super_bytes(matrix.format) == 0 || matrix.groups() % kSuperGroups == 0,
                 "%lld columns are not a multiple of %lld.", static_cast<long long>(matrix.cols),
                 static_cast<long long>(kSuperGroups * kGroup));
  return kOk;
}

Status pack_rows(const Matrix& matrix, uint8_t* data, SourceFormat source, const void* rows, int64_t first_row,
                 int64_t count) {
  LITGPT_TRY(check_matrix(matrix));
  LITGPT_REQUIRE(source >= 0 && source < kSourceFormatCount, "Source format %d does not exist.", source);
  LITGPT_REQUIRE(can_pack(matrix.format, source), "Source format %d cannot be packed into weight format %d.", source,
                 matrix.format);
  LITGPT_REQUIRE(first_row >= 0 && count >= 0 && first_row <= matrix.rows && count <= matrix.rows - first_row,
                 "Rows %lld to %lld are not in a matrix of %lld rows.", static_cast<long long>(first_row),
                 static_cast<long long>(first_row) + static_cast<long long>(count),
                 static_cast<long long>(matrix.rows));
  const int64_t row_bytes = source_row_bytes(source, matrix.cols);
  LITGPT_REQUIRE(row_bytes > 0, "%lld columns are not whole blocks.", static_cast<long long>(matrix.cols));

  const auto* from = static_cast<const uint8_t*>(rows);
  const int64_t end = first_row + count;
  // All rows of a tile, group by group: what is written stays in the first-level cache.
  for (int64_t row = first_row; row < end;) {
    const int64_t tile_end = round_up(row + 1, kTileRows);
    const int64_t row_end = tile_end < end ? tile_end : end;
    uint8_t* tile = data + row / kTileRows * matrix.tile_bytes();
    for (int64_t g = 0; g < matrix.groups(); ++g) {
      const int64_t left = matrix.cols - g * kGroup;
      const int64_t values = left < kGroup ? left : kGroup;
      const GroupPlace place = find_group(source, g);
      const SourceGroup first{from + (row - first_row) * row_bytes + place.offset, place.index};
      if (source == own_source(matrix.format)) {
        store_own_bits(matrix.format, tile, g, row % kTileRows, first, row_bytes, row_end - row);
        continue;
      }
      if (row_end - row == kTileRows && values == kGroup && is_transposed(matrix.format, source)) {
        const int64_t bytes = kGroup * source_block(source).bytes;
        store_tile_words(tile + group_offset(matrix.format, g), first.block, row_bytes, bytes);
        continue;
      }
      for (int64_t r = row; r < row_end; ++r) {
        const SourceGroup group{from + (r - first_row) * row_bytes + place.offset, place.index};
        LITGPT_TRY(store_group(matrix.format, source, tile, g, r % kTileRows, group, values));
      }
    }
    row = row_end;
  }
  return kOk;
}

}  // namespace litgpt
