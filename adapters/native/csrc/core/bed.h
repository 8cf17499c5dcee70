// Waiting for another thread: spins for microseconds, yields a few times, and then sleeps.
#pragma once

#include <pthread.h>
#include <sched.h>

namespace litgpt {

inline void pause_processor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");  // `yield` returns at once on most processors
#endif
}

// Where threads sleep until a condition over atomic variables holds. Whoever makes it hold calls `wake` afterwards,
// and must have written the variables with sequential consistency: then either the writer sees the sleeper or the
// sleeper sees the new value.
class Bed {
 public:
  // Forgets the threads that slept in the parent of a fork.
  void reset() {
    pthread_mutex_init(&mutex_, nullptr);
    pthread_cond_init(&condition_, nullptr);
    sleepers_ = 0;
  }

  template <class Ready>
  void wait(int spins, int yields, const Ready& ready) {
    for (int i = 0; i < spins; ++i) {
      if (ready()) return;
      pause_processor();
    }
    for (int i = 0; i < yields; ++i) {
      if (ready()) return;
      sched_yield();
    }
    pthread_mutex_lock(&mutex_);
    for (;;) {
      __atomic_store_n(&sleepers_, 1, __ATOMIC_SEQ_CST);
      if (ready()) break;
      pthread_cond_wait(&condition_, &mutex_);
    }
    pthread_mutex_unlock(&mutex_);
  }

  void wake() {
    if (__atomic_load_n(&sleepers_, __ATOMIC_SEQ_CST) == 0) return;
    pthread_mutex_lock(&mutex_);
    __atomic_store_n(&sleepers_, 0, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&condition_);
    pthread_mutex_unlock(&mutex_);
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
  int sleepers_ = 0;  // whether a thread may be asleep
};

}  // namespace litgpt
