// SPDX-License-Identifier: MIT
//
// map_test.cc - hash_map in one thread: against std::unordered_map with good and bad hashes, its modes, its limits,
// walks. The behaviours are those that the tests of Go's map and of internal/sync's HashTrieMap ask for.
#include "hash/hash_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

using ashlar::hash_map;
using ashlar::hash_core::Mode;

struct ConstantHash {
  size_t operator()(uint64_t /*key*/) const { return 7; }
};
struct TruncatedHash {
  size_t operator()(uint64_t key) const { return key & 3; }
};
struct HighBitsHash {
  size_t operator()(uint64_t key) const { return key << 56; }
};

struct Big {
  uint64_t a[5];
  bool operator==(const Big& other) const { return memcmp(a, other.a, sizeof a) == 0; }
};
struct Key16 {
  uint64_t a, b;
  bool operator==(const Key16& other) const { return a == other.a && b == other.b; }
};
struct Key16Hash {
  size_t operator()(const Key16& k) const { return k.a * 31 + k.b; }
};
struct Nothing {
  bool operator==(const Nothing&) const { return true; }
};

template <class T>
T make(uint64_t n);
template <>
uint64_t make(uint64_t n) {
  return n;
}
template <>
uint16_t make(uint64_t n) {
  return static_cast<uint16_t>(n);
}
template <>
std::string make(uint64_t n) {
  return std::string(n % 40, 'x') + std::to_string(n);
}
template <>
Big make(uint64_t n) {
  return {{n, n + 1, n * 3, ~n, 5}};
}
template <>
Key16 make(uint64_t n) {
  return {n & 7, n};
}

/// The same random operations on the map and on std::unordered_map; every answer and, now and then, the whole contents
/// must agree.
template <class K, class V, class Hash, class StdHash>
void compare_with_std(uint64_t seed, int operations, uint64_t keys) {
  SCOPED_TRACE(seed);
  Rng rng(seed);
  hash_map<K, V, Hash> map(static_cast<int64_t>(rng.below(100)));
  std::unordered_map<K, V, StdHash> model;
  for (int i = 0; i < operations; ++i) {
    // Phases of growing and of shrinking.
    const bool shrinking = (i / (operations / 8 + 1)) % 2 == 1;
    const K key = make<K>(rng.below(keys));
    V value = make<V>(rng.below(1000));
    unsigned op = static_cast<unsigned>(rng.below(12));
    if (shrinking && op < 4) op = 5;
    const auto at = model.find(key);
    const bool there = at != model.end();
    switch (op) {
      case 0:
      case 1:
        ASSERT_EQ(!there, map.insert(key, value));
        model.emplace(key, value);
        break;
      case 2:
      case 3:
        ASSERT_EQ(!there, map.insert_or_assign(key, value));
        model.insert_or_assign(key, value);
        break;
      case 4:
        ASSERT_EQ(!there, map.upsert(key, [&](const V* old) {
          EXPECT_EQ(there, old != nullptr);
          if (old != nullptr) {
            EXPECT_EQ(at->second, *old);
          }
          return value;
        }));
        model.insert_or_assign(key, value);
        break;
      case 5: {
        const std::optional<V> erased = map.erase(key);
        ASSERT_EQ(there, erased.has_value());
        if (there) {
          ASSERT_EQ(at->second, *erased);
          model.erase(at);
        }
        break;
      }
      case 6: {
        const V expected = there && rng.below(2) == 0 ? at->second : make<V>(2000);
        const bool swapped = map.compare_exchange(key, expected, value);
        ASSERT_EQ(there && at->second == expected, swapped);
        if (swapped) at->second = value;
        break;
      }
      case 7: {
        const bool want = rng.below(2) == 0;
        ASSERT_EQ(there && want, map.erase_if(key, [&](const V& v) {
          EXPECT_EQ(at->second, v);
          return want;
        }));
        if (there && want) model.erase(at);
        break;
      }
      default: {
        const std::optional<V> found = map.find(key);
        ASSERT_EQ(there, found.has_value());
        ASSERT_EQ(there, map.contains(key));
        if (there) {
          ASSERT_EQ(at->second, *found);
        }
      }
    }
    ASSERT_EQ(model.size(), map.size());
    if (i % (operations / 5 + 1) == 0 || i == operations - 1) {
      std::unordered_map<K, V, StdHash> seen;
      map.for_each([&](const K& k, const V& v) { ASSERT_TRUE(seen.emplace(k, v).second) << "met twice"; });
      ASSERT_TRUE(seen == model);
    }
  }
  map.clear();
  ASSERT_EQ(0u, map.size());
}

