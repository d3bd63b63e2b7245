// SPDX-License-Identifier: MIT
//
// map_types_test.cc - hash_map with keys and values of all sorts: what programs put into maps.
#include <gtest/gtest.h>
#include <string.h>
#include <sys/resource.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include "hash/hash_map.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

using ashlar::hash_map;

enum class Sign : signed char { kMinus = -1, kPlus = 1 };

// With bytes between its members, which no copy has to keep.
struct Padded {
  char a;
  int b;
  bool operator==(const Padded& other) const { return a == other.a && b == other.b; }
};
struct PaddedHash {
  size_t operator()(const Padded& p) const { return static_cast<size_t>(p.a) * 31 + static_cast<size_t>(p.b); }
};

struct alignas(64) Aligned {
  int n;
  bool operator==(const Aligned&) const = default;
};

struct Unlucky {
  int n;
  explicit Unlucky(int value) : n(value) {
    if (value == 13) throw std::runtime_error("13");
  }
};

class MapTypes : public testing::Test {
 protected:
  // What erased and replaced entries own is freed: nothing leaks.
  void TearDown() override { EXPECT_EQ(0, ashlar_epoch_synchronize()); }
};

TEST_F(MapTypes, enums_bools_and_bytes) {
  hash_map<Sign, int> signs;
  EXPECT_TRUE(signs.insert(Sign::kMinus, 1));
  EXPECT_EQ(1, signs.find(Sign::kMinus));
  EXPECT_EQ(std::nullopt, signs.find(Sign::kPlus));

  hash_map<bool, bool> bools;
  EXPECT_TRUE(bools.insert(true, false));
  EXPECT_EQ(std::optional<bool>(false), bools.find(true));
  EXPECT_FALSE(bools.find(false).has_value());
  EXPECT_TRUE(bools.compare_exchange(true, false, true));
  EXPECT_EQ(std::optional<bool>(true), bools.find(true));

  hash_map<unsigned char, signed char> bytes;
  for (int i = 0; i < 300; ++i)
    EXPECT_EQ(i < 256, bytes.insert(static_cast<unsigned char>(i), static_cast<signed char>(i)));
  EXPECT_EQ(256U, bytes.size());
  EXPECT_EQ(std::optional<signed char>(-1), bytes.find(255));
}

TEST_F(MapTypes, what_lies_between_members_of_a_key_does_not_count) {
  hash_map<Padded, int, PaddedHash> map;
  for (int fill = 0; fill < 50; ++fill) {
    Padded key;
    memset(&key, fill, sizeof key);
    key.a = 1;
    key.b = 2;
    EXPECT_EQ(fill == 0, map.insert(key, fill));
  }
  EXPECT_EQ(std::optional<int>(0), map.find(Padded{1, 2}));
}

TEST_F(MapTypes, numbers_that_are_equal_but_not_the_same) {
  hash_map<double, int> map;
  EXPECT_TRUE(map.insert(0.0, 1));
  EXPECT_EQ(1, map.find(-0.0));
  EXPECT_TRUE(map.insert(NAN, 2));
  EXPECT_TRUE(map.insert(NAN, 3));
  EXPECT_EQ(std::nullopt, map.find(NAN));
  EXPECT_EQ(3U, map.size());
  hash_map<long double, int> longs;
  EXPECT_TRUE(longs.insert(1.5L, 1));
  EXPECT_TRUE(longs.insert(2, 2));
  EXPECT_EQ(1, longs.find(1.5L));
  EXPECT_EQ(2, longs.find(2.0L));
}

TEST_F(MapTypes, pointers) {
  hash_map<const char*, int> map;
  const char text[] = "text";
  EXPECT_TRUE(map.insert(text, 1));
  EXPECT_TRUE(map.insert(nullptr, 2));
  EXPECT_EQ(1, map.find(text));
  EXPECT_EQ(2, map.find(nullptr));
  hash_map<std::shared_ptr<int>, int> shared;
  const auto p = std::make_shared<int>(5);
  EXPECT_TRUE(shared.insert(p, 1));
  EXPECT_EQ(1, shared.find(p));
  EXPECT_EQ(2, p.use_count());
}

