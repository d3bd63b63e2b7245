// SPDX-License-Identifier: MIT
//
// map_memory_test.cc - memory is out in the middle of growth: the operation fails cleanly or goes on without, and the
// map stays whole.
#include <gtest/gtest.h>

#include "alloc/os/os.h"
#include "hash/hash_map.h"

namespace ashlar_test {
namespace {

/// What ships, with an allocator that refuses: the n-th request from now on, and all after it.
struct PoorPlatform : ashlar::hash_core::Platform {
  static inline int until_refusal = -1;  // -1: never
  static bool refuses() {
    if (until_refusal < 0) return false;
    if (until_refusal == 0) return true;
    --until_refusal;
    return false;
  }
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
  static void* zeroed(size_t bytes) noexcept { return refuses() ? nullptr : Platform::zeroed(bytes); }
  static void* allocate(size_t bytes) noexcept { return refuses() ? nullptr : Platform::allocate(bytes); }
};

using Map = ashlar::hash_map<uint64_t, uint64_t, ashlar::hash<uint64_t>, std::equal_to<uint64_t>, PoorPlatform>;

TEST(MapMemory, wherever_memory_is_out_nothing_is_lost_and_the_map_recovers) {
  for (int n = 0; n < 60; ++n) {
    Map map;
    uint64_t in = 0, failed = 0;
    PoorPlatform::until_refusal = n;
    for (uint64_t i = 0; i < 300; ++i) {
      try {
        ASSERT_TRUE(map.insert(i, i));
        ++in;
      } catch (const std::bad_alloc&) {
        ++failed;
        ASSERT_FALSE(map.contains(i)) << "what failed has not happened";
      }
    }
    EXPECT_EQ(in, map.size());
    if (n == 0) {
      EXPECT_EQ(300u, failed);
    }
    // All that succeeded is there; what needs no memory still works.
    uint64_t met = 0;
    map.for_each([&](uint64_t key, uint64_t value) {
      EXPECT_EQ(key, value);
      ++met;
    });
    EXPECT_EQ(in, met);
    PoorPlatform::until_refusal = -1;
    for (uint64_t i = 0; i < 3000; ++i) map.insert(i, i);
    for (uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(i, map.find(i).value()) << n;
    EXPECT_EQ(3000u, map.size());
    EXPECT_GE(map.statistics().slots, 3000u) << "it grew after all";
    PoorPlatform::until_refusal = 0;
    uint64_t erased = 0;
    for (uint64_t i = 0; i < 3000; ++i) {
      try {
        erased += map.remove(i) ? 1 : 0;
      } catch (const std::bad_alloc&) {
        ASSERT_TRUE(map.contains(i));
      }
    }
    EXPECT_EQ(3000u - erased, map.size());
    PoorPlatform::until_refusal = -1;
    map.clear();
    EXPECT_EQ(0u, map.size());
  }
}

TEST(MapMemory, the_kernel_refuses_a_table) {
  ashlar::hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 100'000; ++i) map.insert(i, i);
  ashlar::os::fail_after(1, 1'000'000);
  uint64_t in = 100'000;
  try {
    for (; in < 2'000'000; ++in) map.insert(in, in);
  } catch (const std::bad_alloc&) {
  }
  ashlar::os::fail_after(0);
  EXPECT_EQ(in, map.size());
  for (uint64_t i = 0; i < in; ++i) ASSERT_EQ(i, map.find(i).value());
  for (uint64_t i = in; i < in + 1000; ++i) ASSERT_TRUE(map.insert(i, i));
}

}  // namespace
}  // namespace ashlar_test
