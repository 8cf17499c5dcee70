// Attention over pages of the KV cache. Spans of kSpanPages pages are computed independently and merged in ascending
// order, so that a token's result is the same in any block of tokens, and however the work is divided.
#pragma once

#include "kernels/attention_span.h"
#include "kernels/store_kv.h"
#ifdef LITGPT_ISA_HAS_TILES
#include "kernels/attention_tiles.h"
#endif

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

// Some rows, whose queries and results fit into kValues values each.
template <class Path>
class RowGroup {
 public:
  static int64_t rows_at_once(const Attention& job) {
    const int64_t fitting = kValues / (job.k_dim > job.v_dim ? job.k_dim : job.v_dim) / Path::kRowStep * Path::kRowStep;
    if (fitting == 0) return kRowBlock;
    return fitting < Path::kMaxRows ? fitting : Path::kMaxRows;
  }

  RowGroup(const Attention& job, const typename Path::LastValues& values, int64_t first_row, int64_t last_row)
      : path_(last_row - first_row), span_{job, first_row, last_row, values, queries_, out_, softmax_} {
    Path::pack_queries(job, first_row, last_row, queries_);
  }

  // Computes the rows for the pages of one span.
  void attend_span(int64_t index) {
    const Attention& job = span_.job;
    const int64_t rows = span_.last_row - span_.first_row;
    for (int64_t row = 0; row < rows; ++row) softmax_[row] = Softmax();
    memset(out_, 0, static_cast<size_t>(rows * job.v_dim) * sizeof(float));
    int64_t unit = oldest_visible(job, span_.first_row / job.heads) / kUnit;
    if (unit < index * kSpanUnits) unit = index * kSpanUnits;
    int64_t last_unit = (job.first_position + (span_.last_row - 1) / job.heads) / kUnit;
    if (last_unit > index * kSpanUnits + kSpanUnits - 1) last_unit = index * kSpanUnits + kSpanUnits - 1;
    for (; unit <= last_unit; ++unit) path_.attend_unit(span_, unit);
  }

  const float* out(int64_t row) const { return out_ + row * span_.job.v_dim; }
  const Softmax* softmax() const { return softmax_; }

 private:
  static constexpr int64_t kValues = kMaxHeadDim * kRowBlock;

  Path path_;
  SpanJob<Path> span_;
  alignas(64) float queries_[kValues];
  alignas(64) float out_[kValues];
  Softmax softmax_[Path::kMaxRows];
};

// A partial result: v_dim values of each row, and then the softmax of each row.
LITGPT_INLINE Softmax* softmax_of(float* partial, int64_t rows, int64_t v_dim) {
  static_assert(sizeof(Softmax) == 2 * sizeof(float), "partial_values counts two values");
  return reinterpret_cast<Softmax*>(partial + rows * v_dim);
}

template <class Path>
static void attend_by(const Attention& job) {
  const typename Path::LastValues values(job, true);
  Softmax softmax[Path::kMaxRows];
  const int64_t rows = int64_t{job.tokens} * job.heads;
  const int64_t step = RowGroup<Path>::rows_at_once(job);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t last = first + step < rows ? first + step : rows;
    RowGroup<Path> group(job, values, first, last);
    for (int64_t row = first; row < last; ++row) softmax[row - first] = Softmax();
    const int64_t last_index = (job.first_position + (last - 1) / job.heads) / kSpanPositions;
    for (int64_t index = oldest_visible(job, first / job.heads) / kSpanPositions; index <= last_index; ++index) {
      group.attend_span(index);
      for (int64_t row = first; row < last; ++row) {
        const int64_t at = row - first;
        merge(job, group.out(at), group.softmax()[at], output_row(job, row), softmax[at]);
      }
    }
    for (int64_t row = first; row < last; ++row) finish(job, row, softmax[row - first], output_row(job, row));
  }
}

template <class Path>
static void attend_part_by(const Attention& job, int64_t index, float* partial) {
  const typename Path::LastValues values(job, index == (job.first_position + job.tokens - 1) / kSpanPositions);
  const int64_t rows = int64_t{job.tokens} * job.heads;
  const int64_t step = RowGroup<Path>::rows_at_once(job);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = first + step < rows ? step : rows - first;
    RowGroup<Path> group(job, values, first, first + count);
    group.attend_span(index);
    memcpy(partial + first * job.v_dim, group.out(0), static_cast<size_t>(count * job.v_dim) * sizeof(float));
    memcpy(softmax_of(partial, rows, job.v_dim) + first, group.softmax(), static_cast<size_t>(count) * sizeof(Softmax));
  }
}

static void attend(const Attention& job) {
  if (job.element == kF32) return attend_by<VectorPath<FloatPage<float>>>(job);
  if (job.element == kQ8) return attend_by<VectorPath<FloatPage<int8_t>>>(job);
#ifdef LITGPT_ISA_HAS_TILES
  if (fits_tiles(job.element, job.k_dim, job.v_dim)) return attend_by<TilePath>(job);
#endif
  attend_by<VectorPath<FloatPage<uint16_t>>>(job);
}

static void attend_part(const Attention& job, int64_t index, float* partial) {
  if (job.element == kF32) return attend_part_by<VectorPath<FloatPage<float>>>(job, index, partial);
  if (job.element == kQ8) return attend_part_by<VectorPath<FloatPage<int8_t>>>(job, index, partial);
#ifdef LITGPT_ISA_HAS_TILES
  if (fits_tiles(job.element, job.k_dim, job.v_dim)) return attend_part_by<TilePath>(job, index, partial);
#endif
  attend_part_by<VectorPath<FloatPage<uint16_t>>>(job, index, partial);
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
