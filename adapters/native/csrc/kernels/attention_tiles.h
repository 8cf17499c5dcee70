// Attention over pages of bfloat16 in tile registers: up to 32 rows times 32 columns, or 16 times 64.
#pragma once

#include "kernels/attention_units.h"

// Included after the header of an instruction set.
namespace litgpt::LITGPT_ISA_NAMESPACE {

inline constexpr int64_t kTileColumns = 16;  // of float32, or of pairs of bf16
inline constexpr int64_t kTileDepth = 32;    // bf16 in a row

// A matrix in memory, of which kTiles tiles of rows are `tile` elements apart.
template <class Element>
struct TileRows {
  Element* first;
  int64_t stride;
  int64_t tile;

  LITGPT_INLINE_MEMBER int64_t stride_bytes() const { return stride * static_cast<int64_t>(sizeof(Element)); }
};

// The sums of tiles of rows `row` and columns `column` are in register row + column * kRows.
template <int kRows, int kColumns, int kRegister = 0>
LITGPT_INLINE void zero_sums() {
  static_assert(kRows * kColumns <= 4, "there are four registers for sums");
  if constexpr (kRegister < kRows * kColumns) {
    reg::zero_tile<kRegister>();
    zero_sums<kRows, kColumns, kRegister + 1>();
  }
}
template <int kRows, int kColumns, int kRegister = 0>
LITGPT_INLINE void load_sums(const TileRows<float>& from) {
  if constexpr (kRegister < kRows * kColumns) {
    const float* tile = from.first + kRegister % kRows * from.tile + kRegister / kRows * kTileColumns;
    reg::load_tile<kRegister>(tile, from.stride_bytes());
    load_sums<kRows, kColumns, kRegister + 1>(from);
  }
}
template <int kRows, int kColumns, int kRegister = 0>
LITGPT_INLINE void store_sums(const TileRows<float>& to) {
  if constexpr (kRegister < kRows * kColumns) {
    float* tile = to.first + kRegister % kRows * to.tile + kRegister / kRows * kTileColumns;
    reg::store_tile<kRegister>(tile, to.stride_bytes());
    store_sums<kRows, kColumns, kRegister + 1>(to);
  }
}

// Adds the products of rows in registers 4 and 5 and the columns at column(kColumn), `stride` bytes from a row of pairs
// to the next.
template <int kRows, int kColumns, int kColumn = 0, class Column>
LITGPT_INLINE void add_columns(const Column& column, int64_t stride) {
  if constexpr (kColumn < kColumns) {
    constexpr int kRegister = 6 + kColumn % 2;
    reg::load_tile<kRegister>(column(kColumn), stride);
    reg::add_tile_product<kColumn * kRows, 4, kRegister>();
    if constexpr (kRows == 2) reg::add_tile_product<kColumn * kRows + 1, 5, kRegister>();
    add_columns<kRows, kColumns, kColumn + 1>(column, stride);
  }
}
template <int kRows, int kColumns, class Column>
LITGPT_INLINE void add_tile_products(const TileRows<const uint16_t>& rows, int64_t at, const Column& column,
                                     int64_t stride) {
  reg::load_tile<4>(rows.first + at, rows.stride_bytes());
  if constexpr (kRows == 2) reg::load_tile<5>(rows.first + rows.tile + at, rows.stride_bytes());
  add_columns<kRows, kColumns>(column, stride);
}

// The scores of all positions of kPages pages.
template <int kRows, int kPages>
LITGPT_INLINE void multiply_key_tiles(const TileRows<const uint16_t>& queries, int64_t k_dim,
                                      const uint8_t* const* pages, const TileRows<float>& scores) {
  constexpr int kPageTiles = kPagePositions / kTileColumns;
  constexpr int64_t kStride = 2 * kPagePositions * sizeof(uint16_t);
  zero_sums<kRows, kPages * kPageTiles>();
  for (int64_t k = 0; k < k_dim; k += kTileDepth) {
    const auto column = [&](int at) {
      return pages[at / kPageTiles] + k / 2 * kStride + at % kPageTiles * reg::kTileStride;
    };
    add_tile_products<kRows, kPages * kPageTiles>(queries, k, column, kStride);
  }
  store_sums<kRows, kPages * kPageTiles>(scores);
}

// out += the weighted sum of kColumns tiles of values from column `at` on
template <int kRows, int kColumns, class Span>
LITGPT_INLINE void add_value_tiles(const Span& span, int64_t unit, Positions pages,
                                   const TileRows<const uint16_t>& weights, int64_t at, const TileRows<float>& out) {
  const int64_t stride = 2 * int64_t{span.job.v_dim} * static_cast<int64_t>(sizeof(uint16_t));
  const TileRows<float> sums{out.first + at, out.stride, out.tile};
  load_sums<kRows, kColumns>(sums);
  for (int64_t page = pages.first; page < pages.last; ++page) {
    const uint8_t* values = span.values.page(span.job, unit * kUnitPages + page) + 2 * at * sizeof(uint16_t);
    const auto column = [&](int tile) { return values + tile * reg::kTileStride; };
    add_tile_products<kRows, kColumns>(weights, page * kPagePositions, column, stride);
  }
  store_sums<kRows, kColumns>(sums);
}

// The page of values with the last token. Its slots that nothing was stored in are zero in a copy, because they could
// be NaN, which times a weight of zero is not zero.
class PaddedValues {
 public:
  // `is_last`: whether that page will be read.
  PaddedValues(const Attention& job, bool is_last) {
    const int64_t positions = job.first_position + job.tokens;
    const int64_t used = positions % kPagePositions;
    if (used == 0 || !is_last) return;
    page_ = positions / kPagePositions;
    const auto* values = reinterpret_cast<const uint16_t*>(job.v_pages[page_]);
    const int64_t row = 2 * job.v_dim;
    const int64_t whole = used / 2 * row;
    memcpy(copy_, values, static_cast<size_t>(whole) * sizeof(uint16_t));
    memset(copy_ + whole, 0, static_cast<size_t>(kPagePositions * job.v_dim - whole) * sizeof(uint16_t));
    for (int64_t at = 0; used % 2 != 0 && at < row; at += 2) copy_[whole + at] = values[whole + at];
  }

