// The codes of 4, 5 and 6-bit weights, as unsigned bytes in the registers of every instruction set.
// Included after the header of an instruction set, which declares the registers.
#pragma once

#include "weights/format.h"

namespace litgpt::LITGPT_ISA_NAMESPACE::reg {

inline constexpr int kStepBytes = 64;  // 4 columns of 16 rows

// A register, for operations that are the same in every instruction set.
using Words __attribute__((vector_size(4 * kLanes))) = uint32_t;

LITGPT_INLINE Words load_words(const uint8_t* from) {
  Words words;
  memcpy(&words, from, sizeof words);
  return words;
}

// table[byte] for each byte, which is below 16.
LITGPT_INLINE Words look_up(const uint8_t (&table)[16], Words bytes);

// Added to the E2M1 values, so that their codes are unsigned.
inline constexpr int kFp4Zero = 12;
struct Fp4Codes {
  alignas(16) uint8_t bytes[16];
};
LITGPT_INLINE constexpr Fp4Codes fp4_codes() {
  Fp4Codes codes{};
  for (int i = 0; i < 16; ++i) codes.bytes[i] = static_cast<uint8_t>(kFp4Values[i] + kFp4Zero);
  return codes;
}
inline constexpr Fp4Codes kFp4Codes = fp4_codes();

LITGPT_INLINE constexpr int largest_code(Format format) {
  return format == kFP4 ? 2 * kFp4Zero : (1 << quantization(format).bits) - 1;
}

// The steps after which the sum of products of codes and 8-bit integers, two in each 16-bit lane, could overflow. Each
// step adds two such pairs to one sum, or one to each of two.
LITGPT_INLINE constexpr int steps_in_16_bits(Format format, int sums) {
  const int pairs = 32767 / (2 * 127 * largest_code(format));
  return pairs * sums >= 8 ? 4 : pairs * sums >= 4 ? 2 : 1;
}

// The highest bits of each lane after a shift to the left: with a sign if there are 8, and without one if fewer. Those
// of FP4 are looked up.
template <int kBits, bool kIsFp4 = false>
LITGPT_INLINE Float load_high_bits(const uint8_t* words, int shift) {
  using SignedWords __attribute__((vector_size(4 * kLanes))) = int32_t;
  const Words shifted = load_words(words) << shift;
  if constexpr (kBits == 8) return to_float((Int)((SignedWords)shifted >> 24));
  const Words code = shifted >> (32 - kBits);
  return to_float((Int)(kIsFp4 ? look_up(kFp4Codes.bytes, code) & 0xffU : code));
}

// The codes of columns 4 * step to 4 * step + 3, and of those 16 columns further, of the rows in a register.
struct CodePair {
  Words low;
  Words high;
};

template <Format kFormat>
LITGPT_INLINE CodePair load_codes(const uint8_t* codes, int step) {
  constexpr int kBits = quantization(kFormat).bits;
  constexpr uint32_t kLowBits = 0x0f0f0f0f;
  const Words both = load_words(codes + step * kStepBytes);
  CodePair pair = {both & kLowBits, both >> 4 & kLowBits};
  const uint8_t* plane = codes + 4 * kStepBytes;
  if constexpr (kFormat == kFP4) {
    pair = {look_up(kFp4Codes.bytes, pair.low), look_up(kFp4Codes.bytes, pair.high)};
  } else if constexpr (kBits == 5) {
    constexpr uint32_t kFifth = 0x10101010;
    const Words bits = load_words(plane);
    pair.low |= bits << (4 - step) & kFifth;
    pair.high |= bits >> step & kFifth;
  } else if constexpr (kBits == 6) {
    constexpr uint32_t kUpper = 0x30303030;
    const Words low = load_words(plane);
    const Words high = load_words(plane + kStepBytes);
    pair.low |= (step < 2 ? low << (4 - 2 * step) : low >> (2 * step - 4)) & kUpper;
    pair.high |= (step < 2 ? high << (4 - 2 * step) : high >> (2 * step - 4)) & kUpper;
  }
  return pair;
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE::reg
