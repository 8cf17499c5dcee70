// Adds the low-rank updates of a product for the tokens of each adapter.
#pragma once

#include "model/batch.h"
#include "model/executor.h"
#include "model/workspace.h"

namespace litgpt {

// Adds the updates of matrix `tensor` to buffer `dst`, after its product with buffer `src`. All workers call it.
void add_low_rank(int32_t tensor, int32_t src, int32_t dst, float alpha, const Batch& batch, Workspace& workspace,
                  Executor& executor);

}  // namespace litgpt
