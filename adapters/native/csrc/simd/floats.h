// 16 lanes of float32, in as many registers as the instruction set needs.
#pragma once

// Included by the header of an instruction set, which defines namespace `reg`.
namespace litgpt::LITGPT_ISA_NAMESPACE {

inline constexpr int kLanes = 16;
inline constexpr int kParts = kLanes / reg::kLanes;

struct Floats {
  reg::Float part[kParts];
};

// Calls `body(part)` for each register.
#define LITGPT_EACH_PART _Pragma("GCC unroll 4") for (int i = 0; i < kParts; ++i)

LITGPT_INLINE Floats broadcast(float value) {
  Floats out;
  LITGPT_EACH_PART out.part[i] = reg::broadcast(value);
  return out;
}
LITGPT_INLINE Floats zero() { return broadcast(0.0F); }

LITGPT_INLINE Floats load(const float* from) {
  Floats out;
  LITGPT_EACH_PART out.part[i] = reg::load(from + i * reg::kLanes);
  return out;
}
LITGPT_INLINE void store(float* to, Floats value) { LITGPT_EACH_PART reg::store(to + i * reg::kLanes, value.part[i]); }

LITGPT_INLINE int lanes_of_part(int64_t count, int part) {
  const int64_t left = count - part * reg::kLanes;
  return left < 0 ? 0 : left > reg::kLanes ? reg::kLanes : static_cast<int>(left);
}
// The first `count` lanes (0 to 16); the others are zero, and memory behind is not read.
LITGPT_INLINE Floats load(const float* from, int64_t count) {
  Floats out;
  LITGPT_EACH_PART out.part[i] = reg::load_part(from + i * reg::kLanes, lanes_of_part(count, i));
  return out;
}
LITGPT_INLINE void store(float* to, Floats value, int64_t count) {
  LITGPT_EACH_PART reg::store_part(to + i * reg::kLanes, value.part[i], lanes_of_part(count, i));
}

LITGPT_INLINE Floats operator+(Floats a, Floats b) {
  LITGPT_EACH_PART a.part[i] = a.part[i] + b.part[i];
  return a;
}
LITGPT_INLINE Floats operator-(Floats a, Floats b) {
  LITGPT_EACH_PART a.part[i] = a.part[i] - b.part[i];
  return a;
}
LITGPT_INLINE Floats operator*(Floats a, Floats b) {
  LITGPT_EACH_PART a.part[i] = a.part[i] * b.part[i];
  return a;
}
LITGPT_INLINE Floats operator/(Floats a, Floats b) {
  LITGPT_EACH_PART a.part[i] = a.part[i] / b.part[i];
  return a;
}
// a * b + c
LITGPT_INLINE Floats fma(Floats a, Floats b, Floats c) {
  LITGPT_EACH_PART a.part[i] = reg::fma(a.part[i], b.part[i], c.part[i]);
  return a;
}
// If a lane of `a` is NaN, the result is `b`; if one of `b` is, NaN (on x86).
LITGPT_INLINE Floats max(Floats a, Floats b) {
  LITGPT_EACH_PART a.part[i] = reg::max(a.part[i], b.part[i]);
  return a;
}
LITGPT_INLINE Floats min(Floats a, Floats b) {
  LITGPT_EACH_PART a.part[i] = reg::min(a.part[i], b.part[i]);
  return a;
}
LITGPT_INLINE Floats abs(Floats a) {
  LITGPT_EACH_PART a.part[i] = reg::abs(a.part[i]);
  return a;
}
LITGPT_INLINE Floats sqrt(Floats a) {
  LITGPT_EACH_PART a.part[i] = reg::sqrt(a.part[i]);
  return a;
}
// To the nearest integer, for values up to 2^22.
LITGPT_INLINE Floats round(Floats a) {
  LITGPT_EACH_PART a.part[i] = reg::round(a.part[i]);
  return a;
}
LITGPT_INLINE Floats power_of_two(Floats integer) {
  LITGPT_EACH_PART integer.part[i] = reg::power_of_two(integer.part[i]);
  return integer;
}

// Sum and maximum of the lanes.
LITGPT_INLINE float sum(Floats a) {
  reg::Float total = a.part[0];
  _Pragma("GCC unroll 4") for (int i = 1; i < kParts; ++i) total = total + a.part[i];
  return reg::sum(total);
}
LITGPT_INLINE float max_lane(Floats a) {
  reg::Float largest = a.part[0];
  _Pragma("GCC unroll 4") for (int i = 1; i < kParts; ++i) largest = reg::max(largest, a.part[i]);
  return reg::max_lane(largest);
}
// Bit i: whether lane i of `a` is greater.
LITGPT_INLINE uint32_t greater_lanes(Floats a, Floats b) {
  uint32_t bits = 0;
  LITGPT_EACH_PART bits |= reg::greater_lanes(a.part[i], b.part[i]) << (i * reg::kLanes);
  return bits;
}

LITGPT_INLINE Floats load_f16(const uint16_t* from) {
  Floats out;
  LITGPT_EACH_PART out.part[i] = reg::load_f16(from + i * reg::kLanes);
  return out;
}
LITGPT_INLINE Floats load_bf16(const uint16_t* from) {
  Floats out;
  LITGPT_EACH_PART out.part[i] = reg::load_bf16(from + i * reg::kLanes);
  return out;
}
// Rounds to nearest even; NaN stays NaN.
LITGPT_INLINE void store_bf16(uint16_t* to, Floats value) {
  LITGPT_EACH_PART reg::store_bf16(to + i * reg::kLanes, value.part[i]);
}
LITGPT_INLINE Floats load_i8(const int8_t* from) {
  Floats out;
  LITGPT_EACH_PART out.part[i] = reg::load_i8(from + i * reg::kLanes);
  return out;
}
// Rounds to nearest even and saturates.
LITGPT_INLINE void store_i8(int8_t* to, Floats value) {
  LITGPT_EACH_PART reg::store_i8(to + i * reg::kLanes, value.part[i]);
}

// e^a within 2 units in the last place: 2^n times a polynomial of the rest, |rest| <= ln(2) / 2. Infinity above
// 88.73, zero below -103.97, NaN for NaN.
LITGPT_INLINE Floats exp(Floats a) {
  a = min(broadcast(89.0F), max(broadcast(-104.0F), a));
  const Floats n = round(a * broadcast(1.44269504F));
  Floats rest = fma(n, broadcast(-0.693359375F), a);
  rest = fma(n, broadcast(2.12194440e-4F), rest);
  Floats series = broadcast(1.9875691500e-4F);
  series = fma(series, rest, broadcast(1.3981999507e-3F));
  series = fma(series, rest, broadcast(8.3334519073e-3F));
  series = fma(series, rest, broadcast(4.1665795894e-2F));
  series = fma(series, rest, broadcast(1.6666665459e-1F));
  series = fma(series, rest, broadcast(5.0000001201e-1F));
  series = fma(series, rest * rest, rest + broadcast(1.0F));
  // In two steps, because 2^n alone leaves the range of normal numbers before the result does.
  const Floats half = round(n * broadcast(0.5F));
  return series * power_of_two(half) * power_of_two(n - half);
}

#undef LITGPT_EACH_PART

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
