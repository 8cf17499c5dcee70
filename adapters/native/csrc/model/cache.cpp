#include "model/cache.h"

#include "core/placement.h"

#include "kernels/visible.h"
#include "model/page_pool.h"

namespace litgpt {
namespace {

// Keeps byte counts and table sizes far from overflow.
constexpr int64_t kMaxLength = int64_t{1} << 40;

int64_t pages_for(int64_t length) { return (length + kPagePositions - 1) / kPagePositions; }

// Sets the size of a layer's tables, and the pointers to its pages.
Status resize_tables(const CacheShape& shape, LayerCache& cache, int64_t pages) {
  LITGPT_TRY(cache.pages.resize(pages));
  LITGPT_TRY(cache.k_pages.resize(pages * shape.kv_heads));
  LITGPT_TRY(cache.v_pages.resize(pages * shape.kv_heads));
  for (int64_t at = 0; at < pages; ++at) {
    Page* page = cache.pages[at];
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      const uint8_t* keys = page == nullptr ? nullptr : page->data() + head * (shape.k_bytes() + shape.v_bytes());
      cache.k_pages[head * pages + at] = keys;
      cache.v_pages[head * pages + at] = page == nullptr ? nullptr : keys + shape.k_bytes();
    }
  }
  return kOk;
}

// Makes room for tables of `pages` pages, so that resizing them to as many cannot fail.
Status reserve_tables(const CacheShape& shape, LayerCache& cache, int64_t pages) {
  const int64_t before = cache.pages.size();
  const bool ok = cache.pages.resize(pages).ok && cache.k_pages.resize(pages * shape.kv_heads).ok &&
                  cache.v_pages.resize(pages * shape.kv_heads).ok;
  (void)resize_tables(shape, cache, before);
  return Status{ok};
}

void drop_pages(LayerCache& cache, int64_t first, int64_t last) {
  for (int64_t at = first; at < last; ++at) {
    if (cache.pages[at] != nullptr) drop_page(cache.pages[at]);
    cache.pages[at] = nullptr;
  }
}

void drop_list(Page* page) {
  while (page != nullptr) {
    Page* next = page->next;
    drop_page(page);
    page = next;
  }
}

bool must_be_new(const LayerCache& cache, int64_t at) {
  return at >= cache.pages.size() || cache.pages[at] == nullptr || is_shared(cache.pages[at]);
}

}  // namespace

Sequence::Sequence(const CacheShape* shapes, int32_t layers, const StateShape* states, int32_t num_states)
    : shapes_(shapes), layers_(layers), states_(states, num_states) {}

Sequence::~Sequence() {
  if (caches_ == nullptr) return;
  for (int32_t i = 0; i < layers_; ++i) {
    drop_pages(caches_[i], 0, caches_[i].pages.size());
    caches_[i].~LayerCache();
  }
  free(caches_);
}

Status Sequence::allocate() {
  const size_t bytes = static_cast<size_t>(layers_ > 0 ? layers_ : 1) * sizeof(LayerCache);
  caches_ = static_cast<LayerCache*>(malloc(bytes));
  LITGPT_REQUIRE(caches_ != nullptr, "Out of memory: %zu bytes.", bytes);
  for (int32_t i = 0; i < layers_; ++i) new (&caches_[i]) LayerCache();
  return kOk;
}

Status Sequence::reserve(int64_t count) {
  LITGPT_REQUIRE(count >= 0 && count <= kMaxLength - length_, "The number of tokens is invalid: %lld.",
                 static_cast<long long>(count));
  if (count == 0) return kOk;
  const int64_t first = length_ / kPagePositions;  // the first page that is written to
  const int64_t last = pages_for(length_ + count);
  Page* fresh = nullptr;
  Status status = kOk;
  for (int32_t i = 0; status.ok && i < layers_; ++i) {
    if (shapes_[i].kv_heads == 0) continue;
    if (last > caches_[i].pages.size()) status = reserve_tables(shapes_[i], caches_[i], last);
    for (int64_t at = first; status.ok && at < last; ++at) {
      if (!must_be_new(caches_[i], at)) continue;
      Page* page = nullptr;
      status = take_page(shapes_[i].page_bytes(), &page);
      if (!status.ok) break;
      page->layer = i;
      page->at = at;
      page->next = fresh;
      fresh = page;
    }
  }
  if (status.ok) status = states_.reserve();
  if (!status.ok) {
    drop_list(fresh);
    return status;
  }
  place_pages(fresh);  // nothing fails from here on
  return kOk;
}

