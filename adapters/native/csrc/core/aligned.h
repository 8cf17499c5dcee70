// Memory that begins at a cache line.
#pragma once

#include <stddef.h>
#include <stdlib.h>

#ifdef _WIN32
#include <malloc.h>
#endif

namespace litgpt {

inline constexpr size_t kCacheLine = 64;

// Returns null if there is not enough memory. The result is for `free_aligned`.
inline void* allocate_aligned(size_t bytes) {
#ifdef _WIN32
  return _aligned_malloc(bytes, kCacheLine);
#else
  void* memory = nullptr;
  return posix_memalign(&memory, kCacheLine, bytes) == 0 ? memory : nullptr;
#endif
}

inline void free_aligned(void* memory) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  free(memory);
#endif
}

}  // namespace litgpt
