// The matrix products of attention, between a few query rows and one page of the KV cache.
#pragma once

#include "kernels/softmax.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// Query rows that are computed together: their sums and one step of the page fit into the vector registers.
inline constexpr int kRowBlock = kParts == 1 ? 8 : 6;

// Vectors of columns that are computed together. More sums hide the latency of additions, and share the loads of the
// rows' factors; 32 registers hold two vectors of them for each row.
template <int kRows>
inline constexpr int kColumns = kParts == 1 || kRows * kParts <= 4 ? 2 : 1;

LITGPT_INLINE Floats load_element(const float* from) { return load(from); }
LITGPT_INLINE Floats load_element(const uint16_t* from) { return load_bf16(from); }
LITGPT_INLINE Floats load_element(const int8_t* from) { return load_i8(from); }
LITGPT_INLINE Floats load_element(const float* from, int64_t count) { return load(from, count); }
LITGPT_INLINE Floats load_element(const uint16_t* from, int64_t count) {
  uint16_t lanes[kLanes] = {};
  memcpy(lanes, from, static_cast<size_t>(count) * sizeof(uint16_t));
  return load_bf16(lanes);
}
LITGPT_INLINE Floats load_element(const int8_t* from, int64_t count) {
  int8_t lanes[kLanes] = {};
  memcpy(lanes, from, static_cast<size_t>(count));
  return load_i8(lanes);
}

// The format of a page by the type of its elements.
inline constexpr Format format_of(const float*) { return kF32; }
inline constexpr Format format_of(const uint16_t*) { return kBF16; }
inline constexpr Format format_of(const int8_t*) { return kQ8; }

// A page whose elements are converted to float32. Its functions add products to the sums of rows and columns:
//   add_keys:   of dimensions `first` to `last`, with element k of query `row` at q[k * kRows + row]
//   add_values: of slots `first` to `last`, with the weight of slot s for `row` at weights[row * kUnit + s]
template <class Element>
struct FloatPage {
  using Weight = float;
  static constexpr int64_t kScaleBytes = kv_scale_bytes(format_of(static_cast<const Element*>(nullptr)));

  LITGPT_INLINE const Element* elements(const uint8_t* page) {
    return reinterpret_cast<const Element*>(page + kScaleBytes);
  }

  // Multiplies what 16 positions of a page from `slot` on have by their scales.
  LITGPT_INLINE Floats scaled(Floats x, const uint8_t* page, int64_t slot) {
    if constexpr (kScaleBytes == 0) return x;
    return x * load(reinterpret_cast<const float*>(page) + slot);
  }

  LITGPT_INLINE Floats weight(Floats x) { return exp(x); }
  // Of 16 positions of a unit from `at` on.
  LITGPT_INLINE void store_weights(Floats weight, const uint8_t* const* pages, int64_t at, float* to) {
    store(to, scaled(weight, pages[at / kPagePositions], at % kPagePositions));
  }

  template <int kRows, int kWidth>
  LITGPT_INLINE void add_keys(const float* q, int64_t k_dim, const uint8_t* page, int64_t slot,
                              Floats (&sums)[kRows][kWidth]) {
    const Element* keys = elements(page) + slot;
    const auto load = [&](int64_t k, int column) { return load_element(keys + k * kPagePositions + column * kLanes); };
    add_products(q, kRows, 1, 0, k_dim, load, sums);
  }

  template <int kRows, int kWidth>
  LITGPT_INLINE void add_values(const float* weights, int64_t first, int64_t last, const uint8_t* page, int64_t v_dim,
                                int64_t column, Floats (&sums)[kRows][kWidth]) {
    const Element* values = elements(page) + column;
    const int64_t rest = v_dim - column;
    if (rest < kLanes) {
      const auto load = [&](int64_t k, int) { return load_element(values + k * v_dim, rest); };
      add_products(weights, 1, kUnit, first, last, load, sums);
    } else {
      const auto load = [&](int64_t k, int c) { return load_element(values + k * v_dim + c * kLanes); };
      add_products(weights, 1, kUnit, first, last, load, sums);
    }
  }

 private:
  // sums[row][column] += sum over k from `first` to `last` of a[k * step + row * stride] * load(k, column)
  template <int kRows, int kWidth, class Load>
  LITGPT_INLINE void add_products(const float* a, int64_t step, int64_t stride, int64_t first, int64_t last,
                                  const Load& load, Floats (&sums)[kRows][kWidth]) {
    for (int64_t k = first; k < last; ++k) {
      Floats columns[kWidth];
      for (int column = 0; column < kWidth; ++column) columns[column] = load(k, column);
      for (int row = 0; row < kRows; ++row) {
        const Floats factor = broadcast(a[k * step + row * stride]);
        for (int column = 0; column < kWidth; ++column) {
          sums[row][column] = fma(factor, columns[column], sums[row][column]);
        }
      }
    }
  }
};

// scores[row * kUnit + slot] = the dot product of a query and a key, for all positions of a page
template <int kRows, class Page>
LITGPT_INLINE void multiply_keys(const float* q, int64_t k_dim, const uint8_t* page, float* scores) {
  constexpr int kWidth = kColumns<kRows>;
  static_assert(kPagePositions % (kWidth * kLanes) == 0, "the steps must divide a page");
  for (int64_t at = 0; at < kPagePositions; at += kWidth * kLanes) {
    Floats sums[kRows][kWidth];
    for (auto& row : sums) {
      for (Floats& sum : row) sum = zero();
    }
    Page::add_keys(q, k_dim, page, at, sums);
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kWidth; ++column) {
        const int64_t slot = at + column * kLanes;
        store(scores + row * kUnit + slot, Page::scaled(sums[row][column], page, slot));
      }
    }
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
