// Decodes groups of 32 values of the formats that are packed.
#pragma once

#include <stdint.h>

#include "weights/blocks.h"
#include "weights/pack.h"

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

// Reads a group of a block format.
void load_group(SourceFormat source, SourceGroup group, BlockGroup* out);

// Writes the first `count` values of a group as float32, and zeros up to 32.
void decode_group(SourceFormat source, SourceGroup group, int64_t count, float* out);

// Returns whether a group of a block format has values that Q8_0 represents, and if so writes its block.
bool convert_to_q8_0(SourceFormat source, SourceGroup group, uint8_t* block);

}  // namespace litgpt
