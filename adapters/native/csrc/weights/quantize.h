// Quantizes groups of 32 values, to the same integers as llama.cpp.
#pragma once

#include <stdint.h>

#include "weights/format.h"

namespace litgpt {

// Writes a block of Q8_0, Q4_0 or Q4_1 for a weight format with its bits. Returns false if a value is not finite, or
// the scale is beyond float16.
bool quantize_group(Format format, const float* values, uint8_t* block);

inline constexpr int64_t kMaxQuantizedBytes = 2 + kGroup;

}  // namespace litgpt
