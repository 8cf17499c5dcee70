#include "model/gated_delta.h"

#include <math.h>
#include <string.h>

namespace litgpt {
namespace {

// The channels that a worker convolves at a time: as long as the other operations between two loops.
constexpr int64_t kPieceChannels = 512;

// Makes the last of the rows before and in x the state of the channels.
void update_state(const CausalConv& job, float* state) {
  const auto bytes = static_cast<size_t>(job.channels) * sizeof(float);
  for (int64_t column = 0; column < job.columns; ++column) {
    const int64_t input = job.tokens + column - job.columns;
    const float* x = input < 0 ? state + (input + job.columns) * job.state_stride : job.x + input * job.x_stride;
    memcpy(state + column * job.state_stride, x, bytes);
  }
}

// log(1 + e^x)
float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

}  // namespace

void run_causal_conv(const int32_t* o, const Program& program, const Batch& batch, Workspace& space,
                     Executor& executor) {
  const StateShape& shape = program.states[o[3]];
  const int64_t pieces = (shape.conv_channels + kPieceChannels - 1) / kPieceChannels;
  executor.worker().each((batch.first_of.size() - 1) * pieces, 1, [&](int64_t piece, int64_t last) {
    for (; piece < last; ++piece) {
      const int64_t sequence = piece / pieces;
      const int64_t channel = piece % pieces * kPieceChannels;
      const int64_t first = batch.first_of[sequence];
      const int64_t left = shape.conv_channels - channel;
      float* state = batch.sequences[sequence]->states().conv(o[3]) + channel;
      CausalConv job{};
      job.x = space.row(o[1], first) + channel;
      job.x_stride = space.stride(o[1]);
      job.state = state;
      job.state_stride = shape.conv_channels;
      job.weights = program.vector(o[2]) + channel;
      job.weights_stride = shape.conv_channels;
      const float* bias = program.vector(o[5]);
      job.bias = bias == nullptr ? nullptr : bias + channel;
      job.out = space.row(o[0], first) + channel;
      job.out_stride = space.stride(o[0]);
      job.tokens = batch.first_of[sequence + 1] - first;
      job.channels = left < kPieceChannels ? left : kPieceChannels;
      job.columns = shape.conv_columns;
      job.activation = static_cast<Activation>(o[4]);
      executor.kernels().causal_conv(job);
      update_state(job, state);
    }
  });
}

void run_gated_delta(const int32_t* o, const Program& program, const Batch& batch, Workspace& space,
                     Executor& executor) {
  const StateShape& shape = program.states[o[7]];
  const float* a_log = program.vector(o[8]);
  const float* dt_bias = program.vector(o[9]);
  executor.per_token(batch.tokens, [&](int64_t token) {
    float* beta = space.row(o[2], token);
    float* decay = beta + shape.heads;
    for (int64_t head = 0; head < shape.heads; ++head) {
      beta[head] = 1.0f / (1.0f + expf(-beta[head]));
      decay[head] = expf(-expf(a_log[head]) * softplus(decay[head] + dt_bias[head]));
    }
  });
  const int64_t blocks = shape.blocks();
  const int64_t units = shape.heads * blocks;
  executor.worker().each((batch.first_of.size() - 1) * units, 1, [&](int64_t unit, int64_t last) {
    for (; unit < last; ++unit) {
      const int64_t sequence = unit / units;
      const int64_t head = unit % units / blocks;
      const int64_t key_head = head * o[6] / shape.heads;
      const int64_t column = unit % blocks * kStateColumns;
      const int64_t first = batch.first_of[sequence];
      const int64_t left = shape.v_dim - column;
      const float* row = space.row(o[1], first);
      DeltaRule job{};
      job.q = row + o[3] + key_head * shape.k_dim;
      job.k = row + o[4] + key_head * shape.k_dim;
      job.v = row + o[5] + head * shape.v_dim + column;
      job.stride = space.stride(o[1]);
      job.beta = space.row(o[2], first) + head;
      job.decay = job.beta + shape.heads;
      job.gate_stride = space.stride(o[2]);
      job.out = space.row(o[0], first) + head * shape.v_dim + column;
      job.out_stride = space.stride(o[0]);
      job.state = batch.sequences[sequence]->states().recurrent(o[7]) + unit % units * shape.block_values();
      job.tokens = batch.first_of[sequence + 1] - first;
      job.k_dim = shape.k_dim;
      job.columns = left < kStateColumns ? left : kStateColumns;
      executor.kernels().delta_rule(job);
    }
  });
}

}  // namespace litgpt
