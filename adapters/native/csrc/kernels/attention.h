// Attention over pages of the KV cache: an online softmax in an order that depends on positions only, so that a
// token's result is the same in any block of tokens and for any number of threads.
//
// Spans of kSpanPages pages are computed independently, each page by page, and then merged in ascending order.
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/attention_products.h"
#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/store_kv.h"
#include "kernels/visible.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

inline constexpr int64_t kHalf = kPagePositions / 2;
static_assert(kHalf == kLanes, "a page has two vectors of positions");

// The softmax of one query row so far: `sum` of e^(score - max).
struct Softmax {
  float max = -FLT_MAX;
  float sum = 0.0F;
};

struct Range {
  int64_t first;
  int64_t last;
};

// The positions of a page that the token at `position` sees.
LITGPT_INLINE Range visible_in_page(const Attention& job, int64_t page, int64_t position) {
  const int64_t start = page * kPagePositions;
  const int64_t first = first_visible(position, job.window, job.chunked) - start;
  const int64_t last = position + 1 - start;
  return {first < 0 ? 0 : first, last > kPagePositions ? kPagePositions : last};
}

// Turns the scores of one row and page into weights e^(score - max), and returns the factor of earlier weights.
static float update_softmax(const Attention& job, int64_t page, int64_t token, int64_t head, Range visible,
                            float* scores, Softmax& softmax) {
  static const float kCount[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Floats half[2] = {load(scores) * broadcast(job.scale), load(scores + kHalf) * broadcast(job.scale)};
  if (job.softcap != 0.0F) {
    for (Floats& s : half) s = tanh(s / broadcast(job.softcap)) * broadcast(job.softcap);
  }
  if (job.slopes != nullptr) {
    // Relative to the query, so that the numbers stay small; the softmax does not change.
    const Floats slope = broadcast(job.slopes[head]);
    const float distance = static_cast<float>(page * kPagePositions - (job.first_position + token));
    half[0] = fma(slope, load(kCount) + broadcast(distance), half[0]);
    half[1] = fma(slope, load(kCount) + broadcast(distance + static_cast<float>(kHalf)), half[1]);
  }
  if (visible.first > 0 || visible.last < kPagePositions) {
    store(scores, half[0]);
    store(scores + kHalf, half[1]);
    for (int64_t at = 0; at < visible.first; ++at) scores[at] = -INFINITY;
    for (int64_t at = visible.last; at < kPagePositions; ++at) scores[at] = -INFINITY;
    half[0] = load(scores);
    half[1] = load(scores + kHalf);
  }
  const float page_max = max_lane(max(half[0], half[1]));
  const float before = softmax.max;
  if (page_max > before) softmax.max = page_max;
  half[0] = exp(half[0] - broadcast(softmax.max));
  half[1] = exp(half[1] - broadcast(softmax.max));
  store(scores, half[0]);
  store(scores + kHalf, half[1]);
  const float factor = softmax.max == before ? 1.0F : expf(before - softmax.max);
  softmax.sum = softmax.sum * factor + sum(half[0] + half[1]);
  return factor;
}

// Rows are pairs of a token and a query head: row = token * heads + head. `out` has v_dim values for each row from
// `first_row` on.
template <class Element>
struct SpanJob {
  const Attention& job;
  int64_t first_row;
  int64_t stride;  // of the rows of `out`
  float* out;
  Softmax* softmax;
};

template <int kRows, class Element>
static void attend_page(const SpanJob<Element>& span, int64_t page, int64_t row, int64_t count) {
  if constexpr (kRows > 1) {
    if (count < kRows) return attend_page<kRows - 1>(span, page, row, count);
  }
  const Attention& job = span.job;
  alignas(64) float scores[kRows][kPagePositions];
  const float* q[kRows];
  for (int64_t i = 0; i < kRows; ++i) {
    q[i] = job.q + (row + i) / job.heads * job.q_stride + (row + i) % job.heads * job.k_dim;
  }
  multiply_keys<kRows>(q, job.k_dim, reinterpret_cast<const Element*>(job.k_pages[page]), scores);
  float factors[kRows];
  const float* weights[kRows];
  float* out[kRows];
  Range all{kPagePositions, 0};
  for (int64_t i = 0; i < kRows; ++i) {
    const int64_t token = (row + i) / job.heads;
    const Range visible = visible_in_page(job, page, job.first_position + token);
    factors[i] = update_softmax(job, page, token, (row + i) % job.heads, visible, scores[i],
                                span.softmax[row + i - span.first_row]);
    weights[i] = scores[i];
    out[i] = span.out + (row + i - span.first_row) * span.stride;
    if (visible.first < all.first) all.first = visible.first;
    if (visible.last > all.last) all.last = visible.last;
  }
  // Slots that no row sees may contain anything, such as NaN.
  multiply_values<kRows>(weights, all.first, all.last, reinterpret_cast<const Element*>(job.v_pages[page]), job.v_dim,
                         factors, out);
}

// Computes rows `span.first_row` to `last_row` for the pages of one span.
template <class Element>
static void attend_span_rows(const SpanJob<Element>& span, int64_t index, int64_t last_row) {
  const Attention& job = span.job;
  for (int64_t row = 0; row < last_row - span.first_row; ++row) {
    span.softmax[row] = Softmax();
    memset(span.out + row * span.stride, 0, static_cast<size_t>(job.v_dim) * sizeof(float));
  }
  const int64_t first_token = span.first_row / job.heads;
  const int64_t last_token = (last_row - 1) / job.heads;
  int64_t page = first_visible(job.first_position + first_token, job.window, job.chunked) / kPagePositions;
  if (page < index * kSpanPages) page = index * kSpanPages;
  int64_t last_page = (job.first_position + last_token) / kPagePositions;
  if (last_page > index * kSpanPages + kSpanPages - 1) last_page = index * kSpanPages + kSpanPages - 1;
  for (; page <= last_page; ++page) {
    // The tokens that see a position of this page: the first and last visible positions ascend with the token.
    const int64_t start = page * kPagePositions;
    int64_t first = start - job.first_position;
    if (first < first_token) first = first_token;
    int64_t last = first;
    while (last <= last_token &&
           first_visible(job.first_position + last, job.window, job.chunked) < start + kPagePositions) {
      ++last;
    }
    int64_t row = first * job.heads > span.first_row ? first * job.heads : span.first_row;
    const int64_t end = last * job.heads < last_row ? last * job.heads : last_row;
    for (; row < end; row += kRowBlock) attend_page<kRowBlock>(span, page, row, end - row);
  }
}

static void attend_span_rows(const Attention& job, int64_t index, int64_t first_row, int64_t last_row, float* out,
                             int64_t stride, Softmax* softmax) {
  if (job.element == kF32) {
    attend_span_rows(SpanJob<float>{job, first_row, stride, out, softmax}, index, last_row);
  } else {
    attend_span_rows(SpanJob<uint16_t>{job, first_row, stride, out, softmax}, index, last_row);
  }
}

LITGPT_INLINE float* output_row(const Attention& job, int64_t row) {
  return job.out + row / job.heads * job.out_stride + row % job.heads * job.v_dim;
}

// y = a * y + b * x
LITGPT_INLINE void combine(const float* x, int64_t size, float a, float b, float* y) {
  int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) {
    store(y + at, fma(load(y + at), broadcast(a), load(x + at) * broadcast(b)));
  }
  if (at < size) {
    store(y + at, fma(load(y + at, size - at), broadcast(a), load(x + at, size - at) * broadcast(b)), size - at);
  }
}

