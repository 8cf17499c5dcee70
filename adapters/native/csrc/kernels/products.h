// The product of each weight format: one group of 32 columns of a tile, for a block of tokens.
#pragma once

#include "kernels/kernels.h"

namespace litgpt::LITGPT_ISA_NAMESPACE {

// Prepared input rows from the first token of a block on.
struct TokenRows {
  const float* f32;
  const uint16_t* bf16;
  const int8_t* q8;
  const float* scales;
  const float* sums;
  const Outlier* outliers;
  const int32_t* outlier_counts;
  int64_t cols;
  int64_t groups;
};

// `accumulate` adds the products of group `g` to the sums of kCount registers of rows, from register `part` of the
// tile on; then `add_outliers` adds those of the outliers in all groups.
struct FloatProduct {
  static constexpr int kTokens = reg::kFloatTokens;
  static constexpr int kParts = reg::kFloatParts;

  template <int kTokens, int kCount>
  LITGPT_INLINE void add_column(const reg::Float (&weights)[kCount], const float* x, int64_t stride,
                                reg::Float (&sums)[kTokens][kCount]) {
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const reg::Float value = reg::broadcast(x[t * stride]);
      _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) sums[t][p] = reg::fma(weights[p], value, sums[t][p]);
    }
  }

  template <int kTokens, int kCount>
  LITGPT_INLINE void add_outliers(const uint8_t*, int, const TokenRows&, reg::Float (&)[kTokens][kCount]) {}
};

struct ProductF32 : FloatProduct {
  static constexpr int64_t kBytes = tile_group_bytes(kF32);

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* group, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const float* weights = reinterpret_cast<const float*>(group) + part * reg::kLanes;
    _Pragma("GCC unroll 4") for (int c = 0; c < kGroup; ++c) {
      reg::Float column[kCount];
      _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
        column[p] = reg::load(weights + c * kTileRows + p * reg::kLanes);
      }
      add_column(column, x.f32 + g * kGroup + c, x.cols, sums);
    }
  }
};

struct ProductF16 : FloatProduct {
  static constexpr int64_t kBytes = tile_group_bytes(kF16);

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* group, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const uint16_t* weights = reinterpret_cast<const uint16_t*>(group) + part * reg::kLanes;
    _Pragma("GCC unroll 4") for (int c = 0; c < kGroup; ++c) {
      reg::Float column[kCount];
      _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
        column[p] = reg::load_f16(weights + c * kTileRows + p * reg::kLanes);
      }
      add_column(column, x.f32 + g * kGroup + c, x.cols, sums);
    }
  }
};

struct ProductBF16 : FloatProduct {
  static constexpr int64_t kBytes = tile_group_bytes(kBF16);

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* group, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const uint16_t* weights = reinterpret_cast<const uint16_t*>(group) + part * 2 * reg::kLanes;
    _Pragma("GCC unroll 2") for (int pair = 0; pair < kGroup / 2; ++pair, weights += 2 * kTileRows) {
      if constexpr (reg::kBf16Dot) {
        _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
          const uint16_t* columns = x.bf16 + t * x.cols + g * kGroup + 2 * pair;
          for (int p = 0; p < kCount; ++p) {
            sums[t][p] = reg::dot_bf16(sums[t][p], weights + p * 2 * reg::kLanes, columns);
          }
        }
      } else {
        reg::Float even[kCount];
        reg::Float odd[kCount];
        _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
          reg::load_bf16_pairs(weights + p * 2 * reg::kLanes, &even[p], &odd[p]);
        }
        const float* columns = x.f32 + g * kGroup + 2 * pair;
        add_column(even, columns, x.cols, sums);
        add_column(odd, columns + 1, x.cols, sums);
      }
    }
  }
};

// sum += scale of the weights * (scale of x * dot - excess * sum of x)
template <int kFormat>
struct QuantProduct {
  static constexpr int kTokens = reg::kDotTokens;
  static constexpr int kParts = reg::kDotParts;
  static constexpr Format kFormatOf = static_cast<Format>(kFormat);
  static constexpr int64_t kBytes = tile_group_bytes(kFormatOf);
  static constexpr int64_t kScaleBytes = tile_scale_bytes(kFormatOf);
  static constexpr float kExcess = kFormat == kQ8 ? reg::kQ8Excess : kFormat == kQ4 ? 8.0F : 0.0F;

  template <int kTokens>
  LITGPT_INLINE void dot(const uint8_t* quants, const int8_t* x, int64_t stride, reg::Int (&dots)[kTokens]) {
    if constexpr (kFormat == kQ8) {
      reg::dot_q8(quants, x, stride, dots);
    } else {
      reg::dot_q4(quants, x, stride, dots);
    }
  }

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* group, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(group) + part * reg::kLanes;
    const uint8_t* quants = group + kScaleBytes + part * 4 * reg::kLanes;
    _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
      reg::Int dots[kTokens];
      reg::Float products[kTokens];
      dot(quants + p * 4 * reg::kLanes, x.q8 + g * kGroup, x.cols, dots);
      _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) products[t] = reg::to_float(dots[t]);
      const reg::Float scale = reg::load_f16(scales + p * reg::kLanes);
      _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
        const reg::Float x_scale = reg::broadcast(x.scales[t * x.groups + g]);
        const float x_sum = x.sums[t * x.groups + g];
        if constexpr (kExcess != 0.0F) {
          products[t] = reg::fma(products[t], x_scale, reg::broadcast(-kExcess * x_sum));
        } else {
          products[t] = products[t] * x_scale;
        }
        sums[t][p] = reg::fma(scale, products[t], sums[t][p]);
        if constexpr (kFormat == kQ4M) {
          const reg::Float minimum = reg::load_f16(scales + kTileRows + p * reg::kLanes);
          sums[t][p] = reg::fma(minimum, reg::broadcast(x_sum), sums[t][p]);
        }
      }
    }
  }

  template <int kTokens, int kCount>
  LITGPT_INLINE void add_outliers(const uint8_t* tile, int part, const TokenRows& x,
                                  reg::Float (&sums)[kTokens][kCount]) {
    const int64_t stride = max_outliers(x.cols);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const Outlier* end = x.outliers + t * stride + x.outlier_counts[t];
      for (const Outlier* outlier = x.outliers + t * stride; outlier < end; ++outlier) {
        const uint8_t* group = tile + outlier->group;
        const uint16_t* scales = reinterpret_cast<const uint16_t*>(group) + part * reg::kLanes;
        const uint8_t* words = group + outlier->word + part * 4 * reg::kLanes;
        const reg::Float value = reg::broadcast(outlier->value);
        _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
          const reg::Float scale = reg::load_f16(scales + p * reg::kLanes);
          reg::Float weight = reg::load_high_bits<kFormat == kQ8 ? 8 : 4>(words + p * 4 * reg::kLanes, outlier->shift);
          if constexpr (kFormat == kQ4) weight = weight - reg::broadcast(8.0F);
          if constexpr (kFormat == kQ4M) {
            weight = reg::fma(scale, weight, reg::load_f16(scales + kTileRows + p * reg::kLanes));
          } else {
            weight = scale * weight;
          }
          sums[t][p] = reg::fma(weight, value, sums[t][p]);
        }
      }
    }
  }
};

using ProductQ8 = QuantProduct<kQ8>;
using ProductQ4 = QuantProduct<kQ4>;
using ProductQ4M = QuantProduct<kQ4M>;

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
