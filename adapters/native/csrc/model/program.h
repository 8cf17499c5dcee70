// A model is a program: a list of instructions over buffers of activations, of which each has a row per token.
#pragma once

#include <stdint.h>

#include "api.h"
#include "core/array.h"
#include "model/cache.h"
#include "weights/format.h"

namespace litgpt {

// Operands, by position. Buffers, tensors and caches are indices; -1 is an absent tensor or buffer. An offset is that
// of the first value in a buffer's row.
//
// kEmbed          dst, matrix, fewer rows                     | scale     fewer rows: tokens without one use row 0
// kEmbedPosition  dst, vector of all rows, first row          |           dst += row of the position
// kNorm           dst, src, weight, bias, kind, size, count, src offset, dst offset, unit offset, per-group weights
//                                                             | eps       normalizes `count` groups of `size` values
// kLinear         dst, src, matrix, bias, add, reuse          | alpha     reuse: the same values of src
//                                                                         as in the previous kLinear
// kRope           buffer, offset, heads, head size, table, interleaved
// kClamp          buffer, offset, size                        | low, high
// kTemperature    buffer, offset, size                        | scale, floor scale, offset: see AttentionTemperature
// kAttend         dst, q buffer, kv buffer, q offset, k offset, v offset, cache, store, heads, sinks, slopes
//                                                             | scale, softcap, rounded slopes: see Attention
// kActivate       dst, gate, up, kind, size, gate offset, up offset
// kAdd            dst, src, size, src offset, dst offset      | alpha     dst += alpha * src
// kCopy           dst, src, size, src offset, dst offset, count, src step, dst step
//                                                             | alpha     dst = alpha * src, `count` times (0: once)
// kHead           src, matrix, bias                           | scale, softcap
// kRopeTable      tensor of inverse frequencies               | factor    numbered in the order of the program
// kSwiglu         dst, gate, up, size                         | limit, alpha, offset: see SwigluClamp
// kGate           dst, gate, size                             |           dst *= sigmoid of the first value of gate
// kRoute          dst, logits, experts, top k, scoring, normalize, groups, top groups, group top k,
//                 correction bias, expert scales              | factor, jitter (kSparseMixer)    dst: top k weights,
//                 then as many experts
// kExperts        dst, src, routes, first matrix, experts, top k, size, kind, first bias, clamped, weights first
//                                                             | limit, alpha, offset
//                 Matrices and biases: gate, up and output of expert 0, of expert 1, and so on.
// kScale          buffer, size, vector, own                   |           times the first value of the vector; own:
//                                                                         times its value at the same place
// kTanh           buffer, size
// kXielu          buffer, size, alpha_p, alpha_n, beta, eps   |           vectors of one value: arXiv:2411.13010
// kSparsify       buffer, size                                | threshold max(0, x - (mean + threshold * deviation))
// kMatchRms       dst, src, size                              | floor     dst *= rms of src / rms of dst, whose square
//                                                                         is at least `floor`
// kMix            dst, src, coefficients, streams, size       |           dst[i] = src[i] + sum of c[i][j] * src[j]
// kSpread         dst, src, coefficients, streams, size       | offset    dst[i] += (c[i] + offset) * src
//                 Streams are vectors of `size` values, one after another in a buffer.
// kCausalConv     dst, src, weights, state, kind, bias        |           weights: a row of all channels for each tap
// kGatedDelta     dst, qkv buffer, gates, q offset, k offset, v offset, key heads, state, A_log, dt_bias
//                 gates: logits of beta, then the steps of the decay, of all heads; overwritten by beta and decay
enum Opcode : int32_t {
  kEmbed = 0,
  kEmbedPosition = 1,
  kNorm = 2,
  kLinear = 3,
  kRope = 4,
  kClamp = 5,
  kTemperature = 6,
  kAttend = 7,
  kActivate = 8,
  kAdd = 9,
  kCopy = 10,
  kHead = 11,
  kRopeTable = 12,
  kSwiglu = 13,
  kGate = 14,
  kRoute = 15,
  kExperts = 16,
  kScale = 17,
  kTanh = 18,
  kXielu = 19,
  kSparsify = 20,
  kMatchRms = 21,
  kMix = 22,
  kSpread = 23,
  kCausalConv = 24,
  kGatedDelta = 25,
  kOpcodeCount = 26,
};

inline constexpr int32_t kVector = -1;  // format of a tensor that is a vector of float32

struct Program {
  int64_t vocab_size;
  int64_t context_length;
  Array<int64_t> widths;  // of the buffers
  Array<litgpt_tensor> tensors;
  Array<litgpt_instruction> instructions;
  Array<CacheShape> caches;
  Array<StateShape> states;
  Array<litgpt_instruction> rope_tables;
  int64_t max_cols;  // of the matrices, padded

  Matrix matrix(int32_t tensor) const {
    const litgpt_tensor& it = tensors[tensor];
    return {static_cast<Format>(it.format), it.rows, it.cols, static_cast<const uint8_t*>(it.data)};
  }
  Matrix head() const { return matrix(instructions[instructions.size() - 1].operands[1]); }
  int64_t rope_pairs(int64_t table) const {
    const litgpt_tensor& it = tensors[rope_tables[table].operands[0]];
    return it.rows * it.cols;
  }
  // The frequencies of all tables, and a factor of each.
  int64_t rope_values() const {
    int64_t count = rope_tables.size();
    for (int64_t at = 0; at < rope_tables.size(); ++at) count += rope_pairs(at);
    return count;
  }
  // The values of a vector; null if `tensor` is -1.
  const float* vector(int32_t tensor) const {
    return tensor < 0 ? nullptr : static_cast<const float*>(tensors[tensor].data);
  }
};

// Copies a program, after checking every size and index in it.
Status read_program(const litgpt_program& source, Program* program);

}  // namespace litgpt