TEST(MapModel, inline_mode_agrees_with_std) {
  const uint64_t seed = announce_seed();
  using Map = hash_map<uint64_t, uint64_t>;
  static_assert(Map::kMode == Mode::kInline);
  compare_with_std<uint64_t, uint64_t, ashlar::hash<uint64_t>, std::hash<uint64_t>>(seed, 200'000, 20'000);
  compare_with_std<uint64_t, uint64_t, ashlar::hash<uint64_t>, std::hash<uint64_t>>(seed + 1, 100'000, 50);
  compare_with_std<uint16_t, uint16_t, ashlar::hash<uint16_t>, std::hash<uint16_t>>(seed + 2, 100'000, 5'000);
}

TEST(MapModel, bad_hashes_agree_with_std) {
  const uint64_t seed = announce_seed();
  compare_with_std<uint64_t, uint64_t, ConstantHash, std::hash<uint64_t>>(seed, 20'000, 300);
  compare_with_std<uint64_t, uint64_t, TruncatedHash, std::hash<uint64_t>>(seed + 1, 40'000, 1'000);
  compare_with_std<uint64_t, uint64_t, HighBitsHash, std::hash<uint64_t>>(seed + 2, 40'000, 2'000);
}

TEST(MapModel, boxed_modes_agree_with_std) {
  const uint64_t seed = announce_seed();
  static_assert(hash_map<uint64_t, Big>::kMode == Mode::kBoxed);
  static_assert(hash_map<Key16, uint64_t, Key16Hash>::kMode == Mode::kBoxed);
  compare_with_std<uint64_t, Big, ashlar::hash<uint64_t>, std::hash<uint64_t>>(seed, 60'000, 5'000);
  compare_with_std<uint64_t, std::string, ashlar::hash<uint64_t>, std::hash<uint64_t>>(seed + 1, 60'000, 5'000);
  compare_with_std<Key16, uint64_t, Key16Hash, Key16Hash>(seed + 2, 60'000, 5'000);
}

TEST(MapModel, entry_mode_agrees_with_std) {
  const uint64_t seed = announce_seed();
  static_assert(hash_map<std::string, std::string>::kMode == Mode::kEntry);
  compare_with_std<std::string, std::string, ashlar::hash<std::string>, std::hash<std::string>>(seed, 60'000, 5'000);
  compare_with_std<std::string, uint64_t, ashlar::hash<std::string>, std::hash<std::string>>(seed + 1, 60'000, 50);
}

// ---- bounds ---------------------------------------------------------------------------------------------------------

TEST(Map, a_size_out_of_range_is_an_error) {
  using Map = hash_map<uint64_t, uint64_t>;
  EXPECT_THROW(Map(-1), std::length_error);
  EXPECT_THROW(Map(INT64_MIN), std::length_error);
  EXPECT_THROW(Map(INT64_MAX), std::length_error);
  EXPECT_THROW(Map(int64_t{1} << 41), std::length_error);
  try {
    const Map map(-5);
    FAIL();
  } catch (const std::length_error& e) {
    EXPECT_STREQ("makemap: size out of range", e.what());
  }
  Map map;
  EXPECT_THROW(map.reserve(~size_t{0}), std::length_error);
}

TEST(Map, hints_of_2_to_31_and_more_are_not_truncated) {
  // Nothing is touched, nor allocated, before the first entry.
  const hash_map<uint64_t, uint64_t> map(int64_t{1} << 33);
  EXPECT_EQ(0u, map.statistics().buckets);
  EXPECT_FALSE(map.contains(1));
}

TEST(Map, an_empty_map_is_two_lines_and_allocates_nothing) {
  EXPECT_EQ(128u, sizeof(hash_map<uint64_t, uint64_t>));
  EXPECT_EQ(128u, sizeof(hash_map<std::string, std::string>));
  ashlar_memstats before, after;
  ashlar_read_memstats(&before);
  {
    hash_map<uint64_t, uint64_t> map(100);
    EXPECT_FALSE(map.find(1).has_value());
    EXPECT_FALSE(map.erase(1).has_value() && true);
    map.for_each([](uint64_t, uint64_t) { FAIL(); });
    EXPECT_EQ(0u, map.size());
  }
  ashlar_read_memstats(&after);
  EXPECT_LE(after.mallocs - before.mallocs, 1u) << "erase makes the first table";
}

TEST(Map, a_hint_makes_room_that_needs_no_growth) {
  for (const int64_t hint : {1, 2, 3, 7, 100, 1000, 12345}) {
    hash_map<uint64_t, uint64_t> map(hint);
    for (int64_t i = 0; i < hint; ++i) map.insert(static_cast<uint64_t>(i), 1);
    EXPECT_EQ(0u, map.statistics().growths) << hint;
  }
}

TEST(Map, memory_of_tiny_maps_is_small) {
  hash_map<uint64_t, uint64_t> map;
  map.insert(1, 1);
  for (uint64_t i = 0; i < 5; ++i) map.insert(i, i);
  EXPECT_LE(map.statistics().bytes, 128u + 256u);
}

// ---- keys and values ------------------------------------------------------------------------------------------------

TEST(Map, keys_that_equal_nothing_are_iterated_but_not_found) {
  hash_map<double, int> map;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(map.insert(std::nan(""), i));
  EXPECT_EQ(100u, map.size());
  EXPECT_FALSE(map.find(std::nan("")).has_value());
  std::set<int> values;
  map.for_each([&](double key, int value) {
    EXPECT_TRUE(std::isnan(key));
    values.insert(value);
  });
  EXPECT_EQ(100u, values.size());
  map.insert(1.5, 7);
  EXPECT_EQ(7, map.find(1.5).value());
  map.clear();
  EXPECT_EQ(0u, map.size());
}

TEST(Map, equal_keys_of_different_bytes_are_one_key) {
  hash_map<double, int> map;
  EXPECT_TRUE(map.insert(0.0, 1));
  EXPECT_FALSE(map.insert(-0.0, 2));
  EXPECT_EQ(1, map.find(-0.0).value());
}

TEST(Map, values_of_no_size) {
  hash_map<uint64_t, Nothing> set;
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_TRUE(set.insert(i, Nothing{}));
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_TRUE(set.contains(i));
  EXPECT_TRUE(set.erase(5).has_value());
  EXPECT_EQ(999u, set.size());
}

TEST(Map, values_that_can_only_be_moved) {
  hash_map<std::string, std::unique_ptr<int>> map;
  EXPECT_TRUE(map.insert("a", std::make_unique<int>(1)));
  EXPECT_TRUE(map.try_emplace("b", new int(2)));
  EXPECT_FALSE(map.try_emplace("b", nullptr));
  EXPECT_TRUE(map.visit("b", [](const std::unique_ptr<int>& p) { EXPECT_EQ(2, *p); }));
  EXPECT_FALSE(map.insert_or_assign("a", std::make_unique<int>(3)));
  EXPECT_TRUE(map.visit("a", [](const std::unique_ptr<int>& p) { EXPECT_EQ(3, *p); }));
  EXPECT_TRUE(map.remove("a"));
  EXPECT_FALSE(map.remove("a"));
}

TEST(Map, an_argument_is_not_consumed_where_the_key_was_there) {
  hash_map<int, std::unique_ptr<int>> map;
  map.insert(1, std::make_unique<int>(1));
  auto value = std::make_unique<int>(2);
  EXPECT_FALSE(map.insert(1, std::move(value)));
  EXPECT_NE(nullptr, value);
}

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

TEST(Map, lookup_by_another_type) {
  hash_map<std::string, int, TextHash, std::equal_to<>> map;
  map.insert(std::string("key"), 1);
  const char* buffer = "key and more";
  EXPECT_EQ(1, map.find(std::string_view(buffer, 3)).value());
  EXPECT_TRUE(map.contains(std::string_view("key")));
  EXPECT_EQ(1, map.erase(std::string_view("key")).value());
}

struct Counted {
  static inline int alive = 0;
  int n;
  explicit Counted(int value) : n(value) { ++alive; }
  Counted(const Counted& other) : n(other.n) { ++alive; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive; }
};

TEST(Map, every_value_is_destroyed_once) {
  {
    hash_map<int, Counted> map;
    for (int i = 0; i < 1000; ++i) map.try_emplace(i, i);
    for (int i = 0; i < 1000; ++i) map.insert_or_assign(i, Counted(i + 1));
    for (int i = 0; i < 500; ++i) map.erase(i);
    EXPECT_EQ(0, ashlar_epoch_synchronize());
    EXPECT_EQ(500, Counted::alive);
  }
  EXPECT_EQ(0, ashlar_epoch_synchronize());
  EXPECT_EQ(0, Counted::alive);
}

struct Thrower {
  static inline int countdown = -1;
  static void tick() {
    if (countdown >= 0 && countdown-- == 0) throw std::runtime_error("thrown");
  }
  int n = 0;
  explicit Thrower(int value) : n(value) { tick(); }
  Thrower(const Thrower& other) : n(other.n) { tick(); }
  Thrower& operator=(const Thrower&) = default;
};

TEST(Map, an_exception_of_a_value_or_a_callback_leaves_the_map_as_it_was) {
  hash_map<int, Thrower> map;
  for (int i = 0; i < 100; ++i) map.try_emplace(i, i);
  Thrower::countdown = 0;
  EXPECT_THROW(map.try_emplace(200, 1), std::runtime_error);
  Thrower::countdown = 0;
  EXPECT_THROW(map.erase(5), std::runtime_error);
  EXPECT_THROW(map.upsert(7, [](const Thrower*) -> Thrower { throw std::runtime_error("f"); }), std::runtime_error);
  EXPECT_THROW(map.visit(7, [](const Thrower&) { throw std::runtime_error("f"); }), std::runtime_error);
  EXPECT_EQ(100u, map.size());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(map.contains(i));
  EXPECT_EQ(0, ashlar_epoch_synchronize()) << "no pin is left";
}

// ---- walks and callbacks
// ----------------------------------------------------------------------------------------------

TEST(Map, a_callback_may_call_the_map) {
  hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 100; ++i) map.insert(i, i);
  map.upsert(5, [&](const uint64_t* old) {
    map.insert(1000 + *old, 1);
    map.erase(6);
    return *map.find(7) + 1;
  });
  EXPECT_EQ(8u, map.find(5).value());
  EXPECT_FALSE(map.contains(6));
  EXPECT_TRUE(map.visit(5, [&](uint64_t) { map.erase(5); }));
  EXPECT_FALSE(map.contains(5));
}

TEST(Map, a_walk_meets_what_stays_once_while_the_map_grows_and_shrinks_under_it) {
  hash_map<uint64_t, uint64_t> map;
  constexpr uint64_t kStay = 2000;
  for (uint64_t i = 0; i < kStay; ++i) map.insert(i, i);
  for (const bool grow : {true, false}) {
    std::vector<int> met(kStay);
    uint64_t n = 0;
    map.for_each([&](uint64_t key, uint64_t value) {
      if (key < kStay) {
        ++met[key];
        EXPECT_EQ(key, value);
      } else {
        EXPECT_EQ(key * 2, value);
      }
      for (int k = 0; key < kStay && k < 20; ++k, ++n) {
        if (grow)
          map.insert(kStay + n, (kStay + n) * 2);
        else
          map.erase(kStay + n);
      }
      if (!grow && n % 2000 == 0) map.shrink_to_fit();
    });
    for (const int times : met) ASSERT_EQ(1, times);
    EXPECT_NE(0u, grow ? map.statistics().growths : map.statistics().shrinks);
  }
}

TEST(Map, what_is_erased_during_a_walk_before_its_turn_is_not_met) {
  hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 1000; ++i) map.insert(i, i);
  uint64_t met = 0;
  map.for_each([&](uint64_t key, uint64_t) {
    ++met;
    for (uint64_t i = 0; i < 1000; ++i) {
      if (i != key) map.erase(i);
    }
  });
  EXPECT_EQ(1u, met);
}

TEST(Map, a_walk_sees_values_as_they_are_in_their_turn) {
  hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 300; ++i) map.insert(i, 0);
  uint64_t turn = 0;
  map.for_each([&](uint64_t, uint64_t value) {
    EXPECT_EQ(turn, value);
    ++turn;
    for (uint64_t i = 0; i < 300; ++i) map.insert_or_assign(i, turn);
  });
  EXPECT_EQ(300u, turn);
}

