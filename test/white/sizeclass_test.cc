// SPDX-License-Identifier: MIT
//
// sizeclass_test.cc - the tables of sizeclass.h, walked for every size, every class and every object of a span.
#include "sizeclass/sizeclass.h"

#include <gtest/gtest.h>

namespace ashlar {
namespace {

TEST(SizeClass, every_size_has_the_smallest_class_that_holds_it) {
  for (size_t size = 0; size <= kMaxSmallBytes; ++size) {
    const ClassIndex c = class_of_size(size);
    ASSERT_LT(c, kNumClasses) << size;
    ASSERT_GE(class_bytes(c), size == 0 ? 1 : size);
    if (c > 0 && size > 0) {
      ASSERT_LT(class_bytes(c - 1), size);
    }
  }
}

TEST(SizeClass, every_size_above_128_wastes_at_most_an_eighth) {
  for (size_t size = 129; size <= kMaxSmallBytes; ++size) {
    const size_t bytes = class_bytes(class_of_size(size));
    ASSERT_LE((bytes - size) * 8, bytes) << size;
  }
}

TEST(SizeClass, every_class_is_a_multiple_of_16_and_spans_hold_what_they_say) {
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    const ClassInfo& info = class_info(c);
    EXPECT_EQ(info.bytes % kMinAlign, 0U);
    EXPECT_EQ(info.span_pages * kPageBytes / info.bytes, info.span_objects);
    EXPECT_LE(info.span_objects, kMaxSpanObjects);
    EXPECT_GE(info.cache_slots, 2 * info.batch);
  }
}

TEST(SizeClass, every_byte_of_a_span_belongs_to_the_object_that_the_division_gives) {
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    const ClassInfo& info = class_info(c);
    for (size_t offset = 0; offset < info.span_pages * kPageBytes; ++offset) {
      ASSERT_EQ(object_index(c, offset), offset / info.bytes) << "class " << c << ", offset " << offset;
    }
  }
}

}  // namespace
}  // namespace ashlar
