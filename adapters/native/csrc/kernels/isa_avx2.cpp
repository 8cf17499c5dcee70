// Compiled with -mavx2 -mfma -mf16c.
#define LITGPT_ISA_NAMESPACE avx2
#define LITGPT_ISA_NAME "avx2"
#define LITGPT_ISA_KERNELS kKernels_avx2

#include "simd/avx2_dot.h"

#include "kernels/prepare.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/attention.h"
#include "kernels/gated_delta.h"
#include "kernels/exp_sum.h"
#include "kernels/table.h"
