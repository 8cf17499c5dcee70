// Attention over the pages of one span, in vector registers.
#pragma once

#include "kernels/attention_products.h"
#include "kernels/attention_units.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// out[row] = factors[row] * out[row] + the weighted sum of `kWidth` vectors of values from column `at` on
template <int kRows, int kWidth, class Page>
LITGPT_INLINE void add_values(const Attention& job, int64_t unit, Positions positions, const float* weights,
                              const float* factors, int64_t at, float* out) {
  const int64_t v_dim = job.v_dim;
  const int64_t rest = v_dim - at;  // `kWidth` is 1 if this is less than a vector
  Floats sums[kRows][kWidth];
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kWidth; ++column) {
      const float* from = out + row * v_dim + at + column * kLanes;
      sums[row][column] = (rest < kLanes ? load(from, rest) : load(from)) * broadcast(factors[row]);
    }
  }
  for (int64_t first = positions.first; first < positions.last;) {
    const int64_t page = first / kPagePositions;
    const int64_t start = page * kPagePositions;
    const int64_t last = (positions.last - start < kPagePositions ? positions.last - start : kPagePositions);
    Page::add_values(weights + start, first - start, last, job.v_pages[unit * kUnitPages + page], v_dim, at, sums);
    first = start + last;
  }
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kWidth; ++column) {
      float* to = out + row * v_dim + at + column * kLanes;
      if (rest < kLanes) {
        store(to, sums[row][column], rest);
      } else {
        store(to, sums[row][column]);
      }
    }
  }
}

template <int kRows, class Page, class Span>
static void attend_rows(const Span& span, int64_t unit, int64_t row, int64_t count) {
  if constexpr (kRows > 1) {
    if (count < kRows) return attend_rows<kRows - 1, Page>(span, unit, row, count);
  }
  const Attention& job = span.job;
  const UnitView<kRows> view(job, unit, row, kRows);
  if (view.is_empty()) return;
  const int64_t index = row - span.first_row;
  const float* queries = static_cast<const float*>(span.queries) + index * job.k_dim;
  alignas(64) float scores[kRows * kUnit];
  for (int64_t page = view.first_page; page < view.last_page; ++page) {
    multiply_keys<kRows, Page>(queries, job.k_dim, job.k_pages[unit * kUnitPages + page],
                               scores + page * kPagePositions);
  }
  float factors[kRows];
  for (int64_t i = 0; i < kRows; ++i) {
    float* row_scores = scores + i * kUnit;
    Softmax& softmax = span.softmax[index + i];
    adjust_scores(job, unit, row + i, view.computed(), row_scores);
    factors[i] = update_max(view.computed(), view.visible[i], row_scores, softmax);
    add_weights<Page>(job.v_pages + unit * kUnitPages, view.computed(), row_scores, factors[i], row_scores, softmax);
  }
  constexpr int kWidth = kColumns<kRows>;
  float* out = span.out + index * job.v_dim;
  int64_t at = 0;
  for (; at + kWidth * kLanes <= job.v_dim; at += kWidth * kLanes) {
    add_values<kRows, kWidth, Page>(job, unit, view.any, scores, factors, at, out);
  }
  for (; at < job.v_dim; at += kLanes) add_values<kRows, 1, Page>(job, unit, view.any, scores, factors, at, out);
}

// The products of these rows read only the slots of a page that a row sees.
struct AnyValues {
  AnyValues(const Attention& /*job*/, bool /*is_last*/) {}
};

// Rows in vector registers: blocks of kRowBlock are computed together, of which the last may have fewer.
template <class Page>
struct VectorPath {
  using LastValues = AnyValues;
  static constexpr int64_t kRowStep = kRowBlock;
  static constexpr int64_t kMaxRows = 48;

  explicit VectorPath(int64_t /*rows*/) {}

  // Of each block of `count` rows, element k of row i is at k * count + i.
  LITGPT_INLINE void pack_queries(const Attention& job, int64_t first_row, int64_t last_row, void* to) {
    auto* queries = static_cast<float*>(to);
    for (int64_t start = first_row; start < last_row; start += kRowBlock) {
      const int64_t count = last_row - start < kRowBlock ? last_row - start : kRowBlock;
      for (int64_t i = 0; i < count; ++i) {
        const float* q = query_row(job, start + i);
        for (int64_t k = 0; k < job.k_dim; ++k) queries[k * count + i] = q[k] * job.scale;
      }
      queries += count * job.k_dim;
    }
  }

  void attend_unit(const SpanJob<VectorPath>& span, int64_t unit) const {
    for (int64_t row = span.first_row; row < span.last_row; row += kRowBlock) {
      attend_rows<kRowBlock, Page>(span, unit, row, span.last_row - row);
    }
  }
};

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
