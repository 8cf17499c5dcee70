// The memory of the input rows of matrix products.
#pragma once

#include "core/array.h"
#include "kernels/kernels.h"

namespace litgpt {

class PreparedRows {
 public:
  // Makes room for rows of up to `cols` columns, padded; contents are undefined.
  Status reserve(int64_t rows, int64_t cols) {
    LITGPT_TRY(f32_.at_least(rows * cols));
    LITGPT_TRY(bf16_.at_least(rows * cols));
    LITGPT_TRY(q8_.at_least(rows * cols));
    LITGPT_TRY(scales_.at_least(scale_stride(rows) * cols / kGroup));
    LITGPT_TRY(sums_.at_least(2 * scale_stride(rows) * cols / kGroup));
    LITGPT_TRY(outliers_.at_least(rows * max_outliers(cols)));
    return outlier_counts_.at_least(rows);
  }

  // Of `rows` rows of `cols` columns, padded.
  Prepared view(int64_t rows, int64_t cols) {
    return {cols,           scale_stride(rows), f32_.data(),      bf16_.data(),          q8_.data(),
            scales_.data(), sums_.data(),       outliers_.data(), outlier_counts_.data()};
  }

 private:
  Array<float> f32_;
  Array<uint16_t> bf16_;
  Array<int8_t> q8_;
  Array<float> scales_;
  Array<float> sums_;
  Array<Outlier> outliers_;
  Array<int32_t> outlier_counts_;
};

}  // namespace litgpt
