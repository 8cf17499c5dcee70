// Norms, rotary embeddings, activations and sums.
#pragma once

#include <math.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// Calls `body(at, count)` for pieces of up to 16 values; `count` is a constant in all but the last.
template <class Body>
LITGPT_INLINE void for_lanes(int64_t size, const Body& body) {
  int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) body(at, int64_t{kLanes});
  if (at < size) body(at, size - at);
}

LITGPT_INLINE Floats load_lanes(const float* from, int64_t count) {
  return count == kLanes ? load(from) : load(from, count);
}
LITGPT_INLINE void store_lanes(float* to, Floats value, int64_t count) {
  if (count == kLanes) {
    store(to, value);
  } else {
    store(to, value, count);
  }
}

LITGPT_INLINE float mean(const float* x, int64_t size) {
  Floats total = zero();
  for_lanes(size, [&](int64_t at, int64_t count) { total = total + load_lanes(x + at, count); });
  return sum(total) / static_cast<float>(size);
}

// Mean of (x - center)^2.
LITGPT_INLINE float mean_square(const float* x, int64_t size, float center) {
  Floats total = zero();
  const Floats centers = broadcast(center);
  int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) {
    const Floats difference = load(x + at) - centers;
    total = fma(difference, difference, total);
  }
  float result = sum(total);
  for (; at < size; ++at) result += (x[at] - center) * (x[at] - center);
  return result / static_cast<float>(size);
}

static void norm(NormKind kind, const float* x, int64_t size, float eps, const float* weight, const float* bias,
                 bool unit_offset, float* out) {
  const float center = kind == kLayer ? mean(x, size) : 0.0F;
  const Floats centers = broadcast(center);
  const Floats factor = broadcast(1.0F / sqrtf(mean_square(x, size, center) + eps));
  const Floats offset = broadcast(unit_offset ? 1.0F : 0.0F);
  for_lanes(size, [&](int64_t at, int64_t count) {
    Floats y = (load_lanes(x + at, count) - centers) * factor;
    if (weight != nullptr) y = y * (load_lanes(weight + at, count) + offset);
    if (bias != nullptr) y = y + load_lanes(bias + at, count);
    store_lanes(out + at, y, count);
  });
}

static void rope_adjacent(float* x, int64_t pairs, const float* cos, const float* sin) {
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const float even = x[2 * pair];
    const float odd = x[2 * pair + 1];
    x[2 * pair] = even * cos[pair] - odd * sin[pair];
    x[2 * pair + 1] = odd * cos[pair] + even * sin[pair];
  }
}

static void rope(float* x, int64_t heads, int64_t stride, int64_t pairs, const float* cos, const float* sin,
                 bool interleaved) {
  for (int64_t head = 0; head < heads; ++head, x += stride) {
    if (interleaved) {
      rope_adjacent(x, pairs, cos, sin);
      continue;
    }
    for_lanes(pairs, [&](int64_t at, int64_t count) {
      const Floats c = load_lanes(cos + at, count);
      const Floats s = load_lanes(sin + at, count);
      const Floats a = load_lanes(x + at, count);
      const Floats b = load_lanes(x + pairs + at, count);
      store_lanes(x + at, a * c - b * s, count);
      store_lanes(x + pairs + at, b * c + a * s, count);
    });
  }
}

template <class Function>
LITGPT_INLINE void activate_with(const Function& function, const float* gate, const float* up, int64_t size,
                                 float* out) {
  for_lanes(size, [&](int64_t at, int64_t count) {
    Floats y = function(load_lanes(gate + at, count));
    if (up != nullptr) y = y * load_lanes(up + at, count);
    store_lanes(out + at, y, count);
  });
}

// x * (1 + erf(x / sqrt(2))) / 2, without the cancellation that this has for negative x.
LITGPT_INLINE Floats gelu(Floats x) {
  const Floats magnitude = min(abs(x), broadcast(20.0F));  // from there on, the second term is zero
  const Floats tail = erfc(magnitude * broadcast(0.70710678F)) * broadcast(0.5F);
  return max(zero(), x) - magnitude * tail;
}

// x * (1 + tanh(u)) / 2 = x / (1 + e^-2u)
LITGPT_INLINE Floats gelu_tanh(Floats x) {
  const Floats twice = x * fma(x * x, broadcast(0.044715F), broadcast(1.0F)) * broadcast(1.59576912F);
  return x / sigmoid_denominator(twice);
}

static void activate(Activation kind, const float* gate, const float* up, int64_t size, float* out) {
  switch (kind) {
    case kSilu: activate_with([](Floats x) { return x / sigmoid_denominator(x); }, gate, up, size, out); break;
    case kGelu: activate_with([](Floats x) { return gelu(x); }, gate, up, size, out); break;
    case kGeluTanh: activate_with([](Floats x) { return gelu_tanh(x); }, gate, up, size, out); break;
    case kRelu: activate_with([](Floats x) { return max(zero(), x); }, gate, up, size, out); break;
    case kRelu2: activate_with([](Floats x) { return max(zero(), x) * max(zero(), x); }, gate, up, size, out); break;
    case kSigmoid:
      activate_with([](Floats x) { return broadcast(1.0F) / sigmoid_denominator(x); }, gate, up, size, out);
      break;
    case kIdentity: activate_with([](Floats x) { return x; }, gate, up, size, out); break;
  }
}

static void add(const float* x, int64_t size, float alpha, float* y) {
  const Floats factor = broadcast(alpha);
  for_lanes(size, [&](int64_t at, int64_t count) {
    store_lanes(y + at, fma(factor, load_lanes(x + at, count), load_lanes(y + at, count)), count);
  });
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
