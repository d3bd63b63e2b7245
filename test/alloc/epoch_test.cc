// SPDX-License-Identifier: MIT
//
// epoch_test.cc - pins and retired blocks as a program uses them: nothing is freed under a pin, all is freed after it,
// threads end, processes fork, a reader sleeps.
#include "alloc/epoch.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "alloc/ashlar.h"

namespace {

std::atomic<uint64_t> freed{0};

void count_and_free(void* p) {
  freed.fetch_add(1);
  ashlar_free(p);
}

void retire_some(int n, size_t bytes = 32) {
  for (int i = 0; i < n; ++i) ashlar_epoch_retire_with(ashlar_malloc(32), bytes, count_and_free);
}

ashlar_epoch_statistics stats() {
  ashlar_epoch_statistics s;
  ashlar_epoch_stats(&s);
  return s;
}

/// A thread that sleeps with a pin.
struct Sleeper {
  std::atomic<int> state{0};
  std::thread thread{[this] {
    const ashlar::EpochPin pin;
    state = 1;
    while (state != 2) usleep(100);
  }};
  Sleeper() {
    while (state != 1) usleep(100);
  }
  void wake() {
    state = 2;
    thread.join();
  }
};

/// Frees what all earlier tests left.
void settle() {
  ASSERT_EQ(0, ashlar_epoch_synchronize());
  ASSERT_EQ(0, ashlar_epoch_synchronize());
  freed = 0;
}

TEST(Epoch, synchronize_frees_what_this_thread_retired) {
  settle();
  retire_some(1000);
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(1000u, freed.load());
  EXPECT_EQ(0u, stats().retired_blocks);
  EXPECT_EQ(0u, stats().retired_bytes);
  EXPECT_EQ(0u, stats().leaked_blocks);
}

TEST(Epoch, retired_blocks_are_bounded_while_nobody_stays_pinned) {
  settle();
  for (int i = 0; i < 100'000; ++i) {
    ashlar_epoch_pin();
    retire_some(1);
    ashlar_epoch_unpin();
    ASSERT_LE(stats().retired_blocks, 4u * 254);
  }
  for (int i = 0; i < 1000; ++i) {
    retire_some(1, 100'000);
    ASSERT_LE(stats().retired_bytes, 5u * 100'000 + 4 * 254 * 32);
  }
}

TEST(Epoch, nothing_is_freed_under_a_pin_and_everything_after_a_sleeper_woke) {
  settle();
  Sleeper sleeper;
  // A stalled reader: the others go on, what they retire stays.
  retire_some(100'000);
  EXPECT_EQ(0u, freed.load());
  EXPECT_EQ(100'000u, stats().retired_blocks);
  EXPECT_EQ(100'000u * 32, stats().retired_bytes);
  EXPECT_EQ(1u, stats().pinned);
  sleeper.wake();
  retire_some(600);
  EXPECT_GE(freed.load(), 100'000u);
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(100'600u, freed.load());
}

TEST(Epoch, pins_nest_and_the_outermost_counts) {
  settle();
  std::atomic<int> state{0};
  std::thread reader([&] {
    ashlar_epoch_pin();
    {
      const ashlar::EpochPin inner;
      EXPECT_EQ(-1, ashlar_epoch_synchronize());
    }
    state = 1;
    while (state != 2) usleep(100);
    ashlar_epoch_unpin();
    state = 3;
    while (state != 4) usleep(100);
  });
  while (state != 1) usleep(100);
  retire_some(1000);
  EXPECT_EQ(0u, freed.load());
  state = 2;
  while (state != 3) usleep(100);
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(1000u, freed.load());
  state = 4;
  reader.join();
}

TEST(Epoch, ended_threads_leave_nothing_behind) {
  settle();
  for (int i = 0; i < 200; ++i) std::thread([] { retire_some(100); }).join();
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(20'000u, freed.load());
  EXPECT_LE(stats().records, 16u) << "records are used again";
  EXPECT_EQ(0u, stats().retired_blocks);
}

TEST(Epoch, a_thread_that_ends_with_a_pin_unpins) {
  settle();
  std::thread([] { ashlar_epoch_pin(); }).join();
  EXPECT_EQ(0u, stats().pinned);
  retire_some(10);
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(10u, freed.load());
}

TEST(Epoch, a_release_may_pin_retire_and_free) {
  settle();
  for (int i = 0; i < 1000; ++i) {
    ashlar_epoch_retire_with(ashlar_malloc(32), 32, [](void* p) {
      const ashlar::EpochPin pin;
      retire_some(1);
      count_and_free(p);
    });
  }
  ASSERT_EQ(0, ashlar_epoch_synchronize());
  ASSERT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(2000u, freed.load());
}

/// A block of parts: each call frees one, and leaves the rest.
int parts = 0;
void release_part(void* p) {
  freed.fetch_add(1);
  if (--parts > 0)
    ashlar_epoch_retire_rest(p, static_cast<size_t>(parts) * 1000, release_part);
  else
    ashlar_free(p);
}
void retire_parts(int n) {
  parts = n;
  ashlar_epoch_retire_with(ashlar_malloc(32), static_cast<size_t>(n) * 100'000, release_part);
}

TEST(Epoch, a_rest_goes_at_the_ends_of_pins_and_waits_for_nobody) {
  settle();
  retire_parts(10);
  for (int i = 0; i < 4; ++i) const ashlar::EpochPin pin;
  ASSERT_GE(freed.load(), 1u) << "the first part waits for the epoch";
  Sleeper sleeper;
  // Ends of pins are what frees: so no pin is brief until then.
  EXPECT_EQ(nullptr, ashlar::epoch_enter_briefly());
  for (int i = 0; i < 8 * 10; ++i) const ashlar::EpochPin pin;
  EXPECT_EQ(10u, freed.load());
  EXPECT_EQ(0u, stats().retired_blocks);
  EXPECT_EQ(0u, stats().retired_bytes);
  sleeper.wake();
  const ashlar::EpochPin pin;
  EXPECT_EQ(0u, stats().lagging);
}

TEST(Epoch, a_rest_is_freed_by_synchronize_and_by_the_end_of_its_thread) {
  settle();
  retire_parts(10);
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(10u, freed.load());
  std::thread([] { retire_parts(10); }).join();
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(20u, freed.load());
  // Its end finds a rest, and a block that waits for the epoch.
  std::thread([] {
    retire_parts(10);
    for (int i = 0; i < 4; ++i) const ashlar::EpochPin pin;
    retire_some(1);
  }).join();
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(31u, freed.load());
  EXPECT_EQ(0u, stats().retired_blocks);
  EXPECT_EQ(0u, stats().leaked_blocks);
}

TEST(Epoch, brief_pins_come_back_though_a_reader_keeps_much_memory) {
  settle();
  Sleeper sleeper;
  const bool plain = stats().fenced == 0;
  retire_some(1, 1'000'000);
  EXPECT_EQ(nullptr, ashlar::epoch_enter_briefly());
  for (int i = 0; i < 10'000; ++i) const ashlar::EpochPin pin;
  EXPECT_EQ(0u, freed.load());
  if (auto* head = ashlar::epoch_enter_briefly(); head != nullptr)
    ashlar::epoch_leave(*head);
  else
    EXPECT_FALSE(plain);
  sleeper.wake();
  for (int i = 0; i < 5; ++i) const ashlar::EpochPin pin;
  EXPECT_EQ(1u, freed.load());
}

TEST(Epoch, much_memory_is_freed_without_another_retirement) {
  settle();
  {
    const ashlar::EpochPin pin;
    retire_some(1, 100'000'000);
  }
  for (int i = 0; i < 5; ++i) const ashlar::EpochPin pin;
  EXPECT_EQ(1u, freed.load());
  retire_some(1, 100'000'000);
  for (int i = 0; i < 5; ++i) {
    ashlar_epoch_pin();
    ashlar_epoch_pin();
    ashlar_epoch_unpin();
    ashlar_epoch_unpin();
  }
  EXPECT_EQ(2u, freed.load());
}

TEST(Epoch, null_retires_nothing) {
  settle();
  ashlar_epoch_retire(nullptr);
  EXPECT_EQ(0u, stats().retired_blocks);
  ashlar_epoch_retire(ashlar_malloc(100));
  EXPECT_EQ(1u, stats().retired_blocks);
  EXPECT_GE(stats().retired_bytes, 100u);
  EXPECT_EQ(0, ashlar_epoch_synchronize());
}

TEST(EpochDeathTest, unpin_without_a_pin_aborts) {
  EXPECT_DEATH(ashlar_epoch_unpin(), "ashlar_epoch_unpin without a pin");
}

TEST(Epoch, in_the_child_of_a_fork_others_pins_are_gone_and_their_blocks_are_freed) {
  settle();
  std::atomic<int> state{0};
  std::thread sleeper([&] {
    const ashlar::EpochPin pin;
    retire_some(50);
    state = 1;
    while (state != 2) usleep(100);
  });
  while (state != 1) usleep(100);
  const pid_t child = fork();
  if (child == 0) {
    retire_some(50);
    const bool ok = ashlar_epoch_synchronize() == 0 && freed == 100 && stats().pinned == 0;
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
  state = 2;
  sleeper.join();
}

// Readers follow a pointer that writers replace; what is released is overwritten first.
TEST(Epoch, readers_never_see_a_released_block) {
  struct Block {
    std::atomic<uint64_t> a, b;
  };
  constexpr uint64_t kDead = 0xdeaddeaddeaddeadull;
  std::atomic<Block*> shared{new (ashlar_malloc(sizeof(Block))) Block{{1}, {1}}};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> bad{0}, reads{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const ashlar::EpochPin pin;
        const Block* block = shared.load(std::memory_order_acquire);
        for (int i = 0; i < 20; ++i) {
          if (block->a.load(std::memory_order_relaxed) == kDead || block->b.load(std::memory_order_relaxed) == kDead)
            ++bad;
        }
        reads.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (uint64_t i = 2; i < 300'000 || reads.load(std::memory_order_relaxed) < 10'000; ++i) {
    const ashlar::EpochPin pin;
    Block* old = shared.exchange(new (ashlar_malloc(sizeof(Block))) Block{{i}, {i}});
    ashlar_epoch_retire_with(old, sizeof *old, [](void* p) {
      static_cast<Block*>(p)->a.store(kDead, std::memory_order_relaxed);
      static_cast<Block*>(p)->b.store(kDead, std::memory_order_relaxed);
      ashlar_free(p);
    });
  }
  stop = true;
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(0u, bad.load());
  ashlar_free(shared.load());
}

}  // namespace
