// The operations that instructions are made of, as one worker of a parallel region sees them.
#pragma once

#include "core/threads.h"
#include "kernels/kernels.h"

namespace litgpt {

class Executor {
 public:
  Executor(const Kernels& kernels, const Prepared& memory, Worker& worker)
      : kernels_(kernels), worker_(worker), memory_(memory), prepared_(memory) {}

  // Calls `body(token)` for all tokens.
  template <class Body>
  void per_token(int64_t tokens, const Body& body) {
    if (tokens <= kSerialTokens) {
      return worker_.single([&] {
        for (int64_t token = 0; token < tokens; ++token) body(token);
      });
    }
    worker_.each(tokens, 1 + tokens / (8 * worker_.count()), [&](int64_t first, int64_t last) {
      for (int64_t token = first; token < last; ++token) body(token);
    });
  }

  const Kernels& kernels() const { return kernels_; }
  Worker& worker() { return worker_; }
  const Prepared& prepared() const { return prepared_; }  // the input of the previous product

  bool is_prepared_for(const Matrix& weight) const { return weight.format == prepared_format_; }
  void forget() { prepared_format_ = kFormatCount; }  // the next product prepares its input itself

  void prepare(const Matrix& weight, const float* x, int64_t stride, int64_t tokens) {
    prepared_ = memory_;
    prepared_format_ = weight.format;
    prepared_.cols = round_up(weight.cols, kGroup);
    prepared_.stride = scale_stride(tokens);
    per_token(tokens, [&](int64_t token) {
      kernels_.prepare(weight.format, x, stride, weight.cols, token, token + 1, prepared_);
    });
  }

  void multiply(const Matrix& weight, const float* bias, int64_t tokens, float* y, int64_t stride, bool add,
                float alpha) {
    worker_.each(weight.tiles(), piece(weight), [&](int64_t first, int64_t last) {
      kernels_.matmul(weight, prepared_, first, last, 0, tokens, bias, y, stride, add, alpha);
    });
  }

  // The tiles of a matrix that a worker multiplies with at a time: an even number if possible, as two of them share the
  // tile registers of AMX.
  int64_t piece(const Matrix& weight) const {
    const int64_t by_size = kPieceBytes / weight.tile_bytes();
    const int64_t by_count = weight.tiles() / (kMinPieces * worker_.count());
    const int64_t tiles = by_size < by_count ? by_size : by_count;
    return by_count < 2 ? 1 : tiles < 2 ? 2 : tiles / 2 * 2;
  }

 private:
  // With few tokens, an operation takes less time than an exchange between workers: one does them all.
  static constexpr int64_t kSerialTokens = 3;
  // The size of a piece of a matrix product: large against the cost of taking one, small against the whole.
  static constexpr int64_t kPieceBytes = int64_t{48} << 10;
  static constexpr int64_t kMinPieces = 8;  // per worker

  const Kernels& kernels_;
  Worker& worker_;
  Prepared memory_;
  Prepared prepared_;
  Format prepared_format_ = kFormatCount;
};

}  // namespace litgpt
