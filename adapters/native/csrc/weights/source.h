// Decodes groups of 32 values of the formats that are packed.
#pragma once

#include <stdint.h>

#include "weights/pack.h"
#include "weights/quantize.h"

namespace litgpt {

inline bool is_quantized(SourceFormat source) { return source >= kSourceQ8_0; }

struct BlockShape {
  int64_t values;
  int64_t bytes;
};

BlockShape source_block(SourceFormat source);

// Where a group of 32 values is in a row: the first byte of its block, and which of the block's groups it is.
struct GroupPlace {
  int64_t offset;
  int64_t index;
};

GroupPlace find_group(SourceFormat source, int64_t group);

struct SourceGroup {
  const uint8_t* block;
  int64_t index;
};

// Writes the first `count` values of a group as float32, and zeros up to 32.
void decode_group(SourceFormat source, SourceGroup group, int64_t count, float* out);

// Converts a group of a block format to a quantized weight format that represents its values. Returns false if it does
// not.
bool convert_group(Format format, SourceFormat source, SourceGroup group, QuantizedGroup* out);

}  // namespace litgpt
