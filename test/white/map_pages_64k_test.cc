// SPDX-License-Identifier: MIT
//
// map_pages_64k_test.cc - map_pages_test.cc on OS pages of 64 KiB.
#include <gtest/gtest.h>

#include "alloc/os/os.h"

namespace {
// Before any test, and so before initialisation.
const bool kForced = (ashlar::os::force_page_bytes(size_t{64} << 10), true);

TEST(Pages, are_of_64_kib) {
  ASSERT_TRUE(kForced);
  EXPECT_EQ(size_t{64} << 10, ashlar::os::page_bytes());
}
}  // namespace

#include "test/white/map_pages_test.cc"  // NOLINT(bugprone-suspicious-include): the tests are the point
