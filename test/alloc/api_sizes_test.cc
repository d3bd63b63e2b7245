// SPDX-License-Identifier: MIT
//
// api_sizes_test.cc - blocks of every size: alignment, usable bytes, no overlap, waste.
#include <errno.h>

#include <algorithm>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

struct Block {
  void* at;
  size_t size;
};

/// Checks that no two of the blocks share a byte, by address order.
void expect_disjoint(std::vector<Block> blocks) {
  std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.at < b.at; });
  for (size_t i = 1; i < blocks.size(); ++i) {
    const auto* end = static_cast<const char*>(blocks[i - 1].at) + blocks[i - 1].size;
    ASSERT_LE(static_cast<const void*>(end), blocks[i].at) << "sizes " << blocks[i - 1].size << ", " << blocks[i].size;
  }
}

TEST(Malloc, every_size_is_aligned_usable_and_its_own) {
  // 200 blocks at a time: live neighbours of all sizes, within a modest heap.
  constexpr size_t kMaxSize = 70000;
  constexpr size_t kLive = 200;
  std::vector<Block> live;
  for (size_t size = 0; size <= kMaxSize; ++size) {
    void* block = ashlar_malloc(size);
    ASSERT_NE(block, nullptr) << size;
    ASSERT_TRUE(is_aligned(block, ASHLAR_MIN_ALIGN)) << size;
    const size_t usable = ashlar_usable_size(block);
    ASSERT_GE(usable, size);
    ASSERT_GE(usable, 1U);
    ASSERT_EQ(usable, ashlar_good_size(size)) << size;
    fill(block, usable, size);
    live.push_back({block, usable});
    if (live.size() == kLive || size == kMaxSize) {
      expect_disjoint(live);
      const size_t first = size + 1 - live.size();
      for (size_t i = 0; i < live.size(); ++i) {
        ASSERT_TRUE(holds(live[i].at, live[i].size, first + i)) << first + i;
        ashlar_free(live[i].at);
      }
      live.clear();
    }
  }
}

TEST(Malloc, power_of_two_sizes_are_naturally_aligned_up_to_a_page) {
  for (size_t size = 16; size <= 4096; size *= 2) {
    std::vector<void*> blocks;
    for (int i = 0; i < 500; ++i) {
      blocks.push_back(ashlar_malloc(size));
      ASSERT_TRUE(is_aligned(blocks.back(), size)) << size;
    }
    for (void* block : blocks) ashlar_free(block);
  }
}

TEST(Malloc, zero_bytes_give_unique_blocks) {
  std::vector<void*> blocks;
  for (int i = 0; i < 10000; ++i) {
    blocks.push_back(ashlar_malloc(0));
    ASSERT_NE(blocks.back(), nullptr);
  }
  std::vector<void*> sorted = blocks;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
  for (void* block : blocks) ashlar_free(block);
}

TEST(Malloc, many_blocks_of_a_class_keep_their_contents) {
  for (size_t size : {1, 16, 17, 32, 48, 64, 100, 128, 129, 256, 257, 1000, 1024, 1025, 4096, 8192, 9000, 32768}) {
    const size_t count = std::min<size_t>(40000, 16 * kMiB / size);
    std::vector<Block> blocks;
    for (size_t i = 0; i < count; ++i) {
      void* block = ashlar_malloc(size);
      ASSERT_NE(block, nullptr);
      const size_t usable = ashlar_usable_size(block);
      fill(block, usable, i);
      blocks.push_back({block, usable});
    }
    expect_disjoint(blocks);
    for (size_t i = 0; i < count; ++i) ASSERT_TRUE(holds(blocks[i].at, blocks[i].size, i)) << size << " #" << i;
    // The second half first, then the first half backwards: neither the order of allocation nor its reverse.
    for (size_t i = count / 2; i < count; ++i) ashlar_free(blocks[i].at);
    for (size_t i = 0; i < count / 2; ++i) ASSERT_TRUE(holds(blocks[i].at, blocks[i].size, i)) << size << " #" << i;
    for (size_t i = count / 2; i-- > 0;) ashlar_free(blocks[i].at);
  }
}

TEST(Malloc, large_blocks_are_usable_to_the_last_byte) {
  std::vector<size_t> sizes;
  for (size_t base = kLargestSmall; base <= 64 * kMiB; base *= 2) {
    for (size_t size : {base - 1, base, base + 1, base + 4096, base + base / 2 - 1, base + base / 2 + 8192}) {
      if (size <= 64 * kMiB) sizes.push_back(size);
    }
  }
  std::vector<Block> live;
  for (size_t size : sizes) {
    void* block = ashlar_malloc(size);
    ASSERT_NE(block, nullptr) << size;
    ASSERT_TRUE(is_aligned(block, ASHLAR_MIN_ALIGN));
    const size_t usable = ashlar_usable_size(block);
    ASSERT_GE(usable, size);
    ASSERT_EQ(usable, ashlar_good_size(size)) << size;
    fill(block, usable, size);
    live.push_back({block, usable});
  }
  expect_disjoint(live);
  for (size_t i = 0; i < live.size(); ++i) ASSERT_TRUE(holds(live[i].at, live[i].size, sizes[i])) << sizes[i];
  for (const Block& block : live) ashlar_free(block.at);
}

