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
  kSourceQ4Z = 14,  // not of GGUF: fp16 scale, uint8 zero, and 32 codes as in Q4_0
  kSourceFormatCount = 15,
};

// Returns the bytes of a row of `cols` columns; 0 if the format cannot have that number of columns.
int64_t source_row_bytes(SourceFormat source, int64_t cols);

// Larger matrices are errors, so that no size overflows.
inline constexpr int64_t kMaxRows = int64_t{1} << 30;
inline constexpr int64_t kMaxCols = int64_t{1} << 26;

Status check_matrix(const Matrix& matrix);

// Packs `count` consecutive rows as rows `first_row` to `first_row + count` of the matrix, whose `data` must have
// been zeroed. Floating-point rows are quantized if the matrix is, as in GGUF files: Q8 with scale max|w| / 127, Q4
// with scale m / -8, where m is the value of largest magnitude, Q4M with scale (max - min) / 15. The other quantized
// formats only take blocks of their own source format. Blocks are packed into the format with their own bits, which
// keeps their values, and can be decoded to kF32 or kBF16. kQ8 takes all but Q8_0's own bits as what it can: Q4_0, Q5_0
// and MXFP4 without a change, and others quantized again, unless they have the bits of a format of fewer bits.
Status pack_rows(const Matrix& matrix, uint8_t* data, SourceFormat source, const void* rows, int64_t first_row,
                 int64_t count);

// Writes rows `first` to `first + count` of a packed matrix as float32, `cols` values each.
void unpack_rows(const Matrix& matrix, int64_t first, int64_t count, float* out);

}  // namespace litgpt
