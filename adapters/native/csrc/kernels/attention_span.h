// Attention over the pages of one span: an online softmax in an order that depends on positions only.
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/attention_products.h"
#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/visible.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// Pages whose scores share one update of the softmax. The spans' size is a multiple.
inline constexpr int64_t kUnitPages = 4;
inline constexpr int64_t kUnit = kUnitPages * kPagePositions;  // positions
inline constexpr int64_t kSpanUnits = kSpanPages / kUnitPages;
static_assert(kSpanPages % kUnitPages == 0 && kPagePositions % kLanes == 0, "units and vectors must not be divided");

// The softmax of one query row so far: `sum` of e^(score - max).
struct Softmax {
  float max = -FLT_MAX;
  float sum = 0.0F;
};

LITGPT_INLINE int64_t oldest_visible(const Attention& job, int64_t token) {
  return first_visible(job.first_position + token, job.window, job.chunked);
}

// The positions of a unit that a token sees, relative to the first.
LITGPT_INLINE Positions visible_in_unit(const Attention& job, int64_t unit, int64_t token) {
  const int64_t first = oldest_visible(job, token) - unit * kUnit;
  const int64_t last = job.first_position + token + 1 - unit * kUnit;
  return {first < 0 ? 0 : first > kUnit ? kUnit : first, last < 0 ? 0 : last > kUnit ? kUnit : last};
}

LITGPT_INLINE Floats round_to_bf16(Floats x) {
  alignas(64) uint16_t rounded[kLanes];
  store_bf16(rounded, x);
  return load_bf16(rounded);
}

LITGPT_INLINE Floats rounded_bias(Floats slope, Floats position) {
  return round_to_bf16(round_to_bf16(slope) * round_to_bf16(position));
}

// Caps and biases the scores of one row for `positions`, whole pages of a unit.
LITGPT_INLINE void adjust_scores(const Attention& job, int64_t unit, int64_t token, int64_t head, Positions positions,
                                 float* scores) {
  static const float kCount[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int64_t at = positions.first; at < positions.last; at += kLanes) {
    Floats s = load(scores + at);
    if (job.softcap != 0.0F) s = tanh(s / broadcast(job.softcap)) * broadcast(job.softcap);
    if (job.rounded_slopes != 0.0F) {
      const Floats slope = broadcast(job.slopes[head]);
      const Floats own = rounded_bias(slope, broadcast(static_cast<float>(job.first_position + token)));
      const Floats position = load(kCount) + broadcast(static_cast<float>(unit * kUnit + at));
      s = fma(broadcast(job.rounded_slopes), rounded_bias(slope, position) - own, s);
    } else if (job.slopes != nullptr) {
      // Relative to the query, so that the numbers stay small; the softmax does not change.
      const float distance = static_cast<float>(unit * kUnit + at - (job.first_position + token));
      s = fma(broadcast(job.slopes[head]), load(kCount) + broadcast(distance), s);
    }
    store(scores + at, s);
  }
}

// Turns the scores of `positions`, whole pages of a unit, into weights e^(score - max) of the elements in the pages of
// values, and returns the factor of earlier weights.
template <class Element>
LITGPT_INLINE float update_softmax(const uint8_t* const* pages, Positions positions, Positions visible, float* scores,
                                   Softmax& softmax) {
  for (int64_t at = positions.first; at < visible.first; ++at) scores[at] = -INFINITY;
  for (int64_t at = visible.last; at < positions.last; ++at) scores[at] = -INFINITY;
  Floats largest = load(scores + positions.first);
  for (int64_t at = positions.first + kLanes; at < positions.last; at += kLanes) {
    largest = max(largest, load(scores + at));
  }
  const float before = softmax.max;
  const float unit_max = max_lane(largest);
  if (unit_max > before) softmax.max = unit_max;
  const Floats offset = broadcast(softmax.max);
  Floats total = zero();
  for (int64_t at = positions.first; at < positions.last; at += kLanes) {
    const Floats weight = exp(load(scores + at) - offset);
    store(scores + at, scaled<Element>(weight, pages[at / kPagePositions], at % kPagePositions));
    total = total + weight;
  }
  const float factor = softmax.max == before ? 1.0F : expf(before - softmax.max);
  softmax.sum = softmax.sum * factor + sum(total);
  return factor;
}

// Rows are pairs of a token and a query head: row = token * heads + head. The arrays start with `first_row`; blocks
// of kRowBlock rows (the last may have fewer) are computed together.
struct SpanJob {
  const Attention& job;
  int64_t first_row;
  int64_t last_row;
  const float* queries;  // of each block of `count` rows, element k of row i at k * count + i, times the scale
  float* out;            // v_dim values for each row
  Softmax* softmax;
};

