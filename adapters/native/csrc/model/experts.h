// A mixture of experts: each token passes through the experts that the router selected.
#pragma once

#include "model/batch.h"
#include "model/executor.h"
#include "model/program.h"
#include "model/workspace.h"

namespace litgpt {

// Executes kExperts. The number of loops must not depend on the routes, because a late worker skips loops.
void run_experts(const int32_t* operands, const double* parameters, const Program& program, const Batch& batch,
                 Workspace& workspace, Executor& executor);

// out = x * sigmoid(alpha * x) * (y + offset), where x = min(gate, limit) and y is up, clamped to the limit; the
// parameters are limit, alpha and offset.
void clamped_swiglu(const float* gate, const float* up, int64_t size, const double* parameters, float* out);

}  // namespace litgpt
