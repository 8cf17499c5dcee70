// Checks of the operands of an instruction.
#pragma once

#include "model/program.h"

namespace litgpt {

// Fails if an operand of instruction `index` is out of range, or reads or writes outside a buffer or tensor. The
// tables, caches and tensors of the program must have been read.
Status check_instruction(const Program& program, int32_t index, const litgpt_instruction& instruction);

}  // namespace litgpt
