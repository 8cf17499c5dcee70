// Where a matrix product is written.
#pragma once

#include <stdint.h>

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

struct Output {
  const float* bias;
  float* y;
  int64_t stride;
  bool add;
  float alpha;
};

LITGPT_INLINE void write(const Output& out, int64_t token, int64_t row, reg::Float sum) {
  if (out.bias != nullptr) sum = sum + reg::load(out.bias + row);
  float* to = out.y + token * out.stride + row;
  if (out.add) sum = reg::fma(reg::broadcast(out.alpha), sum, reg::load(to));
  reg::store(to, sum);
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
