// SPDX-License-Identifier: MIT
//
// map_bulk_test.cc - bulk_find: says of each key what find says, in the order of the keys, in all modes, for all
// lengths about the distance that it looks ahead, while others write, and while its callback does.
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "hash/hash_map.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

using ashlar::hash_map;

struct Key16 {
  uint64_t a, b;
  bool operator==(const Key16& other) const { return a == other.a && b == other.b; }
};
struct Key16Hash {
  size_t operator()(const Key16& key) const { return key.a * 31 + key.b; }
};
struct FewHashes {
  size_t operator()(uint64_t key) const { return key & 3; }
};
struct FewTextHashes {
  size_t operator()(const std::string& key) const { return key.size(); }
};

struct SameEq {  // as ==, but nobody knows
  bool operator()(uint64_t a, uint64_t b) const { return a == b; }
};

template <class T>
T make(uint64_t n) {
  if constexpr (std::is_same_v<T, std::string>)
    return "text " + std::to_string(n) + std::string(n % 20, 'x');
  else if constexpr (std::is_same_v<T, Key16>)
    return {n, ~n};
  else
    return static_cast<T>(n);
}

template <class Map>
void agrees_with_find() {
  using K = typename Map::key_type;
  using V = typename Map::mapped_type;
  std::mt19937_64 random(announce_seed());
  for (const uint64_t entries : {0, 1, 8, 100, 5000}) {
    Map map;
    for (uint64_t i = 0; i < entries; ++i) map.insert(make<K>(2 * i), make<V>(3 * i));
    for (const size_t n : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 500}) {
      std::vector<K> keys;  // half of them there, some more than once
      for (size_t i = 0; i < n; ++i) keys.push_back(make<K>(random() % (2 * entries + 3)));
      size_t next = 0;
      map.bulk_find(keys.data(), n, [&](size_t i, const V* value) {
        ASSERT_EQ(next++, i);
        const std::optional<V> wanted = map.find(keys[i]);
        ASSERT_EQ(wanted.has_value(), value != nullptr);
        if (value != nullptr) {
          ASSERT_EQ(*wanted, *value);
        }
      });
      ASSERT_EQ(n, next);
    }
  }
}

TEST(MapBulk, agrees_with_find) {
  agrees_with_find<hash_map<uint64_t, uint64_t>>();
  agrees_with_find<hash_map<uint32_t, uint8_t>>();
  agrees_with_find<hash_map<uint64_t, uint64_t, ashlar::hash<uint64_t>, SameEq>>();
  agrees_with_find<hash_map<uint64_t, std::string>>();
  agrees_with_find<hash_map<Key16, uint64_t, Key16Hash>>();
  agrees_with_find<hash_map<std::string, uint64_t>>();
  agrees_with_find<hash_map<std::string, std::string>>();
}

TEST(MapBulk, agrees_with_find_where_hashes_collide) {
  agrees_with_find<hash_map<uint64_t, uint64_t, FewHashes>>();
  agrees_with_find<hash_map<std::string, uint64_t, FewTextHashes>>();
}

/// Chunks of one unit: most of the finds meet a table that migrates.
struct SmallSteps : ashlar::hash_core::Platform {
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
};

template <class K, class Hash>
void finds_what_stays_while_others_write() {
  constexpr uint64_t kStay = 300, kMost = 20'000;
  for (unsigned round = 0; round < 5; ++round) {
    hash_map<K, uint64_t, Hash, std::equal_to<K>, SmallSteps> map;
    for (uint64_t i = 0; i < kStay; ++i) map.insert(make<K>(2 * i), i + 1);
    std::vector<K> keys;
    for (uint64_t i = 0; i < 2 * kStay; ++i) keys.push_back(make<K>(i));
    std::atomic<bool> over{false};
    std::atomic<uint64_t> runs{0};
    std::thread writer([&] {
      do {  // until it was read often enough meanwhile
        for (uint64_t i = 0; i < kMost; ++i) map.insert(make<K>(2 * i + 1), ~i);
        for (uint64_t i = 0; i < kMost; ++i) map.remove(make<K>(2 * i + 1));
      } while (runs < 20);
      over = true;
    });
    uint64_t calls = 0;
    do {
      map.bulk_find(keys.data(), keys.size(), [&](size_t i, const uint64_t* value) {
        ++calls;
        if (i % 2 == 0) {
          ASSERT_NE(nullptr, value) << i;
          ASSERT_EQ(i / 2 + 1, *value);
        } else if (value != nullptr) {
          ASSERT_EQ(~(i / 2), *value);
        }
      });
      ++runs;
    } while (!over);
    writer.join();
    EXPECT_EQ(runs * keys.size(), calls);
    EXPECT_LT(0u, map.statistics().growths);
  }
  EXPECT_EQ(0, ashlar_epoch_synchronize());  // what was removed is destroyed
}

TEST(MapBulk, finds_what_stays_while_others_write) {
  finds_what_stays_while_others_write<uint64_t, ashlar::hash<uint64_t>>();
  finds_what_stays_while_others_write<std::string, ashlar::hash<std::string>>();
}

/// What was asked for ahead is not what is answered: each key is looked up when it is its turn.
TEST(MapBulk, a_callback_may_change_the_map) {
  hash_map<std::string, uint64_t> map;
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < 1000; ++i) keys.push_back(make<std::string>(i));
  for (uint64_t i = 0; i < 1000; i += 2) map.insert(keys[i], i);
  map.bulk_find(keys.data(), keys.size(), [&](size_t i, const uint64_t* value) {
    // Each answer removes or adds the next one.
    ASSERT_EQ(i % 4 == 0 || i % 4 == 3, value != nullptr) << i;
    if (i + 1 == keys.size()) return;
    if (i % 4 == 1)
      map.remove(keys[i + 1]);
    else if (i % 4 == 2)
      map.insert_or_assign(keys[i + 1], 1);
  });
  EXPECT_EQ(0, ashlar_epoch_synchronize());  // what was removed is destroyed
}

}  // namespace
}  // namespace ashlar_test
