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
  kSourceFormatCount = 6,
};

// Returns the bytes of a row of `cols` columns; 0 if the format cannot have that number of columns.
int64_t source_row_bytes(SourceFormat source, int64_t cols);

// Larger matrices are errors, so that no size overflows.
inline constexpr int64_t kMaxRows = int64_t{1} << 30;
inline constexpr int64_t kMaxCols = int64_t{1} << 26;

Status check_matrix(const Matrix& matrix);

// Packs `count` consecutive rows as rows `first_row` to `first_row + count` of the matrix, whose `data` must have
// been zeroed. Floating-point rows are quantized if the matrix is, as in GGUF files: Q8 with scale max|w| / 127, Q4
// with scale m / -8, where m is the value of largest magnitude, Q4M with scale (max - min) / 15. Quantized rows can only
// be packed into the format with the same values (Q8_0 as kQ8, Q4_0 as kQ4, Q4_1 as kQ4M), bit for bit, or into kF32 or
// kBF16.
Status pack_rows(const Matrix& matrix, uint8_t* data, SourceFormat source, const void* rows, int64_t first_row,
                 int64_t count);

// Writes rows `first` to `first + count` of a packed matrix as float32, `cols` values each.
void unpack_rows(const Matrix& matrix, int64_t first, int64_t count, float* out);

}  // namespace litgpt
