// Chooses the kernels when the engine starts. The build defines LITGPT_HAVE_<name> for each unit that it compiled.
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

namespace litgpt {

extern const Kernels kKernels_portable;
#ifdef LITGPT_HAVE_AVX2
extern const Kernels kKernels_avx2;
#endif
#ifdef LITGPT_HAVE_AVX512
extern const Kernels kKernels_avx512;
#endif
#ifdef LITGPT_HAVE_AVX512VNNI
extern const Kernels kKernels_avx512vnni;
#endif
#ifdef LITGPT_HAVE_NEON
extern const Kernels kKernels_neon;
#endif

namespace {

// The kernels that this processor runs, fastest first; null ends the list.
const Kernels* runnable(int index) {
  const Kernels* found[5] = {};
  int count = 0;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  [[maybe_unused]] const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  [[maybe_unused]] const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                                       __builtin_cpu_supports("avx512dq");
#ifdef LITGPT_HAVE_AVX512VNNI
  if (avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16")) {
    found[count++] = &kKernels_avx512vnni;
  }
#endif
#ifdef LITGPT_HAVE_AVX512
  if (avx512) found[count++] = &kKernels_avx512;
#endif
#ifdef LITGPT_HAVE_AVX2
  if (avx2) found[count++] = &kKernels_avx2;
#endif
#endif
#ifdef LITGPT_HAVE_NEON
  // The build compiles this unit only where every processor of the platform has the dot product.
  found[count++] = &kKernels_neon;
#endif
  found[count++] = &kKernels_portable;
  return index < count ? found[index] : nullptr;
}

}  // namespace

const Kernels* select_kernels() {
  const char* wanted = getenv("LITGPT_NATIVE_ISA");
  if (wanted == nullptr || *wanted == '\0') return runnable(0);
  for (int index = 0;; ++index) {
    const Kernels* kernels = runnable(index);
    if (kernels == nullptr || strcmp(kernels->name, wanted) == 0) return kernels;
  }
}

}  // namespace litgpt
