// SPDX-License-Identifier: MIT
//
// map_growth_test.cc - what happens in the middle of growth: the map ends, a hash function throws, a walk meets a
// frozen bucket, others have made the table larger; and that all of an old table is given back.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hash/hash_map.h"

namespace ashlar_test {
namespace {

/// A value that knows whether it is alive.
struct Live {
  static inline std::set<const void*> all;
  static inline uint64_t wrong = 0;
  uint64_t n;
  explicit Live(uint64_t v) : n(v) { all.insert(this); }
  Live(const Live& o) : n(o.n) { all.insert(this); }
  ~Live() {
    if (all.erase(this) != 1) ++wrong;
  }
};

struct Big {
  uint64_t a, b, c;
  bool operator==(const Big& o) const { return a == o.a; }
};
struct BigHash {
  size_t operator()(const Big& k) const { return k.a; }
};

struct Sixteen {
  uint64_t a, b = 0;
  bool operator==(const Sixteen&) const = default;
};
struct SixteenHash {
  size_t operator()(const Sixteen& k) const { return k.a; }
};

/// Counts what maps allocate.
struct Counting : ashlar::hash_core::Platform {
  static inline uint64_t tables = 0, blocks = 0;
  static void* zeroed(size_t bytes) noexcept {
    ++tables;
    return Platform::zeroed(bytes);
  }
  static void* allocate(size_t bytes) noexcept {
    ++blocks;
    return Platform::allocate(bytes);
  }
};

/// A map that ends in the middle of a growth: old buckets whose chunk is done refer to overflow blocks that are gone.
template <class Map, class Insert>
void end_in_the_middle(Insert&& insert) {
  for (uint64_t more = 0; more < 300; more += 30) {
    Map map;
    uint64_t i = 0;
    // Beyond 4096 units: growth is done in steps.
    while (map.statistics().buckets < 8192) {
      for (int k = 0; k < 512; ++k) insert(map, i++);
    }
    const uint64_t growths = map.statistics().growths, tables = Counting::tables;
    while (Counting::tables == tables) insert(map, i++);
    ASSERT_EQ(growths + 1, map.statistics().growths);
    for (uint64_t k = 0; k < more; ++k) insert(map, i++);  // each takes a chunk along
    ashlar_epoch_synchronize();
    // What the program does with the memory.
    std::vector<void*> mine;
    for (size_t bytes = 16; bytes <= 96; bytes += 16) {
      for (int k = 0; k < 3000; ++k) {
        mine.push_back(ashlar_malloc(bytes));
        memset(mine.back(), 0xa5, bytes);
      }
    }
    map.~Map();
    EXPECT_EQ(0u, Live::wrong) << more;
    EXPECT_EQ(0u, Live::all.size()) << more;
    Live::all.clear();
    Live::wrong = 0;
    new (&map) Map;
    for (void* p : mine) ashlar_free(p);
  }
}

TEST(MapGrowth, ends_in_the_middle_of_growth_entries) {
  using Map = ashlar::hash_map<Big, Live, BigHash, std::equal_to<Big>, Counting>;
  end_in_the_middle<Map>([](auto& map, uint64_t i) { map.try_emplace(Big{i, 0, 0}, i); });
}
TEST(MapGrowth, ends_in_the_middle_of_growth_boxed) {
  using Map = ashlar::hash_map<uint64_t, Live, ashlar::hash<uint64_t>, std::equal_to<uint64_t>, Counting>;
  end_in_the_middle<Map>([](auto& map, uint64_t i) { map.try_emplace(i, i); });
}

/// A hash function that throws, while a growth is done at once after the insert.
struct Thrower {
  static inline int64_t in = -1;
  size_t operator()(uint64_t k) const {
    if (in >= 0 && in-- == 0) throw 1;
    return k;
  }
};
TEST(MapGrowth, hash_throws) {
  using Map = ashlar::hash_map<uint64_t, Live, Thrower>;
  uint64_t thrown = 0, in_after_all = 0, dangling = 0;
  for (int64_t at = 1; at < 400; ++at) {
    Map* map = new Map;
    for (uint64_t i = 0; i < 200; ++i) {
      Thrower::in = at;
      bool threw = false;
      try {
        map->try_emplace(i, i);
      } catch (int) {
        threw = true;
      }
      Thrower::in = -1;
      if (threw) {
        ++thrown;
        const bool there = map->contains(i);
        in_after_all += there ? 1 : 0;
        if (there) {
          map->visit(i, [&](const Live& v) { dangling += Live::all.count(&v) == 0 ? 1 : 0; });
        }
        if (there) break;
      }
    }
    // Leaked where something is wrong: it would free twice.
    if (dangling == 0) delete map;
    if (dangling != 0) break;
  }
  EXPECT_GT(thrown, 0u);
  EXPECT_EQ(0u, in_after_all);
  EXPECT_EQ(0u, dangling);
  Live::all.clear();
  Live::wrong = 0;
}

/// A walk over a bucket that was frozen, and not moved, when its turn came.
struct Poor : ashlar::hash_core::Platform {
  static inline bool refuses = false;
  static constexpr uint64_t kChunkUnits = 1;
  static constexpr uint64_t kAtOnceUnits = 0;
  static void* allocate(size_t bytes) noexcept { return refuses ? nullptr : Platform::allocate(bytes); }
};
uint64_t key_of(uint64_t x) {
  x = (x + 77) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
TEST(MapGrowth, walk_over_a_frozen_bucket) {
  using Map = ashlar::hash_map<uint64_t, uint64_t, ashlar::hash<uint64_t>, std::equal_to<uint64_t>, Poor>;
  uint64_t gone = 0, stale = 0, thrown = 0;
  for (int round = 0; round < 3000; ++round) {
    Map map;
    uint64_t i = 0;
    Poor::refuses = false;
    for (; i < 150; ++i) map.insert(key_of(i), i);
    // Memory is out for overflow blocks: buckets freeze, and stay.
    Poor::refuses = true;
    const uint64_t growths = map.statistics().growths;
    while (map.statistics().growths == growths) {
      Poor::refuses = false;
      map.insert(key_of(i), i);
      ++i;
    }
    Poor::refuses = true;
    for (int tries = 0; tries < 500; ++tries) {
      try {
        map.erase(key_of(1'000'000 + tries));  // a writer takes a chunk along; one of them finds no memory
      } catch (const std::bad_alloc&) {
        ++thrown;
      }
    }
    Poor::refuses = false;
    int met = 0;
    map.for_each([&](uint64_t key, uint64_t value) {
      const auto now = map.find(key);
      if (!now.has_value()) ++gone;
      if (now.has_value() && *now != value) ++stale;
      // Once, all others go, or change.
      if (met++ != round % 150) return;
      for (uint64_t k = 0; k < i; ++k) {
        if (key_of(k) == key) continue;
        if (k % 2 == 0)
          map.erase(key_of(k));
        else
          map.insert_or_assign(key_of(k), k + 1000);
      }
    });
  }
  EXPECT_GT(thrown, 0u);
  EXPECT_EQ(0u, gone);
  EXPECT_EQ(0u, stale);
}

/// synchronize: all that this thread had retired is freed.
TEST(MapGrowth, synchronize_frees_tables_after_clear) {
  ashlar::hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 4'000'000; ++i) map.insert(i, i);
  map.clear();
  ashlar_epoch_statistics s{};
  ashlar_epoch_stats(&s);
  ashlar_epoch_synchronize();
  ashlar_epoch_stats(&s);
  EXPECT_EQ(0u, s.retired_blocks);
}

/// Others insert while shrink_to_fit, or reserve, stands between its look at the size and its table.
struct Hooked : ashlar::hash_core::Platform {
  static inline void (*hook)() = nullptr;
  static void* zeroed(size_t bytes) noexcept {
    if (hook != nullptr) {
      auto* f = hook;
      hook = nullptr;
      f();
    }
    return Platform::zeroed(bytes);
  }
};
using HookedMap = ashlar::hash_map<uint64_t, uint64_t, ashlar::hash<uint64_t>, std::equal_to<uint64_t>, Hooked>;
HookedMap* hooked = nullptr;
void insert_many() {
  for (uint64_t i = 1'000'000; i < 1'300'000; ++i) hooked->insert(i, i);
}
TEST(MapGrowth, resize_to_an_old_wish) {
  for (const bool shrinks : {true, false}) {
    HookedMap map(shrinks ? 5000 : 0);
    hooked = &map;
    for (uint64_t i = 0; i < 100; ++i) map.insert(i, i);
    Hooked::hook = insert_many;
    if (shrinks)
      map.shrink_to_fit();
    else
      map.reserve(1000);
    const auto s = map.statistics();
    EXPECT_LT(s.longest, 20u);
    for (uint64_t i = 1'000'000; i < 1'300'000; ++i) ASSERT_EQ(i, map.find(i).value());
  }
}

TEST(MapGrowth, synchronize_frees_tables_after_reserve) {
  ashlar::hash_map<uint64_t, uint64_t> map;
  for (uint64_t i = 0; i < 1'000'000; ++i) map.insert(i, i);
  ashlar_epoch_synchronize();
  map.reserve(4'000'000);
  ashlar_epoch_statistics s{};
  ashlar_epoch_stats(&s);
  EXPECT_NE(0u, s.retired_bytes);
  ashlar_epoch_synchronize();
  ashlar_epoch_stats(&s);
  EXPECT_EQ(0u, s.retired_blocks);
}

/// Where nothing but finds follows, an old table goes as well.
TEST(MapGrowth, finds_free_the_old_table) {
  ashlar::hash_map<uint64_t, uint64_t> map;
  ashlar_epoch_synchronize();
  for (uint64_t i = 0; i < 1'000'000; ++i) map.insert(i, i);
  map.reserve(4'000'000);
  ashlar_epoch_statistics s{};
  ashlar_epoch_stats(&s);
  EXPECT_LT(size_t{10} << 20, s.retired_bytes);
  for (uint64_t i = 0; i < 10'000; ++i) ASSERT_EQ(i, map.find(i).value());
  ashlar_epoch_stats(&s);
  EXPECT_GT(256u << 10, s.retired_bytes);
}

/// Between two looks at a bucket another thread changes its overflow block: here, in the middle of a look at it.
struct Between : ashlar::hash_core::Platform {
  static inline std::function<void()> change;
  struct Pair : ashlar::hash_core::HeadPair {
    ashlar::hash_core::Word load_over(std::memory_order order) const noexcept {
      const auto seen = HeadPair::load_over(order);
      if (change) std::exchange(change, nullptr)();
      return seen;
    }
  };
};

struct Constant {
  size_t operator()(uint64_t) const { return 1; }
};

/// What an erase leaves to be done, an entry of the block into the slot that is free: not with a block of before.
TEST(MapGrowth, the_overflow_block_changes_while_an_entry_is_pulled_in) {
  using Map = ashlar::hash_map<uint64_t, uint64_t, Constant, std::equal_to<uint64_t>, Between>;
  uint64_t met = 0;
  // Of the maps' hashes one of 4 has an aftermath, and only the key in the lowest slot, of equal tags, takes that way.
  for (uint64_t round = 0; round < 2200; ++round) {
    Map map;
    const uint64_t key = round % 11, other = (key + 5) % 11;
    for (uint64_t k = 0; k < 11; ++k) ASSERT_TRUE(map.insert(k, k + 1));
    bool changed = false;
    // The first look is the erase's own, the second one that of what it leaves to be done.
    Between::change = [&] {
      Between::change = [&] {
        changed = true;
        ++met;
        EXPECT_EQ(other + 1, map.erase(other).value());
      };
    };
    ASSERT_EQ(key + 1, map.erase(key).value());
    Between::change = nullptr;
    for (uint64_t k = 0; k < 11; ++k) {
      const bool gone = k == key || (k == other && changed);
      ASSERT_EQ(gone ? 0 : k + 1, map.find(k).value_or(0)) << key << ' ' << k << ' ' << changed;
    }
    ASSERT_EQ(changed ? 9u : 10u, map.size());
  }
  EXPECT_GT(met, 0u);
}

/// Where a bucket is full, what is updated often has a slot, and one of the others is in the overflow block.
TEST(MapGrowth, updates_in_a_full_bucket_make_room_once) {
  using Map = ashlar::hash_map<uint64_t, uint64_t, Constant, std::equal_to<uint64_t>, Counting>;
  for (uint64_t n = 6; n < 26; ++n) {
    Map map;
    for (uint64_t k = 0; k < n; ++k) ASSERT_TRUE(map.insert(k, 0));
    for (uint64_t key = 0; key < n; ++key) {
      for (uint64_t i = 1; i <= 3; ++i) ASSERT_FALSE(map.insert_or_assign(key, i));
      const uint64_t blocks = Counting::blocks;
      for (uint64_t i = 4; i < 50; ++i) ASSERT_FALSE(map.upsert(key, [](const uint64_t* old) { return *old + 1; }));
      EXPECT_EQ(blocks, Counting::blocks) << n << ' ' << key;
    }
    for (uint64_t k = 0; k < n; ++k) ASSERT_EQ(49u, map.find(k).value_or(0));
    ASSERT_EQ(n, map.size());
  }
}

/// The first table takes what it has slots for; one entry more, and it grows: none lives in an overflow block for good.
template <class K, class Hash>
void expect_growth_beyond(uint64_t slots) {
  ashlar::hash_map<K, uint64_t, Hash> map;
  for (uint64_t k = 0; k < slots; ++k) ASSERT_TRUE(map.insert(K{k}, k));
  EXPECT_EQ(1u, map.statistics().buckets);
  EXPECT_EQ(slots, map.statistics().slots);
  EXPECT_EQ(0u, map.statistics().displaced);
  ASSERT_TRUE(map.insert(K{slots}, slots));
  EXPECT_EQ(2u, map.statistics().buckets);
  EXPECT_EQ(0u, map.statistics().displaced);
  EXPECT_EQ(0u, map.statistics().busy);
  EXPECT_EQ(slots + 1, map.size());
}
TEST(MapGrowth, the_first_table_grows_when_it_is_full) {
  expect_growth_beyond<uint64_t, ashlar::hash<uint64_t>>(8);
  expect_growth_beyond<Sixteen, SixteenHash>(5);
}

/// An update makes room in a full bucket, which the next insert takes: the table must grow all the same.
TEST(MapGrowth, inserts_that_are_updated_at_once_let_the_table_grow) {
  ashlar::hash_map<uint64_t, uint64_t> words, inserted;
  ashlar::hash_map<Big, uint64_t, BigHash> entries;
  for (uint64_t k = 0; k < 24'000; ++k) {
    inserted.insert(k, 0);
    inserted.upsert(k, [](const uint64_t* old) { return *old + 1; });
    for (uint64_t i = 0; i < 3; ++i) {
      words.insert_or_assign(k, i);
      entries.insert_or_assign(Big{k * 0x9e3779b97f4a7c15u, k, 0}, i);
    }
  }
  // 12 slots a bucket: of 2048 the 17,204th entry is above 70 %, and these are 98 %.
  EXPECT_LE(4096u, words.statistics().buckets);
  EXPECT_LE(4096u, inserted.statistics().buckets);
  EXPECT_LE(4096u, entries.statistics().buckets);
}

/// Who is alone is asked once, also where a bucket is full: what a callback gives away is not there a second time.
TEST(MapGrowth, who_is_alone_is_asked_once) {
  ashlar::hash_map<uint64_t, std::string, Constant> strings;
  ashlar::hash_map<uint64_t, uint64_t, Constant> words;
  for (uint64_t n = 0; n < 40; ++n) {
    for (uint64_t key = 0; key <= n; ++key) {
      uint64_t asked = 0;
      std::string mine = "a string that is longer than those that fit " + std::to_string(n);
      strings.upsert(key, [&](const std::string*) {
        ++asked;
        return std::move(mine);
      });
      words.upsert(key, [&](const uint64_t*) {
        ++asked;
        return n;
      });
      ASSERT_EQ(2u, asked) << n << ' ' << key;
      ASSERT_EQ("a string that is longer than those that fit " + std::to_string(n), strings.find(key).value());
      ASSERT_EQ(n, words.find(key).value());
    }
  }
  // The strings that were replaced: LeakSanitizer does not see them where they wait for the epoch.
  EXPECT_EQ(0, ashlar_epoch_synchronize());
}

}  // namespace
}  // namespace ashlar_test
