// The functions that are compiled once for each instruction set.
#pragma once

#include <stdint.h>

#include "core/inline.h"
#include "weights/format.h"

namespace litgpt {

// A value of an input row that exceeds this many times the row's RMS is an outlier. In 8 bits it would take the
// precision of the other values of its group, so it is multiplied as it is (LLM.int8(), arXiv:2208.07339). On
// SmolLM2, 1.3 % of the values are outliers, and without them the KL divergence from exact activations is a seventh of
// that with 8 bits for all.
inline constexpr int64_t kOutlier = 3;

struct Outlier {
  int32_t group;
  // Where the low bits of its column, and the upper ones of 5 and 6-bit codes, begin in a group, and how far to the
  // left they have to be shifted to be the highest of each 32-bit lane.
  int16_t word;
  int16_t plane;
  int8_t shift;
  int8_t plane_shift;
  int8_t half;  // 1 for the last 16 columns of the group
  float value;
};

// The most outliers that a row can have: the squares of all values have to add up to `cols` times the mean.
LITGPT_INLINE constexpr int64_t max_outliers(int64_t cols) { return cols / (kOutlier * kOutlier) + 1; }

// The sums of x that a format needs for each group: one, or those of its halves.
LITGPT_INLINE constexpr int x_sums(Format format) {
  return quantization(format).scales == ScaleKind::kHalfSteps ? 2 : 1;
}

// The input rows of a matrix product, in the representation that the weight format multiplies with. Each row has
// `cols` rounded up to a multiple of 32 elements; the padding is zero.
struct Prepared {
  int64_t cols;    // padded
  int64_t stride;  // of scales and sums
  float* f32;      // kF32, kF16, and kBF16 without bf16 instructions
  uint16_t* bf16;  // kBF16 with bf16 instructions
  // Quantized formats: x = scale * q, with one scale for each row and group of 32, and q = 0 for outliers.
  int8_t* q8;
  float* scales;            // [group][row]: those of a block of rows are adjacent
  float* sums;              // [group][x_sums(format)][row]: of x without outliers, times the format's `sum_factor`
  Outlier* outliers;        // max_outliers(cols) for each row
  int32_t* outlier_counts;  // per row

  // The same from another row on.
  Prepared from_row(int64_t row) const {
    return {cols,
            stride,
            f32 + row * cols,
            bf16 + row * cols,
            q8 + row * cols,
            scales + row,
            sums + row,
            outliers + row * max_outliers(cols),
            outlier_counts + row};
  }
};

// The distance of the scales of two groups. Not a power of two, so that they are not in the same sets of a cache.
LITGPT_INLINE constexpr int64_t scale_stride(int64_t rows) { return rows < 16 ? rows : round_up(rows, 16) + 16; }

enum NormKind : int32_t { kRms = 0, kLayer = 1 };
enum Activation : int32_t { kSilu = 0, kGelu = 1, kGeluTanh = 2, kRelu = 3, kRelu2 = 4, kSigmoid = 5, kIdentity = 6 };

// Attention of the query heads of one key-value head, for consecutive tokens of one sequence.
struct Attention {
  const float* q;  // head h of token t at q + t * q_stride + h * k_dim
  int64_t q_stride;
  float* out;  // head h of token t at out + t * out_stride + h * v_dim
  int64_t out_stride;
  int64_t first_position;  // of token 0; token t sees positions up to first_position + t
  int32_t tokens;
  int32_t heads;  // query heads of this key-value head
  int32_t k_dim;
  int32_t v_dim;
  const uint8_t* const* k_pages;  // keys of this head in each page, element [k_dim][kPagePositions], or `fits_tiles`
  const uint8_t* const* v_pages;  // values, element [kPagePositions][v_dim], or `fits_tiles`
  Format element;                 // kF32, kBF16 or kQ8: see `kv_bytes`
  float scale;
  float softcap;       // 0: none
  int64_t window;      // 0: full attention
  bool chunked;        // confined to chunks of `window` positions, instead of a sliding window
  const float* sinks;  // one logit per head, or null
  const float*
      slopes;  // ALiBi, one per head, or null: slope * (position of the key - of the query) is added to the score
  float rounded_slopes;  // not 0: what is added is this times slope * position of the key, both rounded to bf16, as is
                         // their product
};

inline constexpr int64_t kPagePositions = 32;

// The bytes of the keys or values of one head in a page. In 8 bits, the elements are codes, and before them come the
// scales of the positions, float32[kPagePositions]: value = scale * code.
LITGPT_INLINE constexpr int64_t kv_scale_bytes(Format element) { return element == kQ8 ? 4 * kPagePositions : 0; }
LITGPT_INLINE constexpr int64_t kv_bytes(Format element, int64_t dim) {
  const int64_t size = element == kF32 ? 4 : element == kBF16 ? 2 : 1;
  return round_up(kv_scale_bytes(element) + size * dim * kPagePositions, 64);  // whole cache lines
}

// Whether tile registers, where there are any, compute the attention of a head. Its pages then have pairs of what the
// products add up: keys bf16[k_dim / 2][kPagePositions][2], values bf16[kPagePositions / 2][v_dim][2].
LITGPT_INLINE constexpr bool fits_tiles(Format element, int64_t k_dim, int64_t v_dim) {
  return element == kBF16 && k_dim % 32 == 0 && v_dim % 16 == 0;
}

inline constexpr int64_t kSpanPages = 16;  // pages whose attention is computed before it is merged with the rest
inline constexpr int64_t kSpanPositions = kSpanPages * kPagePositions;
inline constexpr int64_t kMaxHeadDim = 1024;  // of k_dim and v_dim

// The size of the attention of `rows` pairs of a token and a head to one span.
LITGPT_INLINE int64_t partial_values(int64_t rows, int64_t v_dim) { return rows * (v_dim + 2); }

// A causal depthwise convolution, for consecutive tokens of one sequence and some of its channels.
struct CausalConv {
  const float* x;  // row t at x + t * x_stride
  int64_t x_stride;
  const float* state;  // the `columns` rows before x
  int64_t state_stride;
  const float* weights;  // `columns` + 1 rows, that of the token itself last
  int64_t weights_stride;
  const float* bias;  // null: none
  float* out;
  int64_t out_stride;
  int64_t tokens;
  int64_t channels;
  int64_t columns;
  Activation activation;
};

// The gated delta rule of one head, for consecutive tokens of one sequence and up to kStateColumns of the values:
// S = decay * S; S += k (beta * (v - k S)); out = q S.
struct DeltaRule {
  const float* q;  // of token t at q + t * stride, as the keys and values
  const float* k;
  const float* v;
  int64_t stride;
  const float* beta;  // of token t at beta + t * gate_stride, as the decay
  const float* decay;
  int64_t gate_stride;
  float* out;
  int64_t out_stride;
  float* state;  // float[k_dim][kStateColumns]; zero after the last column
  int64_t tokens;
  int64_t k_dim;
  int64_t columns;
};

inline constexpr int64_t kStateColumns = 32;  // enough sums to hide the latency of an addition

// The sum of e^(x - max) over a part of the vocabulary, and its largest logit.
struct ExpSum {
  float max;
  float sum;
};

struct Kernels {
  const char* name;

