// Executes a program for the tokens of one step.
#pragma once

#include "core/threads.h"
#include "kernels/kernels.h"
#include "model/batch.h"
#include "model/program.h"
#include "model/workspace.h"

namespace litgpt {

// What a step writes: one of these, the other is null.
struct Output {
  float* logits;  // batch.rows x vocab_size
  float* hidden;  // batch.rows x the columns of the head
};

// Computes the output and stores keys and values. The sequences must have reserved the positions, and the workspace
// the memory. All workers of a region call it.
void run_step(const Program& program, const Kernels& kernels, const Batch& batch, Workspace& workspace, Output output,
              Worker& worker);

}  // namespace litgpt
