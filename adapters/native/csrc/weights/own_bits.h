// Packs blocks into the weight format that has their codes and scales.
#pragma once

#include "weights/source.h"

namespace litgpt {

// The block format with the codes and scales of a weight format; kSourceFormatCount if there is none.
SourceFormat own_source(Format format);

// Writes a group of 32 columns from a block of `own_source(format)`: group `g` of `count` rows of a tile, from `row`
// on. In the source, each row is `row_bytes` after the one before.
void store_own_bits(Format format, uint8_t* tile, int64_t g, int64_t row, SourceGroup group, int64_t row_bytes = 0,
                    int64_t count = 1);

// Writes the first `bytes` of each of 16 rows, in words of 4 bytes: those of all rows, then the next of all. It is the
// order of kF32 and kBF16. In the source, each row is `row_bytes` after the one before.
void store_tile_words(uint8_t* to, const uint8_t* rows, int64_t row_bytes, int64_t bytes);

}  // namespace litgpt
