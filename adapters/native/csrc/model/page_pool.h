// Reference-counted pages of the KV cache and of recurrent states, and the free pages that are reused before memory is
// asked for.
#pragma once

#include <stdint.h>

#include "core/status.h"

namespace litgpt {

struct Page {
  int32_t references;  // of sequences; atomic
  int32_t layer;       // while it is in a list of new pages: where it will be placed
  int64_t at;
  int64_t bytes;  // of the data
  Page* next;     // in a list of free or new pages

  uint8_t* data() { return reinterpret_cast<uint8_t*>(this) + kHeaderBytes; }

  static constexpr int64_t kHeaderBytes = 64;  // keeps the data aligned to a cache line
};

// Returns a page with one reference and arbitrary contents.
Status take_page(int64_t bytes, Page** page);

inline void add_reference(Page* page) { __atomic_add_fetch(&page->references, 1, __ATOMIC_RELAXED); }

// Whether writing to the page would change the tokens of another sequence.
inline bool is_shared(const Page* page) { return __atomic_load_n(&page->references, __ATOMIC_ACQUIRE) > 1; }

// Drops a reference; the last one frees the page.
void drop_page(Page* page);

}  // namespace litgpt
