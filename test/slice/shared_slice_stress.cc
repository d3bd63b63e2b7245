// SPDX-License-Identifier: MIT
//
// shared_slice_stress.cc - one writer appends, readers check every element that they can see: it is complete, lengths
// never fall, and a look stays whole while buffers are replaced and freed under it. Prints its seed.
// TIMEOUT: 200
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "alloc/slice/shared_slice.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

/// Two words that belong together: a torn or unfinished element shows.
struct Element {
  uint64_t value, check;
};
Element make(uint64_t seed, uint64_t i) {
  const uint64_t v = mix(seed + i);
  return {v, ~v};
}

template <class S>
void hammer(uint64_t seed, size_t count, size_t readers) {
  S s;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0};
  std::atomic<size_t> started{0};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < readers; ++t) {
    threads.emplace_back([&, t] {
      Rng rng(seed + 100 + t);
      size_t longest = 0;
      uint64_t mine = 0;
      while (!done.load(std::memory_order_acquire)) {  // pairs with the release below
        const auto r = s.read();
        if (r.size() < longest) wrong.fetch_add(1, std::memory_order_relaxed);
        longest = r.size();
        // The newest ones, and some of the others; and the same again after a moment.
        for (int pass = 0; pass < 2; ++pass) {
          for (size_t k = 0; k < 20 && k < r.size(); ++k) {
            const size_t i = k < 4 ? r.size() - 1 - k : rng.below(r.size());
            const Element e = r[i];
            const Element expected = make(seed, i);
            if (e.value != expected.value || e.check != expected.check) wrong.fetch_add(1, std::memory_order_relaxed);
          }
          if (rng.one_in(64)) std::this_thread::yield();
        }
        if (mine++ == 0) started.fetch_add(1, std::memory_order_relaxed);
      }
      looks.fetch_add(mine, std::memory_order_relaxed);
    });
  }
  while (started.load(std::memory_order_relaxed) != readers) std::this_thread::yield();
  Rng rng(seed);
  std::vector<void*> walls;
  for (size_t i = 0; i < count;) {
    std::vector<Element> more;
    const size_t n = rng.one_in(10) ? rng.below(50) : 1;
    for (size_t k = 0; k < n; ++k) more.push_back(make(seed, i + k));
    s.append_range(more);
    i += n;
    // Something of others behind the buffer, so that it must move.
    if (rng.one_in(200)) walls.push_back(ashlar_malloc(40000 + rng.below(100000)));
    if (rng.one_in(1000)) std::this_thread::yield();
  }
  done.store(true, std::memory_order_release);
  for (auto& t : threads) t.join();
  for (void* wall : walls) ashlar_free(wall);
  EXPECT_EQ(wrong.load(), 0U);
  EXPECT_GT(looks.load(), 0U);
  const auto r = s.read();
  ASSERT_GE(r.size(), count);
  for (size_t i = 0; i < r.size(); ++i) ASSERT_EQ(r[i].value, mix(seed + i));
}

TEST(SharedSliceStress, readers_see_whole_elements_with_the_barrier) {
  const uint64_t seed = announce_seed();
  for (size_t readers : {1UL, 3UL}) {
    for (size_t round = 0; round < (is_emulated() ? 1U : 10U); ++round) {
      hammer<ashlar::shared_slice<Element>>(mix(seed + round), rounds(500000), readers);
    }
  }
}

// Steps of 64: a buffer is retired every few elements.
TEST(SharedSliceStress, readers_see_whole_elements_while_buffers_change_often) {
  const uint64_t seed = announce_seed();
  for (size_t round = 0; round < (is_emulated() ? 1U : 10U); ++round) {
    hammer<ashlar::shared_slice<Element, ashlar::EpochBarrier, ashlar::grow_by_step>>(mix(seed + round), rounds(100000),
                                                                                      3);
  }
}

TEST(SharedSliceStress, readers_see_whole_elements_without_the_barrier) {
  const uint64_t seed = announce_seed();
  for (size_t round = 0; round < (is_emulated() ? 1U : 10U); ++round) {
    hammer<ashlar::shared_slice<Element, ashlar::NoBarrier>>(mix(seed + round), rounds(500000), 3);
  }
}

}  // namespace
}  // namespace ashlar_test
