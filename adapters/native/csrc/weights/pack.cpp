#include "weights/pack.h"

#include <string.h>

#include "core/float16.h"
#include "weights/quantize.h"
#include "weights/source.h"

namespace litgpt {

namespace {

constexpr int64_t kWord = 4;  // consecutive columns (or bytes of 4-bit columns) of one row in a tile

bool is_quantized(Format format) { return format >= kQ8; }

int64_t scale_bytes(Format format) { return (format == kQ4M ? 4 : 2) * kTileRows; }

// The block format of the same values and integers; the count of formats if there is none.
SourceFormat blocks_of(Format format) {
  switch (format) {
    case kQ8: return kSourceQ8_0;
    case kQ4: return kSourceQ4_0;
    case kQ4M: return kSourceQ4_1;
    default: return kSourceFormatCount;
  }
}

// `tile_group` is one group of columns of a tile, `row` the row in the tile.
void store_scales(Format format, uint8_t* tile_group, int64_t row, const void* scale, const void* minimum) {
  memcpy(tile_group + 2 * row, scale, 2);
  if (format == kQ4M) memcpy(tile_group + 2 * (kTileRows + row), minimum, 2);
}

void store_quants(Format format, uint8_t* tile_group, int64_t row, const uint8_t* quants) {
  const int64_t words = (format == kQ8 ? kGroup : kGroup / 2) / kWord;
  uint8_t* to = tile_group + scale_bytes(format) + row * kWord;
  for (int64_t word = 0; word < words; ++word) memcpy(to + word * kWord * kTileRows, quants + word * kWord, kWord);
}

template <class T>
void store_columns(uint8_t* tile_group, int64_t row, const T* values) {
  for (int64_t c = 0; c < kGroup; ++c) memcpy(tile_group + (c * kTileRows + row) * sizeof(T), &values[c], sizeof(T));
}

void store_pairs(uint8_t* tile_group, int64_t row, const uint16_t* values) {
  for (int64_t c = 0; c < kGroup; c += 2) memcpy(tile_group + (c * kTileRows + 2 * row) * 2, values + c, 4);
}

Status store_floats(Format format, uint8_t* tile_group, int64_t row, const float* values) {
  uint16_t halves[kGroup];
  QuantizedGroup quantized;
  switch (format) {
    case kF32: store_columns(tile_group, row, values); return kOk;
    case kBF16:
      for (int64_t c = 0; c < kGroup; ++c) halves[c] = float_to_bf16(values[c]);
      store_pairs(tile_group, row, halves);
      return kOk;
    case kF16:
      for (int64_t c = 0; c < kGroup; ++c) halves[c] = float_to_f16(values[c]);
      store_columns(tile_group, row, halves);
      return kOk;
    default:
      LITGPT_REQUIRE(quantize_group(format, values, &quantized),
                     "A weight is not finite, or too large for a float16 scale: it cannot be quantized.");
      store_scales(format, tile_group, row, &quantized.scale, &quantized.minimum);
      store_quants(format, tile_group, row, quantized.quants);
      return kOk;
  }
}

// Packs `count` values (at most 32) of a row without a change, if the source has the format's own bits.
bool store_bits(Format format, SourceFormat source, uint8_t* tile_group, int64_t row, SourceGroup group,
                int64_t count) {
  uint16_t halves[kGroup] = {};
  QuantizedGroup quantized;
  if (is_quantized(format) && source == blocks_of(format)) {
    store_scales(format, tile_group, row, group.block, group.block + 2);
    store_quants(format, tile_group, row, group.block + (format == kQ4M ? 4 : 2));
    return true;
  }
  if (convert_group(format, source, group, &quantized)) {
    store_scales(format, tile_group, row, &quantized.scale, &quantized.minimum);
    store_quants(format, tile_group, row, quantized.quants);
    return true;
  }
  if (format == kBF16 && source == kSourceBF16) {
    memcpy(halves, group.block, static_cast<size_t>(count) * 2);
    store_pairs(tile_group, row, halves);
    return true;
  }
  if (format == kF16 && source == kSourceF16) {
    memcpy(halves, group.block, static_cast<size_t>(count) * 2);
    store_columns(tile_group, row, halves);
    return true;
  }
  return false;
}

bool can_pack(Format format, SourceFormat source) {
  if (source > kSourceQ4_1 || !is_quantized(source) || format == kF32 || format == kBF16) return true;
  return source == blocks_of(format) || (source == kSourceQ4_0 && format == kQ8);
}

}  // namespace

Status check_matrix(const Matrix& matrix) {
  LITGPT_REQUIRE(matrix.format >= 0 && matrix.format < kFormatCount, "Weight format %d does not exist.", matrix.format);
  LITGPT_REQUIRE(matrix.rows > 0 && matrix.rows <= kMaxRows && matrix.cols > 0 && matrix.cols <= kMaxCols,
                 "A matrix cannot have %lld rows and %lld columns.", static_cast<long long>(matrix.rows),
                 static_cast<long long>(matrix.cols));
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
  const int64_t group_bytes = tile_group_bytes(matrix.format);
  const int64_t end = first_row + count;
  // All rows of a tile, group by group: what is written stays in the first-level cache.
  for (int64_t row = first_row; row < end;) {
    const int64_t tile_end = round_up(row + 1, kTileRows);
    const int64_t row_end = tile_end < end ? tile_end : end;
    uint8_t* tile_group = data + row / kTileRows * matrix.tile_bytes();
    for (int64_t g = 0; g < matrix.groups(); ++g, tile_group += group_bytes) {
      const int64_t left = matrix.cols - g * kGroup;
      const int64_t values = left < kGroup ? left : kGroup;
      const GroupPlace place = find_group(source, g);
      for (int64_t r = row; r < row_end; ++r) {
        const SourceGroup group{from + (r - first_row) * row_bytes + place.offset, place.index};
        if (store_bits(matrix.format, source, tile_group, r % kTileRows, group, values)) continue;
        float decoded[kGroup];
        decode_group(source, group, values, decoded);
        LITGPT_TRY(store_floats(matrix.format, tile_group, r % kTileRows, decoded));
      }
    }
    row = row_end;
  }
  return kOk;
}

}  // namespace litgpt
