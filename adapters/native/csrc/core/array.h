// An owning array of trivially copyable elements, aligned to a cache line.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/aligned.h"
#include "core/status.h"

namespace litgpt {

template <class T>
class Array {
 public:
  Array() = default;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { free_aligned(static_cast<void*>(data_)); }

  // Makes room for `count` elements. Contents survive; new elements are zero.
  Status resize(int64_t count) {
    if (count > capacity_) {
      const int64_t grown = count > 2 * capacity_ ? count : 2 * capacity_;
      const size_t bytes = (static_cast<size_t>(grown) * sizeof(T) + kCacheLine - 1) / kCacheLine * kCacheLine;
      void* fresh = allocate_aligned(bytes);
      if (fresh == nullptr) return fail("Out of memory: %zu bytes.", bytes);
      if (size_ > 0) memcpy(fresh, static_cast<const void*>(data_), static_cast<size_t>(size_) * sizeof(T));
      free_aligned(static_cast<void*>(data_));
      data_ = static_cast<T*>(fresh);
      capacity_ = grown;
    }
    if (count > size_) memset(static_cast<void*>(data_ + size_), 0, static_cast<size_t>(count - size_) * sizeof(T));
    size_ = count;
    return kOk;
  }

  // As `resize`, but never shrinks.
  Status at_least(int64_t count) { return count > size_ ? resize(count) : kOk; }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t at) { return data_[at]; }
  const T& operator[](int64_t at) const { return data_[at]; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

}  // namespace litgpt
