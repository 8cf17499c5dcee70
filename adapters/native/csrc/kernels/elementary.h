// Functions of vectors that the activations and attention need.
#pragma once

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

// The value of a polynomial at x, given its coefficients from the highest degree on.
template <int kCount>
LITGPT_INLINE Floats polynomial(const float (&coefficients)[kCount], Floats x) {
  Floats result = broadcast(coefficients[0]);
  for (int i = 1; i < kCount; ++i) result = fma(result, x, broadcast(coefficients[i]));
  return result;
}

// A rational approximation, accurate to a few units in the last place. Source: generic_fast_tanh_float of Eigen.
LITGPT_INLINE Floats tanh(Floats x) {
  constexpr float kNumerator[] = {-2.76076847742355e-16F, 2.00018790482477e-13F, -8.60467152213735e-11F,
                                  5.12229709037114e-08F,  1.48572235717979e-05F, 6.37261928875436e-04F,
                                  4.89352455891786e-03F};
  constexpr float kDenominator[] = {1.19825839466702e-06F, 1.18534705686654e-04F, 2.26843463243900e-03F,
                                    4.89352518554385e-03F};
  x = min(broadcast(7.90531110763549805F), max(broadcast(-7.90531110763549805F), x));
  const Floats square = x * x;
  return x * polynomial(kNumerator, square) / polynomial(kDenominator, square);
}

// The complementary error function for x >= 0, with a relative error below 2e-7 where e^(-x^2) is exact.
// Source: Numerical Recipes, section 6.2 (a Chebyshev fit of the logarithm).
LITGPT_INLINE Floats erfc(Floats x) {
  constexpr float kLogarithm[] = {0.17087277F,  -0.82215223F, 1.48851587F, -1.13520398F, 0.27886807F,
                                  -0.18628806F, 0.09678418F,  0.37409196F, 1.00002368F,  -1.26551223F};
  const Floats t = broadcast(1.0F) / fma(x, broadcast(0.5F), broadcast(1.0F));
  return t * exp(polynomial(kLogarithm, t) - x * x);
}

// x / (1 + e^-x) is the SiLU, 1 / (1 + e^-x) the sigmoid.
LITGPT_INLINE Floats sigmoid_denominator(Floats x) { return broadcast(1.0F) + exp(zero() - x); }

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
