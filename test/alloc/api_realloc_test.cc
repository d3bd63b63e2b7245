// SPDX-License-Identifier: MIT
//
// api_realloc_test.cc - realloc, reallocarray and calloc: contents through every path, zero where zero is promised.
#include <errno.h>

#include <algorithm>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

/// Reallocates and checks that the common prefix came along; then marks the block as one of `new_size` bytes.
void* checked_realloc(void* block, size_t old_size, size_t new_size, uint64_t old_tag, uint64_t new_tag) {
  void* moved = ashlar_realloc(block, new_size);
  EXPECT_NE(moved, nullptr) << old_size << " -> " << new_size;
  if (moved == nullptr) return nullptr;
  EXPECT_TRUE(is_aligned(moved, ASHLAR_MIN_ALIGN));
  EXPECT_GE(ashlar_usable_size(moved), new_size);
  EXPECT_TRUE(holds_prefix(moved, old_size, std::min(old_size, new_size), old_tag)) << old_size << " -> " << new_size;
  fill(moved, new_size, new_tag);
  return moved;
}

TEST(Realloc, of_null_is_malloc) {
  const ashlar_memstats before = stats();
  void* block = ashlar_realloc(nullptr, 100);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(ashlar_usable_size(block), ashlar_good_size(100));
  EXPECT_EQ(stats().heap_objects, before.heap_objects + 1);
  ashlar_free(block);
  block = ashlar_realloc(nullptr, 0);
  EXPECT_NE(block, nullptr);
  ashlar_free(block);
}

TEST(Realloc, to_zero_frees_and_returns_null) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{32768}, size_t{50000}, 4 * kMiB, 100 * kMiB}) {
    void* block = ashlar_malloc(size);
    ASSERT_NE(block, nullptr);
    const ashlar_memstats before = stats();
    errno = 4711;
    EXPECT_EQ(ashlar_realloc(block, 0), nullptr) << size;
    EXPECT_EQ(errno, 4711) << size;
    const ashlar_memstats after = stats();
    EXPECT_EQ(after.heap_objects, before.heap_objects - 1) << size;
    EXPECT_EQ(after.frees, before.frees + 1) << size;
  }
}

TEST(Realloc, from_any_class_to_any_class_keeps_the_prefix) {
  std::vector<size_t> sizes = {0,      1,      15,     16,       17,    24,       32,      48,    64,    100,
                               128,    129,    256,    257,      500,   1024,     1025,    2000,  4096,  4097,
                               8192,   8193,   12288,  20000,    32767, 32768,    32769,   40960, 65536, 65537,
                               100000, 262144, 300000, kMiB - 1, kMiB,  kMiB + 1, 3 * kMiB};
  for (size_t from : sizes) {
    for (size_t to : sizes) {
      if (to == 0) continue;
      void* block = ashlar_malloc(from);
      ASSERT_NE(block, nullptr);
      fill(block, from, from);
      block = checked_realloc(block, from, to, from, to + 1);
      ASSERT_NE(block, nullptr);
      ashlar_free(block);
    }
  }
}

TEST(Realloc, within_the_usable_size_need_not_move_but_must_hold) {
  for (size_t size = 1; size <= 40000; size += 7) {
    void* block = ashlar_malloc(size);
    ASSERT_NE(block, nullptr);
    fill(block, size, size);
    const size_t usable = ashlar_usable_size(block);
    block = checked_realloc(block, size, usable, size, size + 1);
    ASSERT_NE(block, nullptr);
    ASSERT_GE(ashlar_usable_size(block), usable);
    ASSERT_TRUE(holds(block, usable, size + 1));
    ashlar_free(block);
  }
}

TEST(Realloc, byte_by_byte_growth_and_shrinking_keep_the_contents) {
  size_t size = 1;
  void* block = ashlar_malloc(size);
  ASSERT_NE(block, nullptr);
  *static_cast<uint8_t*>(block) = pattern_byte(5, 0);
  for (; size < 40000; ++size) {
    block = ashlar_realloc(block, size + 1);
    ASSERT_NE(block, nullptr);
    static_cast<uint8_t*>(block)[size] = pattern_byte(5, size);
    if (size % 1013 == 0) {
      ASSERT_TRUE(holds(block, size, 5)) << size;
    }
  }
  for (; size > 1; --size) {
    block = ashlar_realloc(block, size - 1);
    ASSERT_NE(block, nullptr);
    if (size % 1013 == 0) {
      ASSERT_TRUE(holds(block, size - 1, 5)) << size;
    }
  }
  ashlar_free(block);
}

