// The tokens of one step: those of all sequences, one sequence after another.
#pragma once

#include <stdint.h>

#include "core/array.h"
#include "model/cache.h"

namespace litgpt {

// Consecutive tokens of one sequence, whose attention is computed together.
struct QueryBlock {
  int32_t sequence;
  int32_t tokens;
  int64_t first;  // index in the batch
  int64_t first_position;
};

struct Batch {
  int64_t tokens = 0;
  const int32_t* ids = nullptr;
  Sequence* const* sequences = nullptr;
  Array<int64_t> positions;  // of each token
  Array<int32_t> sequence_of;
  Array<int64_t> first_of;  // the first token of each sequence, and the number of tokens at the end
  Array<QueryBlock> blocks;
  int64_t spans = 1;  // the spans of the longest sequence, if their attention is computed in parts
  int64_t rows = 0;   // number of tokens whose logits or hidden states are written
  const int32_t* output_rows = nullptr;

  Status fill(Sequence* const* all, int32_t num_sequences, const int32_t* counts, const int32_t* token_ids);
};

}  // namespace litgpt
