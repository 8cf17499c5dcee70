// One register of AVX2: 8 lanes of float32.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "core/inline.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

using Float = __m256;
using Int = __m256i;
inline constexpr int kLanes = 8;

LITGPT_INLINE Float broadcast(float value) { return _mm256_set1_ps(value); }
LITGPT_INLINE Float load(const float* from) { return _mm256_loadu_ps(from); }
LITGPT_INLINE void store(float* to, Float value) { _mm256_storeu_ps(to, value); }

LITGPT_INLINE Int first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
LITGPT_INLINE Float load_part(const float* from, int count) { return _mm256_maskload_ps(from, first_lanes(count)); }
LITGPT_INLINE void store_part(float* to, Float value, int count) { _mm256_maskstore_ps(to, first_lanes(count), value); }

LITGPT_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
LITGPT_INLINE Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
LITGPT_INLINE Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
LITGPT_INLINE Float abs(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
LITGPT_INLINE Float sqrt(Float a) { return _mm256_sqrt_ps(a); }
LITGPT_INLINE Float round(Float a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LITGPT_INLINE Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }

// 2 to the power of an integer from -126 to 127.
LITGPT_INLINE Float power_of_two(Float integer) {
  const Int biased = _mm256_add_epi32(_mm256_cvtps_epi32(integer), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}

LITGPT_INLINE float sum(Float a) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
LITGPT_INLINE float max_lane(Float a) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
// Bit i: whether lane i of `a` is greater.
LITGPT_INLINE uint32_t greater_lanes(Float a, Float b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}

LITGPT_INLINE Float load_f16(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
LITGPT_INLINE Float load_bf16(const uint16_t* from) {
  const Int wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
// The even and the odd elements of 2 * kLanes.
LITGPT_INLINE void load_bf16_pairs(const uint16_t* from, Float* even, Float* odd) {
  const Int pairs = _mm256_loadu_si256(reinterpret_cast<const Int*>(from));
  *even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
  *odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-65536)));
}
// Rounds to nearest even; NaN stays NaN.
LITGPT_INLINE void store_bf16(uint16_t* to, Float value) {
  const Int bits = _mm256_castps_si256(value);
  const Int lowest = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const Int rounded = _mm256_add_epi32(bits, _mm256_add_epi32(lowest, _mm256_set1_epi32(0x7fff)));
  const Int quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const Int is_nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  const Int high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}

LITGPT_INLINE Int load_u8(const uint8_t* from) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}
LITGPT_INLINE Float load_i8(const int8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
// Rounds to nearest even and saturates.
LITGPT_INLINE void store_i8(int8_t* to, Float value) {
  const Int wide = _mm256_cvtps_epi32(value);
  const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(half, half));
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg

#include "simd/floats.h"
