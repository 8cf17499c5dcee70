// Units of attention: some query rows, and the positions whose scores share one update of the softmax.
#pragma once

#include "kernels/kernels.h"
#include "kernels/softmax.h"
#include "kernels/visible.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

inline constexpr int64_t kSpanUnits = kSpanPages / kUnitPages;
static_assert(kSpanPages % kUnitPages == 0 && kPagePositions % kLanes == 0, "units and vectors must not be divided");

// Rows are pairs of a token and a query head: row = token * heads + head. The arrays start with `first_row`.
template <class Path>
struct SpanJob {
  const Attention& job;
  int64_t first_row;
  int64_t last_row;
  const typename Path::LastValues& values;
  const void* queries;  // times the scale, in the order of `Path::pack_queries`
  float* out;           // v_dim values for each row
  Softmax* softmax;
};

LITGPT_INLINE const float* query_row(const Attention& job, int64_t row) {
  return job.q + row / job.heads * job.q_stride + row % job.heads * job.k_dim;
}

LITGPT_INLINE int64_t oldest_visible(const Attention& job, int64_t token) {
  return first_visible(job.first_position + token, job.window, job.chunked);
}

// What rows see of a unit, relative to its first position.
template <int kRows>
struct UnitView {
  Positions visible[kRows];
  Positions any{kUnit, 0};  // that a row sees
  int64_t first_page = 0;
  int64_t last_page = 0;  // exclusively

  LITGPT_INLINE_MEMBER UnitView(const Attention& job, int64_t unit, int64_t first_row, int64_t rows) {
    int64_t token = first_row / job.heads;
    int64_t head = first_row % job.heads;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t first = oldest_visible(job, token) - unit * kUnit;
      const int64_t last = job.first_position + token + 1 - unit * kUnit;
      visible[i] = {first < 0 ? 0 : first > kUnit ? kUnit : first, last < 0 ? 0 : last > kUnit ? kUnit : last};
      if (++head == job.heads) {
        head = 0;
        ++token;
      }
      if (visible[i].first >= visible[i].last) continue;
      if (visible[i].first < any.first) any.first = visible[i].first;
      if (visible[i].last > any.last) any.last = visible[i].last;
    }
    if (is_empty()) return;
    first_page = any.first / kPagePositions;
    last_page = (any.last + kPagePositions - 1) / kPagePositions;
  }

  LITGPT_INLINE_MEMBER bool is_empty() const { return any.first >= any.last; }
  // Whole pages. What no row sees may contain anything, such as NaN, and may not be there any more.
  LITGPT_INLINE_MEMBER Positions computed() const { return {first_page * kPagePositions, last_page * kPagePositions}; }
};

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
