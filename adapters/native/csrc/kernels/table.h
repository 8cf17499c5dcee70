// The table of an instruction set's kernels.
#pragma once

#include "kernels/kernels.h"

namespace litgpt {

extern const Kernels LITGPT_ISA_KERNELS;
const Kernels LITGPT_ISA_KERNELS = {
    LITGPT_ISA_NAME,
    LITGPT_ISA_NAMESPACE::prepare,
    LITGPT_ISA_NAMESPACE::matmul,
    LITGPT_ISA_NAMESPACE::norm,
    LITGPT_ISA_NAMESPACE::rope,
    LITGPT_ISA_NAMESPACE::activate,
    LITGPT_ISA_NAMESPACE::add,
    LITGPT_ISA_NAMESPACE::store_kv,
    LITGPT_ISA_NAMESPACE::attend,
    LITGPT_ISA_NAMESPACE::attend_part,
    LITGPT_ISA_NAMESPACE::merge_parts,
    LITGPT_ISA_NAMESPACE::causal_conv,
    LITGPT_ISA_NAMESPACE::delta_rule,
    LITGPT_ISA_NAMESPACE::exp_sum,
};

}  // namespace litgpt
