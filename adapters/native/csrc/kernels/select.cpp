// Chooses the kernels when the engine starts. The build defines LITGPT_HAVE_<name> for each unit that it compiled.
#include <stdlib.h>
#include <string.h>

#include "core/cpu_features.h"
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
#ifdef LITGPT_HAVE_AMX
extern const Kernels kKernels_amx;
#endif
#ifdef LITGPT_HAVE_NEON
extern const Kernels kKernels_neon;
#endif

namespace {

// Detected once: a virtual machine executes CPUID in the hypervisor.
const CpuFeatures kCpu = detect_cpu_features();

// The kernels that this processor runs, fastest first; null ends the list.
const Kernels* runnable(int index) {
  const Kernels* found[6] = {};
  int count = 0;
#ifdef LITGPT_HAVE_AMX
  if (kCpu.amx) found[count++] = &kKernels_amx;
#endif
#ifdef LITGPT_HAVE_AVX512VNNI
  if (kCpu.avx512vnni) found[count++] = &kKernels_avx512vnni;
#endif
#ifdef LITGPT_HAVE_AVX512
  if (kCpu.avx512) found[count++] = &kKernels_avx512;
#endif
#ifdef LITGPT_HAVE_AVX2
  if (kCpu.avx2) found[count++] = &kKernels_avx2;
#endif
#ifdef LITGPT_HAVE_NEON
  if (kCpu.neon_dot) found[count++] = &kKernels_neon;
#endif
  found[count++] = &kKernels_portable;
  return index < count ? found[index] : nullptr;
}

}  // namespace

const bool kPrefetchesWeights = kCpu.is_intel;

const Kernels* select_kernels() {
  const char* wanted = getenv("LITGPT_NATIVE_ISA");
  if (wanted == nullptr || *wanted == '\0') return runnable(0);
  for (int index = 0;; ++index) {
    const Kernels* kernels = runnable(index);
    if (kernels == nullptr || strcmp(kernels->name, wanted) == 0) return kernels;
  }
}

}  // namespace litgpt