TEST(Realloc, growth_of_a_large_block_in_steps_keeps_the_contents) {
  // 1 MiB to 256 MiB: in place where there is room, by page tables where not.
  size_t size = kMiB;
  void* block = ashlar_malloc(size);
  ASSERT_NE(block, nullptr);
  fill(block, size, 1);
  uint64_t tag = 1;
  while (size < 256 * kMiB) {
    const size_t next = size + (size < 16 * kMiB ? kMiB : 16 * kMiB) + 4096 * (tag % 3);
    block = checked_realloc(block, size, next, tag, tag + 1);
    ASSERT_NE(block, nullptr);
    size = next;
    ++tag;
  }
  // What grew must be memory like any other: all of it readable and writable, and the way back works.
  while (size > 100) {
    const size_t next = size / 3;
    block = checked_realloc(block, size, next, tag, tag + 1);
    ASSERT_NE(block, nullptr);
    size = next;
    ++tag;
  }
  ashlar_free(block);
}

TEST(Realloc, blocked_large_growth_moves_without_harming_the_neighbour) {
  for (size_t size : {48 * kKiB, 200 * kKiB, kMiB, 3 * kMiB, 20 * kMiB}) {
    void* block = ashlar_malloc(size);
    void* neighbour = ashlar_malloc(size);
    void* second = ashlar_malloc(size);
    ASSERT_TRUE(block != nullptr && neighbour != nullptr && second != nullptr);
    fill(block, size, 1);
    fill(neighbour, size, 2);
    fill(second, size, 3);
    block = checked_realloc(block, size, 2 * size, 1, 4);
    ASSERT_TRUE(holds(neighbour, size, 2)) << size;
    ASSERT_TRUE(holds(second, size, 3)) << size;
    // The neighbour freed, the block may take its pages; the one behind must not notice.
    ashlar_free(neighbour);
    block = checked_realloc(block, 2 * size, 3 * size, 4, 5);
    ASSERT_TRUE(holds(second, size, 3)) << size;
    ASSERT_TRUE(holds(block, 3 * size, 5)) << size;
    // The tail given up by shrinking goes to somebody else, not to both.
    block = checked_realloc(block, 3 * size, size, 5, 6);
    void* third = ashlar_malloc(2 * size);
    ASSERT_NE(third, nullptr);
    fill(third, 2 * size, 7);
    ASSERT_TRUE(holds(block, size, 6)) << size;
    ASSERT_TRUE(holds(second, size, 3)) << size;
    ASSERT_TRUE(holds(third, 2 * size, 7)) << size;
    ashlar_free(block);
    ashlar_free(second);
    ashlar_free(third);
  }
}

TEST(Realloc, random_paths_keep_the_contents) {
  const uint64_t seed = announce_seed();
  Rng rng(seed);
  struct Slot {
    void* block;
    size_t size;
    uint64_t tag;
  };
  std::vector<Slot> slots(40, Slot{nullptr, 0, 0});
  const uint64_t steps = rounds(20000);
  for (uint64_t step = 1; step <= steps; ++step) {
    Slot& slot = slots[rng.below(slots.size())];
    size_t size = 1 + rng.skewed_size(rng.one_in(20) ? 8 * kMiB : 64 * kKiB);
    if (slot.block != nullptr && rng.one_in(3)) size = slot.size + 1 + rng.below(slot.size);  // grow a little
    if (slot.block != nullptr && rng.one_in(5)) size = 1 + slot.size / (1 + rng.below(4));    // shrink a little
    size = std::min(size, 32 * kMiB);
    slot.block = checked_realloc(slot.block, slot.size, size, slot.tag, step);
    ASSERT_NE(slot.block, nullptr);
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << ", step " << step;
    slot.size = size;
    slot.tag = step;
    if (step % 97 == 0) {
      for (const Slot& other : slots) {
        ASSERT_TRUE(holds(other.block, other.size, other.tag)) << "seed " << seed << ", step " << step;
      }
    }
  }
  for (const Slot& slot : slots) {
    ASSERT_TRUE(holds(slot.block, slot.size, slot.tag)) << "seed " << seed;
    ashlar_free(slot.block);
  }
}

