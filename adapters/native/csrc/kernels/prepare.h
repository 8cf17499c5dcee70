// Converts the input rows of a matrix product to the representation that a weight format multiplies with.
#pragma once

#include <math.h>

#include "kernels/pointwise.h"
#include "kernels/products.h"

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

// The row of `out` that has the quantized values of row `t`.
struct QuantRow {
  QuantRow(const Prepared& out, int64_t t)
      : q8(out.q8 + t * out.cols),
        scales(out.scales + t),
        sums(out.sums + t),
        stride(out.stride),
        outliers(out.outliers + t * max_outliers(out.cols)),
        outlier_count(out.outlier_counts[t]) {}

  int8_t* q8;
  float* scales;
  float* sums;
  int64_t stride;
  Outlier* outliers;
  int32_t& outlier_count;
};

// Moves the values of group `index` in `columns`, a set of bits, to the outliers of the row.
static void take_outliers(Format format, int64_t index, uint32_t columns, int64_t most, float* group,
                          const QuantRow& out) {
  const int bits = quantization(format).bits;
  constexpr int kHalf = kGroup / 2;
  for (; columns != 0 && out.outlier_count < most; columns &= columns - 1) {
    const int col = __builtin_ctz(columns);
    Outlier& outlier = out.outliers[out.outlier_count++];
    const int half = col / kHalf;
    const int low = bits == 8 ? col : col % kHalf;  // the byte that has its low bits
    const int step = low / 4;
    const int lane_bit = 8 * (col % 4);
    outlier.group = static_cast<int32_t>(index);
    outlier.half = static_cast<int8_t>(half);
    outlier.word = static_cast<int16_t>(tile_scale_bytes(format) + step * reg::kStepBytes);
    outlier.shift = static_cast<int8_t>(bits == 8 ? 24 - lane_bit : 28 - lane_bit - 4 * half);
    const int plane = bits == 6 ? 4 + half : 4;
    outlier.plane = static_cast<int16_t>(tile_scale_bytes(format) + plane * reg::kStepBytes);
    outlier.plane_shift = static_cast<int8_t>(bits == 6 ? 30 - lane_bit - 2 * step : 31 - lane_bit - 4 * half - step);
    outlier.value = group[col];
    group[col] = 0.0F;
  }
}

static void prepare_q8(Format format, const float* x, int64_t cols, int64_t padded, const QuantRow& out) {
  const Floats threshold = broadcast(static_cast<float>(kOutlier * kOutlier) * mean_square(x, cols, 0.0F));
  constexpr uint32_t kAllLanes = (uint32_t{1} << kLanes) - 1;
  const Floats infinity = broadcast(INFINITY);
  const bool has_halves = x_sums(format) == 2;
  const float factor = sum_factor(format);
  out.outlier_count = 0;
  for (int64_t c = 0; c < padded; c += kGroup) {
    Floats low = load_padded(x + c, cols - c);
    Floats high = load_padded(x + c + kLanes, cols - c - kLanes);
    const uint32_t outliers = greater_lanes(low * low, threshold) | greater_lanes(high * high, threshold) << kLanes;
    if (outliers != 0) {
      alignas(64) float group[kGroup];
      store(group, low);
      store(group + kLanes, high);
      take_outliers(format, c / kGroup, outliers, max_outliers(padded), group, out);
      low = load(group);
      high = load(group + kLanes);
    }
    const float largest = max_lane(max(abs(low), abs(high)));
    // Below 2^-120 the inverse could overflow; such a group counts as zero.
    const float inverse = largest > 7.6e-37F ? 127.0F / largest : 0.0F;
    const Floats low_quants = round(low * broadcast(inverse));
    const Floats high_quants = round(high * broadcast(inverse));
    store_i8(out.q8 + c, low_quants);
    store_i8(out.q8 + c + kLanes, high_quants);
    // The maximum may have missed a NaN, and an infinite value has no scale: the results are NaN.
    const uint32_t finite = greater_lanes(infinity, abs(low)) & greater_lanes(infinity, abs(high));
    const float scale = finite != kAllLanes ? NAN : inverse > 0.0F ? largest / 127.0F : 0.0F;
    const int64_t group = c / kGroup;
    out.scales[group * out.stride] = scale;
    if (has_halves) {
      out.sums[2 * group * out.stride] = factor * (scale * sum(low_quants));
      out.sums[(2 * group + 1) * out.stride] = factor * (scale * sum(high_quants));
    } else {
      out.sums[group * out.stride] = factor * (scale * sum(low_quants + high_quants));
    }
  }
}

static void prepare(Format format, const float* x, int64_t stride, int64_t cols, int64_t first, int64_t last,
                    const Prepared& out) {
  for (int64_t t = first; t < last; ++t) {
    const float* row = x + t * stride;
    if (is_quantized(format)) {
      prepare_q8(format, row, cols, out.cols, QuantRow(out, t));
    } else if (format == kBF16 && reg::kBf16Dot) {
      prepare_bf16(row, cols, out.cols, out.bf16 + t * out.cols);
    } else {
      prepare_f32(row, cols, out.cols, out.f32 + t * out.cols);
    }
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
