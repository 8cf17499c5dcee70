// Compiled with the flags of isa_avx512vnni.cpp, -mamx-tile and -mamx-bf16.
#define LITGPT_ISA_NAMESPACE amx
#define LITGPT_ISA_NAME "amx"
#define LITGPT_ISA_KERNELS kKernels_amx
#define LITGPT_ISA_HAS_TILES

#include "simd/amx.h"

#include "kernels/prepare.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/attention.h"
#include "kernels/gated_delta.h"
#include "kernels/exp_sum.h"
#include "kernels/table.h"
