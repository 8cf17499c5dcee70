#include "model/head.h"

#include <math.h>
#include <string.h>

namespace litgpt {
namespace {

// The logits that are computed at a time stay in the second-level cache, as do the weights. They do not depend on the
// number of workers, so that the sums do not either.
constexpr int64_t kScoredTokens = 64;

class Head {
 public:
  Head(const litgpt_instruction& it, const Program& program, const Batch& batch, Workspace& space, const Output& output,
       Executor& executor)
      : src_(it.operands[0]),
        scale_(static_cast<float>(it.parameters[0])),
        softcap_(static_cast<float>(it.parameters[1])),
        weight_(program.matrix(it.operands[1])),
        bias_(program.vector(it.operands[2])),
        vocab_size_(program.vocab_size),
        batch_(batch),
        space_(space),
        output_(output),
        executor_(executor) {}

  void run() {
    if (output_.hidden != nullptr) return gather(output_.hidden, weight_.cols);
    gather(space_.head_input(), space_.stride(src_));
    executor_.prepare(weight_, space_.head_input(), space_.stride(src_), batch_.rows);
    if (output_.scores != nullptr) {
      write_scores(*output_.scores);
    } else {
      write_logits();
    }
  }

 private:
  void gather(float* rows, int64_t stride) {
    executor_.per_token(batch_.rows, [&](int64_t at) {
      memcpy(rows + at * stride, space_.row(src_, batch_.output_rows[at]),
             static_cast<size_t>(weight_.cols) * sizeof(float));
    });
  }

  bool is_scaled() const { return scale_ != 1.0f || softcap_ != 0.0f; }

  void scale(const float* x, int64_t count, float* out) const {
    for (int64_t id = 0; id < count; ++id) {
      const float logit = x[id] * scale_;
      out[id] = softcap_ == 0.0f ? logit : tanhf(logit / softcap_) * softcap_;
    }
  }

  void write_logits() {
    const int64_t padded = round_up(vocab_size_, kTileRows);
    float* y = padded == vocab_size_ ? output_.logits : space_.head_output();
    executor_.multiply(weight_, bias_, batch_.rows, y, padded, false, 1.0f);
    if (y == output_.logits && !is_scaled()) return;
    executor_.per_token(batch_.rows,
                        [&](int64_t at) { scale(y + at * padded, vocab_size_, output_.logits + at * vocab_size_); });
  }

  void write_scores(const Scores& scores) {
    const int64_t parts = vocabulary_parts(vocab_size_);
    const int64_t blocks = (batch_.rows + kScoredTokens - 1) / kScoredTokens;
    executor_.worker().each(parts * blocks, 1, [&](int64_t item, int64_t last) {
      for (; item < last; ++item) score(scores, item / blocks, item % blocks * kScoredTokens);
    });
    executor_.per_token(batch_.rows, [&](int64_t at) { merge(scores, at, space_.exp_sums() + at * parts, parts); });
  }

  // The scores of a block of tokens with a part of the vocabulary.
  void score(const Scores& scores, int64_t part, int64_t first) {
    alignas(64) float logits[kScoredTokens * kVocabularyPart];
    const int64_t first_id = part * kVocabularyPart;
    const int64_t ids = smaller(kVocabularyPart, vocab_size_ - first_id);
    const int64_t tokens = smaller(kScoredTokens, batch_.rows - first);
    const Matrix weight = {weight_.format, ids, weight_.cols,
                           weight_.data + first_id / kTileRows * weight_.tile_bytes()};
    const float* bias = bias_ == nullptr ? nullptr : bias_ + first_id;
    executor_.kernels().matmul(weight, executor_.prepared().from_row(first), 0, weight.tiles(), 0, tokens, bias, logits,
                               kVocabularyPart, false, 1.0f);
    const int64_t parts = vocabulary_parts(vocab_size_);
    for (int64_t token = 0; token < tokens; ++token) {
      float* row = logits + token * kVocabularyPart;
      if (is_scaled()) scale(row, ids, row);
      const int64_t at = first + token;
      const int64_t target = scores.targets[at] - first_id;
      if (target >= 0 && target < ids) scores.logprobs[at] = row[target];
      space_.exp_sums()[at * parts + part] = executor_.kernels().exp_sum(row, ids);
    }
  }

  // From the logit of a token's target to its log-probability.
  static void merge(const Scores& scores, int64_t at, const ExpSum* sums, int64_t parts) {
    float max = sums[0].max;
    for (int64_t part = 1; part < parts; ++part) max = sums[part].max > max ? sums[part].max : max;
    double total = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const ExpSum& own = sums[part];
      total += own.max == max ? own.sum : static_cast<double>(own.sum) * expf(own.max - max);
    }
    const double logit = scores.logprobs[at];
    scores.greedy[at] = logit >= max ? 1 : 0;
    scores.logprobs[at] = max == -INFINITY ? NAN : logit - max - log(total);
  }

  static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

  int32_t src_;
  float scale_;
  float softcap_;
  Matrix weight_;
  const float* bias_;
  int64_t vocab_size_;
  const Batch& batch_;
  Workspace& space_;
  const Output& output_;
  Executor& executor_;
};

}  // namespace

void run_head(const litgpt_instruction& instruction, const Program& program, const Batch& batch, Workspace& space,
              const Output& output, Executor& executor) {
  Head(instruction, program, batch, space, output, executor).run();
}

}  // namespace litgpt
