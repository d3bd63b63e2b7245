// SPDX-License-Identifier: MIT
//
// growslice_test.cc - the C functions of alloc/slice/growslice.h, and ashlar_expand: growth in place and by moves,
// views, every bad input.
#include "alloc/slice/growslice.h"

#include <errno.h>

#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

ashlar_slice_header append(ashlar_slice_header s, const void* from, size_t num, size_t size) {
  const size_t len = s.len;
  s = ashlar_growslice(s.data, len + num, s.cap, num, size);
  if (s.data != nullptr) memcpy(static_cast<char*>(s.data) + len * size, from, num * size);
  return s;
}

TEST(Growslice, one_at_a_time_keeps_all_and_returns_the_old_blocks) {
  const ashlar_memstats before = stats();
  ashlar_slice_header s = {nullptr, 0, 0};
  for (uint64_t i = 0; i < 300000; ++i) {
    const void* old = s.data;
    const size_t old_cap = s.cap;
    s = append(s, &i, 1, sizeof i);
    ASSERT_NE(s.data, nullptr);
    ASSERT_EQ(s.len, i + 1);
    ASSERT_GE(s.cap, s.len);
    ASSERT_EQ(s.data == old && s.cap == old_cap, i < old_cap) << "without need: " << i;
    if (i % 1000 == 0 || i < 100) {
      ASSERT_EQ(stats().heap_objects, before.heap_objects + 1);
    }
  }
  for (uint64_t i = 0; i < s.len; ++i) ASSERT_EQ(static_cast<uint64_t*>(s.data)[i], i);
  ashlar_free(s.data);
  EXPECT_EQ(stats().heap_objects, before.heap_objects);
}

TEST(Growslice, large_blocks_grow_in_place_while_the_pages_behind_are_free) {
  ashlar_slice_header s = ashlar_growslice(nullptr, 1, 0, 1, 2 * kMiB);
  ASSERT_NE(s.data, nullptr);
  fill(s.data, 2 * kMiB, 1);
  void* const first = s.data;
  for (size_t len = 2; len <= 32; ++len) {
    s = ashlar_growslice(s.data, len, s.cap, 1, 2 * kMiB);
    ASSERT_EQ(s.data, first) << len;
  }
  EXPECT_TRUE(holds(s.data, 2 * kMiB, 1));
  ashlar_free(s.data);
}

TEST(Growslice, large_blocks_that_stand_in_each_others_way_move_with_their_pages) {
  constexpr size_t kPiece = 64 * kKiB;
  ashlar_slice_header s[2] = {};
  const uint64_t frees = stats().frees;
  for (size_t n = 0; n < 1024; ++n) {
    for (auto& one : s) {
      one = ashlar_growslice(one.data, one.len + 1, one.cap, 1, kPiece);
      ASSERT_NE(one.data, nullptr);
      fill(static_cast<char*>(one.data) + n * kPiece, kPiece, n + (&one - s) * 5000);
    }
  }
  for (auto& one : s) {
    for (size_t n = 0; n < one.len; ++n) {
      ASSERT_TRUE(holds(static_cast<char*>(one.data) + n * kPiece, kPiece, n + (&one - s) * 5000)) << n;
    }
    ashlar_free(one.data);
  }
  EXPECT_GT(stats().frees, frees);
}

TEST(Growslice, rest_of_the_object_is_used_before_anything_moves) {
  void* block = ashlar_malloc(1000);
  const size_t usable = ashlar_usable_size(block);
  // A caller that counts only what it asked for. (Between guard pages the object has no rest.)
  const size_t more = usable > 1000 ? usable : 1001;
  const ashlar_slice_header s = ashlar_growslice(block, more, 1000, more - 1000, 1);
  EXPECT_EQ(s.data == block, usable > 1000);
  EXPECT_GE(s.cap, more);
  ashlar_free(s.data);
}

TEST(Growslice, beyond_double_goes_straight_to_what_was_asked) {
  ashlar_slice_header s = ashlar_growslice(nullptr, 10, 0, 10, 8);
  s = ashlar_growslice(s.data, 1000, s.cap, 990, 8);
  EXPECT_EQ(s.cap, ashlar_good_size(8000) / 8);
  ashlar_free(s.data);
}

// ---- bad input --------------------------------------------------------------------------------------

struct BadRow {
  const char* name;
  bool null;
  size_t new_len, cap, num, size;
  int error;
};
constexpr size_t kMax = PTRDIFF_MAX;
constexpr BadRow kBad[] = {
    {"new_len below num: the old length is negative", false, 3, 8, 4, 4, EOVERFLOW},
    {"new_len wrapped", false, 1, 8, SIZE_MAX, 4, EOVERFLOW},
    {"one element too many", false, kMax / 4 + 1, 8, kMax / 4 - 7, 4, EOVERFLOW},
    {"bytes overflow", false, SIZE_MAX / 4 + 2, 8, SIZE_MAX / 4 - 6, 4, EOVERFLOW},
    {"SIZE_MAX elements", false, SIZE_MAX, 8, SIZE_MAX - 8, 1, EOVERFLOW},
    {"one byte more than PTRDIFF_MAX", false, kMax + 1, 8, kMax - 7, 1, EOVERFLOW},
    {"old length above cap", false, 10, 8, 1, 4, EINVAL},
    {"null with a capacity", true, 1, 8, 1, 4, EINVAL},
    {"null with an old length", true, 2, 0, 1, 4, EINVAL},
    {"the largest there may be, but is not", false, kMax, 8, kMax - 8, 1, ENOMEM},
    {"more than the machine has", false, kMax / 16, 8, kMax / 16 - 8, 4, ENOMEM},
};

