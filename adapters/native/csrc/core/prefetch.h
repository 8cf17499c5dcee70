// Requests for memory that is read soon.
#pragma once

#include <stdint.h>

#include "core/inline.h"

namespace litgpt {

// Requests what follows `bytes` at `from` at a distance that was measured: 4 KiB are too few, 16 KiB no better.
LITGPT_INLINE void prefetch_after(const void* from, int64_t bytes) {
  constexpr int64_t kDistance = 8 << 10;
  constexpr int64_t kLine = 64;
  const auto* bytes_after = static_cast<const uint8_t*>(from) + kDistance;
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(bytes_after + at);
}

}  // namespace litgpt
