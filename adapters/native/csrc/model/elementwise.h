// Instructions that change the values of each token by themselves.
#pragma once

#include "model/batch.h"
#include "model/executor.h"
#include "model/program.h"
#include "model/workspace.h"

namespace litgpt {

// Executes an instruction that is none of the others.
void run_elementwise(const litgpt_instruction& instruction, const Program& program, const Batch& batch,
                     Workspace& workspace, Executor& executor);

}  // namespace litgpt
