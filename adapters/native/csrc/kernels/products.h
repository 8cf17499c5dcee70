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
  int64_t stride;  // of scales and sums
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
  static constexpr Format kWeights = kF32;

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* tile, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const float* weights = reinterpret_cast<const float*>(tile + group_offset(kF32, g)) + part * reg::kLanes;
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
  static constexpr Format kWeights = kF16;

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* tile, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const uint16_t* weights = reinterpret_cast<const uint16_t*>(tile + group_offset(kF16, g)) + part * reg::kLanes;
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
  static constexpr Format kWeights = kBF16;

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* tile, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const uint16_t* weights = reinterpret_cast<const uint16_t*>(tile + group_offset(kBF16, g)) + part * 2 * reg::kLanes;
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

// The scales of a register of rows: value = scale * (code - zero of the format) + offset.
template <Format kFormat>
struct Scales {
  static constexpr ScaleKind kKind = quantization(kFormat).scales;
  static constexpr int kCount = x_sums(kFormat);
  static constexpr bool kHasOffset =
      kKind == ScaleKind::kScaleMinimum || kKind == ScaleKind::kScaleZero || kKind == ScaleKind::kSteps;

  reg::Float scale[kCount];
  reg::Float offset;

  // Of group `g`, for the rows of the tile from `row` on.
  LITGPT_INLINE Scales load(const uint8_t* tile, int64_t g, int row) {
    const uint8_t* group = tile + group_offset(kFormat, g);
    const uint8_t* second = group + 2 * kTileRows;
    const uint8_t* shared = tile + super_offset(kFormat, g);
    Scales scales;
    if constexpr (kKind == ScaleKind::kExponent) {
      // Zero instead of 2^-128, for an exponent of 0.
      const reg::Words bits = (reg::Words)reg::load_u8(group + row) << 23;
      scales.scale[0] = reg::broadcast(0.5F) * (reg::Float)bits;
    } else if constexpr (kKind == ScaleKind::kSteps) {
      const reg::Float minimum_steps = reg::to_float(reg::load_u8(group + kTileRows + row));
      scales.scale[0] = f16(shared, row) * reg::to_float(reg::load_u8(group + row));
      scales.offset = reg::broadcast(0.0F) - f16(shared + 2 * kTileRows, row) * minimum_steps;
    } else if constexpr (kKind == ScaleKind::kHalfSteps) {
      for (int half = 0; half < kCount; ++half) {
        const auto* steps = reinterpret_cast<const int8_t*>(group + half * kTileRows + row);
        scales.scale[half] = f16(shared, row) * reg::load_i8(steps);
      }
    } else {
      scales.scale[0] = f16(group, row);
      if constexpr (kKind == ScaleKind::kScaleMinimum) scales.offset = f16(second, row);
      if constexpr (kKind == ScaleKind::kScaleZero) {
        scales.offset = reg::broadcast(0.0F) - scales.scale[0] * reg::to_float(reg::load_u8(second + row));
      }
    }
    return scales;
  }

 private:
  LITGPT_INLINE reg::Float f16(const uint8_t* from, int row) {
    return reg::load_f16(reinterpret_cast<const uint16_t*>(from) + row);
  }
};

// What the dot products of codes exceed those of values with a scale of 1 by, as a multiple of the sum of x.
LITGPT_INLINE constexpr float excess(Format format) {
  return format == kQ8    ? reg::kQ8Excess
         : format == kFP4 ? static_cast<float>(reg::kFp4Zero)
                          : static_cast<float>(quantization(format).zero);
}

// The factor of the sums of x that `Prepared` has.
LITGPT_INLINE constexpr float sum_factor(Format format) { return excess(format) == 0.0F ? 1.0F : -excess(format); }

// sum += scale of the weights * (scale of x * dot - excess * sum of x) + offset * sum of x
template <Format kFormat>
struct QuantProduct {
  static constexpr Format kWeights = kFormat;
  static constexpr int kSums = x_sums(kFormat);
  static constexpr int kTokens = kSums == 1 ? reg::kDotTokens : reg::kHalfDotTokens;
  static constexpr int kParts = reg::kDotParts;
  static constexpr int kBits = quantization(kFormat).bits;
  static constexpr int64_t kScaleBytes = tile_scale_bytes(kFormat);
  static constexpr float kZero = excess(kFormat);

