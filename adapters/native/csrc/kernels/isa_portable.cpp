// Compiled without flags of a processor.
#define LITGPT_ISA_NAMESPACE portable
#define LITGPT_ISA_NAME "portable"
#define LITGPT_ISA_KERNELS kKernels_portable

#include "simd/portable_dot.h"

#include "kernels/prepare.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/attention.h"
#include "kernels/gated_delta.h"
#include "kernels/exp_sum.h"
#include "kernels/table.h"