TEST(Realloc, of_aligned_blocks_keeps_the_contents) {
  for (size_t alignment = 32; alignment <= kMiB; alignment *= 4) {
    for (size_t size : {size_t{10}, size_t{3000}, 100 * kKiB, 5 * kMiB}) {
      void* block = ashlar_aligned_alloc(alignment, size);
      ASSERT_NE(block, nullptr);
      fill(block, size, 1);
      block = checked_realloc(block, size, size * 2, 1, 2);
      block = checked_realloc(block, size * 2, size / 2, 2, 3);
      ASSERT_NE(block, nullptr);
      ashlar_free(block);
    }
  }
}

TEST(Reallocarray, is_realloc_of_the_product) {
  void* block = ashlar_reallocarray(nullptr, 100, 30);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(ashlar_usable_size(block), ashlar_good_size(3000));
  fill(block, 3000, 1);
  block = ashlar_reallocarray(block, 3000, 30);
  ASSERT_NE(block, nullptr);
  EXPECT_GE(ashlar_usable_size(block), 90000U);
  EXPECT_TRUE(holds_prefix(block, 3000, 3000, 1));
  const uint64_t live = stats().heap_objects;
  EXPECT_EQ(ashlar_reallocarray(block, 0, 30), nullptr);
  EXPECT_EQ(stats().heap_objects, live - 1);
}

/// calloc over memory that was just dirtied and freed must be zero all the same.
void expect_zeroed_after_reuse(size_t size, size_t count) {
  std::vector<void*> blocks;
  for (int round = 0; round < 4; ++round) {
    for (size_t i = 0; i < count; ++i) {
      void* block = i % 2 == 0 ? ashlar_calloc(1, size) : ashlar_calloc(size, 1);
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(is_zero(block, size)) << size << ", round " << round;
      memset(block, 0xff, ashlar_usable_size(block));
      blocks.push_back(block);
    }
    // Half of them in order, half backwards, so that runs both merge and stay apart.
    for (size_t i = 0; i < blocks.size(); i += 2) ashlar_free(blocks[i]);
    for (size_t i = 1; i < blocks.size(); i += 2) ashlar_free(blocks[i]);
    blocks.clear();
    if (round == 2) ashlar_purge(0);
  }
}

TEST(Calloc, small_blocks_are_zero_after_reuse) {
  for (size_t size : {1, 16, 24, 48, 64, 100, 128, 200, 257, 1000, 1024, 4000, 9000, 32768}) {
    expect_zeroed_after_reuse(size, std::min<size_t>(5000, 4 * kMiB / size));
  }
}

TEST(Calloc, page_runs_are_zero_after_reuse) {
  for (size_t size : {32769, 40000, 65536, 70000, 131072, 200000, 1000000}) expect_zeroed_after_reuse(size, 12);
}

TEST(Calloc, big_blocks_are_zero_after_reuse) {
  for (size_t size : {kMiB, kMiB + 1, 5 * kMiB, 33 * kMiB}) expect_zeroed_after_reuse(size, 3);
}

TEST(Calloc, is_zero_where_dirty_neighbours_merge_with_untouched_pages) {
  // A run that is part dirty, part fresh: the zeroed bit is per page, not per run.
  for (int round = 0; round < 20; ++round) {
    void* dirty = ashlar_malloc(64 * kKiB);
    ASSERT_NE(dirty, nullptr);
    memset(dirty, 0xff, 64 * kKiB);
    ashlar_free(dirty);
    const size_t size = 64 * kKiB + static_cast<size_t>(round) * 56 * kKiB;
    void* block = ashlar_calloc(1, size);
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(is_zero(block, size)) << size;
    ashlar_free(block);
  }
}

TEST(Calloc, is_zero_where_small_spans_became_page_runs) {
  std::vector<void*> blocks;
  for (int i = 0; i < 50000; ++i) {
    blocks.push_back(ashlar_malloc(100));
    memset(blocks.back(), 0xff, 100);
  }
  for (void* block : blocks) ashlar_free(block);
  for (size_t size : {40 * kKiB, 500 * kKiB, 3 * kMiB}) {
    void* block = ashlar_calloc(1, size);
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(is_zero(block, size)) << size;
    memset(block, 0xff, size);
    // What realloc gave up was dirtied as well.
    block = ashlar_realloc(block, size / 8);
    void* tail = ashlar_calloc(1, size / 2);
    ASSERT_NE(tail, nullptr);
    ASSERT_TRUE(is_zero(tail, size / 2)) << size;
    ashlar_free(tail);
    ashlar_free(block);
  }
}

}  // namespace
}  // namespace ashlar_test