  // Converts rows `first` to `last` of x (row t at x + t * stride, `cols` values) for products with `format`.
  void (*prepare)(Format format, const float* x, int64_t stride, int64_t cols, int64_t first, int64_t last,
                  const Prepared& out);

  // y[t * stride + row] = bias[row] + sum over columns, for tiles `first_tile` to `last_tile` and tokens
  // `first_token` to `last_token`; with `add`, alpha times that is added to y instead. Each row of y has space for
  // a multiple of 16 values; `bias` has as many, or is null. The result of a token does not depend on the others.
  void (*matmul)(const Matrix& weight, const Prepared& x, int64_t first_tile, int64_t last_tile, int64_t first_token,
                 int64_t last_token, const float* bias, float* y, int64_t stride, bool add, float alpha);

  // Normalizes `size` values. `weight` and `bias` may be null; `unit_offset` adds 1 to the weight. In place is
  // allowed.
  void (*norm)(NormKind kind, const float* x, int64_t size, float eps, const float* weight, const float* bias,
               bool unit_offset, float* out);

  // Rotates the first 2 * pairs values of `heads` heads at x + h * stride by cos and sin (`pairs` values each).
  // `interleaved`: pairs are adjacent values instead of values `pairs` apart.
  void (*rope)(float* x, int64_t heads, int64_t stride, int64_t pairs, const float* cos, const float* sin,
               bool interleaved);

  // out = activation(gate) * up, or activation(gate) if `up` is null. In place is allowed.
  void (*activate)(Activation kind, const float* gate, const float* up, int64_t size, float* out);

  // y += alpha * x
  void (*add)(const float* x, int64_t size, float alpha, float* y);

  // Writes one token's key (k_dim values) and value (v_dim values) of one head into slot `slot` of a page.
  void (*store_kv)(Format element, const float* k, const float* v, int64_t k_dim, int64_t v_dim, int64_t slot,
                   uint8_t* k_page, uint8_t* v_page);

  void (*attend)(const Attention& attention);

  // The same in parts, with the same result: attention to span `index`, of kSpanPositions positions, and then, when
  // all spans up to the last token's are computed, their combination. Each has
  // `partial_values` values.
  void (*attend_part)(const Attention& attention, int64_t index, float* partial);
  void (*merge_parts)(const Attention& attention, int64_t count, float* partials);

  // The result does not depend on how the tokens are divided among calls.
  void (*causal_conv)(const CausalConv& job);
  void (*delta_rule)(const DeltaRule& job);

  // The largest of `size` values, and the sum. Values of -infinity add nothing. The sum is NaN if any value is NaN or
  // +infinity.
  ExpSum (*exp_sum)(const float* x, int64_t size);
};

// Whether products prefetch weights. Without that, a core of a Xeon decoded at three quarters of its speed;
// AMD processors did not gain.
extern const bool kPrefetchesWeights;

// Returns the fastest kernels that this processor runs, or those that LITGPT_NATIVE_ISA names; null if there are
// none of that name.
const Kernels* select_kernels();

}  // namespace litgpt
