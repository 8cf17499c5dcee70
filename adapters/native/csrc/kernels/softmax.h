// An online softmax in an order that depends on positions only.
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// From `first` to `last`, exclusively.
struct Positions {
  int64_t first;
  int64_t last;
};

// Pages whose scores share one update of the softmax. The spans' size is a multiple.
inline constexpr int64_t kUnitPages = 4;
inline constexpr int64_t kUnit = kUnitPages * kPagePositions;  // positions

// The softmax of one query row so far: `sum` of e^(score - max).
struct Softmax {
  float max = -FLT_MAX;
  float sum = 0.0F;
};

LITGPT_INLINE Floats round_to_bf16(Floats x) {
  alignas(64) uint16_t rounded[kLanes];
  store_bf16(rounded, x);
  return load_bf16(rounded);
}

LITGPT_INLINE Floats rounded_bias(Floats slope, Floats position) {
  return round_to_bf16(round_to_bf16(slope) * round_to_bf16(position));
}

// Caps and biases the scores of one row for `positions`, whole pages of a unit.
LITGPT_INLINE void adjust_scores(const Attention& job, int64_t unit, int64_t row, Positions positions, float* scores) {
  if (job.softcap == 0.0F && job.slopes == nullptr) return;
  const int64_t token = row / job.heads;
  const int64_t head = row % job.heads;
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

// Takes the scores of `positions`, whole pages of a unit, that a row sees into its maximum, makes the others -infinity,
// and returns the factor of earlier weights.
LITGPT_INLINE float update_max(Positions positions, Positions visible, float* scores, Softmax& softmax) {
  for (int64_t at = positions.first; at < visible.first; ++at) scores[at] = -INFINITY;
  for (int64_t at = visible.last; at < positions.last; ++at) scores[at] = -INFINITY;
  Floats largest = load(scores + positions.first);
  for (int64_t at = positions.first + kLanes; at < positions.last; at += kLanes) {
    largest = max(largest, load(scores + at));
  }
  const float before = softmax.max;
  const float unit_max = max_lane(largest);
  if (unit_max > before) softmax.max = unit_max;
  return softmax.max == before ? 1.0F : expf(before - softmax.max);
}

// Turns the scores into weights e^(score - max) of the elements in the pages of values, and adds up the weights. They
// may take the place of the scores.
template <class Page>
LITGPT_INLINE void add_weights(const uint8_t* const* pages, Positions positions, const float* scores, float factor,
                               typename Page::Weight* weights, Softmax& softmax) {
  const Floats offset = broadcast(softmax.max);
  Floats total = zero();
  for (int64_t at = positions.first; at < positions.last; at += kLanes) {
    const Floats weight = Page::weight(load(scores + at) - offset);
    Page::store_weights(weight, pages, at, weights + at);
    total = total + weight;
  }
  softmax.sum = softmax.sum * factor + sum(total);
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
