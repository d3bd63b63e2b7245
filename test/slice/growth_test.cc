// SPDX-License-Identifier: MIT
//
// growth_test.cc - the growth policies at every boundary, by table; and what the size classes make of them.
#include "sizeclass/growth.h"

#include <errno.h>
#include <gtest/gtest.h>

#include "alloc/ashlar.h"
#include "alloc/slice/growslice.h"
#include "alloc/slice/slice.h"
#include "sizeclass/rounding.h"

namespace ashlar_test {
namespace {

using ashlar::next_capacity;

constexpr size_t kMax = PTRDIFF_MAX;

struct Row {
  const char* name;
  ashlar::GrowthPolicy policy;
  size_t capacity, needed, element_bytes, expected;
};

constexpr Row kRows[] = {
    // from nothing, for every policy: 1, or what was asked
    {"step from 0", ashlar::grow_by_step, 0, 1, 8, 1},
    {"smooth from 0", ashlar::grow_smoothly, 0, 1, 8, 1},
    {"double from 0", ashlar::grow_twice, 0, 1, 8, 1},
    {"pages from 0", ashlar::grow_by_pages, 0, 1, 8, 1},
    {"0 to 5", ashlar::grow_by_step, 0, 5, 8, 5},
    {"nothing needed", ashlar::grow_by_step, 0, 0, 8, 0},
    {"enough", ashlar::grow_by_step, 10, 10, 8, 10},
    // below the threshold: double; beyond double: what was asked
    {"1", ashlar::grow_by_step, 1, 2, 8, 2},
    {"32", ashlar::grow_by_step, 32, 33, 8, 64},
    {"32, exactly double", ashlar::grow_by_step, 32, 64, 8, 64},
    {"32, beyond double", ashlar::grow_by_step, 32, 65, 8, 65},
    // the step policy's threshold
    {"step 1023", ashlar::grow_by_step, 1023, 1024, 1, 2046},
    {"step 1024", ashlar::grow_by_step, 1024, 1025, 1, 1088},
    {"step 1024, one step", ashlar::grow_by_step, 1024, 1088, 1, 1088},
    {"step 1024, two steps", ashlar::grow_by_step, 1024, 1089, 1, 1152},
    {"step 1024, to double", ashlar::grow_by_step, 1024, 2048, 1, 2048},
    {"step 1024, beyond double", ashlar::grow_by_step, 1024, 2049, 1, 2049},
    {"step 1025", ashlar::grow_by_step, 1025, 1026, 1, 1089},
    {"step 8192", ashlar::grow_by_step, 8192, 8193, 1, 8256},
    // Go's threshold
    {"smooth 255", ashlar::grow_smoothly, 255, 256, 1, 510},
    {"smooth 256", ashlar::grow_smoothly, 256, 257, 1, 512},
    {"smooth 257", ashlar::grow_smoothly, 257, 258, 1, 513},
    {"smooth 512", ashlar::grow_smoothly, 512, 513, 1, 832},
    {"smooth 512, twice", ashlar::grow_smoothly, 512, 1000, 1, 1232},
    {"smooth 10^6", ashlar::grow_smoothly, 1000000, 1000001, 1, 1250192},
    // the default's threshold is in bytes
    {"pages below 1 MiB", ashlar::grow_by_pages, 131071, 131072, 8, 262142},
    {"pages at 1 MiB", ashlar::grow_by_pages, 131072, 131073, 8, 139265},
    {"pages, more than a sixteenth", ashlar::grow_by_pages, 131072, 200000, 8, 200000},
    {"pages of 3 MiB elements", ashlar::grow_by_pages, 1, 2, 3 << 20, 2},
    // the largest capacities, and beyond
    {"largest, double", ashlar::grow_twice, kMax / 2, kMax / 2 + 1, 1, kMax - 1},
    {"double beyond the largest", ashlar::grow_twice, kMax / 2 + 1, kMax / 2 + 2, 1, kMax},
    {"step beyond the largest", ashlar::grow_by_step, kMax - 1, kMax, 1, kMax},
    {"smooth beyond the largest", ashlar::grow_smoothly, kMax - 1, kMax, 1, kMax},
    {"pages beyond the largest", ashlar::grow_by_pages, kMax - 1, kMax, 1, kMax},
    {"largest of 8", ashlar::grow_twice, kMax / 8 - 1, kMax / 8, 8, kMax / 8},
    {"one too many", ashlar::grow_twice, kMax, kMax + 1, 1, 0},
    {"one too many of 8", ashlar::grow_twice, kMax / 8, kMax / 8 + 1, 8, 0},
    {"one too many by step", ashlar::grow_by_step, kMax / 8, kMax / 8 + 1, 8, 0},
    {"one too many, smooth", ashlar::grow_smoothly, kMax / 8, kMax / 8 + 1, 8, 0},
    {"one too many of 24", ashlar::grow_by_pages, 5, kMax / 24 + 1, 24, 0},
    {"SIZE_MAX", ashlar::grow_by_pages, 5, SIZE_MAX, 1, 0},
    {"no size: double", ashlar::grow_twice, SIZE_MAX / 2 + 1, SIZE_MAX, 0, SIZE_MAX},
};

TEST(GrowthPolicies, boundaries_by_table) {
  for (const Row& row : kRows) {
    EXPECT_EQ(next_capacity(row.policy, row.capacity, row.needed, row.element_bytes), row.expected) << row.name;
  }
}

size_t lazy(size_t /*capacity*/, size_t /*needed*/, size_t /*element_bytes*/) {
  return 0;
}
size_t greedy(size_t /*capacity*/, size_t /*needed*/, size_t /*element_bytes*/) {
  return SIZE_MAX;
}

TEST(GrowthPolicies, of_the_user_cannot_lose_elements_or_wrap) {
  EXPECT_EQ(next_capacity(lazy, 10, 11, 8), 11U);
  EXPECT_EQ(next_capacity(greedy, 10, 11, 8), kMax / 8);
  EXPECT_EQ(next_capacity(greedy, 10, 10, 8), 10U);
  ashlar::slice<int, lazy> s;
  for (int i = 0; i < 1000; ++i) s.push_back(i);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(s[static_cast<size_t>(i)], i);
  // The greedy one asks for more than there is: then what is needed must do.
  ashlar::slice<int, greedy> t;
  for (int i = 0; i < 1000; ++i) t.push_back(i);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(t[static_cast<size_t>(i)], i);
}

TEST(GrowthPolicies, all_are_sound_everywhere_near_a_boundary) {
  for (ashlar::GrowthPolicy policy :
       {ashlar::grow_by_step, ashlar::grow_smoothly, ashlar::grow_twice, ashlar::grow_by_pages}) {
    for (size_t element : {1UL, 2UL, 3UL, 8UL, 24UL, 64UL, 1000UL, 1UL << 20, 1UL << 40}) {
      const size_t most = ashlar::max_elements(element);
      for (size_t around : {0UL, 1UL, 16UL, 256UL, 1024UL, 8192UL, (1UL << 20) / element, most / 2, most}) {
        for (size_t capacity = around < 3 ? 0 : around - 3; capacity <= around + 3 && capacity <= most; ++capacity) {
          for (size_t needed : {capacity, capacity + 1, capacity + 2, capacity * 2, capacity * 2 + 1, most, most + 1}) {
            const size_t next = next_capacity(policy, capacity, needed, element);
            if (needed > most) {
              EXPECT_EQ(next, 0U);
              continue;
            }
            EXPECT_GE(next, needed);
            EXPECT_LE(next, most);
            if (needed > capacity && (capacity == 0 || needed > 2 * capacity)) {
              EXPECT_EQ(next, needed);
            }
          }
        }
      }
    }
  }
}

TEST(Rounding, is_what_the_library_gives) {
  for (size_t bytes = 0; bytes < 70000; ++bytes)
    ASSERT_EQ(ashlar::rounded_bytes(bytes), ashlar_good_size(bytes)) << bytes;
  for (size_t bytes : {kMax - 8191, kMax - 1, kMax, kMax + 1, SIZE_MAX}) {
    EXPECT_EQ(ashlar::rounded_bytes(bytes), ashlar_good_size(bytes)) << bytes;
  }
}

// The same growth through the C function, the allocator's rounding included: 32 -> 64, 1024 -> 1088 of 16 bytes: their
// bytes are classes and pages already, but for 1088 * 16 = 17408 -> 18432 bytes, 1152 elements.
TEST(Growslice, capacity_is_the_policy_rounded_to_the_class) {
  struct Case {
    ashlar_growth policy;
    size_t cap, element;
  };
  for (const Case& c :
       {Case{ashlar_growth_step, 32, 16}, Case{ashlar_growth_step, 1024, 16}, Case{ashlar_growth_step, 8192, 16},
        Case{ashlar_growth_step, 8192, 1}, Case{ashlar_growth_smooth, 256, 8}, Case{ashlar_growth_smooth, 4096, 24},
        Case{ashlar_growth_double, 100, 3}, Case{ashlar_growth_pages, 512, 24}}) {
    ashlar_slice_header s = ashlar_growslice_by(c.policy, nullptr, c.cap, 0, c.cap, c.element);
    ASSERT_NE(s.data, nullptr);
    EXPECT_EQ(s.cap, ashlar::rounded_capacity(c.cap, c.element));
    const size_t policy = next_capacity(c.policy, s.cap, s.cap + 1, c.element);
    const size_t expected = ashlar::rounded_capacity(policy, c.element);
    s = ashlar_growslice_by(c.policy, s.data, s.cap + 1, s.cap, s.cap + 1 - s.len, c.element);
    ASSERT_NE(s.data, nullptr);
    EXPECT_EQ(s.cap, expected) << c.cap << " of " << c.element;
    EXPECT_EQ(s.cap * c.element / c.element, s.cap);
    EXPECT_GE(ashlar_usable_size(s.data), s.cap * c.element);
    EXPECT_LT(ashlar_usable_size(s.data) - s.cap * c.element, c.element);
    ashlar_free(s.data);
  }
}

}  // namespace
}  // namespace ashlar_test