// out[row] = factors[row] * out[row] + the weighted sum of `kWidth` vectors of values from column `at` on
template <int kRows, int kWidth, class Element>
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
    const Element* values = elements<Element>(job.v_pages[unit * kUnitPages + page]) + at;
    const float* page_weights = weights + start;
    if (rest < kLanes) {
      const auto load = [&](int64_t k, int) { return load_element(values + k * v_dim, rest); };
      add_products<kRows, kWidth>(page_weights, 1, kUnit, first - start, last, load, sums);
    } else {
      const auto load = [&](int64_t k, int column) { return load_element(values + k * v_dim + column * kLanes); };
      add_products<kRows, kWidth>(page_weights, 1, kUnit, first - start, last, load, sums);
    }
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

template <int kRows, class Element>
static void attend_unit(const SpanJob& span, int64_t unit, int64_t row, int64_t count) {
  if constexpr (kRows > 1) {
    if (count < kRows) return attend_unit<kRows - 1, Element>(span, unit, row, count);
  }
  const Attention& job = span.job;
  Positions visible[kRows];
  Positions all{kUnit, 0};
  for (int64_t i = 0; i < kRows; ++i) {
    visible[i] = visible_in_unit(job, unit, (row + i) / job.heads);
    if (visible[i].first >= visible[i].last) continue;
    if (visible[i].first < all.first) all.first = visible[i].first;
    if (visible[i].last > all.last) all.last = visible[i].last;
  }
  if (all.first >= all.last) return;
  // Whole pages. What no row sees may contain anything, such as NaN, and may not be there any more.
  const int64_t first_page = all.first / kPagePositions;
  const int64_t last_page = (all.last + kPagePositions - 1) / kPagePositions;
  const Positions computed{first_page * kPagePositions, last_page * kPagePositions};
  const int64_t index = row - span.first_row;
  const float* queries = span.queries + index * job.k_dim;
  alignas(64) float scores[kRows * kUnit];
  for (int64_t page = first_page; page < last_page; ++page) {
    multiply_keys<kRows, Element>(queries, job.k_dim, job.k_pages[unit * kUnitPages + page], kUnit,
                                  scores + page * kPagePositions);
  }
  float factors[kRows];
  for (int64_t i = 0; i < kRows; ++i) {
    float* row_scores = scores + i * kUnit;
    if (job.softcap != 0.0F || job.slopes != nullptr) {
      adjust_scores(job, unit, (row + i) / job.heads, (row + i) % job.heads, computed, row_scores);
    }
    factors[i] = update_softmax<Element>(job.v_pages + unit * kUnitPages, computed, visible[i], row_scores,
                                         span.softmax[index + i]);
  }
  constexpr int kWidth = kColumns<kRows>;
  float* out = span.out + index * job.v_dim;
  int64_t at = 0;
  for (; at + kWidth * kLanes <= job.v_dim; at += kWidth * kLanes) {
    add_values<kRows, kWidth, Element>(job, unit, all, scores, factors, at, out);
  }
  for (; at < job.v_dim; at += kLanes) add_values<kRows, 1, Element>(job, unit, all, scores, factors, at, out);
}

// Computes the rows for the pages of one span.
template <class Element>
static void attend_span(const SpanJob& span, int64_t index) {
  const Attention& job = span.job;
  const int64_t rows = span.last_row - span.first_row;
  for (int64_t row = 0; row < rows; ++row) span.softmax[row] = Softmax();
  memset(span.out, 0, static_cast<size_t>(rows * job.v_dim) * sizeof(float));
  int64_t unit = oldest_visible(job, span.first_row / job.heads) / kUnit;
  if (unit < index * kSpanUnits) unit = index * kSpanUnits;
  int64_t last_unit = (job.first_position + (span.last_row - 1) / job.heads) / kUnit;
  if (last_unit > index * kSpanUnits + kSpanUnits - 1) last_unit = index * kSpanUnits + kSpanUnits - 1;
  for (; unit <= last_unit; ++unit) {
    for (int64_t row = span.first_row; row < span.last_row; row += kRowBlock) {
      attend_unit<kRowBlock, Element>(span, unit, row, span.last_row - row);
    }
  }
}

static void attend_span(const SpanJob& span, int64_t index) {
  if (span.job.element == kF32) {
    attend_span<float>(span, index);
  } else if (span.job.element == kQ8) {
    attend_span<int8_t>(span, index);
  } else {
    attend_span<uint16_t>(span, index);
  }
}

static void pack_queries(const Attention& job, int64_t first_row, int64_t last_row, float* queries) {
  for (int64_t start = first_row; start < last_row; start += kRowBlock) {
    const int64_t count = last_row - start < kRowBlock ? last_row - start : kRowBlock;
    for (int64_t i = 0; i < count; ++i) {
      const float* q = job.q + (start + i) / job.heads * job.q_stride + (start + i) % job.heads * job.k_dim;
      for (int64_t k = 0; k < job.k_dim; ++k) queries[k * count + i] = q[k] * job.scale;
    }
    queries += count * job.k_dim;
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