TEST(Growslice, bad_input_by_table_loses_nothing) {
  for (const BadRow& row : kBad) {
    void* block = ashlar_malloc(32);
    fill(block, 32, 7);
    const ashlar_memstats before = stats();
    errno = 0;
    const ashlar_slice_header s =
        ashlar_growslice(row.null ? nullptr : block, opaque(row.new_len), row.cap, opaque(row.num), row.size);
    EXPECT_EQ(errno, row.error) << row.name;
    EXPECT_EQ(s.data, nullptr) << row.name;
    EXPECT_EQ(s.len, 0U) << row.name;
    EXPECT_EQ(s.cap, 0U) << row.name;
    EXPECT_EQ(stats().heap_objects, before.heap_objects) << row.name;
    EXPECT_TRUE(holds(block, 32, 7)) << row.name;
    ashlar_free(block);
  }
}

TEST(Growslice, success_leaves_errno_alone) {
  errno = 4711;
  ashlar_slice_header s = {nullptr, 0, 0};
  for (size_t n = 1; n < 24; ++n) {
    s = ashlar_growslice(s.data, size_t{1} << n, s.cap, (size_t{1} << n) - s.len, 1);
    ASSERT_NE(s.data, nullptr);
  }
  EXPECT_EQ(errno, 4711);
  ashlar_free(s.data);
}

TEST(Growslice, elements_of_no_size_own_nothing) {
  const uint64_t mallocs = stats().mallocs;
  ashlar_slice_header s = ashlar_growslice(nullptr, 5, 0, 5, 0);
  EXPECT_NE(s.data, nullptr);
  EXPECT_EQ(s.len, 5U);
  EXPECT_EQ(s.cap, 0U);
  s = ashlar_growslice(s.data, SIZE_MAX, s.cap, SIZE_MAX - 5, 0);
  EXPECT_EQ(s.len, SIZE_MAX);
  EXPECT_EQ(stats().mallocs, mallocs);
}

TEST(Growslice, nothing_stays_nothing) {
  const ashlar_slice_header s = ashlar_growslice(nullptr, 0, 0, 0, 8);
  EXPECT_EQ(s.data, nullptr);
  EXPECT_EQ(s.len + s.cap, 0U);
}

// ---- views ------------------------------------------------------------------------------------------

TEST(View, of_foreign_memory_allocates_and_copies_nothing) {
  int array[100];
  for (int i = 0; i < 100; ++i) array[i] = i;
  const uint64_t mallocs = stats().mallocs;
  for (ptrdiff_t n = 0; n <= 100; ++n) {
    const ashlar_slice_header v = ashlar_slice(array, n, sizeof *array);
    ASSERT_EQ(v.data, array);
    ASSERT_EQ(v.len, static_cast<size_t>(n));
    ASSERT_EQ(v.cap, 0U);
  }
  EXPECT_EQ(stats().mallocs, mallocs);
}

TEST(View, bad_input_by_table) {
  char byte = 0;
  struct Row {
    const char* name;
    void* p;
    ptrdiff_t len;
    size_t size;
    int error;
  };
  void* const high = reinterpret_cast<void*>(UINTPTR_MAX - 99);
  for (const Row& row :
       {Row{"negative", &byte, -1, 1, EINVAL}, Row{"most negative", &byte, PTRDIFF_MIN, 1, EINVAL},
        Row{"null and negative", nullptr, -1, 1, EINVAL}, Row{"null with a length", nullptr, 1, 1, EINVAL},
        Row{"null with a length of no size", nullptr, 1, 0, EINVAL},
        Row{"more than PTRDIFF_MAX bytes", &byte, PTRDIFF_MAX / 2 + 1, 2, EOVERFLOW},
        Row{"product wraps", &byte, PTRDIFF_MAX, SIZE_MAX, EOVERFLOW},
        Row{"end of the address space", high, 101, 1, EOVERFLOW}}) {
    errno = 0;
    const ashlar_slice_header v = ashlar_slice(opaque(row.p), opaque(row.len), row.size);
    EXPECT_EQ(errno, row.error) << row.name;
    EXPECT_EQ(v.data, nullptr) << row.name;
    EXPECT_EQ(v.len, 0U) << row.name;
  }
  errno = 0;
  EXPECT_EQ(ashlar_slice(nullptr, 0, 8).data, nullptr);
  EXPECT_EQ(errno, 0) << "the null slice is no error";
  EXPECT_EQ(ashlar_slice(high, 99, 1).len, 99U);
  EXPECT_EQ(ashlar_slice(&byte, PTRDIFF_MAX, 0).len, size_t{PTRDIFF_MAX});
}

