// The thread pool: one parallel region for a whole step, in which all workers execute the same sequence of loops.
#pragma once

#include <stdint.h>

#include "core/status.h"

namespace litgpt {

struct Region;

// The view that one worker has of the parallel region.
class Worker {
 public:
  Worker(Region& region, int index, int count) : region_(region), index_(index), count_(count) {}

  int index() const { return index_; }
  int count() const { return count_; }

  // Calls `body(first, last)` for disjoint ranges that cover 0 to `items` (less than 2^31), each of at most `grain`
  // items. Each worker takes ranges of its own share, one after another, because processors prefetch what follows in
  // memory; then it helps the others. Returns when all ranges are finished, so that the next loop may read the
  // results. All workers must call it, in the same order and with the same arguments. A worker may be late by several
  // loops, which it then skips: what it executes between loops must neither write shared memory nor depend on
  // what later loops write; only its number of loops matters then, and not their arguments.
  template <class Body>
  void each(int64_t items, int64_t grain, const Body& body) {
    int64_t first = 0;
    int64_t last = 0;
    if (count_ == 1) {
      for (; first < items; first = last) body(first, last = first + grain < items ? first + grain : items);
      return;
    }
    end_single();
    int64_t done = 0;
    while (take(items, grain, &first, &last)) {
      body(first, last);
      done += last - first;
    }
    complete(done, items);
  }

  // Calls `body` on one worker, the same for all calls up to the next loop: together they are a loop of one item.
  template <class Body>
  void single(const Body& body) {
    if (count_ > 1 && !in_single_) {
      int64_t first = 0;
      int64_t last = 0;
      is_chosen_ = take(1, 1, &first, &last);
      in_single_ = true;
    }
    if (count_ == 1 || is_chosen_) body();
  }

  // Waits for the last `single`. The next loop and the end of a region do that, too.
  void end_single() {
    if (!in_single_) return;
    in_single_ = false;
    complete(is_chosen_ ? 1 : 0, 1);
  }

 private:
  bool take(int64_t items, int64_t grain, int64_t* first, int64_t* last);
  bool take_from(int owner, int64_t items, int64_t grain, int64_t* first, int64_t* last);
  void complete(int64_t done, int64_t items);

  Region& region_;
  int index_;
  int count_;
  uint64_t loop_ = 1;  // number of the current loop
  bool in_single_ = false;
  bool is_chosen_ = false;  // for the current `single`
};

using RegionBody = void (*)(void* context, Worker& worker);

// Sets the number of threads that compute, the calling thread included; starts none before they are needed.
Status set_thread_count(int count);
int thread_count();

// Runs `body` on all workers, one region at a time in this process. The threads are started again after a fork.
Status run_region(RegionBody body, void* context);

template <class Body>
Status run_parallel(Body& body) {
  return run_region([](void* context, Worker& worker) { (*static_cast<Body*>(context))(worker); }, &body);
}

}  // namespace litgpt
