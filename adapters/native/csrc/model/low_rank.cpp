#include "model/low_rank.h"

#include <string.h>

namespace litgpt {
namespace {

class LowRank {
 public:
  LowRank(int32_t tensor, const Batch& batch, Executor& executor)
      : tensor_(tensor), batch_(batch), executor_(executor) {
    for (int64_t at = 0; at < batch.runs.size(); ++at) {
      const LowRankUpdate* update = find(at);
      if (update == nullptr) continue;
      any_ = update;
      if (update->down.rows > widest_.cols) widest_ = update->up;
    }
  }

  void add(int32_t src, int32_t dst, float alpha, Workspace& space) const {
    if (any_ == nullptr) return;
    if (!executor_.is_prepared_for(any_->down)) {
      executor_.prepare(any_->down, space.row(src, 0), space.stride(src), batch_.tokens);
    }
    const int64_t width = round_up(widest_.cols, kTileRows);
    multiply([](const LowRankUpdate& it) { return it.down; }, [](const LowRankUpdate&) { return nullptr; },
             space.low_rank(), width, false, 1.0f);
    executor_.prepare(widest_, space.low_rank(), width, batch_.tokens);
    multiply([](const LowRankUpdate& it) { return it.up; }, [](const LowRankUpdate& it) { return it.bias; },
             space.row(dst, 0), space.stride(dst), true, alpha);
    executor_.forget();
  }

 private:
  const LowRankUpdate* find(int64_t run) const { return batch_.runs[run].adapter->find(tensor_); }

  // Multiplies the tokens of all runs in one loop, since each run alone has little work for several workers.
  template <class Factor, class Bias>
  void multiply(const Factor& factor, const Bias& bias, float* y, int64_t stride, bool add, float alpha) const {
    const Matrix shape = factor(*any_);  // all have as many tiles, but for factors A of other ranks
    int64_t most = shape.tiles();
    for (int64_t run = 0; run < batch_.runs.size(); ++run) {
      const LowRankUpdate* update = find(run);
      if (update != nullptr && factor(*update).tiles() > most) most = factor(*update).tiles();
    }
    const int64_t piece = executor_.piece(shape);
    const int64_t pieces = (most + piece - 1) / piece;
    executor_.worker().each(batch_.runs.size() * pieces, 1, [&](int64_t item, int64_t end) {
      for (; item < end; ++item) {
        const AdapterRun& run = batch_.runs[item / pieces];
        const LowRankUpdate* update = find(item / pieces);
        const int64_t first = item % pieces * piece;
        if (update == nullptr || first >= factor(*update).tiles()) continue;
        const Matrix weight = factor(*update);
        const int64_t last = first + piece < weight.tiles() ? first + piece : weight.tiles();
        executor_.kernels().matmul(weight, executor_.prepared(), first, last, run.first, run.last, bias(*update), y,
                                   stride, add, alpha);
        const int64_t end_row = last * kTileRows;
        if (add || last < weight.tiles() || end_row == stride) continue;
        // The columns that a wider adapter has: padding of B is zero, but zero times NaN is not.
        for (int64_t token = run.first; token < run.last; ++token) {
          memset(y + token * stride + end_row, 0, static_cast<size_t>(stride - end_row) * sizeof(float));
        }
      }
    });
  }

  int32_t tensor_;
  const Batch& batch_;
  Executor& executor_;
  const LowRankUpdate* any_ = nullptr;
  Matrix widest_{};  // the factor B of the largest rank
};

}  // namespace

void add_low_rank(int32_t tensor, int32_t src, int32_t dst, float alpha, const Batch& batch, Workspace& workspace,
                  Executor& executor) {
  LowRank(tensor, batch, executor).add(src, dst, alpha, workspace);
}

}  // namespace litgpt
