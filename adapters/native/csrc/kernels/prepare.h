// Converts the input rows of a matrix product to the representation that a weight format multiplies with.
#pragma once

#include "kernels/kernels.h"

namespace litgpt::LITGPT_ISA_NAMESPACE {

LITGPT_INLINE Floats load_padded(const float* from, int64_t left) {
  return left >= kLanes ? load(from) : load(from, left < 0 ? 0 : left);
}

static void prepare_f32(const float* x, int64_t cols, int64_t padded, float* out) {
  for (int64_t c = 0; c < padded; c += kLanes) store(out + c, load_padded(x + c, cols - c));
}

static void prepare_bf16(const float* x, int64_t cols, int64_t padded, uint16_t* out) {
  for (int64_t c = 0; c < padded; c += kLanes) store_bf16(out + c, load_padded(x + c, cols - c));
}

static void prepare_q8(const float* x, int64_t cols, int64_t padded, int8_t* quants, float* scales, float* sums) {
  for (int64_t c = 0; c < padded; c += kGroup) {
    const Floats low = load_padded(x + c, cols - c);
    const Floats high = load_padded(x + c + kLanes, cols - c - kLanes);
    const float largest = max_lane(max(abs(low), abs(high)));
    // Below 2^-120 the inverse could overflow; such a group counts as zero.
    const float inverse = largest > 7.6e-37F ? 127.0F / largest : 0.0F;
    const Floats low_quants = round(low * broadcast(inverse));
    const Floats high_quants = round(high * broadcast(inverse));
    store_i8(quants + c, low_quants);
    store_i8(quants + c + kLanes, high_quants);
    // The maximum may have missed a NaN, and an infinite value has no scale: the sum makes the results NaN.
    const float scale = (inverse > 0.0F ? largest / 127.0F : 0.0F) + 0.0F * sum(low + high);
    scales[c / kGroup] = scale;
    sums[c / kGroup] = scale * sum(low_quants + high_quants);
  }
}

static void prepare(Format format, const float* x, int64_t stride, int64_t cols, int64_t first, int64_t last,
                    const Prepared& out) {
  const int64_t groups = out.cols / kGroup;
  for (int64_t t = first; t < last; ++t) {
    const float* row = x + t * stride;
    if (format == kQ8 || format == kQ4 || format == kQ4M) {
      prepare_q8(row, cols, out.cols, out.q8 + t * out.cols, out.scales + t * groups, out.sums + t * groups);
    } else if (format == kBF16 && reg::kBf16Dot) {
      prepare_bf16(row, cols, out.cols, out.bf16 + t * out.cols);
    } else {
      prepare_f32(row, cols, out.cols, out.f32 + t * out.cols);
    }
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
