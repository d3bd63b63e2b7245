// SPDX-License-Identifier: MIT
//
// api_limits_test.cc - requests that cannot be served: null and ENOMEM, never an abort, the old block untouched.
#include <errno.h>
#include <stdint.h>

#include <iterator>
#include <utility>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

const size_t kTooBig[] = {
    static_cast<size_t>(PTRDIFF_MAX) + 1,
    static_cast<size_t>(PTRDIFF_MAX) + 4097,
    SIZE_MAX - 65536,
    SIZE_MAX - 8191,
    SIZE_MAX - 4095,
    SIZE_MAX - 16,
    SIZE_MAX - 15,
    SIZE_MAX - 1,
    SIZE_MAX,
};

// Below PTRDIFF_MAX, but more than any address space has: the kernel, not the argument check, says no.
const size_t kNoRoom[] = {static_cast<size_t>(PTRDIFF_MAX), static_cast<size_t>(PTRDIFF_MAX) - 15,
                          static_cast<size_t>(PTRDIFF_MAX) - 4096, static_cast<size_t>(1) << 56};

std::vector<size_t> impossible_sizes() {
  std::vector<size_t> sizes(std::begin(kTooBig), std::end(kTooBig));
  sizes.insert(sizes.end(), std::begin(kNoRoom), std::end(kNoRoom));
  return sizes;
}

#define EXPECT_ENOMEM(call)            \
  do {                                 \
    errno = 0;                         \
    EXPECT_EQ((call), nullptr);        \
    EXPECT_EQ(errno, ENOMEM) << #call; \
  } while (0)

TEST(Limits, malloc_of_impossible_sizes_is_enomem) {
  for (size_t size : impossible_sizes()) EXPECT_ENOMEM(ashlar_malloc(opaque(size)));
}

TEST(Limits, padded_of_impossible_sizes_is_enomem) {
  for (size_t size : impossible_sizes()) EXPECT_ENOMEM(ashlar_malloc_padded(opaque(size)));
}

TEST(Limits, calloc_of_impossible_sizes_is_enomem) {
  for (size_t size : impossible_sizes()) {
    EXPECT_ENOMEM(ashlar_calloc(1, opaque(size)));
    EXPECT_ENOMEM(ashlar_calloc(opaque(size), 1));
  }
}

TEST(Limits, calloc_overflow_is_enomem) {
  EXPECT_ENOMEM(ashlar_calloc(SIZE_MAX, 2));
  EXPECT_ENOMEM(ashlar_calloc(2, SIZE_MAX));
  EXPECT_ENOMEM(ashlar_calloc(SIZE_MAX, SIZE_MAX));
  EXPECT_ENOMEM(ashlar_calloc(size_t{1} << 32, size_t{1} << 32));        // wraps to 0
  EXPECT_ENOMEM(ashlar_calloc((size_t{1} << 32) + 1, size_t{1} << 32));  // wraps to 4 GiB
  EXPECT_ENOMEM(ashlar_calloc(size_t{1} << 60, 17));                     // wraps to 2^60
  EXPECT_ENOMEM(ashlar_calloc(SIZE_MAX / 48 + 1, 48));                   // wraps to less than 48
}

TEST(Limits, calloc_by_zero_is_a_block) {
  for (auto [count, size] : {std::pair<size_t, size_t>{0, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}, {0, 8}}) {
    void* block = ashlar_calloc(count, size);
    EXPECT_NE(block, nullptr);
    ashlar_free(block);
  }
}

TEST(Limits, good_size_of_impossible_sizes_is_zero) {
  for (size_t size : kTooBig) EXPECT_EQ(ashlar_good_size(size), 0U) << size;
}

TEST(Limits, aligned_alloc_of_impossible_sizes_is_enomem) {
  for (size_t size : impossible_sizes()) {
    for (size_t alignment : {size_t{1}, size_t{16}, size_t{64}, size_t{4096}, kMiB}) {
      EXPECT_ENOMEM(ashlar_aligned_alloc(alignment, opaque(size)));
    }
  }
}

TEST(Limits, aligned_alloc_of_impossible_alignments_is_enomem) {
  EXPECT_ENOMEM(ashlar_aligned_alloc(opaque(size_t{1} << 63), 16));
  EXPECT_ENOMEM(ashlar_aligned_alloc(opaque(size_t{1} << 62), 16));
  EXPECT_ENOMEM(ashlar_aligned_alloc(opaque(size_t{1} << 62), SIZE_MAX / 2));
}

TEST(Limits, posix_memalign_of_impossible_sizes_returns_enomem_and_touches_nothing) {
  for (size_t size : impossible_sizes()) {
    void* const sentinel = &size;
    void* out = sentinel;
    errno = 4711;
    EXPECT_EQ(ashlar_posix_memalign(&out, 64, opaque(size)), ENOMEM);
    EXPECT_EQ(out, sentinel);
    EXPECT_EQ(errno, 4711);
  }
}

TEST(Limits, realloc_to_impossible_sizes_leaves_the_block) {
  for (size_t old_size : {size_t{1}, size_t{48}, size_t{5000}, kLargestSmall + 1, kMiB, 20 * kMiB}) {
    void* block = ashlar_malloc(old_size);
    ASSERT_NE(block, nullptr);
    fill(block, old_size, 99);
    const size_t usable = ashlar_usable_size(block);
    for (size_t size : impossible_sizes()) EXPECT_ENOMEM(ashlar_realloc(block, opaque(size)));
    EXPECT_EQ(ashlar_usable_size(block), usable);
    EXPECT_TRUE(holds(block, old_size, 99)) << old_size;
    ashlar_free(block);
  }
}

TEST(Limits, realloc_of_null_to_impossible_sizes_is_enomem) {
  for (size_t size : impossible_sizes()) EXPECT_ENOMEM(ashlar_realloc(nullptr, opaque(size)));
}

TEST(Limits, reallocarray_overflow_leaves_the_block) {
  void* block = ashlar_malloc(1000);
  ASSERT_NE(block, nullptr);
  fill(block, 1000, 7);
  EXPECT_ENOMEM(ashlar_reallocarray(block, SIZE_MAX, 2));
  EXPECT_ENOMEM(ashlar_reallocarray(block, size_t{1} << 32, size_t{1} << 32));
  EXPECT_ENOMEM(ashlar_reallocarray(block, (size_t{1} << 32) + 1, size_t{1} << 32));
  EXPECT_ENOMEM(ashlar_reallocarray(block, 1, opaque(SIZE_MAX)));
  EXPECT_ENOMEM(ashlar_reallocarray(nullptr, SIZE_MAX / 2, 3));
  EXPECT_TRUE(holds(block, 1000, 7));
  ashlar_free(block);
}

TEST(Limits, failures_count_no_objects) {
  const ashlar_memstats before = stats();
  for (size_t size : impossible_sizes()) EXPECT_ENOMEM(ashlar_malloc(opaque(size)));
  EXPECT_ENOMEM(ashlar_calloc(SIZE_MAX, 2));
  const ashlar_memstats after = stats();
  EXPECT_EQ(after.mallocs, before.mallocs);
  EXPECT_EQ(after.frees, before.frees);
  EXPECT_EQ(after.heap_objects, before.heap_objects);
}

}  // namespace
}  // namespace ashlar_test
