// Writes keys and values into pages of the KV cache.
#pragma once

#include "kernels/kernels.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

LITGPT_INLINE void store_elements(float* to, const float* from, int64_t count) {
  memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}
LITGPT_INLINE void store_elements(uint16_t* to, const float* from, int64_t count) {
  if (count == kLanes) return store_bf16(to, load(from));
  uint16_t lanes[kLanes];
  store_bf16(lanes, load(from, count));
  memcpy(to, lanes, static_cast<size_t>(count) * sizeof(uint16_t));
}

template <class Element>
LITGPT_INLINE void store_kv_as(const float* k, const float* v, int64_t k_dim, int64_t v_dim, int64_t slot,
                               Element* k_page, Element* v_page) {
  for (int64_t at = 0; at < k_dim; at += kLanes) {
    const int64_t count = k_dim - at < kLanes ? k_dim - at : kLanes;
    Element lanes[kLanes];
    store_elements(lanes, k + at, count);
    for (int64_t i = 0; i < count; ++i) k_page[(at + i) * kPagePositions + slot] = lanes[i];
  }
  for (int64_t at = 0; at < v_dim; at += kLanes) {
    const int64_t count = v_dim - at < kLanes ? v_dim - at : kLanes;
    store_elements(v_page + slot * v_dim + at, v + at, count);
  }
}

#ifdef LITGPT_ISA_HAS_TILES
// In pairs. Other tokens of a step write the neighbors of these elements at the same time.
static void store_kv_pairs(const float* k, const float* v, int64_t k_dim, int64_t v_dim, int64_t slot, uint16_t* k_page,
                           uint16_t* v_page) {
  uint16_t lanes[kLanes];
  for (int64_t at = 0; at < k_dim; at += kLanes) {
    store_bf16(lanes, load(k + at));
    for (int64_t i = 0; i < kLanes; i += 2) {
      memcpy(k_page + (at + i) * kPagePositions + 2 * slot, lanes + i, 2 * sizeof(uint16_t));
    }
  }
  uint16_t* row = v_page + slot / 2 * 2 * v_dim + slot % 2;
  for (int64_t at = 0; at < v_dim; at += kLanes) {
    store_bf16(lanes, load(v + at));
    for (int64_t i = 0; i < kLanes; ++i) row[2 * (at + i)] = lanes[i];
  }
}
#endif

// Writes the 8-bit codes of `size` values, `step` bytes apart, and returns their scale.
LITGPT_INLINE float store_codes(const float* x, int64_t size, int64_t step, int8_t* codes) {
  Floats largest = zero();
  Floats nothing = zero();  // NaN if a value is not finite, which the maximum may miss
  for (int64_t at = 0; at < size; at += kLanes) {
    const Floats values = load(x + at, size - at < kLanes ? size - at : kLanes);
    largest = max(largest, abs(values));
    nothing = fma(values, zero(), nothing);
  }
  const float most = max_lane(largest);
  // Below 2^-120 the inverse could overflow; such values count as zero.
  const float inverse = most > 7.6e-37F ? 127.0F / most : 0.0F;
  for (int64_t at = 0; at < size; at += kLanes) {
    const int64_t count = size - at < kLanes ? size - at : kLanes;
    int8_t lanes[kLanes];
    store_i8(lanes, load(x + at, count) * broadcast(inverse));
    for (int64_t i = 0; i < count; ++i) codes[(at + i) * step] = lanes[i];
  }
  return (inverse > 0.0F ? most / 127.0F : 0.0F) + sum(nothing);
}

static void store_kv_codes(const float* k, const float* v, int64_t k_dim, int64_t v_dim, int64_t slot, uint8_t* k_page,
                           uint8_t* v_page) {
  constexpr int64_t kStart = kv_scale_bytes(kQ8);
  auto* k_codes = reinterpret_cast<int8_t*>(k_page + kStart + slot);
  auto* v_codes = reinterpret_cast<int8_t*>(v_page + kStart + slot * v_dim);
  reinterpret_cast<float*>(k_page)[slot] = store_codes(k, k_dim, kPagePositions, k_codes);
  reinterpret_cast<float*>(v_page)[slot] = store_codes(v, v_dim, 1, v_codes);
}

static void store_kv(Format element, const float* k, const float* v, int64_t k_dim, int64_t v_dim, int64_t slot,
                     uint8_t* k_page, uint8_t* v_page) {
#ifdef LITGPT_ISA_HAS_TILES
  if (fits_tiles(element, k_dim, v_dim)) {
    return store_kv_pairs(k, v, k_dim, v_dim, slot, reinterpret_cast<uint16_t*>(k_page),
                          reinterpret_cast<uint16_t*>(v_page));
  }
#endif
  if (element == kF32) {
    store_kv_as(k, v, k_dim, v_dim, slot, reinterpret_cast<float*>(k_page), reinterpret_cast<float*>(v_page));
  } else if (element == kQ8) {
    store_kv_codes(k, v, k_dim, v_dim, slot, k_page, v_page);
  } else {
    store_kv_as(k, v, k_dim, v_dim, slot, reinterpret_cast<uint16_t*>(k_page), reinterpret_cast<uint16_t*>(v_page));
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