void Sequence::place_pages(Page* fresh) {
  while (fresh != nullptr) {
    Page* page = fresh;
    fresh = page->next;
    LayerCache& cache = caches_[page->layer];
    if (page->at >= cache.pages.size()) (void)cache.pages.resize(page->at + 1);
    if (Page* shared = cache.pages[page->at]; shared != nullptr) {
      memcpy(page->data(), shared->data(), static_cast<size_t>(page->bytes));
      drop_page(shared);
    }
    cache.pages[page->at] = page;
    // The tables of a layer are completed with its last page.
    const bool is_last = fresh == nullptr || fresh->layer != page->layer;
    if (is_last) (void)resize_tables(shapes_[page->layer], cache, cache.pages.size());
  }
}

void Sequence::advance(int64_t count) {
  length_ += count;
  for (int32_t i = 0; i < layers_; ++i) {
    LayerCache& cache = caches_[i];
    const int64_t pages = cache.pages.size();
    // Pages before the first that is not freed yet are all freed.
    int64_t at = first_visible(length_, shapes_[i].window, shapes_[i].chunked) / kPagePositions - 1;
    if (at >= pages) at = pages - 1;
    for (; at >= 0 && cache.pages[at] != nullptr; --at) {
      drop_pages(cache, at, at + 1);
      for (int64_t head = 0; head < shapes_[i].kv_heads; ++head) {
        cache.k_pages[head * pages + at] = nullptr;
        cache.v_pages[head * pages + at] = nullptr;
      }
    }
  }
}

Status Sequence::truncate(int64_t length) {
  LITGPT_REQUIRE(length >= 0 && length <= length_, "The sequence has %lld tokens, and cannot be truncated to %lld.",
                 static_cast<long long>(length_), static_cast<long long>(length));
  for (int32_t i = 0; i < layers_; ++i) {
    const int64_t first = first_visible(length, shapes_[i].window, shapes_[i].chunked);
    if (shapes_[i].kv_heads == 0 || first >= length) continue;
    LITGPT_REQUIRE(caches_[i].pages[first / kPagePositions] != nullptr,
                   "The sequence cannot be truncated to %lld tokens: the KV cache of layer %d no longer has the %lld "
                   "tokens before that.",
                   static_cast<long long>(length), i, static_cast<long long>(length - first));
  }
  LITGPT_TRY(states_.truncate(length, length_));
  const int64_t pages = pages_for(length);
  for (int32_t i = 0; i < layers_; ++i) {
    if (caches_[i].pages.size() <= pages) continue;
    drop_pages(caches_[i], pages, caches_[i].pages.size());
    (void)resize_tables(shapes_[i], caches_[i], pages);  // to a smaller size: does not allocate
  }
  length_ = length;
  return kOk;
}

Status Sequence::set_rope(const float* values, int64_t count) {
  LITGPT_REQUIRE(length_ == 0, "The RoPE of a sequence with tokens cannot change.");
  LITGPT_TRY(rope_.resize(count));
  if (count > 0) memcpy(rope_.data(), values, static_cast<size_t>(count) * sizeof(float));
  return kOk;
}

Status Sequence::share(const Sequence& other) {
  LITGPT_REQUIRE(length_ == 0 && layers_ == other.layers_, "Only an empty sequence of the same model can share pages.");
  LITGPT_TRY(set_rope(other.rope_.data(), other.rope_.size()));
  const int64_t pages = pages_for(other.length_);
  for (int32_t i = 0; i < layers_; ++i) {
    drop_pages(caches_[i], 0, caches_[i].pages.size());
    if (shapes_[i].kv_heads > 0) LITGPT_TRY(resize_tables(shapes_[i], caches_[i], pages));
  }
  LITGPT_TRY(states_.share(other.states_));
  for (int32_t i = 0; i < layers_; ++i) {
    if (shapes_[i].kv_heads == 0) continue;
    for (int64_t at = 0; at < pages; ++at) {
      caches_[i].pages[at] = other.caches_[i].pages[at];
      if (caches_[i].pages[at] != nullptr) add_reference(caches_[i].pages[at]);
    }
    (void)resize_tables(shapes_[i], caches_[i], pages);
  }
  length_ = other.length_;
  return kOk;
}

const LayerCache& Sequence::layer(int32_t index) const { return caches_[index]; }

uint8_t* Sequence::k_page(int32_t layer, int32_t head, int64_t position) {
  const CacheShape& shape = shapes_[layer];
  return caches_[layer].pages[position / kPagePositions]->data() + head * (shape.k_bytes() + shape.v_bytes());
}

uint8_t* Sequence::v_page(int32_t layer, int32_t head, int64_t position) {
  return k_page(layer, head, position) + shapes_[layer].k_bytes();
}

}  // namespace litgpt
