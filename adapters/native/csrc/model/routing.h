// Selection of the experts of a token.
#pragma once

#include <stdint.h>

namespace litgpt {

enum Scoring : int32_t { kSoftmax = 0, kSoftmaxAfterTopK = 1, kSigmoidScores = 2 };

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
};

// Writes the weights of the best experts in descending order, and their numbers.
void route(const Routing& routing, const float* logits, float* weights, float* experts);

}  // namespace litgpt
