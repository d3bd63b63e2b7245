// SPDX-License-Identifier: MIT
//
// fork_locks_test.cc - fork while the calling thread holds locks of ours, as a signal handler does that interrupted
// malloc: each lock alone, in parent and child; forks within forks; and what must end with a line instead of a hang.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "alloc/ashlar.h"
#include "alloc/central.h"
#include "alloc/page_heap.h"
#include "alloc/percpu.h"
#include "test/alloc/test_util.h"

namespace ashlar {
namespace {

constexpr unsigned kSeconds = 60;  // a child needs milliseconds

void work() {
  void* blocks[200];
  size_t size = 1;
  for (void*& p : blocks) {
    p = ashlar_malloc(size);
    if (p == nullptr) abort();
    *static_cast<char*>(p) = 1;
    size = size * 5 / 4 + 1;
    if (size > (size_t{2} << 20)) size = 1;
  }
  for (void* p : blocks) ashlar_free(p);
  ashlar_purge(0);
}

void work_with_threads() {
  work();
  std::thread threads[8];
  for (std::thread& t : threads) t = std::thread(work);
  for (std::thread& t : threads) t.join();
}

/// Forks; the child runs `rest` and must end well.
void expect_good_child(const std::function<void()>& rest) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(kSeconds);
    rest();
    // qemu-user 7.2 aborts where the child of a process with threads starts one, with any malloc; so does
    // ThreadSanitizer.
    if (ashlar_test::is_emulated() || ashlar_test::kUnderTsan) {
      work();
    } else {
      work_with_threads();
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "the child hung" : "");
}

class ForkLocks : public testing::Test {
 protected:
  void SetUp() override {
    alarm(4 * kSeconds);
    work_with_threads();
  }
  void TearDown() override {
    work_with_threads();
    alarm(0);
  }
};

TEST_F(ForkLocks, page_heap_held) {
  ASSERT_TRUE(page_heap.lock_for_fork(false));
  const auto rest = [] { page_heap.unlock(); };
  expect_good_child(rest);
  EXPECT_TRUE(page_heap.is_mine()) << "the parent's interrupted code still holds it";
  rest();
  EXPECT_FALSE(page_heap.is_mine());
}

TEST_F(ForkLocks, central_lists_held) {
  CentralSet held;
  central_lock_for_fork(&held, false);
  const auto rest = [&held] { central_unlock(held); };
  expect_good_child(rest);
  EXPECT_TRUE(central_is_mine());
  rest();
  EXPECT_FALSE(central_is_mine());
}

TEST_F(ForkLocks, percpu_held) {
  ASSERT_TRUE(percpu_lock_for_fork(false));
  const auto rest = [] { percpu_after_fork(false, true); };
  expect_good_child(rest);
  EXPECT_TRUE(percpu_is_mine());
  rest();
  EXPECT_FALSE(percpu_is_mine());
}

TEST_F(ForkLocks, several_held) {
  ASSERT_TRUE(percpu_lock_for_fork(false));
  ASSERT_TRUE(page_heap.lock_for_fork(false));
  const auto rest = [] {
    page_heap.unlock();
    percpu_after_fork(false, true);
  };
  expect_good_child(rest);
  rest();
}

TEST_F(ForkLocks, fork_in_the_middle_of_a_fork) {
  // As if a signal had hit the prepare handler when it held everything. And the child forks before it lets go.
  ASSERT_TRUE(percpu_lock_for_fork(false));
  CentralSet held;
  central_lock_for_fork(&held, false);
  ASSERT_TRUE(page_heap.lock_for_fork(false));
  const auto rest = [&held] {
    page_heap.unlock();
    central_unlock(held);
    percpu_after_fork(false, true);
  };
  expect_good_child([&rest] {
    const pid_t grandchild = fork();
    if (grandchild < 0) _exit(2);
    int status = 0;
    if (grandchild != 0 && (waitpid(grandchild, &status, 0) != grandchild || status != 0)) _exit(3);
    rest();
  });
  rest();
}

TEST_F(ForkLocks, while_other_threads_allocate) {
  // Others come and go with their locks; they wait for ours no longer than the fork takes.
  std::atomic<bool> stop{false};
  std::thread others[3];
  for (std::thread& t : others) {
    t = std::thread([&stop] {
      while (!stop.load(std::memory_order_relaxed)) ashlar_free(ashlar_malloc(3000));
    });
  }
  for (int i = 0; i < 50; ++i) {
    CentralSet held;
    central_lock_for_fork(&held, false);
    const auto rest = [&held] { central_unlock(held); };
    expect_good_child(rest);
    rest();
  }
  stop = true;
  for (std::thread& t : others) t.join();
}

using ForkLocksDeathTest = ForkLocks;

TEST_F(ForkLocksDeathTest, malloc_with_the_page_heap_held_says_so) {
  EXPECT_EXIT(
      {
        alarm(kSeconds);
        if (page_heap.lock_for_fork(false)) ashlar_malloc(size_t{1} << 20);
      },
      testing::KilledBySignal(SIGABRT), "^ashlar: malloc called from a signal handler that interrupted malloc\n");
}

TEST_F(ForkLocksDeathTest, fork_that_cannot_go_on_says_so) {
  // ThreadSanitizer lets no forked process start threads; qemu-user cannot start itself anew without binfmt_misc.
  if (ashlar_test::kUnderTsan) GTEST_FLAG_SET(death_test_style, "threadsafe");
  // The other thread holds central locks and waits for the page heap, which the forking thread holds: nobody can move.
  EXPECT_EXIT(
      {
        alarm(kSeconds);
        if (!page_heap.lock_for_fork(false)) _exit(1);
        std::thread other([] {
          for (;;) (void)ashlar_malloc(30000);
        });
        usleep(200000);
        fork();
      },
      testing::KilledBySignal(SIGABRT), "^ashlar: fork from a signal handler that interrupted malloc, while other");
}

}  // namespace
}  // namespace ashlar