TEST(View, growing_copies_and_leaves_the_foreign_memory_alone) {
  std::vector<uint64_t> theirs(1000);
  for (size_t i = 0; i < theirs.size(); ++i) theirs[i] = mix(i);
  const std::vector<uint64_t> before = theirs;
  ashlar_slice_header v = ashlar_slice(theirs.data(), 1000, 8);
  const uint64_t one = 42;
  ashlar_slice_header s = append(v, &one, 1, 8);
  ASSERT_NE(s.data, nullptr);
  EXPECT_NE(s.data, theirs.data());
  EXPECT_EQ(s.len, 1001U);
  EXPECT_GE(s.cap, 1001U);
  EXPECT_EQ(memcmp(s.data, before.data(), 8000), 0);
  EXPECT_EQ(static_cast<uint64_t*>(s.data)[1000], 42U);
  static_cast<uint64_t*>(s.data)[0] = 0;
  EXPECT_EQ(theirs, before);
  // A part of an owned slice is a view, too.
  ashlar_slice_header part = {static_cast<uint64_t*>(s.data) + 10, 5, 0};
  part = append(part, &one, 1, 8);
  ASSERT_NE(part.data, nullptr);
  EXPECT_EQ(static_cast<uint64_t*>(part.data)[4], before[14]);
  EXPECT_EQ(static_cast<uint64_t*>(s.data)[15], before[15]);
  ashlar_free(part.data);
  ashlar_free(s.data);
}

// ---- ashlar_expand ----------------------------------------------------------------------------------

TEST(Expand, of_null_and_within_the_object) {
  EXPECT_EQ(ashlar_expand(nullptr, 0), 0U);
  EXPECT_EQ(ashlar_expand(nullptr, 1), 0U);
  for (size_t size : {1UL, 16UL, 100UL, 1000UL, 30000UL}) {
    void* block = ashlar_malloc(size);
    const size_t usable = ashlar_usable_size(block);
    EXPECT_EQ(ashlar_expand(block, 0), usable);
    EXPECT_EQ(ashlar_expand(block, usable), usable);
    errno = 4711;
    EXPECT_EQ(ashlar_expand(block, usable + 1), 0U);
    EXPECT_EQ(ashlar_expand(block, opaque(SIZE_MAX)), 0U);
    EXPECT_EQ(errno, 4711);
    EXPECT_EQ(ashlar_usable_size(block), usable);
    ashlar_free(block);
  }
}

TEST(Expand, of_a_large_block_takes_the_pages_behind_and_counts_them) {
  void* block = ashlar_malloc(kMiB);
  void* wall = ashlar_malloc(kMiB);
  fill(block, kMiB, 3);
  const ashlar_memstats before = stats();
  // Whichever lies higher may grow at the heap's end, and the lower one not.
  void* const low = block < wall ? block : wall;
  if (static_cast<char*>(low) + kMiB == (block < wall ? wall : block)) {
    EXPECT_EQ(ashlar_expand(low, kMiB + 1), 0U);
  }
  void* const high = block < wall ? wall : block;
  const size_t now = ashlar_expand(high, 3 * kMiB);
  ASSERT_GE(now, 3 * kMiB);
  EXPECT_EQ(ashlar_usable_size(high), now);
  EXPECT_EQ(stats().heap_alloc, before.heap_alloc + now - kMiB);
  EXPECT_EQ(stats().heap_objects, before.heap_objects);
  EXPECT_EQ(ashlar_expand(high, kMiB), now) << "never shrinks";
  EXPECT_EQ(ashlar_expand(high, opaque(size_t{PTRDIFF_MAX})), 0U);
  EXPECT_EQ(ashlar_expand(high, opaque(SIZE_MAX)), 0U);
  memset(high, 0, now);
  EXPECT_TRUE(block == high || holds(block, kMiB, 3));
  ashlar_free(block);
  ashlar_free(wall);
}

TEST(GrowBlock, keeps_alignment_through_every_growth) {
  for (size_t alignment : {32UL, 64UL, 4096UL, 8192UL, 65536UL}) {
    ashlar_block b = {nullptr, 0};
    for (size_t least = 1; least < 4 * kMiB; least = least * 3 + 1) {
      ashlar_block_growth g = {};
      g.block = b.data;
      g.capacity = b.bytes;
      g.used = b.bytes;
      g.least = least > b.bytes ? least : b.bytes + 1;
      g.wanted = g.least;
      g.alignment = alignment;
      if (b.data != nullptr) fill(b.data, b.bytes, 9);
      const ashlar_block next = ashlar_grow_block(&g);
      ASSERT_NE(next.data, nullptr);
      ASSERT_TRUE(is_aligned(next.data, alignment)) << alignment << " " << least;
      ASSERT_GE(next.bytes, g.least);
      ASSERT_LE(next.bytes, ashlar_usable_size(next.data));
      ASSERT_TRUE(b.bytes == 0 || holds_prefix(next.data, b.bytes, b.bytes, 9));
      b = next;
      memset(b.data, 1, b.bytes);
    }
    ashlar_free(b.data);
  }
}

}  // namespace
}  // namespace ashlar_test
