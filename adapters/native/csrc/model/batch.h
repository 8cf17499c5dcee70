// The tokens of one step: those of all sequences, one sequence after another.
#pragma once

#include <stdint.h>

#include "core/array.h"
#include "model/adapter.h"
#include "model/cache.h"

namespace litgpt {

// Consecutive tokens of one sequence, whose attention is computed together.
struct QueryBlock {
  int32_t sequence;
  int32_t tokens;
  int64_t first;  // index in the batch
  int64_t first_position;
};

// Consecutive tokens with the same adapter.
struct AdapterRun {
  const Adapter* adapter;
  int64_t first;
  int64_t last;
};

struct Batch {
  int64_t tokens = 0;
  const int32_t* ids = nullptr;
  Sequence* const* sequences = nullptr;
  Array<int64_t> positions;  // of each token
  Array<int32_t> sequence_of;
  Array<int64_t> first_of;  // the first token of each sequence, and the number of tokens at the end
  Array<QueryBlock> blocks;
  Array<AdapterRun> runs;  // of tokens that have an adapter
  int64_t spans = 1;       // the spans of the longest sequence, if their attention is computed in parts
  int64_t rows = 0;        // number of tokens whose logits or hidden states are written
  const int32_t* output_rows = nullptr;

  // `adapters` has the adapter of each sequence, or null; sequences with the same adapter should be adjacent.
  Status fill(Sequence* const* all, const Adapter* const* adapters, int32_t num_sequences, const int32_t* counts,
              const int32_t* token_ids);
};

}  // namespace litgpt
