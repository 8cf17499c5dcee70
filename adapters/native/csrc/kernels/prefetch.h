// Requests for weights that follow in memory.
#pragma once

#include <stdint.h>

#include "core/inline.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// Asks for the bytes that follow a group of weights at a distance that was measured: 4 KiB are too few, 16 KiB no
// better.
LITGPT_INLINE void prefetch_after(const uint8_t* group, int64_t bytes) {
  constexpr int64_t kDistance = 8 << 10;
  constexpr int64_t kLine = 64;
  for (int64_t at = 0; at < bytes; at += kLine) {
    __builtin_prefetch(group + kDistance + at);
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
