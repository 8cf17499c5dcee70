// Compiled with the flags of isa_avx512.cpp, -mavx512vnni and -mavx512bf16.
#define LITGPT_ISA_NAMESPACE avx512vnni
#define LITGPT_ISA_NAME "avx512vnni"
#define LITGPT_ISA_KERNELS kKernels_avx512vnni

#include "simd/avx512_dot.h"

#include "kernels/prepare.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/attention.h"
#include "kernels/gated_delta.h"
#include "kernels/exp_sum.h"
#include "kernels/table.h"
