// Compiled with -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq.
#define LITGPT_ISA_NAMESPACE avx512
#define LITGPT_ISA_NAME "avx512"
#define LITGPT_ISA_KERNELS kKernels_avx512

#include "simd/avx512_dot.h"

#include "kernels/prepare.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/attention.h"
#include "kernels/gated_delta.h"
#include "kernels/exp_sum.h"
#include "kernels/table.h"
