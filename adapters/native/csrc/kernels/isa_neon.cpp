// Compiled for ARMv8.2 with the dot product extension.
#define LITGPT_ISA_NAMESPACE neon
#define LITGPT_ISA_NAME "neon"
#define LITGPT_ISA_KERNELS kKernels_neon

#include "simd/neon_dot.h"

#include "kernels/prepare.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/attention.h"
#include "kernels/gated_delta.h"
#include "kernels/exp_sum.h"
#include "kernels/table.h"
