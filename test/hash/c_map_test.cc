// SPDX-License-Identifier: MIT
//
// c_map_test.cc - ashlar_map by its C interface.
#include <errno.h>
#include <gtest/gtest.h>
#include <limits.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "hash/hash.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

constexpr ashlar_map_type kWords = {8, 8, nullptr, nullptr};

struct Text {
  char text[40];
};
uint64_t constant_hash(const void*) {
  return 1;
}
int equal_ignoring_case(const void* a, const void* b) {
  return strcasecmp(static_cast<const char*>(a), static_cast<const char*>(b)) == 0 ? 1 : 0;
}
int never_equal(const void*, const void*) {
  return 0;
}

TEST(CMap, sizes_out_of_range_are_errors_and_large_hints_touch_nothing) {
  errno = 0;
  EXPECT_EQ(nullptr, ashlar_makemap(&kWords, -1));
  EXPECT_EQ(ERANGE, errno);
  for (const int64_t hint : {int64_t{-1}, INT64_MIN, INT64_MAX, int64_t{1} << 41}) {
    errno = 0;
    EXPECT_EQ(nullptr, ashlar_makemap64(&kWords, hint));
    EXPECT_EQ(ERANGE, errno);
  }
  const ashlar_map_type huge = {size_t{1} << 40, 8, nullptr, nullptr};
  EXPECT_EQ(nullptr, ashlar_makemap(&huge, 0));
  EXPECT_EQ(EINVAL, errno);
  EXPECT_EQ(nullptr, ashlar_makemap(nullptr, 0));
  for (const int64_t hint : {int64_t{INT_MAX}, int64_t{1} << 31, (int64_t{1} << 31) + 1, int64_t{1} << 33}) {
    ashlar_map* map = ashlar_makemap64(&kWords, hint);
    ASSERT_NE(nullptr, map);
    ashlar_map_statistics s;
    ashlar_map_stats(map, &s);
    EXPECT_EQ(0u, s.buckets);
    EXPECT_EQ(128u, s.bytes);
    ashlar_map_destroy(map);
  }
  ashlar_map_destroy(nullptr);
}

/// Every function against std::map, for keys and values of `size` bytes.
void compare(size_t key_size, size_t value_size, uint64_t (*hash)(const void*), uint64_t seed) {
  SCOPED_TRACE(key_size * 1000 + value_size);
  Rng rng(seed);
  const ashlar_map_type type = {key_size, value_size, hash, nullptr};
  ashlar_map* map = ashlar_makemap(&type, 0);
  std::map<std::string, std::string> model;
  const auto text = [](uint64_t n, size_t size) {
    std::string s(size, 'x');
    memcpy(s.data(), &n, size < 8 ? size : 8);
    return s;
  };
  std::string out(value_size, ' ');
  const uint64_t keys = key_size == 1 ? 100 : 500;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = text(rng.below(keys), key_size), value = text(rng.below(200), value_size);
    const auto at = model.find(key);
    const int there = at != model.end() ? 1 : 0;
    switch (rng.below(7)) {
      case 0:
        ASSERT_EQ(1 - there, ashlar_map_put(map, key.data(), value.data()));
        model[key] = value;
        break;
      case 1:
        ASSERT_EQ(1 - there, ashlar_map_insert(map, key.data(), value.data()));
        model.emplace(key, value);
        break;
      case 2:
        ASSERT_EQ(there, ashlar_map_del(map, key.data(), out.data()));
        if (there != 0) {
          ASSERT_EQ(at->second, out);
          model.erase(at);
        }
        break;
      case 3: {
        const std::string expected = there != 0 && rng.below(2) == 0 ? at->second : text(777, value_size);
        const bool hit = there != 0 && at->second == expected;
        ASSERT_EQ(hit ? 1 : 0, ashlar_map_cas(map, key.data(), expected.data(), value.data()));
        if (hit) at->second = value;
        break;
      }
      case 4: {
        struct Context {
          const std::string* value;
          size_t size;
          int action, saw_old, asked;
        } context{&value, value_size, static_cast<int>(rng.below(3)), 0, 0};
        const int changed = ashlar_map_upsert(
            map, key.data(),
            [](void* c, const void* old, void* fresh) {
              auto* mine = static_cast<Context*>(c);
              ++mine->asked;
              mine->saw_old = old != nullptr ? 1 : 0;
              memcpy(fresh, mine->value->data(), mine->size);
              return mine->action;
            },
            &context);
        ASSERT_EQ(there, context.saw_old);
        ASSERT_EQ(1, context.asked);
        if (context.action == ASHLAR_MAP_STORE) model[key] = value;
        if (context.action == ASHLAR_MAP_ERASE) model.erase(key);
        ASSERT_EQ(context.action == ASHLAR_MAP_STORE || (context.action == ASHLAR_MAP_ERASE && there != 0) ? 1 : 0,
                  changed);
        break;
      }
      default:
        ASSERT_EQ(there, ashlar_map_get(map, key.data(), out.data()));
        if (there != 0) {
          ASSERT_EQ(at->second, out);
        }
    }
    ASSERT_EQ(model.size(), ashlar_map_len(map));
  }
  std::map<std::string, std::string> met;
  ashlar_map_iter* iter = ashlar_map_iter_begin(map);
  std::string key(key_size, ' ');
  while (ashlar_map_iter_next(iter, key.data(), out.data()) == 1) ASSERT_TRUE(met.emplace(key, out).second);
  EXPECT_EQ(0, ashlar_map_iter_next(iter, nullptr, nullptr));
  ashlar_map_iter_end(iter);
  EXPECT_TRUE(met == model);
  size_t n = 0;
  ashlar_map_each(
      map,
      [](void* c, const void*, const void*) {
        ++*static_cast<size_t*>(c);
        return *static_cast<size_t*>(c) == 10 ? 0 : 1;
      },
      &n);
  EXPECT_EQ(std::min<size_t>(10, model.size()), n);
  EXPECT_EQ(0, ashlar_map_clear(map));
  EXPECT_EQ(0u, ashlar_map_len(map));
  ashlar_map_destroy(map);
}