  template <int kTokens, int kCount>
  LITGPT_INLINE void accumulate(const uint8_t* tile, int part, const TokenRows& x, int64_t g,
                                reg::Float (&sums)[kTokens][kCount]) {
    const uint8_t* codes = tile + group_offset(kFormat, g) + kScaleBytes + part * 4 * reg::kLanes;
    _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
      reg::Int dots[kTokens][kSums];
      if constexpr (kFormat == kQ8) {
        reg::dot_q8(codes + p * 4 * reg::kLanes, x.q8 + g * kGroup, x.cols, dots);
      } else {
        reg::dot_codes<kFormat>(codes + p * 4 * reg::kLanes, x.q8 + g * kGroup, x.cols, dots);
      }
      const auto scales = Scales<kFormat>::load(tile, g, (part + p) * reg::kLanes);
      _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) add_dots(scales, dots[t], x, t, g, sums[t][p]);
    }
  }

  // Adds a token's dot products of the codes in group `g`.
  LITGPT_INLINE void add_dots(const Scales<kFormat>& scales, const reg::Int (&dots)[kSums], const TokenRows& x, int t,
                              int64_t g, reg::Float& sum) {
    const reg::Float x_scale = reg::broadcast(x.scales[g * x.stride + t]);
    const float* x_sum = x.sums + g * kSums * x.stride + t;
    for (int s = 0; s < kSums; ++s) {
      reg::Float product = reg::to_float(dots[s]);
      if constexpr (kZero != 0.0F) {
        product = reg::fma(product, x_scale, reg::broadcast(x_sum[s * x.stride]));
      } else {
        product = product * x_scale;
      }
      sum = reg::fma(scales.scale[s], product, sum);
    }
    if constexpr (Scales<kFormat>::kHasOffset) sum = reg::fma(scales.offset, reg::broadcast(x_sum[0]), sum);
  }

  template <int kTokens, int kCount>
  LITGPT_INLINE void add_outliers(const uint8_t* tile, int part, const TokenRows& x,
                                  reg::Float (&sums)[kTokens][kCount]) {
    const int64_t stride = max_outliers(x.cols);
    _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t) {
      const Outlier* end = x.outliers + t * stride + x.outlier_counts[t];
      for (const Outlier* outlier = x.outliers + t * stride; outlier < end; ++outlier) {
        const uint8_t* group = tile + group_offset(kFormat, outlier->group);
        const reg::Float value = reg::broadcast(outlier->value);
        _Pragma("GCC unroll 4") for (int p = 0; p < kCount; ++p) {
          const int row = (part + p) * reg::kLanes;
          const auto scales = Scales<kFormat>::load(tile, outlier->group, row);
          reg::Float weight = code(group + 4 * row, *outlier);
          if constexpr (kSums == 2) {
            weight = scales.scale[outlier->half] * weight;
          } else if constexpr (Scales<kFormat>::kHasOffset) {
            weight = reg::fma(scales.scale[0], weight, scales.offset);
          } else {
            weight = scales.scale[0] * weight;
          }
          sums[t][p] = reg::fma(weight, value, sums[t][p]);
        }
      }
    }
  }

 private:
  // The codes of an outlier's column, less the zero.
  LITGPT_INLINE reg::Float code(const uint8_t* group, const Outlier& outlier) {
    constexpr int kLowBits = kBits == 8 ? 8 : 4;
    reg::Float value = reg::load_high_bits<kLowBits, kFormat == kFP4>(group + outlier.word, outlier.shift);
    if constexpr (kBits == 5 || kBits == 6) {
      const reg::Float upper = reg::load_high_bits<kBits - 4>(group + outlier.plane, outlier.plane_shift);
      value = reg::fma(upper, reg::broadcast(16.0F), value);
    }
    // The codes of 8 bits are signed here.
    constexpr float kOffset = kFormat == kQ8 ? 0.0F : kZero;
    return kOffset == 0.0F ? value : value - reg::broadcast(kOffset);
  }
};

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
