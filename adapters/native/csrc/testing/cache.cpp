// A sequence whose cache the tests fill and read position by position.
#include "core/placement.h"

#include "api.h"
#include "model/cache.h"

using namespace litgpt;

struct TestSequence {
  TestSequence(const CacheShape* shapes, int32_t layers) : sequence(shapes, layers) {}
  Sequence sequence;
};

extern "C" {

LITGPT_API int64_t test_cache_shape_bytes() { return sizeof(CacheShape); }

LITGPT_API TestSequence* test_sequence_new(const CacheShape* shapes, int32_t layers) {
  void* memory = malloc(sizeof(TestSequence));
  if (memory == nullptr) return nullptr;
  auto* created = new (memory) TestSequence(shapes, layers);
  if (created->sequence.allocate().ok) return created;
  created->~TestSequence();
  free(created);
  return nullptr;
}

LITGPT_API void test_sequence_free(TestSequence* sequence) {
  sequence->~TestSequence();
  free(sequence);
}

LITGPT_API int32_t test_sequence_reserve(TestSequence* sequence, int64_t count) {
  return sequence->sequence.reserve(count).ok ? 0 : -1;
}

LITGPT_API void test_sequence_advance(TestSequence* sequence, int64_t count) { sequence->sequence.advance(count); }

LITGPT_API int32_t test_sequence_truncate(TestSequence* sequence, int64_t length) {
  return sequence->sequence.truncate(length).ok ? 0 : -1;
}

LITGPT_API int32_t test_sequence_share(TestSequence* sequence, const TestSequence* other) {
  return sequence->sequence.share(other->sequence).ok ? 0 : -1;
}

LITGPT_API int64_t test_sequence_length(const TestSequence* sequence) { return sequence->sequence.length(); }

LITGPT_API int64_t test_sequence_pages(const TestSequence* sequence, int32_t layer) {
  return sequence->sequence.layer(layer).pages.size();
}

// Pages for reading, as attention gets them; null if the page was freed.
LITGPT_API const uint8_t* test_sequence_read(const TestSequence* sequence, int32_t layer, int32_t head, int64_t page,
                                             int32_t values) {
  const LayerCache& cache = sequence->sequence.layer(layer);
  const int64_t at = head * cache.pages.size() + page;
  return values != 0 ? cache.v_pages[at] : cache.k_pages[at];
}

LITGPT_API uint8_t* test_sequence_write(TestSequence* sequence, int32_t layer, int32_t head, int64_t position,
                                        int32_t values) {
  return values != 0 ? sequence->sequence.v_page(layer, head, position)
                     : sequence->sequence.k_page(layer, head, position);
}

LITGPT_API int64_t test_cache_bytes() { return cache_bytes(); }

LITGPT_API const char* test_last_error() { return last_error(); }

}  // extern "C"
