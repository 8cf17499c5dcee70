// Matrix products: tiles of 16 rows times blocks of tokens. A block's sums stay in registers over all columns; weights
// are read and decoded once per block. Each sum is taken in the same order, whatever the block is.
#pragma once

#include "core/prefetch.h"
#include "kernels/output.h"
#include "kernels/products.h"
#ifdef LITGPT_ISA_HAS_TILES
#include "kernels/tile_matmul.h"
#endif

namespace litgpt::LITGPT_ISA_NAMESPACE {

// The representations that a format does not use may be null.
template <class T>
LITGPT_INLINE const T* at(const T* base, int64_t offset) {
  return base == nullptr ? nullptr : base + offset;
}

// 16 rows (from `row`) of `kTokens` tokens (from `token`).
template <class Product, int kTokens>
__attribute__((noinline)) static void multiply_block(const uint8_t* tile, int64_t groups, int64_t row,
                                                     const Prepared& x, int64_t token, const Output& out) {
  // A single token takes all rows at once, for more independent sums.
  constexpr int kCount = kTokens == 1 ? kParts : Product::kParts;
  const TokenRows rows = {
      at(x.f32, token * x.cols),
      at(x.bf16, token * x.cols),
      at(x.q8, token * x.cols),
      at(x.scales, token),
      at(x.sums, token),
      at(x.outliers, token * max_outliers(x.cols)),
      at(x.outlier_counts, token),
      x.cols,
      x.stride,
  };
  for (int part = 0; part < kParts; part += kCount) {
    reg::Float sums[kTokens][kCount];
    for (int t = 0; t < kTokens; ++t) {
      for (int p = 0; p < kCount; ++p) sums[t][p] = reg::broadcast(0.0F);
    }
    for (int64_t g = 0; g < groups; ++g) {
      if (kPrefetchesWeights) {
        prefetch_after(tile + group_offset(Product::kWeights, g), tile_group_bytes(Product::kWeights));
      }
      Product::template accumulate<kTokens, kCount>(tile, part, rows, g, sums);
    }
    Product::template add_outliers<kTokens, kCount>(tile, part, rows, sums);
    for (int t = 0; t < kTokens; ++t) {
      for (int p = 0; p < kCount; ++p) write(out, token + t, row + (part + p) * reg::kLanes, sums[t][p]);
    }
  }
}

// The tiles times all tokens, in blocks of kTokens and, for the rest, smaller ones.
template <class Product, int kTokens>
static void multiply_tiles(const Matrix& weight, int64_t first_tile, int64_t last_tile, const Prepared& x,
                           int64_t token, int64_t last_token, const Output& out) {
  const int64_t groups = weight.groups();
  const int64_t tile_bytes = weight.tile_bytes();
  for (; token + kTokens <= last_token; token += kTokens) {
    for (int64_t tile = first_tile; tile < last_tile; ++tile) {
      const uint8_t* from = weight.data + tile * tile_bytes;
      multiply_block<Product, kTokens>(from, groups, tile * kTileRows, x, token, out);
    }
  }
  if constexpr (kTokens > 1) {
    multiply_tiles<Product, kTokens / 2>(weight, first_tile, last_tile, x, token, last_token, out);
  }
}

template <class Product>
static void multiply(const Matrix& weight, const Prepared& x, int64_t first_tile, int64_t last_tile,
                     int64_t first_token, int64_t last_token, const Output& out) {
  // These tiles stay in the second-level cache while all tokens pass, and a block of tokens in the first level while
  // these tiles pass.
  constexpr int64_t kBytesAtOnce = 128 << 10;
  const int64_t fitting = kBytesAtOnce / weight.tile_bytes();
  const int64_t at_once = fitting < 1 ? 1 : fitting;
  for (int64_t tile = first_tile; tile < last_tile; tile += at_once) {
    const int64_t tile_end = tile + at_once < last_tile ? tile + at_once : last_tile;
    multiply_tiles<Product, Product::kTokens>(weight, tile, tile_end, x, first_token, last_token, out);
  }
}

static void matmul(const Matrix& weight, const Prepared& x, int64_t first_tile, int64_t last_tile, int64_t first_token,
                   int64_t last_token, const float* bias, float* y, int64_t stride, bool add, float alpha) {
  const Output out = {bias, y, stride, add, alpha};
  switch (weight.format) {
    case kF32: return multiply<ProductF32>(weight, x, first_tile, last_tile, first_token, last_token, out);
#ifdef LITGPT_ISA_HAS_TILES
    case kBF16: return multiply_with_tiles(weight, x, first_tile, last_tile, first_token, last_token, out);
#else
    case kBF16: return multiply<ProductBF16>(weight, x, first_tile, last_tile, first_token, last_token, out);
#endif
    case kF16: return multiply<ProductF16>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ8: return multiply<QuantProduct<kQ8>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ4: return multiply<QuantProduct<kQ4>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ4M: return multiply<QuantProduct<kQ4M>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ4Z: return multiply<QuantProduct<kQ4Z>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ5: return multiply<QuantProduct<kQ5>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ5M: return multiply<QuantProduct<kQ5M>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kFP4: return multiply<QuantProduct<kFP4>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ4K: return multiply<QuantProduct<kQ4K>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ5K: return multiply<QuantProduct<kQ5K>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    case kQ6K: return multiply<QuantProduct<kQ6K>>(weight, x, first_tile, last_tile, first_token, last_token, out);
    default: return;
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
