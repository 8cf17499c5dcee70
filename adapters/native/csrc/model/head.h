// The head of a model, and what a step writes.
#pragma once

#include "model/batch.h"
#include "model/executor.h"
#include "model/program.h"
#include "model/workspace.h"

namespace litgpt {

// The log-probabilities of a given token after each of batch.rows tokens.
struct Scores {
  const int32_t* targets;
  double* logprobs;  // NaN if logits are NaN or infinite
  int32_t* greedy;   // whether no other token is likelier
};

// What a step writes: one of these, the others are null.
struct Output {
  float* logits;         // batch.rows x vocab_size
  float* hidden;         // batch.rows x the columns of the head
  const Scores* scores;  // without writing logits to memory
};

void run_head(const litgpt_instruction& instruction, const Program& program, const Batch& batch, Workspace& space,
              const Output& output, Executor& executor);

}  // namespace litgpt