TEST_F(MapTypes, values_keep_their_alignment) {
  hash_map<int, Aligned> map;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(map.insert(i, Aligned{i}));
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(map.visit(i, [&](const Aligned& value) {
      EXPECT_EQ(0U, reinterpret_cast<uintptr_t>(&value) % 64);
      EXPECT_EQ(i, value.n);
    }));
  }
}

TEST_F(MapTypes, values_that_are_optional_themselves) {
  hash_map<std::string, std::optional<int>> map;
  EXPECT_TRUE(map.insert("one", std::optional<int>(1)));
  EXPECT_TRUE(map.insert("none", std::nullopt));
  EXPECT_EQ(std::optional<int>(1), map.find("one").value());
  EXPECT_EQ(std::optional<int>(), map.find("none").value());
  EXPECT_FALSE(map.find("other").has_value());
}

TEST_F(MapTypes, values_that_cannot_be_copied) {
  hash_map<uint64_t, std::atomic<int>> map;
  EXPECT_TRUE(map.try_emplace(1, 5));
  EXPECT_TRUE(map.visit(1, [](const std::atomic<int>& value) { EXPECT_EQ(5, value.load()); }));
  hash_map<std::string, std::unique_ptr<int>> owners;
  EXPECT_TRUE(owners.insert("a", std::make_unique<int>(3)));
  EXPECT_TRUE(owners.visit("a", [](const std::unique_ptr<int>& value) { EXPECT_EQ(3, *value); }));
  EXPECT_TRUE(owners.remove("a"));
}

TEST_F(MapTypes, values_made_of_several_arguments) {
  hash_map<std::string, std::vector<int>> map;
  EXPECT_TRUE(map.try_emplace("sevens", size_t{3}, 7));
  EXPECT_FALSE(map.upsert("sevens", [](const std::vector<int>* old) {
    std::vector<int> more(*old);
    more.push_back(8);
    return more;
  }));
  EXPECT_EQ((std::vector<int>{7, 7, 7, 8}), map.find("sevens"));
}

