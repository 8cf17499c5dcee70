// Products of bfloat16 with tile registers. The packed tiles of a matrix are loaded as they are.
#pragma once

#include "core/prefetch.h"
#include "kernels/kernels.h"
#include "kernels/output.h"

namespace litgpt::LITGPT_ISA_NAMESPACE {

// Tokens and tiles of a matrix that are multiplied while their sums stay in tile registers.
struct TileBlock {
  const uint16_t* x;  // rows of `cols` values
  int64_t cols;
  const uint8_t* weights;
  int64_t tile_bytes;
  bool prefetch;  // the weights, which come from memory
};

// Adds the products of tile `kRow` of a group of columns; those of the tokens are in registers 4 and 5.
template <int kTokenTiles, int kRow>
LITGPT_INLINE void add_row_tile(const TileBlock& block, int64_t g) {
  constexpr int kWeights = 6 + kRow % 2;
  const uint8_t* group = block.weights + kRow * block.tile_bytes + group_offset(kBF16, g);
  if (block.prefetch) prefetch_after(group, tile_group_bytes(kBF16));
  reg::load_tile<kWeights>(group, reg::kTileStride);
  reg::add_tile_product<kRow * kTokenTiles, 4, kWeights>();
  if constexpr (kTokenTiles == 2) reg::add_tile_product<kRow * kTokenTiles + 1, 5, kWeights>();
}

// Writes the sums of `tokens` tokens (up to 16 for each of kTokenTiles) and 16 rows for each of kRowTiles.
template <int kTokenTiles, int kRowTiles>
static void multiply_tile_block(const TileBlock& block, int64_t tokens, int64_t token, int64_t row, const Output& out) {
  static_assert(kTokenTiles * kRowTiles <= 4, "there are four registers for sums");
  reg::zero_tile<0>();
  reg::zero_tile<1>();
  reg::zero_tile<2>();
  reg::zero_tile<3>();
  const int64_t stride = block.cols * static_cast<int64_t>(sizeof(uint16_t));
  for (int64_t g = 0; g < block.cols / kGroup; ++g) {
    const uint16_t* x = block.x + g * kGroup;
    reg::load_tile<4>(x, stride);
    if constexpr (kTokenTiles == 2) reg::load_tile<5>(x + reg::kTileTokens * block.cols, stride);
    add_row_tile<kTokenTiles, 0>(block, g);
    if constexpr (kRowTiles >= 2) add_row_tile<kTokenTiles, 1>(block, g);
    if constexpr (kRowTiles == 4) {
      add_row_tile<kTokenTiles, 2>(block, g);
      add_row_tile<kTokenTiles, 3>(block, g);
    }
  }
  alignas(64) float sums[4][reg::kTileTokens * kTileRows];
  reg::store_tile<0>(sums[0]);
  reg::store_tile<1>(sums[1]);
  reg::store_tile<2>(sums[2]);
  reg::store_tile<3>(sums[3]);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < kRowTiles; ++r) {
      const float* from = sums[r * kTokenTiles + t / reg::kTileTokens] + t % reg::kTileTokens * kTileRows;
      write(out, token + t, row + r * kTileRows, reg::load(from));
    }
  }
}

// `tokens` are up to 16, or any number of times 16: the registers are configured for the tokens of one tile.
static void multiply_token_tiles(const Matrix& weight, const Prepared& x, int64_t first_tile, int64_t last_tile,
                                 int64_t first_token, int64_t tokens, bool prefetch, const Output& out) {
  const reg::TileRegisters registers(static_cast<int>(tokens < reg::kTileTokens ? tokens : reg::kTileTokens));
  int64_t at_once = 0;
  for (int64_t done = 0; done < tokens; done += at_once) {
    const int64_t token = first_token + done;
    const int64_t left = tokens - done;
    at_once = left < 2 * reg::kTileTokens ? left : 2 * reg::kTileTokens;
    TileBlock block = {x.bf16 + token * x.cols, x.cols, nullptr, weight.tile_bytes(), prefetch && done == 0};
    int64_t count = 0;
    for (int64_t tile = first_tile; tile < last_tile; tile += count) {
      const int64_t rest = last_tile - tile;
      const int64_t row = tile * kTileRows;
      block.weights = weight.data + tile * block.tile_bytes;
      if (at_once > reg::kTileTokens) {
        count = rest >= 2 ? 2 : 1;
        if (count == 2) {
          multiply_tile_block<2, 2>(block, at_once, token, row, out);
        } else {
          multiply_tile_block<2, 1>(block, at_once, token, row, out);
        }
      } else {
        count = rest >= 4 ? 4 : 1;
        if (count == 4) {
          multiply_tile_block<1, 4>(block, at_once, token, row, out);
        } else {
          multiply_tile_block<1, 1>(block, at_once, token, row, out);
        }
      }
    }
  }
}

// To configure the registers takes as long as hundreds of products: once for whole tiles of tokens, once for the rest.
static void multiply_with_tiles(const Matrix& weight, const Prepared& x, int64_t first_tile, int64_t last_tile,
                                int64_t first_token, int64_t last_token, const Output& out) {
  const int64_t rest = (last_token - first_token) % reg::kTileTokens;
  const int64_t whole = last_token - first_token - rest;
  if (whole > 0) {
    multiply_token_tiles(weight, x, first_tile, last_tile, first_token, whole, kPrefetchesWeights, out);
  }
  if (rest > 0) {
    const bool prefetch = kPrefetchesWeights && whole == 0;
    multiply_token_tiles(weight, x, first_tile, last_tile, first_token + whole, rest, prefetch, out);
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
