// The causal convolution and the gated delta rule of gated delta networks.
#pragma once

#include "kernels/pointwise.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

static void causal_conv(const CausalConv& job) {
  for (int64_t token = 0; token < job.tokens; ++token) {
    float* out = job.out + token * job.out_stride;
    for_lanes(job.channels, [&](int64_t at, int64_t count) {
      Floats total = job.bias == nullptr ? zero() : load_lanes(job.bias + at, count);
      for (int64_t tap = 0; tap <= job.columns; ++tap) {
        const int64_t input = token + tap - job.columns;
        const float* x =
            input < 0 ? job.state + (input + job.columns) * job.state_stride : job.x + input * job.x_stride;
        total = fma(load_lanes(x + at, count), load_lanes(job.weights + tap * job.weights_stride + at, count), total);
      }
      store_lanes(out + at, total, count);
    });
    if (job.activation != kIdentity) activate(job.activation, out, nullptr, job.channels, out);
  }
}

LITGPT_INLINE float dot(const float* a, const float* b, int64_t size) {
  Floats total = zero();
  for_lanes(size, [&](int64_t at, int64_t count) {
    total = fma(load_lanes(a + at, count), load_lanes(b + at, count), total);
  });
  return sum(total);
}

// Reads the state twice for each token: for its products with the key and with the query, which need not wait for
// the update, since (S + k u) q = S q + (k q) u; and for the update.
static void delta_rule(const DeltaRule& job) {
  constexpr int kWide = kStateColumns / kLanes;
  constexpr int kSums = kParts == 1 ? 2 : 1;  // of alternate rows, so that an addition need not wait for the last one
  const auto count = [&](int part) {
    const int64_t left = job.columns - part * kLanes;
    return left < 0 ? 0 : left < kLanes ? left : kLanes;
  };
  for (int64_t token = 0; token < job.tokens; ++token) {
    const float* query = job.q + token * job.stride;
    const float* key = job.k + token * job.stride;
    const float* value = job.v + token * job.stride;
    float* out = job.out + token * job.out_stride;
    Floats read[kSums][kWide];
    Floats predicted[kSums][kWide];
    for (int sum = 0; sum < kSums; ++sum) {
      for (int i = 0; i < kWide; ++i) read[sum][i] = predicted[sum][i] = zero();
    }
    const auto add_row = [&](int64_t row, int sum) {
      const Floats q = broadcast(query[row]);
      const Floats k = broadcast(key[row]);
      for (int i = 0; i < kWide; ++i) {
        const Floats state = load(job.state + row * kStateColumns + i * kLanes);
        read[sum][i] = fma(q, state, read[sum][i]);
        predicted[sum][i] = fma(k, state, predicted[sum][i]);
      }
    };
    int64_t row = 0;
    for (; row + kSums <= job.k_dim; row += kSums) {
      for (int sum = 0; sum < kSums; ++sum) add_row(row + sum, sum);
    }
    for (; row < job.k_dim; ++row) add_row(row, 0);
    const Floats beta = broadcast(job.beta[token * job.gate_stride]);
    const Floats decay = broadcast(job.decay[token * job.gate_stride]);
    const Floats overlap = broadcast(dot(query, key, job.k_dim));
    Floats update[kWide];
    for (int i = 0; i < kWide; ++i) {
      for (int sum = 1; sum < kSums; ++sum) {
        read[0][i] = read[0][i] + read[sum][i];
        predicted[0][i] = predicted[0][i] + predicted[sum][i];
      }
      update[i] = (load_lanes(value + i * kLanes, count(i)) - decay * predicted[0][i]) * beta;
      store_lanes(out + i * kLanes, fma(overlap, update[i], decay * read[0][i]), count(i));
    }
    for (row = 0; row < job.k_dim; ++row) {
      const Floats k = broadcast(key[row]);
      for (int i = 0; i < kWide; ++i) {
        float* state = job.state + row * kStateColumns + i * kLanes;
        store(state, fma(k, update[i], decay * load(state)));
      }
    }
  }
}

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
