#include "core/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace litgpt {

namespace {

[[maybe_unused]] bool has(unsigned value, int bit) { return (value >> bit & 1) != 0; }

#if defined(__x86_64__)
// The registers that the operating system saves for each thread.
unsigned saved_registers() {
  unsigned low = 0;
  unsigned high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Asks for the tile registers, which Linux gives to processes that do (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

}  // namespace

// The instruction is executed here, because the compiler's `__builtin_cpu_supports` needs its runtime library, and in
// that of zig it never finds a feature. Bits: Intel's Software Developer's Manual, CPUID.
CpuFeatures detect_cpu_features() {
  CpuFeatures found;
#if defined(__x86_64__)
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned kYmm = 0x06;
  constexpr unsigned kZmm = 0xe6;
  constexpr unsigned kTiles = 0x60000;
  constexpr unsigned kGenuineIntel[] = {0x756e6547, 0x49656e69, 0x6c65746e};  // as text in EBX, EDX and ECX
  if (__get_cpuid(0, &a, &b, &c, &d) == 0) return found;
  found.is_intel = b == kGenuineIntel[0] && d == kGenuineIntel[1] && c == kGenuineIntel[2];
  if (__get_cpuid_count(1, 0, &a, &b, &c, &d) == 0 || !has(c, 27)) return found;
  const unsigned saved = saved_registers();
  const bool avx = (saved & kYmm) == kYmm && has(c, 28) && has(c, 12) && has(c, 29);
  if (!avx || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = has(b, 5);
  found.avx512 = found.avx2 && (saved & kZmm) == kZmm && has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31);
  const bool vnni = found.avx512 && has(c, 11);
  const bool has_tiles = (saved & kTiles) == kTiles && has(d, 22) && has(d, 24);
  found.avx512vnni = vnni && a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && has(a, 5);
  found.amx = found.avx512vnni && has_tiles && may_use_tiles();
#elif defined(__aarch64__) && defined(__linux__)
  constexpr int kAsimdDp = 20;
  found.neon_dot = has(static_cast<unsigned>(getauxval(AT_HWCAP)), kAsimdDp);
#elif defined(__aarch64__) && defined(__APPLE__)
  found.neon_dot = true;  // of all Apple silicon
#endif
  return found;
}

}  // namespace litgpt
