// SPDX-License-Identifier: MIT
//
// handoff_stress.cc - blocks allocated by one thread, written by it, checked and freed by another.
#include <atomic>
#include <memory>

#include "test/alloc/stress_util.h"

namespace ashlar_test {
namespace {

void exchange_blocks(size_t threads, size_t cells, size_t max_size, size_t native_ops) {
  const size_t ops = rounds(native_ops);
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  const ashlar_memstats before = stats();
  Ring ring(cells);
  on_threads(threads, [&](size_t self) {
    Rng rng(mix(seed + self));
    for (size_t i = 0; i < ops; ++i) {
      Stamped got = ring.exchange(rng.below(ring.size()), allocate_stamped(rng, max_size));
      if (got.at != nullptr && rng.one_in(8)) {
        check_stamped(got, "before realloc by another thread");
        reallocate_stamped(rng, got, max_size);
      }
      free_stamped(got);
    }
  });
  for (size_t i = 0; i < ring.size(); ++i) free_stamped(ring.exchange(i, {}));
  expect_nothing_left(before);
}

TEST(Handoff, two_threads_small) {
  exchange_blocks(2, 64, 1024, 700000);
}
TEST(Handoff, four_threads_all_sizes) {
  exchange_blocks(4, 256, 64 * kKiB, 150000);
}
TEST(Handoff, eight_threads_large) {
  exchange_blocks(8, 32, 4 * kMiB, 4000);
}
TEST(Handoff, sixty_four_threads_on_few_cpus) {
  exchange_blocks(64, 512, 8 * kKiB, 20000);
}

/// One thread only allocates, the other only frees: memory must be bounded by the live set, not by the traffic.
TEST(Handoff, producer_and_consumer_stay_within_the_live_set) {
  const Watchdog watchdog(kWatchdogSeconds);
  const uint64_t seed = announce_seed();
  constexpr size_t kSlots = 4096;
  const size_t blocks = rounds(600000);
  constexpr size_t kMaxBytes = 1000;
  const auto slots = std::make_unique<std::atomic<void*>[]>(kSlots);
  ashlar_purge(0);  // what the tests before left
  const auto held = [] { return stats().heap_sys - stats().heap_released; };
  const size_t held_before = held();
  const ashlar_memstats before = stats();
  std::thread producer([&] {
    Rng rng(seed);
    for (size_t i = 0; i < blocks; ++i) {
      const size_t size = rng.between(sizeof(size_t), kMaxBytes);
      auto* block = static_cast<size_t*>(ashlar_malloc(size));
      if (block == nullptr) abort();
      *block = i;
      // Acquire pairs with the consumer's release of the emptied slot, release with its acquire of the block.
      void* expected = nullptr;
      while (!slots[i % kSlots].compare_exchange_weak(expected, block, std::memory_order_acq_rel)) {
        expected = nullptr;
        std::this_thread::yield();
      }
    }
  });
  size_t wrong = 0;
  for (size_t i = 0; i < blocks; ++i) {
    void* block = nullptr;
    while ((block = slots[i % kSlots].exchange(nullptr, std::memory_order_acq_rel)) == nullptr)
      std::this_thread::yield();
    if (*static_cast<size_t*>(block) != i) ++wrong;
    ashlar_free(block);
  }
  producer.join();
  EXPECT_EQ(wrong, 0U);
  expect_nothing_left(before);
  // At most kSlots blocks of 1 KiB are live at once (4 MiB); what went through is 300 MiB.
  EXPECT_LT(held(), held_before + 32 * kMiB);
}

}  // namespace
}  // namespace ashlar_test
