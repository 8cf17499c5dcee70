#include "model/routing.h"

#include <math.h>

namespace litgpt {
namespace {

// Writes the indices of the `count` largest values in descending order; the first of equal values wins.
void top(const float* values, int32_t size, int32_t count, int32_t* indices) {
  for (int32_t rank = 0; rank < count; ++rank) {
    int32_t best = -1;
    for (int32_t at = 0; at < size; ++at) {
      bool is_taken = false;
      for (int32_t other = 0; other < rank; ++other) is_taken = is_taken || indices[other] == at;
      if (!is_taken && (best < 0 || values[at] > values[best])) best = at;
    }
    indices[rank] = best;
  }
}

void softmax(float* values, int32_t size) {
  float largest = values[0];
  for (int32_t at = 1; at < size; ++at) largest = fmaxf(largest, values[at]);
  float sum = 0.0f;
  for (int32_t at = 0; at < size; ++at) sum += values[at] = expf(values[at] - largest);
  for (int32_t at = 0; at < size; ++at) values[at] /= sum;
}

float sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }

// Sets the scores of the experts outside the best groups to -inf.
void limit_to_groups(const Routing& routing, float* scores) {
  const int32_t size = routing.experts / routing.groups;
  const int32_t counted = routing.group_top_k < size ? routing.group_top_k : size;
  float sums[kMaxExperts];
  int32_t indices[kMaxExperts];
  for (int32_t group = 0; group < routing.groups; ++group) {
    top(scores + group * size, size, counted, indices);
    sums[group] = 0.0f;
    for (int32_t at = 0; at < counted; ++at) sums[group] += scores[group * size + indices[at]];
  }
  top(sums, routing.groups, routing.top_groups, indices);
  for (int32_t group = 0; group < routing.groups; ++group) {
    bool is_selected = false;
    for (int32_t at = 0; at < routing.top_groups; ++at) is_selected = is_selected || indices[at] == group;
    for (int32_t at = 0; at < size && !is_selected; ++at) scores[group * size + at] = -INFINITY;
  }
}

void sparse_mixer(const Routing& routing, const float* logits, float* weights, float* experts) {
  float remaining[kMaxExperts];
  for (int32_t at = 0; at < routing.experts; ++at) remaining[at] = logits[at];
  for (int32_t rank = 0; rank < routing.top_k; ++rank) {
    int32_t best = 0;
    top(remaining, routing.experts, 1, &best);
    const float largest = remaining[best];
    float sum = 0.0f;
    for (int32_t at = 0; at < routing.experts; ++at) {
      const bool is_far = (largest - logits[at]) / fmaxf(fabsf(logits[at]), largest) > routing.jitter;
      if (!is_far) sum += expf(remaining[at] - largest);
    }
    weights[rank] = 1.0f / sum;
    experts[rank] = static_cast<float>(best);
    remaining[best] = -INFINITY;
  }
}

}  // namespace

void route(const Routing& routing, const float* logits, float* weights, float* experts) {
  if (routing.scoring == kSparseMixer) return sparse_mixer(routing, logits, weights, experts);
  float scores[kMaxExperts];
  float choice[kMaxExperts];
  int32_t best[kMaxExperts];
  for (int32_t at = 0; at < routing.experts; ++at) {
    scores[at] = routing.scoring == kSigmoidScores ? sigmoid(logits[at]) : logits[at];
  }
  if (routing.scoring == kSoftmax) softmax(scores, routing.experts);
  for (int32_t at = 0; at < routing.experts; ++at) {
    choice[at] = scores[at] + (routing.correction == nullptr ? 0.0f : routing.correction[at]);
  }
  if (routing.groups > 1) limit_to_groups(routing, choice);
  top(choice, routing.experts, routing.top_k, best);
  float sum = 1e-20f;
  for (int32_t at = 0; at < routing.top_k; ++at) {
    const float score = scores[best[at]];
    weights[at] = routing.scoring == kSigmoidAfterTopK ? sigmoid(score) : score;
    experts[at] = static_cast<float>(best[at]);
    sum += weights[at];
  }
  if (routing.scoring == kSoftmaxAfterTopK) {
    softmax(weights, routing.top_k);
    return;
  }
  for (int32_t at = 0; at < routing.top_k; ++at) {
    if (routing.normalize) weights[at] /= sum;
    if (routing.expert_scales != nullptr) weights[at] *= routing.expert_scales[best[at]];
    weights[at] *= routing.factor;
  }
}

}  // namespace litgpt
