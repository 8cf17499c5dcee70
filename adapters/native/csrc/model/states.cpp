#include "model/states.h"

#include "model/page_pool.h"

namespace litgpt {

Status States::reserve() {
  LITGPT_TRY(pages_.resize(count_));
  for (int32_t at = 0; at < count_; ++at) {
    Page* old = pages_[at];
    if (old != nullptr && !is_shared(old)) continue;
    LITGPT_TRY(take_page(shapes_[at].bytes(), &pages_[at]));
    const auto bytes = static_cast<size_t>(shapes_[at].bytes());
    if (old == nullptr) {
      memset(pages_[at]->data(), 0, bytes);
    } else {
      memcpy(pages_[at]->data(), old->data(), bytes);
      drop_page(old);
    }
  }
  return kOk;
}

Status States::truncate(int64_t length, int64_t written) {
  if (count_ == 0 || length == written) return kOk;
  LITGPT_REQUIRE(length == 0,
                 "The sequence cannot be truncated to %lld tokens: its recurrent state is that after %lld tokens.",
                 static_cast<long long>(length), static_cast<long long>(written));
  clear();
  return kOk;
}

Status States::share(const States& other) {
  LITGPT_TRY(pages_.resize(other.pages_.size()));
  for (int64_t at = 0; at < pages_.size(); ++at) {
    if (other.pages_[at] != nullptr) add_reference(other.pages_[at]);
    if (pages_[at] != nullptr) drop_page(pages_[at]);
    pages_[at] = other.pages_[at];
  }
  return kOk;
}

float* States::recurrent(int32_t index) { return reinterpret_cast<float*>(pages_[index]->data()); }

void States::clear() {
  for (int64_t at = 0; at < pages_.size(); ++at) {
    if (pages_[at] != nullptr) drop_page(pages_[at]);
    pages_[at] = nullptr;
  }
}

}  // namespace litgpt
