// A computation of many dependent loops, whose result shows any lost, repeated or early piece.
#include "api.h"
#include "core/threads.h"

using namespace litgpt;

extern "C" {

LITGPT_API int32_t test_set_threads(int32_t count) { return set_thread_count(count).ok ? 0 : -1; }

// In each loop, value i becomes a sum of value i and another one of the previous loop. Returns a hash of the values.
LITGPT_API int64_t test_dependent_loops(int64_t loops, int64_t items, int64_t grain) {
  constexpr int64_t kItems = 1024;
  uint64_t values[2][kItems];  // of this call: threads of Python may be here at the same time
  for (int64_t i = 0; i < items; ++i) values[0][i] = static_cast<uint64_t>(i);
  auto body = [&](Worker& worker) {
    for (int64_t loop = 0; loop < loops; ++loop) {
      const uint64_t* from = values[loop % 2];
      uint64_t* to = values[1 - loop % 2];
      worker.each(0, 1, [](int64_t, int64_t) {});
      worker.each(items, grain, [&](int64_t first, int64_t last) {
        for (; first < last; ++first) {
          to[first] = 3 * from[first] + from[(first * 7 + loop) % items] + static_cast<uint64_t>(loop);
        }
      });
    }
  };
  if (!run_parallel(body).ok) return -1;
  uint64_t hash = 0;
  for (int64_t i = 0; i < items; ++i) hash = hash * 31 + values[loops % 2][i];
  return static_cast<int64_t>(hash >> 1);
}

}  // extern "C"
