// Attention over pages of the KV cache. Spans of kSpanPages pages are computed independently and merged in ascending
// order, so that a token's result is the same in any block of tokens, and however the work is divided.
#pragma once

#include "kernels/attention_span.h"
#include "kernels/store_kv.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

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

inline constexpr int64_t kMaxRows = 48;
inline constexpr int64_t kRowValues = kMaxHeadDim * kRowBlock;

// The number of rows whose queries and results fit into kRowValues values each.
LITGPT_INLINE int64_t rows_at_once(const Attention& job) {
  const int64_t rows = kRowValues / (job.k_dim > job.v_dim ? job.k_dim : job.v_dim) / kRowBlock * kRowBlock;
  return rows < kMaxRows ? rows : kMaxRows;
}

static void attend(const Attention& job) {
  alignas(64) float queries[kRowValues];
  alignas(64) float part[kRowValues];
  Softmax parts[kMaxRows];
  Softmax softmax[kMaxRows];
  const int64_t rows = int64_t{job.tokens} * job.heads;
  const int64_t step = rows_at_once(job);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t last = first + step < rows ? first + step : rows;
    pack_queries(job, first, last, queries);
    const SpanJob span{job, first, last, queries, part, parts};
    for (int64_t row = first; row < last; ++row) softmax[row - first] = Softmax();
    const int64_t last_index = (job.first_position + (last - 1) / job.heads) / kSpanPositions;
    for (int64_t index = oldest_visible(job, first / job.heads) / kSpanPositions; index <= last_index; ++index) {
      attend_span(span, index);
      for (int64_t row = first; row < last; ++row) {
        merge(job, part + (row - first) * job.v_dim, parts[row - first], output_row(job, row), softmax[row - first]);
      }
    }
    for (int64_t row = first; row < last; ++row) finish(job, row, softmax[row - first], output_row(job, row));
  }
}

// A partial result: v_dim values of each row, and then the softmax of each row.
LITGPT_INLINE Softmax* softmax_of(float* partial, int64_t rows, int64_t v_dim) {
  static_assert(sizeof(Softmax) == 2 * sizeof(float), "partial_values counts two values");
  return reinterpret_cast<Softmax*>(partial + rows * v_dim);
}

static void attend_part(const Attention& job, int64_t index, float* partial) {
  alignas(64) float queries[kRowValues];
  const int64_t rows = int64_t{job.tokens} * job.heads;
  Softmax* softmax = softmax_of(partial, rows, job.v_dim);
  const int64_t step = rows_at_once(job);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t last = first + step < rows ? first + step : rows;
    pack_queries(job, first, last, queries);
    attend_span({job, first, last, queries, partial + first * job.v_dim, softmax + first}, index);
  }
}

static void merge_parts(const Attention& job, int64_t count, float* partials) {
  const int64_t rows = int64_t{job.tokens} * job.heads;
  for (int64_t row = 0; row < rows; ++row) {
    Softmax total;
    for (int64_t index = 0; index < count; ++index) {
      float* partial = partials + index * partial_values(rows, job.v_dim);
      merge(job, partial + row * job.v_dim, softmax_of(partial, rows, job.v_dim)[row], output_row(job, row), total);
    }
    finish(job, row, total, output_row(job, row));
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
