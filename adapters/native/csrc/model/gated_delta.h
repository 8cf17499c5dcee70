// Gated delta networks: linear attention with a state of fixed size (arXiv:2412.06464).
#pragma once

#include "model/batch.h"
#include "model/executor.h"
#include "model/program.h"
#include "model/workspace.h"

namespace litgpt {

// Execute kCausalConv and kGatedDelta. All workers of a region call them.
void run_causal_conv(const int32_t* operands, const Program& program, const Batch& batch, Workspace& workspace,
                     Executor& executor);
void run_gated_delta(const int32_t* operands, const Program& program, const Batch& batch, Workspace& workspace,
                     Executor& executor);

}  // namespace litgpt
