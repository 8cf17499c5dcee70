#include "core/threads.h"

#include <pthread.h>
#include <signal.h>

#include "core/array.h"
#include "core/bed.h"

namespace litgpt {

constexpr int kMaxThreads = 256;

// The items of a loop are divided into a share for each worker. `position` has two halves of 32 bits: the last loop in
// which somebody took items of the share, and the next item.
struct Share {
  alignas(kCacheLine) uint64_t position;
};

// `gate` has two halves: the number of the region, odd while it is open, and the workers inside. A loop ends when its
// items are done, and not when all workers have arrived: a worker that the operating system does not run, or that is
// still waking up, delays nobody; it skips the loops that it missed.
struct Region {
  Share shares[kMaxThreads];
  alignas(kCacheLine) uint64_t loop;  // the current one; the first is 1
  alignas(kCacheLine) uint64_t done;  // items of the current loop
  alignas(kCacheLine) uint64_t gate;
  alignas(kCacheLine) RegionBody body;
  void* context;
  int count;
};

namespace {

constexpr size_t kStackBytes = 2 << 20;
constexpr uint64_t kHigh = uint64_t{1} << 32;
// About 10 microseconds: most loops end within that, and waking a sleeping thread takes longer.
constexpr int kSpins = 400;
constexpr int kYields = 2;

pthread_mutex_t region_mutex = PTHREAD_MUTEX_INITIALIZER;  // held during a region
Region region;
Bed loop_bed;  // of workers inside a region
Bed idle_bed;  // of workers between regions
pthread_t threads[kMaxThreads];
int indices[kMaxThreads];  // of their workers; that of the calling thread is 0
int wanted = 1;            // threads that compute, the calling thread included
int started = 0;           // threads of the pool
bool stopping = false;
[[maybe_unused]] bool fork_handled = false;  // Windows has no fork

uint64_t load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
bool exchange(uint64_t* word, uint64_t* expected, uint64_t desired) {
  return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
bool is_open(uint64_t gate) { return (gate / kHigh) % 2 == 1; }

void leave() {
  __atomic_sub_fetch(&region.gate, 1, __ATOMIC_SEQ_CST);
  loop_bed.wake();
}

void* worker_main(void* argument) {
  const int index = *static_cast<const int*>(argument);
  uint64_t last = 0;  // the region that this worker was in
  for (;;) {
    const auto is_stopping = [] { return __atomic_load_n(&stopping, __ATOMIC_SEQ_CST); };
    uint64_t gate = 0;
    idle_bed.wait(kSpins, kYields, [&] {
      gate = load(&region.gate);
      return (is_open(gate) && gate / kHigh != last) || is_stopping();
    });
    if (is_stopping()) return nullptr;
    if (!exchange(&region.gate, &gate, gate + 1)) continue;
    last = gate / kHigh;
    Worker worker(region, index, region.count);
    region.body(region.context, worker);
    worker.end_single();
    leave();
  }
}

#ifndef _WIN32
// In the child of a fork there is only the thread that forked; a region of another thread is not there any more.
void forget_threads() {
  pthread_mutex_init(&region_mutex, nullptr);
  loop_bed.reset();
  idle_bed.reset();
  region.gate = 0;
  started = 0;
  stopping = false;
}
#endif

// Starts missing threads. If the system refuses, the region runs on fewer.
void start_threads() {
  if (started >= wanted - 1) return;
#ifndef _WIN32
  if (!fork_handled) pthread_atfork(nullptr, nullptr, forget_threads);
  fork_handled = true;
  sigset_t all, before;  // signals are handled by the threads of the program
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  while (started < wanted - 1) {
    indices[started] = started + 1;
    if (pthread_create(&threads[started], &attributes, worker_main, &indices[started]) != 0) break;
    ++started;
  }
  pthread_attr_destroy(&attributes);
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
}

void stop_threads() {
  __atomic_store_n(&stopping, true, __ATOMIC_SEQ_CST);
  idle_bed.wake();
  for (int i = 0; i < started; ++i) pthread_join(threads[i], nullptr);
  started = 0;
  __atomic_store_n(&stopping, false, __ATOMIC_SEQ_CST);
}

}  // namespace

bool Worker::take(int64_t items, int64_t grain, int64_t* first, int64_t* last) {
  if (load(&region_.loop) != loop_) return false;  // late: its arguments may be wrong
  for (int i = 0; i < count_; ++i) {
    const int owner = index_ + i < count_ ? index_ + i : index_ + i - count_;
    if (take_from(owner, items, grain, first, last)) return true;
  }
  return false;
}

// If nobody has taken items of a share yet, its last loop is an earlier one. If the loop has ended since `take` looked,
// that is so of empty shares only.
bool Worker::take_from(int owner, int64_t items, int64_t grain, int64_t* first, int64_t* last) {
  const int64_t begin = items * owner / count_;
  const int64_t end = items * (owner + 1) / count_;
  uint64_t* word = &region_.shares[owner].position;
  uint64_t position = load(word);
  for (;;) {
    const uint64_t loop = position / kHigh;
    const int64_t next = loop == loop_ ? static_cast<int64_t>(position % kHigh) : begin;
    if (loop > loop_ || next >= end) return false;
    const int64_t stop = next + grain < end ? next + grain : end;
    if (!exchange(word, &position, loop_ * kHigh + static_cast<uint64_t>(stop))) continue;
    *first = next;
    *last = stop;
    return true;
  }
}

void Worker::complete(int64_t done, int64_t items) {
  const uint64_t mine = static_cast<uint64_t>(done);
  const uint64_t all = static_cast<uint64_t>(items);
  const uint64_t loop = loop_++;
  if (items <= 0) {
    uint64_t current = loop;
    exchange(&region_.loop, &current, loop_);  // fails if another worker was first
    loop_bed.wake();
    return;
  }
  if (mine > 0 && __atomic_add_fetch(&region_.done, mine, __ATOMIC_SEQ_CST) == all) {
    __atomic_store_n(&region_.done, uint64_t{0}, __ATOMIC_SEQ_CST);
    __atomic_store_n(&region_.loop, loop_, __ATOMIC_SEQ_CST);
    loop_bed.wake();
    return;
  }
  loop_bed.wait(kSpins, kYields, [&] { return load(&region_.loop) > loop; });
}

Status set_thread_count(int count) {
  LITGPT_REQUIRE(count >= 1 && count <= kMaxThreads, "The number of threads must be from 1 to %d, not %d.", kMaxThreads,
                 count);
  pthread_mutex_lock(&region_mutex);
  if (count != wanted) stop_threads();
  __atomic_store_n(&wanted, count, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&region_mutex);
  return kOk;
}

int thread_count() { return __atomic_load_n(&wanted, __ATOMIC_SEQ_CST); }

Status run_region(RegionBody body, void* context) {
  pthread_mutex_lock(&region_mutex);
  start_threads();
  region.body = body;
  region.context = context;
  region.count = 1 + started;
  for (int i = 0; i < region.count; ++i) region.shares[i].position = 0;
  region.loop = 1;
  region.done = 0;
  __atomic_add_fetch(&region.gate, kHigh, __ATOMIC_SEQ_CST);
  idle_bed.wake();
  Worker worker(region, 0, region.count);
  body(context, worker);
  worker.end_single();
  // Closed: a worker that has not come by now stays out.
  __atomic_add_fetch(&region.gate, kHigh, __ATOMIC_SEQ_CST);
  loop_bed.wait(kSpins, kYields, [] { return load(&region.gate) % kHigh == 0; });
  pthread_mutex_unlock(&region_mutex);
  return kOk;
}

}  // namespace litgpt
