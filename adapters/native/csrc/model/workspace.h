// The memory that a step computes in. It grows to the largest step and is reused.
#pragma once

#include "core/array.h"
#include "kernels/kernels.h"
#include "model/batch.h"
#include "model/prepared_rows.h"
#include "model/program.h"

namespace litgpt {

struct RopeRows {  // cosines and sines of each token of the step
  int64_t pairs;
  float* cos;
  float* sin;
};

// The tokens of a step, once for each of their experts, sorted by expert.
struct ExpertRows {
  Array<int32_t> row_of;    // row of the k-th expert of a token, at [token * top_k + k]
  Array<int32_t> token_of;  // of a row
  Array<float> weight_of;
  Array<int32_t> first;   // first row of each expert, and the number of rows at the end
  Array<int32_t> active;  // experts that have rows
  int32_t num_active = 0;
  Array<float> x;  // input, then output, of each row
  Array<float> gate;
  Array<float> up;
};

// The outputs of the head whose e^x are added up at a time.
inline constexpr int64_t kVocabularyPart = 256;
inline constexpr int64_t vocabulary_parts(int64_t vocab_size) {
  return (vocab_size + kVocabularyPart - 1) / kVocabularyPart;
}

class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace();

  // Makes room for a step with the logits or the scores of some tokens; contents are undefined.
  Status reserve(const Program& program, const Batch& batch, int64_t logits, int64_t scores);

  float* row(int32_t buffer, int64_t token) { return buffers_[buffer].data() + token * strides_[buffer]; }
  int64_t stride(int32_t buffer) const { return strides_[buffer]; }
  Prepared prepared() { return prepared_.view(0, 0); }
  RopeRows rope(int64_t table) { return ropes_[table]; }
  ExpertRows& experts() { return experts_; }
  float* low_rank() { return low_rank_.data(); }  // A x of each token, for the widest adapter
  float* partials() { return partials_.data(); }
  float* head_input() { return head_input_.data(); }
  float* head_output() { return head_output_.data(); }
  ExpSum* exp_sums() { return exp_sums_.data(); }  // of each token to be scored and each part of the vocabulary

 private:
  Status reserve_experts(const Program& program, int64_t tokens);
  Status reserve_partials(const Program& program, int64_t tokens, int64_t spans);

  Array<float>* buffers_ = nullptr;
  int64_t num_buffers_ = 0;
  Array<int64_t> strides_;
  PreparedRows prepared_;
  Array<float> rope_values_;
  Array<RopeRows> ropes_;
  ExpertRows experts_;
  Array<float> low_rank_;
  Array<float> partials_;  // of attention
  Array<float> head_input_;
  Array<float> head_output_;
  Array<ExpSum> exp_sums_;
};

}  // namespace litgpt
