#include "model/page_pool.h"

#include <pthread.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "core/aligned.h"
#include "model/cache.h"

namespace litgpt {
namespace {

// Free pages beyond this are returned to the system. A page holds 32 positions of a layer, so this serves several
// sequences that come and go, and is small against a model.
constexpr int64_t kMaxFreeBytes = int64_t{32} << 20;
constexpr int kSizes = 16;  // layers of a model have one or two page sizes

struct FreeList {
  int64_t bytes;  // of a page; 0: the list is not in use
  Page* first;
};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
FreeList free_lists[kSizes];
int64_t free_bytes = 0;
int64_t all_bytes = 0;
int64_t returned_bytes = 0;  // since the memory allocator was asked to return memory to the system

#ifndef _WIN32
void lock() { pthread_mutex_lock(&mutex); }
void unlock() { pthread_mutex_unlock(&mutex); }
// The child of a fork must not inherit lists that another thread was changing.
__attribute__((constructor)) void hold_during_fork() { pthread_atfork(lock, unlock, unlock); }
#endif

// Returns the list of pages of a size, or null if all lists are used for other sizes.
FreeList* list_for(int64_t bytes) {
  for (FreeList& list : free_lists) {
    if (list.bytes == bytes) return &list;
  }
  for (FreeList& list : free_lists) {
    if (list.first != nullptr) continue;
    list.bytes = bytes;
    return &list;
  }
  return nullptr;
}

Page* pop(int64_t bytes) {
  FreeList* list = list_for(bytes);
  if (list == nullptr || list->first == nullptr) return nullptr;
  Page* page = list->first;
  list->first = page->next;
  free_bytes -= bytes;
  return page;
}

void return_to_system(Page* page) {
  all_bytes -= page->bytes;
  returned_bytes += page->bytes;
  free_aligned(page);
#ifdef __GLIBC__
  if (returned_bytes < kMaxFreeBytes) return;
  returned_bytes = 0;
  malloc_trim(0);  // else glibc keeps what is not at the end of its heap
#endif
}

}  // namespace

Status take_page(int64_t bytes, Page** page) {
  pthread_mutex_lock(&mutex);
  Page* taken = pop(bytes);
  pthread_mutex_unlock(&mutex);
  if (taken == nullptr) {
    const size_t size = static_cast<size_t>(Page::kHeaderBytes + bytes);
    void* memory = allocate_aligned(size);
    if (memory == nullptr) return fail("Out of memory for the KV cache or a recurrent state: %zu bytes.", size);
    taken = static_cast<Page*>(memory);
    taken->bytes = bytes;
    pthread_mutex_lock(&mutex);
    all_bytes += bytes;
    pthread_mutex_unlock(&mutex);
  }
  taken->references = 1;
  taken->next = nullptr;
  *page = taken;
  return kOk;
}

void drop_page(Page* page) {
  if (__atomic_sub_fetch(&page->references, 1, __ATOMIC_ACQ_REL) > 0) return;
  pthread_mutex_lock(&mutex);
  FreeList* list = list_for(page->bytes);
  if (list == nullptr || free_bytes + page->bytes > kMaxFreeBytes) {
    return_to_system(page);
  } else {
    page->next = list->first;
    list->first = page;
    free_bytes += page->bytes;
  }
  pthread_mutex_unlock(&mutex);
}

int64_t cache_bytes() {
  pthread_mutex_lock(&mutex);
  const int64_t bytes = all_bytes;
  pthread_mutex_unlock(&mutex);
  return bytes;
}

}  // namespace litgpt
