// SPDX-License-Identifier: MIT
//
// os_failure_test.cc - memory calls that fail, by the seam in alloc/os: null and ENOMEM, nothing lost, and success
// afterwards.
#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>

#include <vector>

#include "alloc/ashlar.h"
#include "alloc/os/os.h"

namespace ashlar {
namespace {

size_t live_objects() {
  static ashlar_memstats stats;
  ashlar_read_memstats(&stats);
  return stats.heap_objects;
}

/// Allocates until memory calls fail, with the first failure at call `n`; returns whether null was seen.
bool allocate_with_failure(unsigned n, size_t size) {
  std::vector<void*> blocks;
  blocks.reserve(4096);
  const size_t before = live_objects();
  bool failed = false;
  const size_t most = (size_t{256} << 20) / size;
  os::fail_after(n);
  for (size_t i = 0; i < 4000 && i < most && !failed; ++i) {
    errno = 0;
    void* p = ashlar_malloc(size);
    if (p == nullptr) {
      EXPECT_EQ(errno, ENOMEM);
      failed = true;
    } else {
      memset(p, 0x5a, size < 64 ? size : 64);
      blocks.push_back(p);
    }
  }
  os::fail_after(0);
  void* after = ashlar_malloc(size);
  EXPECT_NE(after, nullptr) << "memory is back";
  ashlar_free(after);
  for (void* p : blocks) ashlar_free(p);
  EXPECT_EQ(live_objects(), before);
  return failed;
}

TEST(OsFailure, small_and_large_blocks_fail_cleanly_and_recover) {
  unsigned seen = 0;
  for (const size_t size : {size_t{100}, size_t{3000}, size_t{30000}, size_t{100000}, size_t{3000000}}) {
    for (unsigned n = 1; n <= 12; ++n) {
      seen += allocate_with_failure(n, size) ? 1 : 0;
      ashlar_purge(0);
    }
  }
  // A single failed growth is often followed by a smaller one that works; some must have been seen all the same.
  RecordProperty("nulls", static_cast<int>(seen));
}

TEST(OsFailure, a_growth_that_fails_twice_gives_null) {
  // Larger than anything that is free: it needs a growth, whose step and whose exact size both must fail.
  const size_t size = size_t{1} << 30;
  void* keep = ashlar_malloc(size);
  ASSERT_NE(keep, nullptr);
  os::fail_after(1);
  errno = 0;
  void* p = ashlar_malloc(2 * size);
  os::fail_after(0);
  if (p == nullptr) {
    EXPECT_EQ(errno, ENOMEM);
  }
  ashlar_free(p);
  p = ashlar_malloc(2 * size);
  EXPECT_NE(p, nullptr);
  ashlar_free(p);
  ashlar_free(keep);
}

TEST(OsFailure, realloc_that_cannot_grow_leaves_the_block) {
  constexpr size_t kSize = 512 << 10;
  auto* p = static_cast<char*>(ashlar_malloc(kSize));
  ASSERT_NE(p, nullptr);
  memset(p, 7, kSize);
  os::fail_after(1);
  void* q = ashlar_realloc(p, size_t{64} << 30);
  os::fail_after(0);
  auto* now = static_cast<char*>(q == nullptr ? p : q);
  for (size_t i = 0; i < kSize; i += 511) ASSERT_EQ(now[i], 7);
  ashlar_free(now);
}

TEST(OsFailure, a_purge_that_fails_keeps_calloc_zeroed) {
  constexpr size_t kSize = 1 << 20;
  for (unsigned n = 1; n <= 4; ++n) {
    std::vector<void*> blocks;
    for (int i = 0; i < 32; ++i) {
      blocks.push_back(ashlar_malloc(kSize));
      ASSERT_NE(blocks.back(), nullptr);
      memset(blocks.back(), 0xff, kSize);
    }
    for (void* p : blocks) ashlar_free(p);
    os::fail_after(n);
    ashlar_purge(0);
    os::fail_after(0);
    for (void*& p : blocks) {
      p = ashlar_calloc(1, kSize);
      ASSERT_NE(p, nullptr);
      const auto* bytes = static_cast<const char*>(p);
      for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(bytes[i], 0);
    }
    for (void* p : blocks) ashlar_free(p);
  }
}

}  // namespace
}  // namespace ashlar
