// SPDX-License-Identifier: MIT
//
// pattern_stress.cc - N threads with blocks of their own and blocks handed on, all sizes and routes, contents
// verified, with and without forced preemption; and sizes that drift, with memory held to a bound.
//
// `make soak` runs it for hours: TEST_STRESS_OPS sets the operations of a case, TEST_STRESS_SECONDS their time
// instead. An operation is a malloc, calloc, aligned or padded block, realloc or free, with its check.
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>

#include "test/alloc/stress_util.h"

namespace ashlar_test {
namespace {

using Clock = std::chrono::steady_clock;

size_t from_environment(const char* name, size_t otherwise) {
  const char* text = getenv(name);
  return text != nullptr ? strtoull(text, nullptr, 10) : otherwise;
}

/// Says when a thread has done its share: after so many operations, or at a time.
class Share {
 public:
  Share(size_t threads, size_t native_ops)
      : ops_(from_environment("TEST_STRESS_OPS", rounds(native_ops)) / threads),
        seconds_(from_environment("TEST_STRESS_SECONDS", 0)),
        end_(Clock::now() + std::chrono::seconds(seconds_)) {
    alarm(static_cast<unsigned>(from_environment("TEST_STRESS_OPS", 0) / 20000 + seconds_) + kWatchdogSeconds);
  }
  ~Share() { alarm(0); }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

  bool goes_on(size_t done) const {
    if (seconds_ == 0) return done < ops_;
    return done % 64 != 0 || Clock::now() < end_;
  }

 private:
  size_t ops_, seconds_;
  Clock::time_point end_;
};

/// While it lives, a thread interrupts all registered ones again and again, wherever they are; the handler gives
/// the CPU away, so that others run while one stands in the middle of malloc.
class Preemption {
 public:
  explicit Preemption(bool on) {
    if (!on) return;
    struct sigaction action {};
    action.sa_handler = [](int) {
      const int saved = errno;
      sched_yield();
      errno = saved;
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGURG, &action, nullptr);
    on_ = true;
    interrupter_ = std::thread([this] {
      while (!stop_.load(std::memory_order_relaxed)) {  // relaxed: it orders nothing, the join does
        {
          const std::lock_guard<std::mutex> guard(mutex_);
          for (const pthread_t thread : threads_) pthread_kill(thread, SIGURG);
        }
        usleep(300);  // without the mutex, or threads would wait for it to come and go for minutes
      }
    });
  }

  ~Preemption() {
    stop_.store(true, std::memory_order_relaxed);
    if (on_) interrupter_.join();
  }
  Preemption(const Preemption&) = delete;
  Preemption& operator=(const Preemption&) = delete;

  void enter() {
    const std::lock_guard<std::mutex> guard(mutex_);
    threads_.push_back(pthread_self());
  }
  void leave() {
    const std::lock_guard<std::mutex> guard(mutex_);
    std::erase_if(threads_, [](pthread_t t) { return pthread_equal(t, pthread_self()) != 0; });
  }

