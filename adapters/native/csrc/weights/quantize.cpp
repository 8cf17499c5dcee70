#include "weights/quantize.h"

#include <string.h>

#include "core/float16.h"

namespace litgpt {

namespace {

constexpr float kLargestF16 = 65504.0F;

void store_f16(float value, uint8_t* to) {
  const uint16_t half = float_to_f16(value);
  memcpy(to, &half, sizeof half);
}

float inverse_of(float scale) {
  const float inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
  // Not finite: a subnormal scale, whose float16 is zero.
  return __builtin_isfinite(inverse) ? inverse : 0.0F;
}

int clamp_q4(int value) { return value < 0 ? 0 : value > 15 ? 15 : value; }

void pack_nibbles(const int* quants, uint8_t* out) {
  for (int64_t i = 0; i < kGroup / 2; ++i) out[i] = static_cast<uint8_t>(quants[i] | quants[i + kGroup / 2] << 4);
}

// Halves are rounded away from zero.
void quantize_q8(const float* values, float scale, uint8_t* out) {
  const float inverse = inverse_of(scale);
  for (int64_t i = 0; i < kGroup; ++i) {
    const float value = values[i] * inverse;
    const float magnitude = value < 0.0F ? -value : value;
    const int whole = static_cast<int>(magnitude);
    const int rounded = whole + static_cast<int>(2.0F * (magnitude - static_cast<float>(whole)));
    out[i] = static_cast<uint8_t>(static_cast<int8_t>(value < 0.0F ? -rounded : rounded));
  }
}

void quantize_q4(const float* values, float scale, uint8_t* out) {
  const float inverse = inverse_of(scale);
  int quants[kGroup];
  for (int64_t i = 0; i < kGroup; ++i) quants[i] = clamp_q4(static_cast<int>(values[i] * inverse + 8.5F));
  pack_nibbles(quants, out);
}

void quantize_q4m(const float* values, float scale, float minimum, uint8_t* out) {
  const float inverse = inverse_of(scale);
  int quants[kGroup];
  for (int64_t i = 0; i < kGroup; ++i) quants[i] = clamp_q4(static_cast<int>((values[i] - minimum) * inverse + 0.5F));
  pack_nibbles(quants, out);
}

}  // namespace

bool quantize_group(Format format, const float* values, uint8_t* block) {
  float lowest = values[0];
  float highest = values[0];
  float largest = 0.0F;  // the first value of maximal magnitude, with its sign
  float poison = 0.0F;   // NaN if a value is not finite
  for (int64_t i = 0; i < kGroup; ++i) {
    const float value = values[i];
    lowest = value < lowest ? value : lowest;
    highest = value > highest ? value : highest;
    poison += value * 0.0F;
  }
  const float magnitude = -lowest > highest ? -lowest : highest;
  if (format == kQ4) {
    for (int64_t i = kGroup - 1; i >= 0; --i) {
      if (values[i] == magnitude || values[i] == -magnitude) largest = values[i];
    }
  }
  const float scale = format == kQ8 ? magnitude / 127.0F : format == kQ4 ? largest / -8.0F : (highest - lowest) / 15.0F;
  if (poison != 0.0F || scale > kLargestF16 || scale < -kLargestF16) return false;
  store_f16(scale, block);
  if (format == kQ8) {
    quantize_q8(values, scale, block + 2);
  } else if (format == kQ4) {
    quantize_q4(values, scale, block + 2);
  } else {
    if (lowest > kLargestF16 || lowest < -kLargestF16) return false;
    store_f16(lowest, block + 2);
    quantize_q4m(values, scale, lowest, block + 4);
  }
  return true;
}

}  // namespace litgpt
