// SPDX-License-Identifier: MIT
//
// os_pages.h - OS pages larger than the kernel's, by the seam in alloc/os: the tests of test/alloc's API, and what
// large OS pages alone can break. Included by os_pages_*_test.cc, which define TEST_OS_PAGE_BYTES.
//
// How it can fail: every call about memory must be for whole OS pages (os::unaligned_calls counts the others, which a
// real kernel would refuse, or round up over a neighbour's memory).
#pragma once

#include "alloc/alloc.h"
#include "alloc/os/os.h"
#include "test/alloc/stress_util.h"

namespace {
// Before any test, and so before initialisation.
const bool kForced = (ashlar::os::force_page_bytes(TEST_OS_PAGE_BYTES), true);
}  // namespace

// NOLINTBEGIN(bugprone-suspicious-include): the tests are the point.
#include "test/alloc/api_aligned_test.cc"
#include "test/alloc/api_limits_test.cc"
#include "test/alloc/api_memstats_test.cc"
#include "test/alloc/api_realloc_test.cc"
#if !defined(__aarch64__)  // a minute each under qemu-user
#include "test/alloc/api_sizes_test.cc"
#include "test/alloc/random_ops_stress.cc"
#endif
// NOLINTEND(bugprone-suspicious-include)

namespace ashlar_test {
namespace {

TEST(OsPages, are_what_the_seam_says) {
  ASSERT_TRUE(kForced);
  EXPECT_EQ(ashlar::os::page_bytes(), TEST_OS_PAGE_BYTES);
}

TEST(OsPages, blocks_aligned_to_a_page_as_by_valloc) {
  const size_t page = ashlar::os::page_bytes();
  for (size_t size = 1; size < 4 * page; size = size * 3 / 2 + 1) {
    void* block = ashlar::allocate_aligned(page, size);
    ASSERT_NE(block, nullptr);
    EXPECT_TRUE(is_aligned(block, page));
    ashlar_free(block);
  }
}

TEST(OsPages, a_purge_keeps_what_shares_an_os_page_with_it) {
  // Blocks of one to seven of our pages, every other one freed and purged, again and again: what is left keeps its
  // contents, and what calloc hands out of purged and of kept pages reads as zero.
  const uint64_t seed = announce_seed();
  Rng rng(seed);
  std::vector<Stamped> blocks(200);
  const size_t times = rounds(40);
  for (size_t round = 0; round < times; ++round) {
    for (Stamped& block : blocks) {
      if (rng.one_in(2)) continue;
      free_stamped(block);
      block = {};
    }
    ashlar_purge(0);
    for (Stamped& block : blocks) {
      if (block.at != nullptr) {
        check_stamped(block, "after a purge");
        continue;
      }
      block.size = 33 * kKiB + rng.below(24 * kKiB);
      block.tag = rng.next();
      block.at = ashlar_calloc(1, block.size);
      ASSERT_NE(block.at, nullptr);
      ASSERT_TRUE(is_zero(block.at, block.size));
      fill(block.at, block.size, block.tag);
    }
  }
  for (const Stamped& block : blocks) free_stamped(block);
}

TEST(OsPages, realloc_moves_pages_that_lie_across_the_edges_of_os_pages) {
  const uint64_t seed = announce_seed();
  Rng rng(seed);
  std::vector<Stamped> blocks(40);
  for (Stamped& block : blocks) {
    block = {ashlar_malloc(300 * kKiB), 300 * kKiB, rng.next()};
    ASSERT_NE(block.at, nullptr);
    fill(block.at, block.size, block.tag);
  }
  const size_t steps = rounds(3000);
  for (size_t step = 0; step < steps; ++step) {
    Stamped& block = blocks[rng.below(blocks.size())];
    reallocate_stamped(rng, block, 3 * kMiB);
    check_stamped(blocks[rng.below(blocks.size())], "while others move");
  }
  for (const Stamped& block : blocks) free_stamped(block);
}

TEST(OsPages, a_long_run_with_crooked_edges_is_purged_but_for_these) {
  // What stays is less than an OS page at each end.
  ashlar_purge(0);
  void* blocks[3] = {};
  for (int i = 0; i < 3; ++i) {
    blocks[i] = ashlar_malloc(i == 1 ? 40 * kMiB + 8 * kKiB : 40 * kKiB);
    ASSERT_NE(blocks[i], nullptr);
  }
  memset(blocks[1], 1, 40 * kMiB);
  ashlar_free(blocks[1]);
  ashlar_purge(0);
  const ashlar_memstats after = stats();
  EXPECT_LE(after.heap_idle - after.heap_released, 64 * TEST_OS_PAGE_BYTES);
  EXPECT_LT(after.heap_idle - after.heap_released, 8 * kMiB);
  ashlar_free(blocks[0]);
  ashlar_free(blocks[2]);
}

// The last test of the binary: GoogleTest runs them in the order of the file.
TEST(OsPagesLast, every_call_about_memory_was_for_whole_os_pages) {
  EXPECT_EQ(ashlar::os::unaligned_calls(), 0U);
}

}  // namespace
}  // namespace ashlar_test
