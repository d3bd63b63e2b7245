// SPDX-License-Identifier: MIT
//
// map_pages_test.cc - allocate_pages_zeroed and return_pages, also with OS pages of 64 KiB; releases that retire what
// is left, with no memory.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/ashlar.h"
#include "alloc/epoch_core.h"
#include "alloc/os/os.h"

namespace {

uint64_t live_bytes() {
  static ashlar_memstats stats;
  ashlar_read_memstats(&stats);
  return stats.heap_alloc;
}
bool is_zero(const char* p, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (p[i] != 0) return false;
  return true;
}

TEST(Pages, zeroed_and_returned) {
  ashlar_free(ashlar_malloc(1));
  const uint64_t before = live_bytes();
  const unsigned unaligned = ashlar::os::unaligned_calls();
  for (unsigned fail = 0; fail < 3; ++fail) {
    for (size_t kib = 33; kib < 700; kib += 29) {
      const size_t bytes = kib << 10;
      // Dirty memory at an odd page, with neighbours.
      char* a = static_cast<char*>(ashlar_malloc(40 << 10));
      char* dirty = static_cast<char*>(ashlar_malloc(bytes));
      char* c = static_cast<char*>(ashlar_malloc(40 << 10));
      memset(a, 7, 40 << 10);
      memset(dirty, 7, bytes);
      memset(c, 7, 40 << 10);
      ashlar_free(dirty);
      ashlar::os::fail_after(fail, 1);
      char* p = static_cast<char*>(ashlar::allocate_pages_zeroed(bytes));
      ashlar::os::fail_after(0);
      ASSERT_NE(nullptr, p);
      ASSERT_TRUE(is_zero(p, bytes)) << kib << " " << fail;
      memset(p, 9, bytes);
      ashlar::os::fail_after(fail, 1);
      if (bytes > (40 << 10)) ashlar::return_pages(p, 40 << 10);
      if (bytes > (40 << 10)) ashlar::return_pages(p, 8 << 10);
      ashlar::os::fail_after(0);
      char* q = static_cast<char*>(ashlar_calloc(1, bytes));
      ASSERT_TRUE(is_zero(q, bytes));
      for (size_t i = 0; i < (8 << 10); ++i) ASSERT_EQ(9, p[i]);
      for (size_t i = 0; i < (40 << 10); ++i) ASSERT_EQ(14, a[i] + c[i]);
      for (char* b : {a, c, p, q}) ashlar_free(b);
    }
  }
  EXPECT_EQ(before, live_bytes());
  EXPECT_EQ(unaligned, ashlar::os::unaligned_calls());
}

/// Memory is out when a release retires what is left.
struct Short : ashlar::EpochAtomics {
  using Plain = ashlar::EpochAtomics;
  static constexpr uint32_t kBagBlocks = 126;
  static inline int bags = 1;
  static void heavy_barrier() noexcept {}
  static void* allocate_bag(size_t bytes) noexcept { return bags-- > 0 ? malloc(bytes) : nullptr; }
  static void deallocate_bag(void* p) noexcept {
    ++bags;
    free(p);
  }
  static void* allocate_record(size_t bytes) noexcept { return aligned_alloc(128, (bytes + 127) & ~size_t{127}); }
};
ashlar::EpochCore<Short> core;
ashlar::EpochRecord<Short>* record;
int pieces = 10;
void release_piece(void* p) {
  if (--pieces > 0) core.retire(record, p, size_t{128} << 10, release_piece);
}
TEST(EpochCore, a_release_that_retires_needs_no_memory) {
  record = core.attach(true);
  core.retire(record, &pieces, size_t{1} << 20, release_piece);
  for (int i = 0; i < 100; ++i) core.collect(record);
  EXPECT_EQ(0u, core.leaked());
  EXPECT_EQ(0, pieces);
}

/// A fork stopped a thread between the last place of its open bag and the seal, while it had a rest.
TEST(EpochCore, the_rest_of_a_record_whose_bag_is_full) {
  static ashlar::EpochCore<Short> other;
  static int released = 0;
  Short::bags = 3;
  auto* const stopped = other.attach(true);
  static ashlar::EpochRecord<Short>* owner;
  owner = stopped;
  const auto count = [](void*) { ++released; };
  other.retire(stopped, &released, size_t{128} << 10,
               [](void* p) { other.retire_rest(owner, p, 1, [](void*) { ++released; }); });
  for (int i = 0; i < 4; ++i) other.collect(stopped);
  ASSERT_NE(nullptr, stopped->rest.at);
  other.retire(stopped, &released, 1, count);
  auto* const bag = stopped->open;
  for (; bag->count < Short::kBagBlocks; ++bag->count) bag->blocks[bag->count] = bag->blocks[0];
  other.detach(stopped);
  EXPECT_EQ(Short::kBagBlocks, bag->count) << "nothing behind its end";
  auto* const heir = other.attach(true);
  for (int i = 0; i < 5; ++i) other.collect(heir);
  EXPECT_EQ(static_cast<int>(Short::kBagBlocks) + 1, released);
  EXPECT_EQ(0u, other.leaked());
}

}  // namespace
