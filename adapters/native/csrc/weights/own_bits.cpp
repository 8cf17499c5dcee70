#include "weights/own_bits.h"

#include <string.h>

#include "weights/blocks.h"

namespace litgpt {

namespace {

constexpr int64_t kWord = 4;  // consecutive columns (or bytes of 4-bit columns) of one row in a tile
constexpr int64_t kHalf = kGroup / 2;
constexpr int64_t kPlaneBytes = kWord * kTileRows;

void store_f16(uint8_t* to, int64_t row, const uint8_t* from) { memcpy(to + 2 * row, from, 2); }

// `to` begins with the codes of the first row of the tile.
void store_words(uint8_t* to, int64_t row, const uint8_t* codes, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kWord) memcpy(to + at * kTileRows + row * kWord, codes + at, kWord);
}

// The same for `count` rows; each of the source is `row_bytes` after the one before.
LITGPT_INLINE void store_columns(uint8_t* to, const uint8_t* rows, int64_t row_bytes, int64_t bytes, int64_t count) {
  for (int64_t at = 0; at < bytes; at += kWord) {
    for (int64_t r = 0; r < count; ++r) memcpy(to + at * kTileRows + r * kWord, rows + r * row_bytes + at, kWord);
  }
}

void store_codes(Format format, uint8_t* to, int64_t row, const BlockGroup& values) {
  const auto [bits, scales, zero] = quantization(format);
  uint8_t low[kHalf];
  uint8_t planes[2][kWord] = {};
  for (int64_t i = 0; i < kHalf; ++i) {
    const int first = values.q[i] + zero;
    const int second = values.q[kHalf + i] + zero;
    low[i] = static_cast<uint8_t>((first & 15) | (second & 15) << 4);
    const int64_t step = i / kWord;
    uint8_t* byte = &planes[0][i % kWord];
    if (bits == 5) {
      *byte = static_cast<uint8_t>(*byte | first >> 4 << step | second >> 4 << (kWord + step));
    } else {
      *byte = static_cast<uint8_t>(*byte | first >> 4 << (2 * step));
      byte[kWord] = static_cast<uint8_t>(byte[kWord] | second >> 4 << (2 * step));
    }
  }
  store_words(to, row, low, kHalf);
  for (int64_t plane = 0; plane < bits - 4; ++plane) {
    store_words(to + kHalf * kTileRows + plane * kPlaneBytes, row, planes[plane], kWord);
  }
}

// Whether the codes of 4 or 8 bits end the block, in the order of the tile.
bool is_ordered(Format format) {
  const Quantization quantized = quantization(format);
  return quantized.scales < ScaleKind::kSteps && quantized.bits != 5;
}

// Field by field, with loops over rows that compilers unroll where `count` is a constant.
LITGPT_INLINE void store_ordered(Format format, uint8_t* scales, int64_t row, const uint8_t* blocks, int64_t row_bytes,
                                 int64_t count) {
  const Quantization quantized = quantization(format);
  const int64_t bytes = quantized.bits * kGroup / 8;
  const int64_t first_code = source_block(own_source(format)).bytes - bytes;
  const auto store_scales = [=](uint8_t* to, int64_t size, int64_t from) {
    for (int64_t r = 0; r < count; ++r) {
      if (size == 2) {
        store_f16(to, row + r, blocks + r * row_bytes + from);
      } else {
        to[row + r] = blocks[r * row_bytes + from];
      }
    }
  };
  switch (quantized.scales) {
    case ScaleKind::kScaleMinimum: store_scales(scales + 2 * kTileRows, 2, 2); [[fallthrough]];
    case ScaleKind::kScale: store_scales(scales, 2, 0); break;
    case ScaleKind::kScaleZero:
      store_scales(scales, 2, 0);
      store_scales(scales + 2 * kTileRows, 1, 2);
      break;
    default: store_scales(scales, 1, 0);  // an exponent
  }
  store_columns(scales + tile_scale_bytes(format) + row * kWord, blocks + first_code, row_bytes, bytes, count);
}

void store_unordered(Format format, uint8_t* shared, uint8_t* scales, int64_t row, SourceGroup group) {
  BlockGroup values;
  load_group(own_source(format), group, &values);
  switch (quantization(format).scales) {
    case ScaleKind::kScaleMinimum: store_f16(scales + 2 * kTileRows, row, group.block + 2); [[fallthrough]];
    case ScaleKind::kScale: store_f16(scales, row, group.block); break;
    case ScaleKind::kSteps:
      store_f16(shared, row, group.block);
      store_f16(shared + 2 * kTileRows, row, group.block + 2);
      scales[row] = values.steps[0];
      scales[kTileRows + row] = values.minimum_steps;
      break;
    case ScaleKind::kHalfSteps:
      store_f16(shared, row, group.block + kQ6KScale);
      scales[row] = values.steps[0];
      scales[kTileRows + row] = values.steps[1];
      break;
    default: return;
  }
  store_codes(format, scales + tile_scale_bytes(format), row, values);
}

}  // namespace

SourceFormat own_source(Format format) {
  switch (format) {
    case kQ8: return kSourceQ8_0;
    case kQ4: return kSourceQ4_0;
    case kQ4M: return kSourceQ4_1;
    case kQ4Z: return kSourceQ4Z;
    case kQ5: return kSourceQ5_0;
    case kQ5M: return kSourceQ5_1;
    case kFP4: return kSourceMXFP4;
    case kQ4K: return kSourceQ4_K;
    case kQ5K: return kSourceQ5_K;
    case kQ6K: return kSourceQ6_K;
    default: return kSourceFormatCount;
  }
}

void store_tile_words(uint8_t* to, const uint8_t* rows, int64_t row_bytes, int64_t bytes) {
  store_columns(to, rows, row_bytes, bytes, kTileRows);
}

void store_own_bits(Format format, uint8_t* tile, int64_t g, int64_t row, SourceGroup group, int64_t row_bytes,
                    int64_t count) {
  uint8_t* scales = tile + group_offset(format, g);
  if (is_ordered(format)) {
    if (count == kTileRows) return store_ordered(format, scales, 0, group.block, row_bytes, kTileRows);
    return store_ordered(format, scales, row, group.block, row_bytes, count);
  }
  for (int64_t r = 0; r < count; ++r) {
    store_unordered(format, tile + super_offset(format, g), scales, row + r,
                    {group.block + r * row_bytes, group.index});
  }
}

}  // namespace litgpt
