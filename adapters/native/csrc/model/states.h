// The states of the gated delta networks of one sequence, whose size does not depend on the number of tokens.
#pragma once

#include <stdint.h>

#include "core/array.h"
#include "core/status.h"
#include "kernels/kernels.h"

namespace litgpt {

inline constexpr int64_t kMaxConvColumns = 64;
inline constexpr int64_t kMaxStateBytes = int64_t{1} << 30;

struct StateShape {  // of one layer
  int64_t heads;
  int64_t k_dim;
  int64_t v_dim;
  int64_t conv_columns;
  int64_t conv_channels;

  int64_t blocks() const { return (v_dim + kStateColumns - 1) / kStateColumns; }  // of columns, in a head
  int64_t block_values() const { return k_dim * kStateColumns; }
  int64_t recurrent_values() const { return heads * blocks() * block_values(); }
  int64_t bytes() const {
    return (recurrent_values() + conv_columns * conv_channels) * static_cast<int64_t>(sizeof(float));
  }
};

struct Page;

// Not thread-safe; sequences of one model may share states, each of which is copied before it changes.
class States {
 public:
  // Borrows the shapes, which must outlive it.
  States(const StateShape* shapes, int32_t count) : shapes_(shapes), count_(count) {}
  States(const States&) = delete;
  States& operator=(const States&) = delete;
  ~States() { clear(); }

  // Makes states that only this sequence writes to; new ones are zero. If it fails, no state has changed.
  Status reserve();
  // Forgets all tokens from `length` on, of `written`: all of them or none, because a state cannot be rolled back.
  Status truncate(int64_t length, int64_t written);
  Status share(const States& other);

  // Block b of head h at [h * blocks() + b], float[k_dim][kStateColumns]. The state must be reserved.
  float* recurrent(int32_t index);
  // The last inputs of the convolution, float[conv_columns][conv_channels].
  float* conv(int32_t index) { return recurrent(index) + shapes_[index].recurrent_values(); }

 private:
  void clear();

  const StateShape* shapes_;
  int32_t count_;
  Array<Page*> pages_;  // null: no token yet
};

}  // namespace litgpt
