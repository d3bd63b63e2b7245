// SPDX-License-Identifier: MIT
//
// shared_slice_test.cc - shared_slice<T> by one thread: what readers see, what is retired and freed, errors.
#include "alloc/slice/shared_slice.h"

#include <gtest/gtest.h>

#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

using ashlar::NoBarrier;
using ashlar::shared_slice;
using ashlar::slice_view;

template <class S>
class SharedSlice : public testing::Test {};
using Kinds = testing::Types<shared_slice<uint64_t>, shared_slice<uint64_t, NoBarrier>,
                             shared_slice<uint64_t, ashlar::EpochBarrier, ashlar::grow_by_step>>;
TYPED_TEST_SUITE(SharedSlice, Kinds);

TYPED_TEST(SharedSlice, holds_what_was_appended) {
  const ashlar_memstats before = stats();
  {
    TypeParam s;
    EXPECT_EQ(s.size(), 0U);
    EXPECT_TRUE(s.read().empty());
    std::vector<uint64_t> model;
    Rng rng(announce_seed());
    for (size_t i = 0; i < rounds(2000); ++i) {
      std::vector<uint64_t> more(rng.one_in(3) ? rng.below(100) : 1);
      for (uint64_t& v : more) v = rng.next();
      if (more.size() == 1) {
        s.append(more[0]);
      } else {
        s.append_range(more);
      }
      model.insert(model.end(), more.begin(), more.end());
      const auto r = s.read();
      ASSERT_EQ(r.size(), model.size());
      ASSERT_TRUE(i % 50 != 0 || std::equal(r.begin(), r.end(), model.begin()));
    }
    const auto r = s.read();
    ASSERT_TRUE(std::equal(r.begin(), r.end(), model.begin()));
    ASSERT_EQ(r.view().size(), model.size());
  }
  ashlar_epoch_synchronize();
  EXPECT_LE(stats().heap_alloc, before.heap_alloc + 64 * kKiB);  // a bag of the epochs stays with the thread
}

TYPED_TEST(SharedSlice, an_old_look_stays_whole_while_the_slice_grows) {
  TypeParam s;
  for (uint64_t i = 0; i < 100; ++i) s.append(mix(i));
  const auto old = s.read();
  for (uint64_t i = 100; i < 100000; ++i) s.append(mix(i));
  ASSERT_EQ(old.size(), 100U);
  for (size_t i = 0; i < 100; ++i) ASSERT_EQ(old[i], mix(i));
  ASSERT_EQ(s.size(), 100000U);
}

TYPED_TEST(SharedSlice, appends_its_own_elements) {
  TypeParam s;
  s.append(7);
  for (int i = 0; i < 12; ++i) {
    const auto r = s.read();
    s.append_range(r.view());
  }
  ASSERT_EQ(s.size(), 4096U);
  for (uint64_t v : s.read()) ASSERT_EQ(v, 7U);
}

TEST(SharedSlices, old_buffers_are_freed_when_the_last_look_ends) {
  ashlar_epoch_synchronize();
  const ashlar_memstats before = stats();
  {
    shared_slice<uint64_t, ashlar::EpochBarrier, ashlar::grow_by_step> s;
    // A wall behind each buffer, so that none grows in place: every growth retires one.
    std::vector<void*> walls;
    for (uint64_t i = 0; i < 20000; ++i) {
      const size_t size = s.size();
      s.append(i);
      if (size % 1024 == 0) walls.push_back(ashlar_malloc(40000));
    }
    for (void* wall : walls) ashlar_free(wall);
    ashlar_epoch_synchronize();
    ashlar_epoch_statistics e;
    ashlar_epoch_stats(&e);
    EXPECT_EQ(e.retired_blocks, 0U);
    EXPECT_LE(stats().heap_alloc, before.heap_alloc + 400 * kKiB);
  }
  ashlar_epoch_synchronize();
  EXPECT_LE(stats().heap_alloc, before.heap_alloc + 64 * kKiB);
}

TEST(SharedSlices, an_error_changes_nothing) {
  shared_slice<uint64_t> s;
  s.append(1);
  uint64_t element = 0;
  const std::span<const uint64_t> huge(&element, opaque(size_t{PTRDIFF_MAX} / 8));
  EXPECT_THROW(s.append_range(slice_view<const uint64_t>(huge)), std::exception);
  const std::span<const uint64_t> large(&element, opaque(size_t{1} << 50));
  EXPECT_THROW(s.append_range(slice_view<const uint64_t>(large)), std::bad_alloc);
  ASSERT_EQ(s.size(), 1U);
  EXPECT_EQ(s.read()[0], 1U);
}

struct alignas(256) Wide {
  uint64_t value;
};

TEST(SharedSlices, keep_alignment) {
  shared_slice<Wide> s;
  for (uint64_t i = 0; i < 3000; ++i) {
    s.append({i});
    ASSERT_TRUE(is_aligned(s.read().begin(), 256));
  }
  for (uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(s.read()[i].value, i);
}

}  // namespace
}  // namespace ashlar_test
