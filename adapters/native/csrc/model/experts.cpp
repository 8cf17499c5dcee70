#include "model/experts.h"

#include <math.h>
#include <string.h>

namespace litgpt {
namespace {

class Experts {
 public:
  Experts(const int32_t* o, const double* p, const Program& program, const Batch& batch, Workspace& space,
          Executor& executor)
      : o_(o),
        p_(p),
        program_(program),
        batch_(batch),
        space_(space),
        rows_(space.experts()),
        executor_(executor),
        kernels_(executor.kernels()),
        num_rows_(batch.tokens * o[5]),
        width_(round_up(o[6], kTileRows)) {}

  void run() {
    executor_.worker().single([&] { sort(); });
    executor_.per_token(num_rows_, [&](int64_t row) { gather(row); });
    const int64_t stride = space_.stride(o_[0]);
    executor_.prepare(matrix(0, 0), rows_.x.data(), stride, num_rows_);
    multiply(0, rows_.gate.data(), width_);
    multiply(1, rows_.up.data(), width_);
    executor_.per_token(num_rows_, [&](int64_t row) { activate(row); });
    executor_.prepare(matrix(0, 2), rows_.gate.data(), width_, num_rows_);
    multiply(2, rows_.x.data(), stride);
    executor_.per_token(batch_.tokens, [&](int64_t token) { combine(token); });
  }

 private:
  Matrix matrix(int32_t expert, int32_t which) const { return program_.matrix(o_[3] + 3 * expert + which); }

  // Counting sort of the tokens by expert; within an expert, in the order of the batch.
  void sort() {
    int32_t* first = rows_.first.data();
    memset(first, 0, static_cast<size_t>(o_[4] + 1) * sizeof(int32_t));
    for (int64_t at = 0; at < num_rows_; ++at) ++first[expert_of(at) + 1];
    rows_.num_active = 0;
    for (int32_t expert = 0; expert < o_[4]; ++expert) {
      if (first[expert + 1] > 0) rows_.active[rows_.num_active++] = expert;
      first[expert + 1] += first[expert];
    }
    for (int64_t at = 0; at < num_rows_; ++at) {
      const int32_t row = first[expert_of(at)]++;
      rows_.row_of[at] = row;
      rows_.token_of[row] = static_cast<int32_t>(at / o_[5]);
      rows_.weight_of[row] = space_.row(o_[2], at / o_[5])[at % o_[5]];
    }
    for (int32_t expert = o_[4]; expert > 0; --expert) first[expert] = first[expert - 1];
    first[0] = 0;
  }

  // An existing expert, whatever the program has computed as routes.
  int32_t expert_of(int64_t at) const {
    const float number = space_.row(o_[2], at / o_[5])[o_[5] + at % o_[5]];
    const float last = static_cast<float>(o_[4] - 1);
    return number > 0 ? static_cast<int32_t>(number < last ? number : last) : 0;
  }

  void gather(int64_t row) {
    const float* source = space_.row(o_[1], rows_.token_of[row]);
    float* x = rows_.x.data() + row * space_.stride(o_[0]);
    const float factor = o_[10] != 0 ? rows_.weight_of[row] : 1.0f;
    const int64_t cols = matrix(0, 0).cols;
    for (int64_t at = 0; at < cols; ++at) x[at] = source[at] * factor;
  }

  // Multiplies the rows of each expert with its matrix `which`.
  void multiply(int32_t which, float* y, int64_t stride) {
    const Matrix shape = matrix(0, which);
    const int64_t piece = executor_.piece(shape);
    const int64_t pieces = (shape.tiles() + piece - 1) / piece;
    const int64_t most = num_rows_ < o_[4] ? num_rows_ : o_[4];
    executor_.worker().each(most * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        if (item / pieces >= rows_.num_active) continue;
        const int32_t expert = rows_.active[item / pieces];
        const Matrix weight = matrix(expert, which);
        const int64_t tile = item % pieces * piece;
        const int64_t last = tile + piece < weight.tiles() ? tile + piece : weight.tiles();
        const float* bias = o_[8] < 0 ? nullptr : program_.vector(o_[8] + 3 * expert + which);
        kernels_.matmul(weight, executor_.prepared(), tile, last, rows_.first[expert], rows_.first[expert + 1], bias, y,
                        stride, false, 1.0f);
      }
    });
  }

  void activate(int64_t row) {
    float* gate = rows_.gate.data() + row * width_;
    const float* up = rows_.up.data() + row * width_;
    if (o_[9] != 0) {
      clamped_swiglu(gate, up, o_[6], p_, gate);
    } else {
      kernels_.activate(static_cast<Activation>(o_[7]), gate, up, o_[6], gate);
    }
  }

  // Adds the outputs of a token's experts in the order of its routes, which does not depend on the batch.
  void combine(int64_t token) {
    const int64_t stride = space_.stride(o_[0]);
    float* out = space_.row(o_[0], token);
    memset(out, 0, static_cast<size_t>(matrix(0, 2).rows) * sizeof(float));
    for (int32_t rank = 0; rank < o_[5]; ++rank) {
      const int32_t row = rows_.row_of[token * o_[5] + rank];
      const float factor = o_[10] != 0 ? 1.0f : rows_.weight_of[row];
      kernels_.add(rows_.x.data() + row * stride, matrix(0, 2).rows, factor, out);
    }
  }

  const int32_t* o_;
  const double* p_;
  const Program& program_;
  const Batch& batch_;
  Workspace& space_;
  ExpertRows& rows_;
  Executor& executor_;
  const Kernels& kernels_;
  int64_t num_rows_;
  int64_t width_;
};

}  // namespace

void run_experts(const int32_t* operands, const double* parameters, const Program& program, const Batch& batch,
                 Workspace& workspace, Executor& executor) {
  Experts(operands, parameters, program, batch, workspace, executor).run();
}

void clamped_swiglu(const float* gate, const float* up, int64_t size, const double* parameters, float* out) {
  const float limit = static_cast<float>(parameters[0]);
  const float alpha = static_cast<float>(parameters[1]);
  const float offset = static_cast<float>(parameters[2]);
  for (int64_t at = 0; at < size; ++at) {
    const float x = fminf(gate[at], limit);
    const float y = fminf(fmaxf(up[at], -limit), limit) + offset;
    out[at] = x / (1.0f + expf(-alpha * x)) * y;
  }
}

}  // namespace litgpt
