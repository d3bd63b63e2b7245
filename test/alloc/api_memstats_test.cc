// SPDX-License-Identifier: MIT
//
// api_memstats_test.cc - ashlar_read_memstats: the identities, exact counts, and that memory goes back.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

/// What must hold of every reading, whoever allocates meanwhile.
void expect_identities(const ashlar_memstats& s) {
  EXPECT_EQ(s.alloc, s.heap_alloc);
  EXPECT_EQ(s.heap_sys, s.heap_idle + s.heap_inuse);
  EXPECT_EQ(s.mallocs - s.frees, s.heap_objects);
  EXPECT_GE(s.mallocs, s.frees);
  EXPECT_GE(s.total_alloc, s.alloc);
  EXPECT_LE(s.heap_released, s.heap_idle);
  EXPECT_GE(s.sys, s.heap_sys);
  ASSERT_LE(s.by_size_count, static_cast<uint64_t>(ASHLAR_MAX_SIZE_CLASSES));
  ASSERT_GT(s.by_size_count, 0U);
  uint64_t live_small = 0;
  for (uint64_t i = 0; i < s.by_size_count; ++i) {
    EXPECT_GE(s.by_size[i].mallocs, s.by_size[i].frees) << i;
    live_small += s.by_size[i].mallocs - s.by_size[i].frees;
    if (i > 0) {
      EXPECT_LT(s.by_size[i - 1].size, s.by_size[i].size);
    }
  }
  EXPECT_EQ(live_small + s.large_objects, s.heap_objects);
}

/// What holds as well while nobody allocates: relations between figures that no one moment ties together otherwise.
void expect_identities_at_rest(const ashlar_memstats& s) {
  expect_identities(s);
  EXPECT_LE(s.heap_alloc + s.cached_bytes, s.heap_inuse);
  EXPECT_LE(s.mspan_inuse, s.mspan_sys);
  EXPECT_LE(s.mcache_inuse, s.mcache_sys);
  EXPECT_GE(s.sys, s.heap_sys + s.mspan_sys + s.mcache_sys);
}

TEST(Memstats, identities_hold_at_rest) {
  void* block = ashlar_malloc(100);
  expect_identities_at_rest(stats());
  EXPECT_GE(stats().num_ps, 1U);
  ashlar_free(block);
  expect_identities_at_rest(stats());
}

TEST(Memstats, by_size_rows_are_the_size_classes) {
  ashlar_free(ashlar_malloc(1));
  const ashlar_memstats s = stats();
  EXPECT_EQ(s.by_size[s.by_size_count - 1].size, kLargestSmall);
  for (uint64_t i = 0; i < s.by_size_count; ++i) {
    EXPECT_EQ(ashlar_good_size(s.by_size[i].size), s.by_size[i].size);
    const size_t below = i == 0 ? 0 : s.by_size[i - 1].size;
    EXPECT_EQ(ashlar_good_size(below + 1), s.by_size[i].size);
  }
}

TEST(Memstats, counts_are_exact_for_every_size) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{48}, size_t{129}, size_t{1000}, size_t{4096}, size_t{20000},
                      kLargestSmall, kLargestSmall + 1, 100 * kKiB, kMiB + 1, 9 * kMiB}) {
    const uint64_t count = size <= kLargestSmall ? 1000 : 7;
    const uint64_t good = ashlar_good_size(size);
    std::vector<void*> blocks;
    blocks.reserve(count);
    const ashlar_memstats before = stats();
    for (uint64_t i = 0; i < count; ++i) blocks.push_back(ashlar_malloc(size));
    const ashlar_memstats full = stats();
    expect_identities_at_rest(full);
    EXPECT_EQ(full.mallocs - before.mallocs, count) << size;
    EXPECT_EQ(full.frees, before.frees) << size;
    EXPECT_EQ(full.heap_objects - before.heap_objects, count) << size;
    EXPECT_EQ(full.heap_alloc - before.heap_alloc, count * good) << size;
    EXPECT_EQ(full.total_alloc - before.total_alloc, count * good) << size;
    EXPECT_EQ(full.large_objects - before.large_objects, size > kLargestSmall ? count : 0) << size;
    for (void* block : blocks) ashlar_free(block);
    const ashlar_memstats after = stats();
    expect_identities_at_rest(after);
    EXPECT_EQ(after.frees - before.frees, count) << size;
    EXPECT_EQ(after.mallocs, full.mallocs) << size;
    EXPECT_EQ(after.heap_objects, before.heap_objects) << size;
    EXPECT_EQ(after.heap_alloc, before.heap_alloc) << size;
    EXPECT_EQ(after.total_alloc, full.total_alloc) << size;
    for (uint64_t i = 0; i < after.by_size_count; ++i) {
      const uint64_t expected = after.by_size[i].size == good ? count : 0;
      EXPECT_EQ(after.by_size[i].mallocs - before.by_size[i].mallocs, expected) << size << ", row " << i;
      EXPECT_EQ(after.by_size[i].frees - before.by_size[i].frees, expected) << size << ", row " << i;
    }
  }
}