TEST(Malloc, a_gibibyte_costs_no_memory_before_it_is_touched) {
  const size_t before = rss_bytes();
  void* block = ashlar_malloc(kGiB);
  ASSERT_NE(block, nullptr);
  EXPECT_GE(ashlar_usable_size(block), kGiB);
  auto* bytes = static_cast<char*>(block);
  bytes[0] = 1;
  bytes[kGiB - 1] = 2;
  EXPECT_LT(rss_bytes(), before + 64 * kMiB);
  EXPECT_EQ(bytes[0], 1);
  EXPECT_EQ(bytes[kGiB - 1], 2);
  ashlar_free(block);
}

TEST(Malloc, large_blocks_interleaved_with_small_ones_survive) {
  std::vector<Block> live;
  for (size_t i = 0; i < 600; ++i) {
    const size_t size = i % 3 == 0 ? kLargestSmall + i * 977 : i * 31;
    void* block = ashlar_malloc(size);
    ASSERT_NE(block, nullptr);
    fill(block, size, i);
    live.push_back({block, size});
  }
  expect_disjoint(live);
  for (size_t i = 0; i < live.size(); i += 2) ashlar_free(live[i].at);
  for (size_t i = 1; i < live.size(); i += 2) {
    ASSERT_TRUE(holds(live[i].at, live[i].size, i)) << i;
    ashlar_free(live[i].at);
  }
}

TEST(Free, null_does_nothing) {
  const ashlar_memstats before = stats();
  ashlar_free(nullptr);
  EXPECT_EQ(stats().frees, before.frees);
}

TEST(Free, preserves_errno) {
  for (size_t size :
       {size_t{1}, size_t{48}, size_t{5000}, kLargestSmall, kLargestSmall + 1, kMiB, 16 * kMiB, 300 * kMiB}) {
    // Enough blocks that refills, flushes and unmaps are among the calls.
    std::vector<void*> blocks;
    for (size_t i = 0; i < (size <= kLargestSmall ? 5000 : 3); ++i) {
      void* block = ashlar_malloc(size);
      ASSERT_NE(block, nullptr);
      *static_cast<char*>(block) = 1;
      blocks.push_back(block);
    }
    for (void* block : blocks) {
      errno = 4711;
      ashlar_free(block);
      ASSERT_EQ(errno, 4711) << size;
    }
  }
  errno = 4711;
  ashlar_free(nullptr);
  EXPECT_EQ(errno, 4711);
}

TEST(Malloc, leaves_errno_alone_on_success) {
  errno = 4711;
  std::vector<void*> blocks;
  for (size_t size : {size_t{1}, size_t{48}, size_t{5000}, kMiB, 16 * kMiB}) {
    for (int i = 0; i < 10; ++i) blocks.push_back(ashlar_malloc(size));
  }
  EXPECT_EQ(errno, 4711);
  for (void* block : blocks) ashlar_free(block);
}

TEST(UsableSize, of_null_is_zero) {
  EXPECT_EQ(ashlar_usable_size(nullptr), 0U);
}

TEST(GoodSize, named_sizes_have_the_documented_classes) {
  EXPECT_EQ(ashlar_good_size(0), 16U);
  EXPECT_EQ(ashlar_good_size(1), 16U);
  EXPECT_EQ(ashlar_good_size(24), 32U);
  EXPECT_EQ(ashlar_good_size(33), 48U);
  EXPECT_EQ(ashlar_good_size(128), 128U);
  EXPECT_EQ(ashlar_good_size(257), 288U);
  EXPECT_EQ(ashlar_good_size(kLargestSmall), kLargestSmall);
}

TEST(GoodSize, wastes_at_most_an_eighth_above_128_bytes) {
  for (size_t size = 129; size <= kLargestSmall; ++size) {
    const size_t good = ashlar_good_size(size);
    ASSERT_GE(good, size);
    ASSERT_LE((good - size) * 8, good) << size << " -> " << good;
  }
}

TEST(GoodSize, is_monotonic_and_a_fixed_point) {
  size_t previous = 0;
  for (size_t size = 0; size <= 2 * kMiB; size += size < 70000 ? 1 : 509) {
    const size_t good = ashlar_good_size(size);
    ASSERT_GE(good, size);
    ASSERT_GE(good, previous) << size;
    ASSERT_EQ(good % ASHLAR_MIN_ALIGN, 0U) << size;
    ASSERT_EQ(ashlar_good_size(good), good) << size;
    previous = good;
  }
}

TEST(Version, library_and_header_agree) {
  EXPECT_EQ(ashlar_version(), ASHLAR_VERSION);
}

}  // namespace
}  // namespace ashlar_test
