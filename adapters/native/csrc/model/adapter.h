// A LoRA adapter: low-rank updates of matrices of a program, for the tokens of some sequences of a step.
#pragma once

#include "core/array.h"
#include "model/program.h"

namespace litgpt {

// y += B (A x) + bias
struct LowRankUpdate {
  Matrix down;        // A: (R, in), float32
  Matrix up;          // B: (out, R), float32
  const float* bias;  // (out, padded), or null
};

struct Adapter {
  Array<LowRankUpdate> updates;
  Array<int32_t> update_of;  // of each tensor of the program; -1: none
  int64_t rank = 0;          // the largest, padded

  const LowRankUpdate* find(int32_t tensor) const {
    const int32_t at = update_of[tensor];
    return at < 0 ? nullptr : &updates[at];
  }
};

// Checks and copies updates, but not their matrices.
Status read_adapter(const Program& program, int32_t count, const litgpt_update* updates, Adapter* adapter);

}  // namespace litgpt