TEST_F(MapTypes, a_constructor_that_throws_changes_nothing) {
  hash_map<int, Unlucky> map;
  int thrown = 0;
  for (int i = 0; i < 20; ++i) {
    try {
      map.try_emplace(i, i);
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  EXPECT_EQ(1, thrown);
  EXPECT_EQ(19U, map.size());
  EXPECT_FALSE(map.contains(13));
}

TEST_F(MapTypes, keys_of_the_library) {
  hash_map<std::variant<int, std::string>, int> variants;
  EXPECT_TRUE(variants.insert(std::variant<int, std::string>("v"), 1));
  EXPECT_TRUE(variants.insert(std::variant<int, std::string>(7), 2));
  EXPECT_EQ(1, variants.find(std::variant<int, std::string>("v")));
  hash_map<std::error_code, int> codes;
  EXPECT_TRUE(codes.insert(std::make_error_code(std::errc::io_error), 1));
  EXPECT_EQ(1, codes.find(std::make_error_code(std::errc::io_error)));
}

// Each function of a map whose keys are K, with a key of another type.
template <class K, class Q, class V>
void use_converted(Q other, V one, V two) {
  SCOPED_TRACE(__PRETTY_FUNCTION__);
  const K key(other);
  hash_map<K, V> map;
  EXPECT_TRUE(map.insert(other, one));
  EXPECT_EQ(one, map.find(key));
  EXPECT_EQ(one, map.find(other));
  EXPECT_FALSE(map.insert(key, two));
  EXPECT_FALSE(map.insert_or_assign(other, two));
  EXPECT_EQ(two, map.find(key));
  EXPECT_TRUE(map.compare_exchange(other, two, one));
  EXPECT_FALSE(map.upsert(other, [&](const V* old) { return std::optional<V>(*old == one ? two : one); }));
  EXPECT_TRUE(map.contains(other));
  EXPECT_EQ(two, map.erase(other));
  EXPECT_TRUE(map.upsert(other, [&](const V* old) { return std::optional<V>(old == nullptr ? one : two); }));
  EXPECT_TRUE(map.remove(key));
  EXPECT_TRUE(map.insert_or_assign(other, one));
  EXPECT_FALSE(map.try_emplace(key, two));
  EXPECT_TRUE(map.erase_if(other, [&](const V& value) { return value == one; }));
  EXPECT_EQ(0U, map.size());
}

TEST_F(MapTypes, keys_of_other_types_are_converted) {
  use_converted<int64_t>(-1, 5, 6);
  use_converted<int64_t>(short{-7}, std::string("a"), std::string("b"));
  use_converted<uint64_t>(-1, uint64_t{5}, uint64_t{6});
  use_converted<uint16_t>(70000L, 'a', 'b');
  use_converted<double>(3, 5, 6);
  use_converted<float>(0.1, std::string("a"), std::string("b"));
  use_converted<std::string_view>("text", 5, 6);
  use_converted<std::string_view>(std::string("text"), 5, 6);
  use_converted<std::string_view>(std::string("text"), std::string("a"), std::string("b"));
  use_converted<std::string>("text", 5, 6);
  use_converted<std::string>("text", std::string("a"), std::string("b"));
}

// What a transparent Eq, or a hash that takes anything, makes of a key of another type.
struct AnyHash {
  template <class Q>
  size_t operator()(const Q& key) const {
    return std::hash<Q>()(key);
  }
};
TEST_F(MapTypes, keys_that_become_equal_are_one_key) {
  hash_map<uint8_t, int, ashlar::hash<uint8_t>, std::equal_to<>> bytes;
  EXPECT_TRUE(bytes.insert(300, 1));
  EXPECT_FALSE(bytes.insert(300, 2));
  EXPECT_FALSE(bytes.insert_or_assign(300, 3));
  EXPECT_EQ(3, bytes.find(uint8_t{44}));
  hash_map<float, int, ashlar::hash<float>, std::equal_to<>> floats;
  EXPECT_TRUE(floats.insert(0.1, 1));
  EXPECT_FALSE(floats.insert(0.1, 2));
  EXPECT_FALSE(floats.upsert(0.1, [](const int* old) { return *old + 1; }));
  EXPECT_EQ(1U, floats.size());
  hash_map<double, int, AnyHash> numbers;
  EXPECT_TRUE(numbers.insert(5, 1));
  EXPECT_FALSE(numbers.insert(5.0, 2));
  hash_map<std::string, int, AnyHash> texts;
  const char* text = "abc";
  EXPECT_TRUE(texts.insert(text, 1));
  EXPECT_FALSE(texts.insert(std::string(text), 2));
}

enum class NoCase : char {};
bool operator==(NoCase a, NoCase b) {
  return (static_cast<char>(a) | 32) == (static_cast<char>(b) | 32);
}
struct NoCaseHash {
  size_t operator()(NoCase c) const { return static_cast<size_t>(static_cast<char>(c) | 32); }
};
TEST_F(MapTypes, enums_that_compare_in_their_own_way) {
  hash_map<NoCase, int, NoCaseHash> map;
  EXPECT_TRUE(map.insert(NoCase{'a'}, 1));
  EXPECT_FALSE(map.insert(NoCase{'A'}, 2));
  EXPECT_EQ(1, map.find(NoCase{'A'}));
  // Of equal keys the one is stored that came with the value.
  const auto stored = [&] {
    NoCase key{};
    map.for_each([&](NoCase k, int) { key = k; });
    return static_cast<char>(key);
  };
  EXPECT_EQ('a', stored());
  EXPECT_FALSE(map.insert_or_assign(NoCase{'A'}, 3));
  EXPECT_EQ('A', stored());
  EXPECT_FALSE(map.upsert(NoCase{'a'}, [](const int* old) { return *old + 1; }));
  EXPECT_EQ('a', stored());
  EXPECT_EQ(4, map.find(NoCase{'A'}));
}

struct Counter {
  mutable std::atomic<int> n{0};
};
TEST_F(MapTypes, a_value_that_is_atomic_is_no_copy) {
  hash_map<int, Counter> map;
  EXPECT_TRUE(map.try_emplace(1));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(map.visit(1, [](const Counter& c) { c.n.fetch_add(1); }));
  EXPECT_TRUE(map.visit(1, [](const Counter& c) { EXPECT_EQ(5, c.n.load()); }));
}

// Plain bytes, but made of what it takes away.
struct Taker {
  int* taken;
  Taker(std::unique_ptr<int> from) : taken(from.release()) {}  // NOLINT(google-explicit-constructor)
};
TEST_F(MapTypes, a_value_is_not_made_where_the_key_is_there) {
  hash_map<int, Taker> map;
  auto one = std::make_unique<int>(1), two = std::make_unique<int>(2);
  EXPECT_TRUE(map.try_emplace(1, std::move(one)));
  EXPECT_FALSE(map.try_emplace(1, std::move(two)));
  EXPECT_NE(nullptr, two);
  map.visit(1, [](const Taker& t) { delete t.taken; });
}

template <class Map, class U>
concept Inserts = requires(Map map, U value) {
  map.insert(1, value);
};
TEST_F(MapTypes, insert_converts_only_as_an_assignment_would) {
  static_assert(!Inserts<hash_map<int, bool>, std::optional<bool>>);
  static_assert(!Inserts<hash_map<int, std::vector<int>>, int>);
  static_assert(Inserts<hash_map<int, std::string>, const char*>);
}

// In one bucket: whatever the callback changes there comes between what was found and what shall be stored.
TEST_F(MapTypes, callbacks_that_change_the_bucket) {
  const auto one_more = [](const long* old) { return old == nullptr ? 1L : *old + 1; };
  hash_map<int, long> map;
  EXPECT_TRUE(map.upsert(1, [&](const long*) {
    map.upsert(2, one_more);
    return 1L;
  }));
  EXPECT_EQ(1, map.find(1));
  EXPECT_TRUE(map.erase_if(1, [&](const long&) {
    map.upsert(2, one_more);
    return true;
  }));
  EXPECT_FALSE(map.contains(1));
  EXPECT_LE(map.find(2).value(), 4);
  hash_map<std::string, std::string> texts;
  texts.insert("a", "b");
  EXPECT_FALSE(texts.upsert("a", [&](const std::string* old) {
    texts.upsert("other", [&](const std::string* other) { return other == nullptr ? *old : *other + *old; });
    return *old + "!";
  }));
  EXPECT_EQ("b!", texts.find("a"));
}

TEST_F(MapTypes, erase_all_if_asks_once) {
  hash_map<int, int> map;
  for (int i = 0; i < 1000; ++i) map.insert(i, i);
  std::vector<int> met;
  EXPECT_EQ(500U, map.erase_all_if([&](const int& key, const int&) {
    met.push_back(key);
    return key % 2 == 0;
  }));
  EXPECT_EQ(1000U, met.size());
}

TEST_F(MapTypes, a_reserve_without_memory_says_nothing_about_shrinking) {
  if (is_emulated()) return;  // qemu looks for such an address page by page, and finds no other one afterwards
  hash_map<int, int> map;
  map.insert(1, 1);
  rlimit before{};
  ASSERT_EQ(0, getrlimit(RLIMIT_AS, &before));
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(0, setrlimit(RLIMIT_AS, &none));
  EXPECT_THROW(map.reserve(300'000'000'000), std::bad_alloc);
  ASSERT_EQ(0, setrlimit(RLIMIT_AS, &before));
  for (int i = 0; i < 100'000; ++i) map.insert(i, i);
  for (int i = 0; i < 100'000; ++i) map.erase(i);
  EXPECT_GT(map.statistics().shrinks, 0U);
}

TEST_F(MapTypes, reserve_while_it_shrinks) {
  hash_map<int, int> map;
  constexpr int kEntries = 200'000;
  for (int i = 0; i < kEntries; ++i) map.insert(i, i);
  for (int i = 0; i < kEntries && map.statistics().shrinks == 0; i += 100) {
    for (int j = i; j < i + 100; ++j) map.erase(j);
  }
  map.reserve(kEntries);
  const uint64_t growths = map.statistics().growths;
  for (int i = 0; i < kEntries; ++i) map.insert(i, i);
  EXPECT_EQ(growths, map.statistics().growths);
}

}  // namespace
}  // namespace ashlar_test
