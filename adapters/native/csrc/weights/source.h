// Decodes groups of 32 values of the formats that are packed.
#pragma once

#include <stdint.h>

#include "weights/pack.h"

namespace litgpt {

// The blocks of a GGUF file: a scale, of Q4_1 also a minimum, and 32 integers.
inline constexpr int64_t kBlockQ8_0 = 34;
inline constexpr int64_t kBlockQ4_0 = 18;
inline constexpr int64_t kBlockQ4_1 = 20;

inline bool is_quantized(SourceFormat source) { return source >= kSourceQ8_0; }

// The bytes of 32 values.
inline int64_t source_group_bytes(SourceFormat source) {
  switch (source) {
    case kSourceF32: return 4 * kGroup;
    case kSourceBF16:
    case kSourceF16: return 2 * kGroup;
    case kSourceQ8_0: return kBlockQ8_0;
    case kSourceQ4_0: return kBlockQ4_0;
    case kSourceQ4_1: return kBlockQ4_1;
    default: return 0;
  }
}

// Writes the first `count` values of a group as float32, and zeros up to 32.
void decode_source(SourceFormat source, const uint8_t* group, int64_t count, float* out);

}  // namespace litgpt
