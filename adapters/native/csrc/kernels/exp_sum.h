// The parts of a log-softmax over the vocabulary.
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/kernels.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

static ExpSum exp_sum(const float* x, int64_t size) {
  Floats largest = broadcast(-INFINITY);
  const int64_t whole = size / kLanes * kLanes;
  for (int64_t at = 0; at < whole; at += kLanes) largest = max(largest, load(x + at));
  float maximum = max_lane(largest);
  for (int64_t at = whole; at < size; ++at) maximum = x[at] > maximum ? x[at] : maximum;
  // -infinity minus itself would be NaN.
  const float offset = maximum == -INFINITY ? -FLT_MAX : maximum;
  const Floats offsets = broadcast(offset);
  Floats total = zero();
  for (int64_t at = 0; at < whole; at += kLanes) total = total + exp(load(x + at) - offsets);
  float rest = 0.0F;
  for (int64_t at = whole; at < size; ++at) rest += expf(x[at] - offset);
  return {maximum, sum(total) + rest};
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
