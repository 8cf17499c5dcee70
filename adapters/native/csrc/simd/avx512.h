// One register of AVX-512 (F, BW, VL, DQ): 16 lanes of float32.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "core/inline.h"

#if defined(__GNUC__) && !defined(__clang__)
// False alarms in the intrinsics of GCC 12.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

using Float = __m512;
using Int = __m512i;
inline constexpr int kLanes = 16;

LITGPT_INLINE Float broadcast(float value) { return _mm512_set1_ps(value); }
LITGPT_INLINE Float load(const float* from) { return _mm512_loadu_ps(from); }
LITGPT_INLINE void store(float* to, Float value) { _mm512_storeu_ps(to, value); }

LITGPT_INLINE __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1U << count) - 1U); }
LITGPT_INLINE Float load_part(const float* from, int count) { return _mm512_maskz_loadu_ps(first_lanes(count), from); }
LITGPT_INLINE void store_part(float* to, Float value, int count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), value);
}

LITGPT_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
LITGPT_INLINE Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
LITGPT_INLINE Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
LITGPT_INLINE Float abs(Float a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0F), a); }
LITGPT_INLINE Float sqrt(Float a) { return _mm512_sqrt_ps(a); }
LITGPT_INLINE Float round(Float a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LITGPT_INLINE Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }

// 2 to the power of an integer from -126 to 127.
LITGPT_INLINE Float power_of_two(Float integer) {
  const Int biased = _mm512_add_epi32(_mm512_cvtps_epi32(integer), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

LITGPT_INLINE float sum(Float a) { return _mm512_reduce_add_ps(a); }
LITGPT_INLINE float max_lane(Float a) { return _mm512_reduce_max_ps(a); }
// Bit i: whether lane i of `a` is greater.
LITGPT_INLINE uint32_t greater_lanes(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }

LITGPT_INLINE Float load_f16(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
LITGPT_INLINE Float load_bf16(const uint16_t* from) {
  const Int wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// The even and the odd elements of 2 * kLanes.
LITGPT_INLINE void load_bf16_pairs(const uint16_t* from, Float* even, Float* odd) {
  const Int pairs = _mm512_loadu_si512(from);
  *even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
  *odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
}
// Rounds to nearest even; NaN stays NaN.
LITGPT_INLINE void store_bf16(uint16_t* to, Float value) {
  const Int bits = _mm512_castps_si512(value);
  const Int lowest = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const Int rounded = _mm512_add_epi32(bits, _mm512_add_epi32(lowest, _mm512_set1_epi32(0x7fff)));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  const Int kept = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}

LITGPT_INLINE Int load_u8(const uint8_t* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
LITGPT_INLINE Float load_i8(const int8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
// Rounds to nearest even and saturates.
LITGPT_INLINE void store_i8(int8_t* to, Float value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(value)));
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg

#include "simd/floats.h"
