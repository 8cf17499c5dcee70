// Packs rows of a matrix into tiles.
#pragma once

#include "core/status.h"
#include "weights/format.h"

namespace litgpt {

// Formats of the rows that are packed: dense dtypes, and blocks of GGUF files (ggml-common.h of llama.cpp).
enum SourceFormat : int32_t {
  kSourceF32 = 0,
  kSourceBF16 = 1,
  kSourceF16 = 2,
  kSourceQ8_0 = 3,
  kSourceQ4_0 = 4,
  kSourceQ4_1 = 5,
  kSourceQ5_0 = 6,
  kSourceQ5_1 = 7,
  kSourceMXFP4 = 8,
  kSourceQ2_K = 9,
  kSourceQ3_K = 10,
  kSourceQ4_K = 11,
  kSourceQ5_K = 12,
  kSourceQ6_K = 13,
  kSourceFormatCount = 14,
};

// Returns the bytes of a row of `cols` columns; 0 if the format cannot have that number of columns.
int64_t source_row_bytes(SourceFormat source, int64_t cols);

// Larger matrices are errors, so that no size overflows.
inline constexpr int64_t kMaxRows = int64_t{1} << 30;
inline constexpr int64_t kMaxCols = int64_t{1} << 26;

Status check_matrix(const Matrix& matrix);

// Packs `count` consecutive rows as rows `first_row` to `first_row + count` of the matrix, whose `data` must have
// been zeroed. Floating-point rows are quantized if the matrix is, as in GGUF files: Q8 with scale max|w| / 127, Q4
// with scale m / -8, where m is the value of largest magnitude, Q4M with scale (max - min) / 15. Rows of Q8_0, Q4_0 and
// Q4_1 can only be packed into the format with the same values (kQ8, kQ4 or kQ8, kQ4M), bit for bit, or into kF32 or
// kBF16. Rows of the other block formats are decoded, unless the format can represent their values: Q5_0 and MXFP4 as
// kQ8, and, with scales rounded to float16, Q4_K as kQ4M.
Status pack_rows(const Matrix& matrix, uint8_t* data, SourceFormat source, const void* rows, int64_t first_row,
                 int64_t count);

// Writes rows `first` to `first + count` of a packed matrix as float32, `cols` values each.
void unpack_rows(const Matrix& matrix, int64_t first, int64_t count, float* out);

}  // namespace litgpt
