// The instruction sets of the processor at hand, as far as the kernels use them.
#pragma once

namespace litgpt {

struct CpuFeatures {
  bool avx2 = false;        // with FMA and F16C
  bool avx512 = false;      // F, BW, VL and DQ
  bool avx512vnni = false;  // VNNI and BF16, in addition
  bool amx = false;         // products of bfloat16, in addition, and the system's permission to use them
  bool neon_dot = false;
  bool is_intel = false;
};

CpuFeatures detect_cpu_features();

}  // namespace litgpt