TEST(CMap, agrees_with_std_for_all_sizes) {
  const uint64_t seed = announce_seed();
  for (const size_t key_size : {1, 4, 8, 12, 16, 40}) {
    for (const size_t value_size : {0, 1, 8, 9, 100}) compare(key_size, value_size, nullptr, seed);
  }
  compare(8, 8, constant_hash, seed);
  compare(40, 8, constant_hash, seed);
}

TEST(CMap, equality_of_its_own) {
  for (const size_t size : {size_t{8}, sizeof(Text)}) {  // in the slot; in a block
    const ashlar_map_type type = {size, 4, constant_hash, equal_ignoring_case};
    ashlar_map* map = ashlar_makemap(&type, 4);
    const Text a{"Key"}, b{"kEY"};
    int n = 1, m = 0;
    EXPECT_EQ(1, ashlar_map_put(map, &a, &n));
    EXPECT_EQ(0, ashlar_map_put(map, &b, &n));
    EXPECT_EQ(1u, ashlar_map_len(map));
    EXPECT_EQ(1, ashlar_map_get(map, &a, &m));
    EXPECT_EQ(n, m);
    Text stored{};
    const auto copy = [](void* to, const void* key, const void*) {
      memcpy(to, key, 4);
      return 1;
    };
    ashlar_map_each(map, copy, &stored);
    EXPECT_EQ(0, memcmp(&b, &stored, 4));  // the key that came with the value
    EXPECT_EQ(1, ashlar_map_del(map, &a, nullptr));
    EXPECT_EQ(0, ashlar_map_get(map, &b, nullptr));
    ashlar_map_destroy(map);
  }
}

/// What lies behind a key is not looked at, and what lies behind a value is not written.
TEST(CMap, objects_of_less_than_a_word) {
  for (const size_t key_size : {1, 2, 3, 5, 7}) {
    for (const size_t value_size : {0, 1, 3, 4, 7}) {
      const ashlar_map_type type = {key_size, value_size, nullptr, nullptr};
      ashlar_map* map = ashlar_makemap(&type, 0);
      char key[8], other[8], value[8], out[8], wanted[8];
      memset(key, 'k', sizeof key);
      memset(value, 'v', sizeof value);
      memcpy(other, key, sizeof other);
      memset(other + key_size, '?', sizeof other - key_size);
      memset(wanted, '#', sizeof wanted);
      memcpy(wanted, value, value_size);
      EXPECT_EQ(1, ashlar_map_insert(map, key, value));
      EXPECT_EQ(0, ashlar_map_insert(map, other, value));
      EXPECT_EQ(0, ashlar_map_put(map, other, value));
      memset(out, '#', sizeof out);
      EXPECT_EQ(1, ashlar_map_get(map, other, out));
      EXPECT_EQ(0, memcmp(wanted, out, sizeof out));
      memset(out, '#', sizeof out);
      EXPECT_EQ(1, ashlar_map_del(map, other, out));
      EXPECT_EQ(0, memcmp(wanted, out, sizeof out));
      EXPECT_EQ(0u, ashlar_map_len(map));
      ashlar_map_destroy(map);
    }
  }
}

TEST(CMap, keys_that_equal_nothing_are_met_and_cleared) {
  for (const size_t size : {8, 24}) {
    const ashlar_map_type type = {size, 8, nullptr, never_equal};
    ashlar_map* map = ashlar_makemap(&type, 0);
    const char key[24] = "k";
    for (uint64_t i = 0; i < 50; ++i) EXPECT_EQ(1, ashlar_map_insert(map, key, &i));
    EXPECT_EQ(0, ashlar_map_get(map, key, nullptr));
    ashlar_map_iter* iter = ashlar_map_iter_begin(map);
    uint64_t sum = 0, value = 0;
    while (ashlar_map_iter_next(iter, nullptr, &value) == 1) sum += value;
    ashlar_map_iter_end(iter);
    EXPECT_EQ(49u * 50 / 2, sum);
    EXPECT_EQ(0, ashlar_map_clear(map));
    EXPECT_EQ(0u, ashlar_map_len(map));
    ashlar_map_destroy(map);
  }
}

TEST(CMap, threads_count_together) {
  ashlar_map* map = ashlar_makemap(&kWords, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < 20'000; ++i) {
        const uint64_t key = i % 100;
        ashlar_map_upsert(
            map, &key,
            [](void*, const void* old, void* fresh) {
              const uint64_t n = old == nullptr ? 1 : *static_cast<const uint64_t*>(old) + 1;
              memcpy(fresh, &n, 8);
              return static_cast<int>(ASHLAR_MAP_STORE);
            },
            nullptr);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (uint64_t key = 0; key < 100; ++key) {
    uint64_t n = 0;
    EXPECT_EQ(1, ashlar_map_get(map, &key, &n));
    EXPECT_EQ(800u, n);
  }
  ashlar_map_destroy(map);
}

}  // namespace
}  // namespace ashlar_test
