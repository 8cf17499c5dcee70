// Executes a program for the tokens of one step.
#pragma once

#include "core/threads.h"
#include "kernels/kernels.h"
#include "model/batch.h"
#include "model/head.h"
#include "model/program.h"
#include "model/workspace.h"

namespace litgpt {

// Computes the output and stores keys and values. The sequences must have reserved the positions, and the workspace
// the memory. All workers of a region call it.
void run_step(const Program& program, const Kernels& kernels, const Batch& batch, Workspace& workspace, Output output,
              Worker& worker);

}  // namespace litgpt