 private:
  std::mutex mutex_;
  std::vector<pthread_t> threads_;
  std::atomic<bool> stop_{false};
  bool on_ = false;
  std::thread interrupter_;
};

/// One thread: blocks of its own come and go; some are exchanged with other threads', which check and free them.
size_t work(Ring& ring, const Share& share, uint64_t seed, size_t max_size) {
  Rng rng(seed);
  std::vector<Stamped> own(64);
  size_t ops = 0;
  while (share.goes_on(ops)) {
    Stamped& block = own[rng.below(own.size())];
    switch (rng.below(8)) {
      case 0:
      case 1:
        block = ring.exchange(rng.below(ring.size()), block);
        if (block.at != nullptr) check_stamped(block, "from another thread");
        break;
      case 2:
        if (block.at != nullptr) check_stamped(block, "before realloc");
        reallocate_stamped(rng, block, max_size);
        break;
      case 3:
        free_stamped(block);
        block = {};
        break;
      default:
        free_stamped(block);
        block = allocate_stamped(rng, max_size);
    }
    ++ops;
    if (rng.one_in(1 << 16)) ashlar_purge(rng.skewed_size(kMiB));
  }
  for (const Stamped& block : own) free_stamped(block);
  return ops;
}

void say_operations(size_t ops) {
  printf("operations: %zu\n", ops);
  fflush(stdout);
}

void run(size_t threads, size_t max_size, bool preempt, size_t native_ops) {
  const Share share(threads, native_ops);
  const uint64_t seed = announce_seed();
  const ashlar_memstats before = stats();
  Ring ring(16 * threads);
  std::atomic<size_t> ops{0};
  {
    Preemption preemption(preempt);
    on_threads(threads, [&](size_t self) {
      preemption.enter();
      ops += work(ring, share, mix(seed + self), max_size);
      preemption.leave();
    });
  }
  for (size_t i = 0; i < ring.size(); ++i) free_stamped(ring.exchange(i, {}));
  say_operations(ops);
  EXPECT_GT(ops, 0U);
  expect_nothing_left(before);
}

TEST(Pattern, one_thread) {
  run(1, kMiB, false, 200000);
}
TEST(Pattern, two_threads) {
  run(2, 64 * kKiB, false, 400000);
}
TEST(Pattern, eight_threads) {
  run(8, 256 * kKiB, false, 200000);
}
TEST(Pattern, sixty_four_threads) {
  run(64, 16 * kKiB, false, 400000);
}
TEST(Pattern, two_threads_preempted) {
  run(2, 16 * kKiB, true, 2400000);
}
TEST(Pattern, eight_threads_preempted) {
  run(8, 4 * kKiB, true, 3200000);
}
TEST(Pattern, sixty_four_threads_preempted) {
  run(64, 4 * kKiB, true, 2400000);
}

/// A server over simulated hours: the live bytes stay about the same, the sizes of new blocks drift (128 bytes to 8 KiB
/// and back, an hour's traffic to each step), old blocks linger. What is held must not creep: the bound is twice the
/// most that was live, and 32 MiB.
TEST(Drift, memory_stays_bounded_while_sizes_drift) {
  constexpr size_t kThreads = 2;
  constexpr size_t kLive = 16 * kMiB;
  constexpr size_t kSteps = 24;
  const Share share(1, 600000);
  const uint64_t seed = announce_seed();
  ashlar_purge(0);
  const ashlar_memstats before = stats();
  const size_t held_before = before.heap_sys - before.heap_released;
  const size_t rss_before = rss_bytes();
  const size_t hour = is_emulated() ? 1500 : 25000;
  size_t ops = 0, most_live = 0, most_held = 0, most_rss = 0;
  for (size_t round = 0; share.goes_on(ops) || round == 0; ++round) {
    std::atomic<size_t> done{0};
    on_threads(kThreads, [&](size_t self) {
      Rng rng(mix(seed + round * kThreads + self));
      std::vector<Stamped> blocks;
      size_t live = 0;
      for (size_t step = 0; step < kSteps; ++step) {
        const size_t way = step < kSteps / 2 ? step : kSteps - step;
        const size_t typical = (size_t{128} << way / 2) + (way % 2) * (size_t{64} << way / 2);
        for (size_t i = 0; i < hour / kSteps * 2; ++i) {
          blocks.push_back(allocate_stamped(rng, typical));
          live += blocks.back().size;
          ++done;
          while (live > kLive / kThreads) {
            std::swap(blocks[rng.below(blocks.size())], blocks.back());
            live -= blocks.back().size;
            free_stamped(blocks.back());
            blocks.pop_back();
            ++done;
          }
        }
        const ashlar_memstats now = stats();
        if (self == 0) {
          most_live = std::max<size_t>(most_live, now.heap_alloc - before.heap_alloc);
          most_held = std::max<size_t>(most_held, now.heap_sys - now.heap_released);
          most_rss = std::max(most_rss, rss_bytes());
        }
      }
      for (const Stamped& block : blocks) free_stamped(block);
    });
    ops += done;
  }
  say_operations(ops);
  printf("most live %zu, held %zu, RSS %zu KiB\n", most_live / kKiB, (most_held - held_before) / kKiB,
         (most_rss - rss_before) / kKiB);
  fflush(stdout);
  expect_nothing_left(before);
  EXPECT_LE(most_held - held_before, 2 * most_live + 32 * kMiB);
  EXPECT_GT(most_live, size_t{0});
  // A sanitizer keeps a shadow of what is touched, an emulator its own.
  if (!kUnderTsan && !is_emulated()) {
    EXPECT_LE(most_rss, rss_before + 2 * most_live + 48 * kMiB);
  }
}

}  // namespace
}  // namespace ashlar_test
