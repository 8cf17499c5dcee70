// Quantizes groups of 32 values, to the same integers as llama.cpp.
#pragma once

#include <stdint.h>

#include "weights/format.h"

namespace litgpt {

// One group of one row; 4-bit integers are stored as in a tile: value i in the low bits of byte i, value 16 + i in the
// high bits.
struct QuantizedGroup {
  uint16_t scale;    // float16
  uint16_t minimum;  // float16, of kQ4M
  uint8_t quants[kGroup];
};

// Returns false if a value is not finite, or the scale is beyond float16.
bool quantize_group(Format format, const float* values, QuantizedGroup* out);

}  // namespace litgpt
