// SPDX-License-Identifier: MIT
//
// map_poison_stress.cc - nobody looks at, or writes to, memory that the map has freed: tables, overflow blocks,
// entries.
//
// poison.h has the platform. The test of the test frees at once what it should retire.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "hash/hash_map.h"
#include "test/alloc/stress_util.h"
#include "test/hash/poison.h"

namespace ashlar_test {
namespace {

template <class K, class V>
using Map = ashlar::hash_map<K, V, ashlar::hash<K>, std::equal_to<K>, PoisonPlatform>;

/// Threads that fill and empty a map of `keys` keys, so that it grows and shrinks, and look at each other's. The number
/// of values that nobody has written.
template <class Key, class Make>
uint64_t churn(uint64_t seed, uint64_t keys, uint64_t rounds, Make&& make) {
  constexpr unsigned kThreads = 8;
  Map<Key, Key> map;
  std::atomic<uint64_t> bad{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Rng rng(seed + t);
      for (uint64_t round = 0; round < rounds; ++round) {
        for (uint64_t i = t; i < keys; i += kThreads) {
          map.insert_or_assign(make(i), make(i));
          const Key other = make(rng.below(keys));
          map.visit(other, [&](const Key& value) { bad += value == other ? 0 : 1; });
        }
        for (uint64_t i = t; i < keys; i += kThreads) {
          if (!map.remove(make(i))) ++bad;
        }
        if (t == 0) map.shrink_to_fit();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return bad;
}

/// Both kinds of entries in a process of its own, which may crash. Whether all was well.
bool is_clean(uint64_t seed, bool early) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(200);
    PoisonPlatform::early = early;
    const uint64_t rounds = early ? 40 : 8;
    uint64_t bad = 0;
    // Up to 8192 buckets, 512 KiB: such a table is given back in pieces.
    bad += churn<uint64_t>(seed, 20'000, rounds / 2, [](uint64_t i) { return i; });
    bad += churn<uint64_t>(seed, 300, 30 * rounds, [](uint64_t i) { return i; });
    bad +=
        churn<std::string>(seed, 300, 30 * rounds, [](uint64_t i) { return std::string(40, 'k') + std::to_string(i); });
    ashlar_epoch_synchronize();
    PoisonPlatform::let_all_go();
    if (!early)
      printf("freed %lu, written after %lu, wrong %lu\n", PoisonPlatform::freed.load(), PoisonPlatform::written.load(),
             bad);
    fflush(stdout);
    _exit(bad == 0 && PoisonPlatform::written == 0 && PoisonPlatform::freed > 1000 ? 0 : 1);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(MapPoison, nobody_uses_what_was_freed) {
  EXPECT_TRUE(is_clean(announce_seed(), false));
}

// The test of the test.
TEST(MapPoison, memory_that_is_freed_at_once_instead_of_retired_is_found) {
  EXPECT_FALSE(is_clean(announce_seed(), true));
}

}  // namespace
}  // namespace ashlar_test
