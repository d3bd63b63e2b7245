// SPDX-License-Identifier: MIT
//
// map_refusal_stress.cc - maps whose memory is refused now and then, while they grow and shrink by all means; what they
// free is poisoned (poison.h). Threads own the keys congruent to them, and know what each must hold.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "hash/hash_map.h"
#include "test/alloc/stress_util.h"
#include "test/hash/poison.h"

namespace ashlar_test {
namespace {

/// Small enough that some migrations are done at once, others in steps.
struct Platform : PoisonPlatform {
  static constexpr uint64_t kChunkUnits = 2;
  static constexpr uint64_t kAtOnceUnits = 16;
};

struct Big {
  uint64_t a, b;
  bool operator==(const Big& o) const { return a == o.a && b == o.b; }
};
struct BigHash {
  size_t operator()(const Big& k) const { return k.a; }
};
struct Weak {  // few hashes: large overflow blocks
  size_t operator()(uint64_t k) const { return k % 97; }
};

template <class Map, class MakeKey, class MakeValue>
uint64_t own(uint64_t seed, uint64_t total, unsigned refuse, MakeKey&& key_of, MakeValue&& value_of) {
  constexpr unsigned kThreads = 6;
  constexpr uint64_t kKeys = 400;
  std::atomic<uint64_t> bad{0}, oom{0};
  for (uint64_t round = 0; round < total / 60'000 + 1; ++round) {
    Platform::refuses = refuse;
    auto* map = new Map;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        Rng rng(seed + t + round * 100);
        std::vector<uint64_t> mine(kKeys);
        for (uint64_t i = 1; i < 10'000; ++i) {
          const uint64_t k = rng.below(kKeys), id = k * kThreads + t;
          const auto key = key_of(id);
          try {
            switch (rng.below(8)) {
              case 0:
              case 1:
                if (map->insert(key, value_of(i)) != (mine[k] == 0)) ++bad;
                if (mine[k] == 0) mine[k] = i;
                break;
              case 2:
                if (map->insert_or_assign(key, value_of(i)) != (mine[k] == 0)) ++bad;
                mine[k] = i;
                break;
              case 3:
              case 4: {
                if ((i / 1500) % 2 == 0 && rng.below(4) != 0) break;
                const auto old = map->erase(key);
                if (old.has_value() != (mine[k] != 0) || (old.has_value() && *old != value_of(mine[k]))) ++bad;
                mine[k] = 0;
                break;
              }
              case 5:
                if (rng.below(60) == 0) map->reserve(rng.below(30'000));
                if (rng.below(40) == 0) map->shrink_to_fit();
                [[fallthrough]];
              default: {
                const auto found = map->find(key);
                if (found.has_value() != (mine[k] != 0) || (found.has_value() && *found != value_of(mine[k]))) ++bad;
              }
            }
          } catch (const std::bad_alloc&) {
            ++oom;
            const auto found = map->find(key);
            if (found.has_value() != (mine[k] != 0) || (found.has_value() && *found != value_of(mine[k]))) ++bad;
          }
        }
        for (uint64_t k = 0; k < kKeys; ++k) {
          const auto found = map->find(key_of(k * kThreads + t));
          if (found.has_value() != (mine[k] != 0) || (found.has_value() && *found != value_of(mine[k]))) ++bad;
        }
      });
    }
    for (std::thread& t : threads) t.join();
    uint64_t met = 0;
    map->for_each([&](const auto&, const auto&) { ++met; });
    if (met != map->size()) ++bad;
    Platform::refuses = 0;
    delete map;
  }
  EXPECT_EQ(refuse != 0, oom != 0);
  return bad;
}

TEST(MapRefusals, each_thread_knows_what_its_keys_hold) {
  const uint64_t seed = announce_seed();
  const uint64_t total = rounds(200'000);
  using P = Platform;
  using ashlar::hash_map;
  const auto same = [](uint64_t i) { return i; };
  const auto text = [](uint64_t i) { return std::string(40, 'k') + std::to_string(i); };
  for (unsigned refuse : {0u, 200u, 10u}) {
    EXPECT_EQ(0u, (own<hash_map<uint64_t, uint64_t, ashlar::hash<uint64_t>, std::equal_to<uint64_t>, P>>(
                      seed, total, refuse, same, same)));
    EXPECT_EQ(
        0u, (own<hash_map<uint64_t, uint64_t, Weak, std::equal_to<uint64_t>, P>>(seed, total / 4, refuse, same, same)));
    EXPECT_EQ(0u, (own<hash_map<std::string, std::string, ashlar::hash<std::string>, std::equal_to<std::string>, P>>(
                      seed, total / 2, refuse, text, text)));
    EXPECT_EQ(0u, (own<hash_map<Big, std::string, BigHash, std::equal_to<Big>, P>>(
                      seed, total / 2, refuse,
                      [](uint64_t i) {
                        return Big{i, ~i};
                      },
                      text)));
  }
  ashlar_epoch_synchronize();
  P::let_all_go();
  EXPECT_GT(P::freed.load(), 1000u);
  EXPECT_EQ(0u, P::written.load());
}

}  // namespace
}  // namespace ashlar_test
