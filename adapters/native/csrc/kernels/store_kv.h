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

static void store_kv(Format element, const float* k, const float* v, int64_t k_dim, int64_t v_dim, int64_t slot,
                     uint8_t* k_page, uint8_t* v_page) {
  if (element == kF32) {
    store_kv_as(k, v, k_dim, v_dim, slot, reinterpret_cast<float*>(k_page), reinterpret_cast<float*>(v_page));
  } else {
    store_kv_as(k, v, k_dim, v_dim, slot, reinterpret_cast<uint16_t*>(k_page), reinterpret_cast<uint16_t*>(v_page));
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
