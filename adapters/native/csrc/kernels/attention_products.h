// The matrix products of attention, between a few query rows and one page of the KV cache.
#pragma once

#include "kernels/kernels.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// Query rows that are computed together: their sums and one step of the page fit into the vector registers.
inline constexpr int kRowBlock = kParts == 1 ? 8 : 6;

LITGPT_INLINE Floats load_element(const float* from) { return load(from); }
LITGPT_INLINE Floats load_element(const uint16_t* from) { return load_bf16(from); }
LITGPT_INLINE Floats load_element(const float* from, int64_t count) { return load(from, count); }
LITGPT_INLINE Floats load_element(const uint16_t* from, int64_t count) {
  uint16_t lanes[kLanes] = {};
  memcpy(lanes, from, static_cast<size_t>(count) * sizeof(uint16_t));
  return load_bf16(lanes);
}

// sums[row] += sum over k from `first` to `last` of a[row][k] * load(k)
template <int kRows, class Load>
LITGPT_INLINE void add_products(const float* const* a, int64_t first, int64_t last, const Load& load,
                                Floats (&sums)[kRows]) {
  for (int64_t k = first; k < last; ++k) {
    const Floats column = load(k);
    for (int row = 0; row < kRows; ++row) sums[row] = fma(broadcast(a[row][k]), column, sums[row]);
  }
}

// scores[row][position] = the dot product of a query and a key, for all positions of a page
template <int kRows, class Element>
LITGPT_INLINE void multiply_keys(const float* const* q, int64_t k_dim, const Element* page,
                                 float (*scores)[kPagePositions]) {
  for (int64_t at = 0; at < kPagePositions; at += kLanes) {
    Floats sums[kRows];
    for (int row = 0; row < kRows; ++row) sums[row] = zero();
    add_products(q, 0, k_dim, [&](int64_t k) { return load_element(page + k * kPagePositions + at); }, sums);
    for (int row = 0; row < kRows; ++row) store(scores[row] + at, sums[row]);
  }
}

// out[row] = factors[row] * out[row] + the sum of the values of positions `first` to `last`, with their weights
template <int kRows, class Element>
LITGPT_INLINE void multiply_values(const float* const* weights, int64_t first, int64_t last, const Element* page,
                                   int64_t v_dim, const float* factors, float* const* out) {
  int64_t at = 0;
  for (; at + kLanes <= v_dim; at += kLanes) {
    Floats sums[kRows];
    for (int row = 0; row < kRows; ++row) sums[row] = load(out[row] + at) * broadcast(factors[row]);
    add_products(weights, first, last, [&](int64_t k) { return load_element(page + k * v_dim + at); }, sums);
    for (int row = 0; row < kRows; ++row) store(out[row] + at, sums[row]);
  }
  if (at == v_dim) return;
  const int64_t rest = v_dim - at;
  Floats sums[kRows];
  for (int row = 0; row < kRows; ++row) sums[row] = load(out[row] + at, rest) * broadcast(factors[row]);
  add_products(weights, first, last, [&](int64_t k) { return load_element(page + k * v_dim + at, rest); }, sums);
  for (int row = 0; row < kRows; ++row) store(out[row] + at, sums[row], rest);
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
