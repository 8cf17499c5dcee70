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

// Rounds to nearest even, and numbers below 2^-126 to zero.
LITGPT_INLINE void store_normal_bf16(uint16_t* to, Float value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(value));
}
// e^a for a <= 0 within 3e-6, a thousandth of the distance of two bf16 numbers; zero below -87, NaN for NaN.
LITGPT_INLINE Float exp_for_bf16(Float a) {
  const Float log2_e = broadcast(1.44269504F);
  const Float shift = broadcast(12582912.0F);  // 1.5 * 2^23: what is added to it is rounded to an integer
  const __mmask16 is_normal = _mm512_cmp_ps_mask(a, broadcast(-87.0F), _CMP_NLT_UQ);
  const Float n = _mm512_sub_ps(fma(a, log2_e, shift), shift);
  const Float rest = _mm512_fmsub_ps(a, log2_e, n);
  Float series = broadcast(9.570100018e-3F);  // a minimax polynomial of 2^rest, |rest| <= 1/2
  series = fma(series, rest, broadcast(5.591786017e-2F));
  series = fma(series, rest, broadcast(2.402474487e-1F));
  series = fma(series, rest, broadcast(6.931218148e-1F));
  series = fma(series, rest, broadcast(9.999992614e-1F));
  return _mm512_maskz_scalef_ps(is_normal, series, n);
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