// Adds the result of the next span to a row's output.
static void merge(const Attention& job, const float* part, Softmax next, float* out, Softmax& softmax) {
  if (next.max == -FLT_MAX) return;  // the row sees nothing of that span
  if (softmax.max == -FLT_MAX) {
    memcpy(out, part, static_cast<size_t>(job.v_dim) * sizeof(float));
    softmax = next;
    return;
  }
  const float largest = next.max > softmax.max ? next.max : softmax.max;
  const float a = expf(softmax.max - largest);
  const float b = expf(next.max - largest);
  combine(part, job.v_dim, a, b, out);
  softmax.sum = softmax.sum * a + next.sum * b;
  softmax.max = largest;
}

// Divides by the sum of the weights, to which a sink adds the weight of its score.
static void finish(const Attention& job, int64_t row, Softmax softmax, float* out) {
  float factor = 1.0F / softmax.sum;
  if (job.sinks != nullptr) {
    const float sink = job.sinks[row % job.heads];
    const float largest = sink > softmax.max ? sink : softmax.max;
    const float weight = expf(softmax.max - largest);
    factor = weight / (softmax.sum * weight + expf(sink - largest));
  }
  // Adding zero makes -0 to 0: the sign of a zero depends on the positions that other rows of a block see.
  for (int64_t at = 0; at < job.v_dim; at += kLanes) {
    const int64_t count = job.v_dim - at < kLanes ? job.v_dim - at : kLanes;
    store(out + at, fma(load(out + at, count), broadcast(factor), zero()), count);
  }
}

static void attend(const Attention& job) {
  constexpr int64_t kMaxRows = 48;
  constexpr int64_t kScratch = kMaxValueDim * kRowBlock;
  alignas(64) float part[kScratch];
  Softmax parts[kMaxRows];
  Softmax softmax[kMaxRows];
  int64_t group = kScratch / job.v_dim / kRowBlock * kRowBlock;
  if (group > kMaxRows) group = kMaxRows;
  const int64_t rows = int64_t{job.tokens} * job.heads;
  for (int64_t first = 0; first < rows; first += group) {
    const int64_t last = first + group < rows ? first + group : rows;
    for (int64_t row = first; row < last; ++row) softmax[row - first] = Softmax();
    const int64_t oldest = first_visible(job.first_position + first / job.heads, job.window, job.chunked);
    const int64_t last_span = (job.first_position + (last - 1) / job.heads) / kPagePositions / kSpanPages;
    for (int64_t span = oldest / kPagePositions / kSpanPages; span <= last_span; ++span) {
      attend_span_rows(job, span, first, last, part, job.v_dim, parts);
      for (int64_t row = first; row < last; ++row) {
        merge(job, part + (row - first) * job.v_dim, parts[row - first], output_row(job, row), softmax[row - first]);
      }
    }
    for (int64_t row = first; row < last; ++row) finish(job, row, softmax[row - first], output_row(job, row));
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