TEST(Map, erase_all_if) {
  hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 10'000; ++i) map.insert(i, i * 3);
  EXPECT_EQ(5000u, map.erase_all_if([](uint64_t key, uint64_t) { return key % 2 == 1; }));
  EXPECT_EQ(5000u, map.size());
  for (uint64_t i = 0; i < 10'000; ++i) ASSERT_EQ(i % 2 == 0, map.contains(i));
}

// ---- tables -------------------------------------------------------------------------------------------------------

TEST(Map, no_growth_at_constant_size_under_churn) {
  // 16'000: below the 70 % of 2048 buckets' slots, so that nothing may grow. 20'000: above; but a table grows where an
  // insert meets a full bucket, and of numbers in a row the buckets are filled so evenly, under some seeds, that the
  // first one comes late: one growth, no more.
  for (const uint64_t entries : {16'000u, 20'000u}) {
    hash_map<uint64_t, uint64_t> map;
    for (uint64_t i = 0; i < entries; ++i) map.insert(i, i);
    const auto before = map.statistics();
    EXPECT_GE(2048u, before.buckets >> (entries == 20'000 ? 1 : 0));
    for (uint64_t i = 0; i < 2'000'000; ++i) {
      ASSERT_TRUE(map.remove(i));
      ASSERT_TRUE(map.insert(i + entries, i));
    }
    const auto after = map.statistics();
    EXPECT_EQ(entries, after.entries);
    EXPECT_GE(before.growths + (entries == 16'000 ? 0 : 1), after.growths);
    EXPECT_GE(entries == 16'000 ? 2048u : 4096u, after.buckets);
    EXPECT_EQ(uint64_t{1} << after.growths, after.buckets);
    EXPECT_EQ(0u, after.shrinks);
    EXPECT_LE(after.displaced, entries / 4);
  }
}

TEST(Map, shrinks_when_most_is_erased_and_with_shrink_to_fit) {
  hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 200'000; ++i) map.insert(i, i);
  const auto full = map.statistics();
  for (uint64_t i = 0; i < 200'000; ++i) {
    if (i % 10 != 0) map.erase(i);
  }
  const auto after = map.statistics();
  EXPECT_LE(after.bytes, full.bytes / 2);
  EXPECT_GE(after.shrinks, 1u);
  for (uint64_t i = 0; i < 200'000; ++i) ASSERT_EQ(i % 10 == 0, map.contains(i));
  map.shrink_to_fit();
  EXPECT_LE(map.statistics().bytes, full.bytes / 7);
  for (uint64_t i = 0; i < 200'000; i += 10) ASSERT_EQ(i, map.find(i).value());
  map.reserve(1'000'000);
  EXPECT_GE(map.statistics().slots, 1'000'000u);
  for (uint64_t i = 0; i < 200'000; i += 10) ASSERT_EQ(i, map.find(i).value());
}

TEST(Map, seeds_differ) {
  const hash_map<int, int> a, b;
  EXPECT_NE(a.seed(), b.seed());
}

}  // namespace
}  // namespace ashlar_test