  const uint8_t* page(const Attention& job, int64_t at) const {
    return at == page_ ? reinterpret_cast<const uint8_t*>(copy_) : job.v_pages[at];
  }

 private:
  int64_t page_ = -1;
  alignas(64) uint16_t copy_[kPagePositions * kMaxHeadDim];  // NOLINT: only the part of `v_dim` columns is used
};

// Weights in bfloat16.
struct TilePage {
  using Weight = uint16_t;

  LITGPT_INLINE Floats weight(Floats x) { return {{reg::exp_for_bf16(x.part[0])}}; }
  LITGPT_INLINE void store_weights(Floats weight, const uint8_t* const*, int64_t, uint16_t* to) {
    reg::store_normal_bf16(to, weight.part[0]);
  }
};

// Rows in tile registers: one or two tiles are computed together.
class TilePath {
 public:
  using LastValues = PaddedValues;
  static constexpr int64_t kRowStep = reg::kTileTokens;
  static constexpr int64_t kMaxRows = 4 * kRowStep;

  explicit TilePath(int64_t rows)
      : tile_rows_(static_cast<int>(ceiling(rows, ceiling(rows, kRowStep)))), registers_(tile_rows_) {}

  static void pack_queries(const Attention& job, int64_t first_row, int64_t last_row, void* to) {
    auto* queries = static_cast<uint16_t*>(to);
    for (int64_t row = first_row; row < last_row; ++row) {
      const float* q = query_row(job, row);
      for (int64_t k = 0; k < job.k_dim; k += kLanes, queries += kLanes) {
        reg::store_normal_bf16(queries, (load(q + k) * broadcast(job.scale)).part[0]);
      }
    }
  }