TEST(Memstats, every_way_to_allocate_counts_once) {
  const auto count_of = [](auto allocate_one) {
    const ashlar_memstats before = stats();
    void* block = allocate_one();
    const ashlar_memstats held = stats();
    EXPECT_EQ(held.heap_objects, before.heap_objects + 1);
    EXPECT_EQ(held.heap_alloc - before.heap_alloc, ashlar_usable_size(block));
    ashlar_free(block);
    const ashlar_memstats after = stats();
    EXPECT_EQ(after.heap_objects, before.heap_objects);
    EXPECT_EQ(after.heap_alloc, before.heap_alloc);
    return after.mallocs - before.mallocs;
  };
  for (size_t size : {size_t{10}, size_t{5000}, 100 * kKiB, 3 * kMiB}) {
    EXPECT_EQ(count_of([=] { return ashlar_malloc(size); }), 1U) << size;
    EXPECT_EQ(count_of([=] { return ashlar_calloc(1, size); }), 1U) << size;
    EXPECT_EQ(count_of([=] { return ashlar_realloc(nullptr, size); }), 1U) << size;
    EXPECT_EQ(count_of([=] { return ashlar_malloc_padded(size); }), 1U) << size;
    for (size_t alignment : {size_t{8}, size_t{256}, 8 * kKiB, 64 * kKiB, 2 * kMiB}) {
      EXPECT_EQ(count_of([=] { return ashlar_aligned_alloc(alignment, size); }), 1U) << size << ", " << alignment;
    }
  }
}

TEST(Memstats, realloc_keeps_objects_and_bytes_in_step) {
  const ashlar_memstats before = stats();
  void* block = ashlar_malloc(10);
  for (size_t size :
       {size_t{100}, size_t{5000}, size_t{50000}, 5 * kMiB, 40 * kMiB, 2 * kMiB, size_t{60000}, size_t{33}}) {
    block = ashlar_realloc(block, size);
    ASSERT_NE(block, nullptr);
    const ashlar_memstats now = stats();
    expect_identities_at_rest(now);
    EXPECT_EQ(now.heap_objects, before.heap_objects + 1) << size;
    EXPECT_EQ(now.heap_alloc - before.heap_alloc, ashlar_usable_size(block)) << size;
  }
  ashlar_free(block);
  const ashlar_memstats after = stats();
  EXPECT_EQ(after.heap_objects, before.heap_objects);
  EXPECT_EQ(after.heap_alloc, before.heap_alloc);
  EXPECT_EQ(after.mallocs - before.mallocs, after.frees - before.frees);
}

TEST(Memstats, threads_that_freed_everything_leave_mallocs_equal_to_frees) {
  const ashlar_memstats before = stats();
  constexpr int kThreads = 4;
  constexpr size_t kOps = 30000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      Rng rng(static_cast<uint64_t>(t));
      std::vector<void*> live;
      for (size_t i = 0; i < kOps; ++i) {
        live.push_back(ashlar_malloc(rng.skewed_size(60000)));
        if (live.size() > 100) {
          std::swap(live[rng.below(live.size())], live.back());
          ashlar_free(live.back());
          live.pop_back();
        }
      }
      for (void* block : live) ashlar_free(block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const ashlar_memstats after = stats();
  expect_identities_at_rest(after);
  EXPECT_EQ(after.mallocs - before.mallocs, kThreads * kOps);
  EXPECT_EQ(after.frees - before.frees, kThreads * kOps);
  EXPECT_EQ(after.heap_objects, before.heap_objects);
  EXPECT_EQ(after.heap_alloc, before.heap_alloc);
}

TEST(Memstats, identities_hold_while_threads_allocate) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([t, &stop] {
      Rng rng(static_cast<uint64_t>(t) + 77);
      std::vector<void*> live(64, nullptr);
      while (!stop.load(std::memory_order_relaxed)) {
        void*& slot = live[rng.below(live.size())];
        ashlar_free(slot);
        slot = ashlar_malloc(rng.skewed_size(rng.one_in(10) ? 2 * kMiB : 4 * kKiB));
      }
      for (void* block : live) ashlar_free(block);
    });
  }
  // What was allocated never falls. Frees are not counted but follow from what is live, and objects that are on their
  // way between a cache and a span while the figures are read pass as live or as free.
  uint64_t mallocs = 0;
  uint64_t total = 0;
  for (int i = 0; i < 2000; ++i) {
    const ashlar_memstats s = stats();
    expect_identities(s);
    EXPECT_GE(s.mallocs, mallocs);
    EXPECT_GE(s.total_alloc, total);
    mallocs = s.mallocs;
    total = s.total_alloc;
    if (::testing::Test::HasFailure()) break;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(Memstats, heap_grows_by_what_is_allocated) {
  const ashlar_memstats before = stats();
  std::vector<void*> blocks;
  for (int i = 0; i < 64; ++i) blocks.push_back(ashlar_malloc(kMiB));
  const ashlar_memstats full = stats();
  EXPECT_GE(full.heap_inuse, before.heap_inuse + 64 * kMiB);
  EXPECT_GE(full.heap_sys, 64 * kMiB);
  for (void* block : blocks) ashlar_free(block);
  const ashlar_memstats after = stats();
  EXPECT_LT(after.heap_inuse, before.heap_inuse + 2 * kMiB);
}

TEST(Memstats, cached_bytes_are_free_bytes_in_spans) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(ashlar_malloc(64));
  for (void* block : blocks) ashlar_free(block);
  const ashlar_memstats s = stats();
  EXPECT_LE(s.cached_bytes + s.heap_alloc, s.heap_inuse);
  EXPECT_GT(s.cached_bytes, 0U) << "1000 blocks were just freed, and nothing of them is cached";
}

