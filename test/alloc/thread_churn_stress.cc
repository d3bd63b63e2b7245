// SPDX-License-Identifier: MIT
//
// thread_churn_stress.cc - threads that come and go: they inherit blocks, leave some behind, and are pinned about.
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <mutex>

#include "test/alloc/stress_util.h"

namespace ashlar_test {
namespace {

/// A bag of blocks that dead threads left and live ones take.
class Estate {
 public:
  explicit Estate(size_t capacity) : blocks_(capacity) {}

  Stamped exchange(size_t at, const Stamped& block) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const Stamped old = blocks_[at];
    blocks_[at] = block;
    return old;
  }

  size_t size() const { return blocks_.size(); }

  void free_all() {
    for (Stamped& block : blocks_) free_stamped(block);
  }

 private:
  std::mutex mutex_;
  std::vector<Stamped> blocks_;
};

TEST(ThreadChurn, twenty_thousand_short_threads_free_each_others_blocks) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const ashlar_memstats before = stats();
  Estate estate(200);
  const size_t generations = rounds(2500);
  constexpr size_t kAtOnce = 8;
  for (size_t generation = 0; generation < generations; ++generation) {
    on_threads(kAtOnce, [&](size_t self) {
      Rng rng(mix(seed ^ (generation * kAtOnce + self)));
      for (int i = 0; i < 10; ++i) {
        free_stamped(estate.exchange(rng.below(estate.size()), allocate_stamped(rng, 10000)));
      }
    });
  }
  estate.free_all();
  expect_nothing_left(before);
  // Caches belong to Ps, not to threads: 20,000 threads must not have left 20,000 caches.
  EXPECT_LE(stats().num_ps, static_cast<uint64_t>(sysconf(_SC_NPROCESSORS_CONF)) + 2 * kAtOnce);
}

TEST(ThreadChurn, memory_stays_bounded_when_each_thread_frees_its_parents_blocks) {
  const Watchdog watchdog(kWatchdogSeconds);
  ashlar_purge(0);
  std::vector<void*> inherited;
  const auto generation = [&inherited] {
    for (void* block : inherited) ashlar_free(block);
    inherited.clear();
    for (int i = 0; i < 2000; ++i) {
      inherited.push_back(ashlar_malloc(500));
      memset(inherited.back(), 1, 500);
    }
  };
  size_t early = 0;
  const size_t generations = rounds(1000);
  for (size_t i = 0; i < generations; ++i) {
    std::thread(generation).join();
    if (i == 20) early = rss_bytes();
  }
  EXPECT_LT(rss_bytes(), early + 16 * kMiB);
  for (void* block : inherited) ashlar_free(block);
}

pthread_key_t late_key;
std::atomic<size_t> late_runs{0};

/// Runs among the last of a thread: frees, allocates, and asks to be called again, so that it also runs after others.
void late_destructor(void* value) {
  auto* block = static_cast<uint64_t*>(value);
  const uint64_t rounds_left = *block;
  ashlar_free(block);
  late_runs.fetch_add(1, std::memory_order_relaxed);
  if (rounds_left == 0) return;
  auto* next = static_cast<uint64_t*>(ashlar_malloc(300));
  if (next == nullptr) abort();
  *next = rounds_left - 1;
  pthread_setspecific(late_key, next);
}

TEST(ThreadChurn, malloc_works_in_the_last_destructors_of_a_thread) {
  const ashlar_memstats before = stats();
  ASSERT_EQ(pthread_key_create(&late_key, late_destructor), 0);
  const size_t threads = rounds(500);
  constexpr size_t kRounds = PTHREAD_DESTRUCTOR_ITERATIONS - 1;
  for (size_t i = 0; i < threads; ++i) {
    std::thread([] {
      auto* block = static_cast<uint64_t*>(ashlar_malloc(100));
      if (block == nullptr) abort();
      *block = kRounds;
      pthread_setspecific(late_key, block);
    }).join();
  }
  EXPECT_EQ(late_runs.load(), threads * (kRounds + 1));
  expect_nothing_left(before);
  pthread_key_delete(late_key);
}

/// The CPUs that this process may run on.
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) abort();
}

TEST(ThreadChurn, sixteen_threads_pinned_to_one_cpu) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const ashlar_memstats before = stats();
  const std::vector<int> cpus = allowed_cpus();
  ASSERT_FALSE(cpus.empty());
  Estate estate(100);
  const size_t ops = rounds(8000);
  on_threads(16, [&](size_t self) {
    pin_to(cpus.back());
    Rng rng(mix(seed + self));
    for (size_t i = 0; i < ops; ++i) {
      free_stamped(estate.exchange(rng.below(estate.size()), allocate_stamped(rng, 3000)));
    }
  });
  estate.free_all();
  expect_nothing_left(before);
}

TEST(ThreadChurn, threads_that_move_between_cpus_all_the_time) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const ashlar_memstats before = stats();
  const std::vector<int> cpus = allowed_cpus();
  ASSERT_FALSE(cpus.empty());
  Estate estate(100);
  const size_t ops = rounds(20000);
  on_threads(4, [&](size_t self) {
    Rng rng(mix(seed + self));
    for (size_t i = 0; i < ops; ++i) {
      if (i % 20 == 0) pin_to(cpus[(i / 20 + self) % cpus.size()]);
      free_stamped(estate.exchange(rng.below(estate.size()), allocate_stamped(rng, 3000)));
    }
  });
  estate.free_all();
  expect_nothing_left(before);
}

std::atomic<size_t> signals_seen{0};

void count_signal(int) {
  signals_seen.fetch_add(1, std::memory_order_relaxed);
}

TEST(ThreadChurn, signals_restart_a_sequence_without_losing_a_block) {
  // Signals abort a restartable sequence. The handler allocates nothing; the interrupted call must notice nothing.
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const ashlar_memstats before = stats();
  struct sigaction action = {};
  action.sa_handler = count_signal;
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  std::atomic<bool> stop{false};
  const pthread_t worker = pthread_self();
  std::thread bomber([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      pthread_kill(worker, SIGUSR1);
      std::this_thread::yield();
    }
  });
  Rng rng(seed);
  std::vector<Stamped> slots(200);
  // Until enough signals hit, with a floor of work in case they come fast.
  const size_t ops = rounds(200000);
  const size_t signals = rounds(2000);
  for (size_t i = 0; i < ops || signals_seen.load(std::memory_order_relaxed) < signals; ++i) {
    Stamped& slot = slots[rng.below(slots.size())];
    free_stamped(slot);
    slot = allocate_stamped(rng, 512);
  }
  stop = true;
  bomber.join();
  for (const Stamped& slot : slots) free_stamped(slot);
  expect_nothing_left(before);
}

}  // namespace
}  // namespace ashlar_test
