// Selection of the experts of a token.
#pragma once

#include <stdint.h>

namespace litgpt {

// kSparseMixer selects one expert after another, each with its share of a softmax over the experts that are left and
// have similar logits (arXiv:2409.12136). kSigmoidAfterTopK selects experts by their logits.
enum Scoring : int32_t {
  kSoftmax = 0,
  kSoftmaxAfterTopK = 1,
  kSigmoidScores = 2,
  kSparseMixer = 3,
  kSigmoidAfterTopK = 4
};

inline constexpr int32_t kMaxExperts = 1024;

struct Routing {
  int32_t experts;
  int32_t top_k;
  Scoring scoring;
  bool normalize;  // the weights of a token sum to 1
  int32_t groups;  // experts are chosen from `top_groups` of these groups
  int32_t top_groups;
  int32_t group_top_k;         // a group's score is the sum of as many of its best scores
  const float* correction;     // added to the scores for the selection only, or null
  const float* expert_scales;  // factors of the weights, or null
  float factor;
  float jitter;  // kSparseMixer: the largest distance of similar logits, relative to the larger magnitude
};

// Writes the weights of the best experts in descending order of their scores, and their numbers.
void route(const Routing& routing, const float* logits, float* weights, float* experts);

}  // namespace litgpt
