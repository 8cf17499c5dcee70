// The tile registers of AMX: products of bfloat16 for 16 tokens and 16 rows at a time. A token's sums are the same in
// registers of one token and of 16.
#pragma once

#include "simd/avx512_dot.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

inline constexpr int kTileTokens = 16;
inline constexpr int64_t kTileStride = 64;  // bytes of a row of a tile register

// Configures the tile registers of this thread, and releases them. 0 to 3 are sums of `tokens` tokens and 16 rows,
// 4 and 5 have 32 columns of `tokens` tokens, 6 and 7 those of 16 rows, in pairs.
class TileRegisters {
 public:
  explicit TileRegisters(int tokens) {
    struct alignas(64) {
      uint8_t palette = 1;
      uint8_t start_row = 0;
      uint8_t reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    static_assert(sizeof config == 64, "the instruction reads 64 bytes");
    for (int at = 0; at < 8; ++at) {
      config.row_bytes[at] = kTileStride;
      config.rows[at] = static_cast<uint8_t>(at < 6 ? tokens : 16);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
  }
  ~TileRegisters() { __asm__ volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// Assembly, because the intrinsics of GCC do not declare the memory that they read, and take no template parameters.
template <int kTile>
LITGPT_INLINE void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
template <int kTile>
LITGPT_INLINE void load_tile(const void* from, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
LITGPT_INLINE void store_tile(float* to, int64_t stride = kTileStride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}
template <int kSums, int kTokens, int kRows>
LITGPT_INLINE void add_tile_product() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kTokens), "i"(kRows));
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