  void attend_unit(const SpanJob<TilePath>& span, int64_t unit) const {
    int64_t row = span.first_row;
    for (; row + tile_rows_ < span.last_row; row += 2 * tile_rows_) attend_tiles<2>(span, unit, row);
    if (row < span.last_row) attend_tiles<1>(span, unit, row);
  }

 private:
  static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

  // The last tile may have fewer rows than `tile_rows_`: what its others have does not matter.
  template <int kTiles>
  void attend_tiles(const SpanJob<TilePath>& span, int64_t unit, int64_t row) const {
    constexpr int64_t kMost = kTiles * reg::kTileTokens;
    const Attention& job = span.job;
    const int64_t left = span.last_row - row;
    const int64_t rows = left < kTiles * tile_rows_ ? left : kTiles * tile_rows_;
    const UnitView<kMost> view(job, unit, row, rows);
    if (view.is_empty()) return;
    const int64_t index = row - span.first_row;
    alignas(64) float scores[kMost * kUnit];
    alignas(64) uint16_t weights[kMost * kUnit];
    const auto* q = static_cast<const uint16_t*>(span.queries) + index * job.k_dim;
    const TileRows<const uint16_t> queries{q, job.k_dim, tile_rows_ * job.k_dim};
    TileRows<float> page_scores{scores + view.first_page * kPagePositions, kUnit, tile_rows_ * kUnit};
    constexpr int kPages = kTiles == 1 ? 2 : 1;
    const uint8_t* const* k_pages = job.k_pages + unit * kUnitPages;
    int64_t page = view.first_page;
    for (; page + kPages <= view.last_page; page += kPages, page_scores.first += kPages * kPagePositions) {
      multiply_key_tiles<kTiles, kPages>(queries, job.k_dim, k_pages + page, page_scores);
    }
    if (page < view.last_page) multiply_key_tiles<kTiles, 1>(queries, job.k_dim, k_pages + page, page_scores);

    float* out = span.out + index * job.v_dim;
    // One loop for the largest scores and one for the weights, so that the latencies of several rows overlap.
    float factors[kMost];
    for (int64_t i = 0; i < rows; ++i) {
      float* row_scores = scores + i * kUnit;
      adjust_scores(job, unit, row + i, view.computed(), row_scores);
      factors[i] = update_max(view.computed(), view.visible[i], row_scores, span.softmax[index + i]);
    }
    for (int64_t i = 0; i < rows; ++i) {
      add_weights<TilePage>(nullptr, view.computed(), scores + i * kUnit, factors[i], weights + i * kUnit,
                            span.softmax[index + i]);
      if (factors[i] != 1.0F) scale(out + i * job.v_dim, job.v_dim, factors[i]);
    }

    const TileRows<const uint16_t> weight_rows{weights, kUnit, tile_rows_ * kUnit};
    const TileRows<float> out_rows{out, job.v_dim, tile_rows_ * job.v_dim};
    const Positions pages{view.first_page, view.last_page};
    constexpr int kColumns = 4 / kTiles;
    int64_t at = 0;
    for (; at + kColumns * kTileColumns <= job.v_dim; at += kColumns * kTileColumns) {
      add_value_tiles<kTiles, kColumns>(span, unit, pages, weight_rows, at, out_rows);
    }
    for (; at < job.v_dim; at += kTileColumns) {
      add_value_tiles<kTiles, 1>(span, unit, pages, weight_rows, at, out_rows);
    }
  }

  LITGPT_INLINE void scale(float* x, int64_t size, float factor) {
    for (int64_t at = 0; at < size; at += kLanes) store(x + at, load(x + at) * broadcast(factor));
  }

  int tile_rows_;
  reg::TileRegisters registers_;
};

}  // namespace litgpt::LITGPT_ISA_NAMESPACE