/// Touches 256 MiB in blocks of `size`, frees them, and expects the kernel's count to fall when purged.
void expect_purged(size_t size) {
  ashlar_purge(0);
  const size_t base = rss_bytes();
  const size_t count = 256 * kMiB / size;
  std::vector<void*> blocks;
  blocks.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    void* block = ashlar_malloc(size);
    ASSERT_NE(block, nullptr);
    memset(block, 1, size);
    blocks.push_back(block);
  }
  const size_t full = rss_bytes();
  EXPECT_GE(full, base + 250 * kMiB);
  for (void* block : blocks) ashlar_free(block);
  std::vector<void*>().swap(blocks);
  const ashlar_memstats before = stats();
  const size_t given = ashlar_purge(0);
  const ashlar_memstats after = stats();
  const size_t left = rss_bytes();
  if (!kUnderTsan) {
    EXPECT_LT(left, base + 24 * kMiB) << "blocks of " << size << ", given back by the last call: " << given;
    EXPECT_LE(left + given, full + 8 * kMiB);  // it does not claim more than it gave
  }
  EXPECT_GE(after.heap_released, before.heap_released);
  EXPECT_LE(after.heap_idle - after.heap_released, 8 * kMiB);
  expect_identities_at_rest(after);
}

TEST(Purge, gives_back_small_blocks) {
  expect_purged(200);
}
TEST(Purge, gives_back_page_sized_blocks) {
  expect_purged(8 * kKiB);
}
TEST(Purge, gives_back_page_runs) {
  expect_purged(104 * kKiB);  // whole pages: of 100 KiB, the untouched 4 KiB behind would be counted as given back
}
TEST(Purge, gives_back_big_blocks) {
  expect_purged(4 * kMiB);
}
TEST(Purge, gives_back_one_huge_block) {
  expect_purged(256 * kMiB);
}

TEST(Purge, keeps_what_it_was_told_to_keep_and_live_blocks) {
  std::vector<void*> live;
  std::vector<void*> dead;
  for (size_t i = 0; i < 400; ++i) {
    void* block = ashlar_malloc(48 * kKiB);
    ASSERT_NE(block, nullptr);
    fill(block, 48 * kKiB, i);
    (i % 2 == 0 ? live : dead).push_back(block);
  }
  for (void* block : dead) ashlar_free(block);
  ashlar_purge(4 * kMiB);
  ashlar_purge(0);
  for (size_t i = 0; i < live.size(); ++i) {
    ASSERT_TRUE(holds(live[i], 48 * kKiB, i * 2));
    ashlar_free(live[i]);
  }
  EXPECT_EQ(ashlar_purge(SIZE_MAX), 0U);
}

TEST(Purge, purged_pages_are_usable_again) {
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> blocks;
    for (size_t i = 0; i < 2000; ++i) {
      void* block = i % 2 == 0 ? ashlar_malloc(9000) : ashlar_calloc(9, 1000);
      ASSERT_NE(block, nullptr);
      if (i % 2 == 1) {
        ASSERT_TRUE(is_zero(block, 9000));
      }
      fill(block, 9000, i);
      blocks.push_back(block);
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_TRUE(holds(blocks[i], 9000, i));
      ashlar_free(blocks[i]);
    }
    ashlar_purge(0);
  }
}

}  // namespace
}  // namespace ashlar_test
