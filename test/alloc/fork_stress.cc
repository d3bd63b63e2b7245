// SPDX-License-Identifier: MIT
//
// fork_stress.cc - fork while other threads allocate: the child must be able to allocate, free and exit, every time.
#include <errno.h>
#include <sys/wait.h>

#include <atomic>

#include "test/alloc/stress_util.h"

namespace ashlar_test {
namespace {

constexpr unsigned kChildSeconds = 60;  // a child that is not done by then hangs; it needs a few milliseconds

/// Threads that allocate and free until the object goes away.
class Allocators {
 public:
  Allocators(size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; ++i) {
      threads_.emplace_back([this, seed, i] {
        Rng rng(mix(seed + i));
        std::vector<Stamped> slots(100);
        while (!stop_.load(std::memory_order_relaxed)) {
          Stamped& slot = slots[rng.below(slots.size())];
          free_stamped(slot);
          slot = allocate_stamped(rng, rng.one_in(10) ? 256 * kKiB : 2000);
        }
        for (const Stamped& slot : slots) free_stamped(slot);
      });
    }
  }
  ~Allocators() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Allocators(const Allocators&) = delete;
  Allocators& operator=(const Allocators&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

/// The child's work: checks and frees what it inherited, allocates of all sizes, reads figures, purges.
/// It reports by exit status; the parent's GoogleTest state must not be used here.
[[noreturn]] void be_child(uint64_t seed, std::vector<Stamped>& inherited, bool with_thread) {
  alarm(kChildSeconds);
  Rng rng(mix(seed));
  for (const Stamped& block : inherited) free_stamped(block);
  std::vector<Stamped> own(64);
  for (int i = 0; i < 500; ++i) {
    Stamped& slot = own[rng.below(own.size())];
    free_stamped(slot);
    slot = allocate_stamped(rng, rng.one_in(20) ? 512 * kKiB : 4000);
  }
  if (with_thread) {
    std::thread([&own] {
      Rng other(7);
      for (Stamped& block : own) {
        free_stamped(block);
        block = allocate_stamped(other, 1000);
      }
    }).join();
  }
  for (const Stamped& block : own) free_stamped(block);
  const ashlar_memstats figures = stats();
  if (figures.mallocs - figures.frees != figures.heap_objects) _exit(3);
  if (figures.heap_sys != figures.heap_idle + figures.heap_inuse) _exit(4);
  if (rng.one_in(8)) ashlar_purge(0);
  _exit(0);
}

void expect_clean_exit(pid_t child, size_t number) {
  int status = 0;
  pid_t got = 0;
  while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  ASSERT_EQ(got, child);
  ASSERT_FALSE(WIFSIGNALED(status)) << "child " << number << ": signal " << WTERMSIG(status)
                                    << (WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
  ASSERT_EQ(WEXITSTATUS(status), 0) << "child " << number;
}

void fork_many(size_t allocators, size_t native_forks, bool with_thread) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const size_t forks = rounds(native_forks);
  Rng rng(seed);
  std::vector<Stamped> inherited(200);
  for (Stamped& block : inherited) block = allocate_stamped(rng, 20000);
  {
    const Allocators others(allocators, seed);
    for (size_t i = 0; i < forks; ++i) {
      fflush(stdout);
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) be_child(seed + i, inherited, with_thread);
      // The parent's allocator must be whole too.
      Stamped& block = inherited[rng.below(inherited.size())];
      free_stamped(block);
      block = allocate_stamped(rng, 20000);
      expect_clean_exit(child, i);
      if (::testing::Test::HasFatalFailure()) break;
    }
  }
  for (const Stamped& block : inherited) free_stamped(block);
}

TEST(Fork, alone) {
  fork_many(0, 100, false);
}
TEST(Fork, five_hundred_times_while_three_threads_allocate) {
  fork_many(3, 500, false);
}
TEST(Fork, into_children_that_start_threads) {
  // qemu-user 7.2 aborts (plugins/core.c, qemu_plugin_vcpu_init_hook) when the child of a multi-threaded process starts
  // a thread, with any malloc, and ThreadSanitizer ends it: there, the parent has one thread.
  fork_many(is_emulated() || kUnderTsan ? 0 : 2, 100, true);
}

TEST(Fork, from_a_thread_that_is_not_the_first) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const Allocators others(2, seed);
  const size_t forks = rounds(100);
  std::thread([seed, forks] {
    std::vector<Stamped> none;
    for (size_t i = 0; i < forks; ++i) {
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) be_child(seed + i, none, i % 2 == 0 && !is_emulated() && !kUnderTsan);
      expect_clean_exit(child, i);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }).join();
}

TEST(Fork, of_forks_keeps_the_blocks) {
  const uint64_t seed = announce_seed();
  Rng rng(seed);
  std::vector<Stamped> blocks(500);
  for (Stamped& block : blocks) block = allocate_stamped(rng, 50000);
  // Each generation checks, frees a part, allocates anew, and forks the next; the last one ends the chain.
  const pid_t first = fork();
  ASSERT_GE(first, 0);
  if (first == 0) {
    alarm(kChildSeconds);
    for (int generation = 0; generation < 10; ++generation) {
      for (Stamped& block : blocks) {
        check_stamped(block, "in a later generation");
        if (rng.one_in(3)) {
          free_stamped(block);
          block = allocate_stamped(rng, 50000);
        }
      }
      const pid_t next = fork();
      if (next < 0) _exit(9);
      if (next > 0) {
        int status = 0;
        if (waitpid(next, &status, 0) != next) _exit(10);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
      }
      alarm(kChildSeconds);
    }
    _exit(0);
  }
  expect_clean_exit(first, 0);
  for (const Stamped& block : blocks) free_stamped(block);
}

}  // namespace
}  // namespace ashlar_test
