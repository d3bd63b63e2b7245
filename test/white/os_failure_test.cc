// SPDX-License-Identifier: MIT
//
// os_failure_test.cc - memory calls that fail, by the seam in alloc/os: null and ENOMEM, nothing lost, and success
// when memory is back.
#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>

#include <vector>

#include "alloc/ashlar.h"
#include "alloc/os/os.h"

namespace ashlar {
namespace {

constexpr unsigned kForEver = ~0U;

uint64_t live_objects() {
  static ashlar_memstats stats;
  ashlar_read_memstats(&stats);
  return stats.heap_objects;
}

/// Allocates blocks of `size` until null, which must come: from memory call `n` on none succeeds.
void exhaust(unsigned n, size_t size) {
  SCOPED_TRACE(testing::Message() << size << " bytes, failing from call " << n);
  const uint64_t before = live_objects();
  std::vector<unsigned char*> blocks;
  os::fail_after(n, kForEver);
  errno = 0;
  while (auto* p = static_cast<unsigned char*>(ashlar_malloc(size))) {
    *p = static_cast<unsigned char>(blocks.size());
    blocks.push_back(p);
    if (blocks.size() > (size_t{1} << 22)) break;
  }
  EXPECT_EQ(errno, ENOMEM) << "no null in " << blocks.size() << " blocks";
  EXPECT_EQ(ashlar_malloc(size), nullptr);
  os::fail_after(0);
  void* after = ashlar_malloc(size);
  EXPECT_NE(after, nullptr) << "memory is back";
  ashlar_free(after);
  for (size_t i = 0; i < blocks.size(); ++i) {
    ASSERT_EQ(*blocks[i], static_cast<unsigned char>(i));
    ashlar_free(blocks[i]);
  }
  EXPECT_EQ(live_objects(), before);
}

TEST(OsFailure, blocks_of_every_kind_end_in_enomem_and_come_back) {
  ashlar_free(ashlar_malloc(1));  // initialisation is another story
  for (const size_t size : {size_t{100}, size_t{3000}, size_t{30000}, size_t{100000}, size_t{3000000}}) {
    for (unsigned n = 1; n <= 4; ++n) exhaust(n, size);
  }
}

TEST(OsFailure, realloc_that_cannot_grow_leaves_the_block) {
  constexpr size_t kSize = 512 << 10;
  auto* p = static_cast<char*>(ashlar_malloc(kSize));
  ASSERT_NE(p, nullptr);
  memset(p, 7, kSize);
  errno = 0;
  os::fail_after(1, kForEver);
  EXPECT_EQ(ashlar_realloc(p, size_t{64} << 30), nullptr);
  os::fail_after(0);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_GE(ashlar_usable_size(p), kSize);
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(p[i], 7);
  ashlar_free(p);
}

TEST(OsFailure, a_move_that_the_kernel_refuses_is_a_copy) {
  constexpr size_t kSize = 1 << 20;
  auto* p = static_cast<char*>(ashlar_malloc(kSize));
  void* behind = ashlar_malloc(kSize);  // so that p cannot grow where it is
  void* room = ashlar_malloc(8 * kSize);
  ASSERT_TRUE(p != nullptr && behind != nullptr && room != nullptr);
  ashlar_free(room);  // the move needs no growth: the only memory call is the move itself
  memset(p, 9, kSize);
  os::fail_after(1, kForEver);
  auto* q = static_cast<char*>(ashlar_realloc(p, 4 * kSize));
  os::fail_after(0);
  ASSERT_NE(q, nullptr);
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(q[i], 9);
  ashlar_free(q);
  ashlar_free(behind);
}

TEST(OsFailure, a_purge_that_fails_gives_nothing_back_and_keeps_calloc_zeroed) {
  constexpr size_t kSize = 1 << 20;
  for (unsigned n = 1; n <= 4; ++n) {
    ashlar_purge(0);
    std::vector<void*> blocks;
    for (int i = 0; i < 4; ++i) {
      blocks.push_back(ashlar_malloc(kSize));
      ASSERT_NE(blocks.back(), nullptr);
      memset(blocks.back(), 0xff, kSize);
    }
    for (void* p : blocks) ashlar_free(p);
    os::fail_after(n, kForEver);
    const size_t purged = ashlar_purge(0);
    os::fail_after(0);
    if (n == 1) {
      EXPECT_EQ(purged, 0U);
    }
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
