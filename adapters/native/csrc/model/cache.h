// The KV cache: pages of positions, taken from a pool as a sequence grows, shared by sequences with a common
// beginning, and copied before they are written to.
#pragma once

#include <stdint.h>

#include "core/array.h"
#include "core/status.h"
#include "kernels/kernels.h"
#include "model/states.h"

namespace litgpt {

struct CacheShape {  // of one layer
  int32_t kv_heads;  // 0: the layer has no cache of its own
  int32_t k_dim;
  int32_t v_dim;
  Format element;  // kF32, kBF16 or kQ8
  int64_t window;  // pages that no later token sees are freed; 0: none
  bool chunked;

  int64_t k_bytes() const { return kv_bytes(element, k_dim); }
  int64_t v_bytes() const { return kv_bytes(element, v_dim); }
  int64_t page_bytes() const { return kv_heads * (k_bytes() + v_bytes()); }
};

struct Page;

struct LayerCache {
  Array<Page*> pages;             // null: freed behind the window
  Array<const uint8_t*> k_pages;  // pointers to the keys of head h in page p, at [h * pages.size() + p]
  Array<const uint8_t*> v_pages;
};

// The cached tokens of one sequence. Not thread-safe; sequences of one model may share pages.
class Sequence {
 public:
  // Borrows the shapes, which must outlive it.
  Sequence(const CacheShape* shapes, int32_t layers, const StateShape* states = nullptr, int32_t num_states = 0);
  ~Sequence();
  Status allocate();  // its tables; call once after construction

  int64_t length() const { return length_; }
  // Makes space for `count` more tokens in pages that only this sequence writes to. If it fails, nothing changes.
  Status reserve(int64_t count);
  // Counts `count` reserved tokens as computed, and frees pages behind the windows.
  void advance(int64_t count);
  // Forgets all tokens from `length` on. Fails if a page behind a window or an earlier state would be needed again.
  Status truncate(int64_t length);
  // Makes this empty sequence share the pages and states of `other`.
  Status share(const Sequence& other);

  // Sets the frequencies of RoPE tables that depend on the length of the sequence: see litgpt_sequence_set_rope.
  Status set_rope(const float* values, int64_t count);
  const float* rope() const { return rope_.size() == 0 ? nullptr : rope_.data(); }  // null: those of the program

  States& states() { return states_; }
  const LayerCache& layer(int32_t index) const;
  // Pointers for writing position `position` (reserved) of head `head`.
  uint8_t* k_page(int32_t layer, int32_t head, int64_t position);
  uint8_t* v_page(int32_t layer, int32_t head, int64_t position);

 private:
  void place_pages(Page* fresh);

  const CacheShape* shapes_;
  int32_t layers_;
  int64_t length_ = 0;
  LayerCache* caches_ = nullptr;
  Array<float> rope_;
  States states_;
};

// Bytes of all pages that are allocated in this process, those in free lists included.
int64_t cache_bytes();

}  // namespace litgpt
