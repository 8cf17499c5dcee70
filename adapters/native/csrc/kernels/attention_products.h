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

// A page of values with slots that nothing was stored in, of which these products read only the others.
struct AnyValues {
  AnyValues(const Attention& /*job*/, bool /*is_last*/) {}
  static const uint8_t* page(const Attention& job, int64_t at) { return job.v_pages[at]; }
};

// A page whose elements are converted to float32. Its functions add products to the sums of rows and columns:
//   add_keys:   of dimensions `first` to `last`, with element k of query `row` at q[k * kRows + row]
//   add_values: of slots `first` to `last`, with the weight of slot s for `row` at weights[row * kUnit + s]
template <class Element>
struct FloatPage {
  using Query = float;
  using Weight = float;
  using LastValues = AnyValues;
  static constexpr int64_t kScaleBytes = kv_scale_bytes(format_of(static_cast<const Element*>(nullptr)));

  LITGPT_INLINE const Element* elements(const uint8_t* page) {
    return reinterpret_cast<const Element*>(page + kScaleBytes);
  }

  // Multiplies what 16 positions of a page from `slot` on have by their scales.
  LITGPT_INLINE Floats scaled(Floats x, const uint8_t* page, int64_t slot) {
    if constexpr (kScaleBytes == 0) return x;
    return x * load(reinterpret_cast<const float*>(page) + slot);
  }

  LITGPT_INLINE int64_t query_size(int64_t k_dim) { return k_dim; }
  LITGPT_INLINE void pack_query(const float* q, const Attention& job, int64_t count, float* queries, int64_t row) {
    for (int64_t k = 0; k < job.k_dim; ++k) queries[k * count + row] = q[k] * job.scale;
  }

  LITGPT_INLINE Floats weight(Floats x) { return exp(x); }
  LITGPT_INLINE void store_weights(Floats weight, const uint8_t* page, int64_t slot, float* to) {
    store(to, scaled(weight, page, slot));
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

#ifdef LITGPT_ISA_HAS_BF16_DOT
// The page of values with the last token. Its slots that nothing was stored in are zero in a copy, because they could
// be NaN, which times a weight of zero is not zero.
class PaddedValues {
 public:
  // `is_last`: whether that page will be read.
  PaddedValues(const Attention& job, bool is_last) {
    const int64_t positions = job.first_position + job.tokens;
    const int64_t used = positions % kPagePositions;
    if (used == 0 || !is_last) return;
    page_ = positions / kPagePositions;
    const auto* values = reinterpret_cast<const uint16_t*>(job.v_pages[page_]);
    const int64_t row = 2 * job.v_dim;
    const int64_t whole = used / 2 * row;
    memcpy(copy_, values, static_cast<size_t>(whole) * sizeof(uint16_t));
    memset(copy_ + whole, 0, static_cast<size_t>(kPagePositions * job.v_dim - whole) * sizeof(uint16_t));
    for (int64_t at = 0; used % 2 != 0 && at < row; at += 2) copy_[whole + at] = values[whole + at];
  }

  const uint8_t* page(const Attention& job, int64_t at) const {
    return at == page_ ? reinterpret_cast<const uint8_t*>(copy_) : job.v_pages[at];
  }

 private:
  int64_t page_ = -1;
  alignas(64) uint16_t copy_[kPagePositions * kMaxHeadDim];  // NOLINT: only the part of `v_dim` columns is used
};

// A page of bfloat16 in pairs, which dot products multiply by queries and weights in bfloat16. All slots must have
// numbers.
struct PairPage {
  using Query = uint16_t;
  using Weight = uint16_t;
  using LastValues = PaddedValues;

  LITGPT_INLINE int64_t query_size(int64_t k_dim) { return round_up(k_dim, 2); }
  LITGPT_INLINE void pack_query(const float* q, const Attention& job, int64_t count, uint16_t* queries, int64_t row) {
    for (int64_t k = 0; k < job.k_dim; k += kLanes) {
      alignas(64) uint16_t lanes[kLanes];
      const int64_t rest = job.k_dim - k < kLanes ? job.k_dim - k : kLanes;
      store_bf16(lanes, load(q + k, rest) * broadcast(job.scale));
      for (int64_t i = 0; i < rest; i += 2) memcpy(queries + (k + i) * count + 2 * row, lanes + i, 2 * sizeof(uint16_t));
    }
  }

  LITGPT_INLINE Floats scaled(Floats x, const uint8_t*, int64_t) { return x; }
  LITGPT_INLINE Floats weight(Floats x) { return {{reg::exp_for_bf16(x.part[0])}}; }
  LITGPT_INLINE void store_weights(Floats weight, const uint8_t*, int64_t, uint16_t* to) {
    reg::store_normal_bf16(to, weight.part[0]);
  }

  template <int kRows, int kWidth>
  LITGPT_INLINE void add_keys(const uint16_t* q, int64_t k_dim, const uint8_t* page, int64_t slot,
                              Floats (&sums)[kRows][kWidth]) {
    const auto* keys = reinterpret_cast<const uint16_t*>(page) + 2 * slot;
    add_products(q, 2 * kRows, 2, 0, (k_dim + 1) / 2, keys, 2 * kPagePositions, sums);
  }

  template <int kRows, int kWidth>
  LITGPT_INLINE void add_values(const uint16_t* weights, int64_t first, int64_t last, const uint8_t* page,
                                int64_t v_dim, int64_t column, Floats (&sums)[kRows][kWidth]) {
    const auto* values = reinterpret_cast<const uint16_t*>(page) + 2 * column;
    const int64_t rest = v_dim - column;
    first /= 2;
    last = (last + 1) / 2;
    if constexpr (kWidth == 1) {
      for (int64_t pair = first; rest < kLanes && pair < last; ++pair) {
        alignas(64) uint16_t lanes[2 * kLanes] = {};
        memcpy(lanes, values + pair * 2 * v_dim, static_cast<size_t>(2 * rest) * sizeof(uint16_t));
        add_products(weights + 2 * pair, 2, kUnit, 0, 1, lanes, 0, sums);
      }
      if (rest < kLanes) return;
    }
    add_products(weights, 2, kUnit, first, last, values, 2 * v_dim, sums);
  }

 private:
  // sums[row][column] += sum over `pair` from `first` to `last` of the dot product of the pairs at
  // a[pair * step + row * stride] and in the lanes of b[pair * b_step]
  template <int kRows, int kWidth>
  LITGPT_INLINE void add_products(const uint16_t* a, int64_t step, int64_t stride, int64_t first, int64_t last,
                                  const uint16_t* b, int64_t b_step, Floats (&sums)[kRows][kWidth]) {
    static_assert(kParts == 1, "dot products take one register");
    for (int64_t pair = first; pair < last; ++pair) {
      for (int row = 0; row < kRows; ++row) {
        for (int column = 0; column < kWidth; ++column) {
          reg::Float& sum = sums[row][column].part[0];
          sum = reg::dot_bf16(sum, b + pair * b_step + column * 2 * kLanes, a + pair * step + row * stride);
        }
      }
    }
  }
};
using Bf16Page = PairPage;
#else
using Bf16Page = FloatPage<uint16_t>;
#endif

// scores[row * kUnit + slot] = the dot product of a query and a key, for all positions of a page
template <int kRows, class Page>
LITGPT_INLINE void multiply_keys(const typename Page::Query* q, int64_t k_dim, const uint8_t* page, float* scores) {
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
