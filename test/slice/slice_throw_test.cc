// SPDX-License-Identifier: MIT
//
// slice_throw_test.cc - errors: moves, copies and constructors that throw at every possible moment, memory that is out,
// lengths out of range. The slice is as it was, and nothing leaks.
#include <gtest/gtest.h>

#include <string>

#include "alloc/slice/slice.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

/// Throws at the n-th construction by copy or move.
struct Bomb {
  static inline long alive = 0;
  static inline long fuse = -1;
  static void tick() {
    if (fuse >= 0 && fuse-- == 0) throw std::runtime_error("bomb");
  }
};

/// Copies and moves, and both may throw.
struct Copyable : Bomb {
  explicit Copyable(int v) : value(v) { ++alive; }
  Copyable(const Copyable& other) : value(other.value) {
    tick();
    ++alive;
  }
  Copyable(Copyable&& other) noexcept(false) : value(other.value) {
    tick();
    other.value = -1;
    ++alive;
  }
  Copyable& operator=(const Copyable& other) = default;
  ~Copyable() { --alive; }
  int value;
};

/// Only moves, and that may throw.
struct MoveOnly : Bomb {
  explicit MoveOnly(int v) : value(v) { ++alive; }
  MoveOnly(MoveOnly&& other) noexcept(false) : value(other.value) {
    tick();
    other.value = -1;
    ++alive;
  }
  MoveOnly& operator=(MoveOnly&& other) noexcept {
    value = other.value;
    other.value = -1;
    return *this;
  }
  ~MoveOnly() { --alive; }
  int value;
};

/// Moves as bytes, though its copies may throw.
struct Relocatable : Bomb {
  explicit Relocatable(int v) : value(v) { ++alive; }
  Relocatable(const Relocatable& other) : value(other.value) {
    tick();
    ++alive;
  }
  Relocatable& operator=(const Relocatable& other) = default;
  ~Relocatable() { --alive; }
  int value;
};

}  // namespace
}  // namespace ashlar_test

template <>
struct ashlar::is_trivially_relocatable<ashlar_test::Relocatable> : std::true_type {};

namespace ashlar_test {
namespace {

template <class S>
void expect_counting(const S& s, size_t n) {
  ASSERT_EQ(s.size(), n);
  for (size_t i = 0; i < n; ++i) ASSERT_EQ(s[i].value, static_cast<int>(i));
}

/// A slice of n elements 0, 1, 2, ... without a byte of room.
template <class T>
ashlar::slice<T> full(size_t n) {
  ashlar::slice<T> s;
  for (size_t i = 0; i < n || s.size() < s.capacity(); ++i) s.emplace_back(static_cast<int>(i));
  return s;
}

/// Lets `operation` fail at its first, second, ... construction, until it passes. After each failure the slice
/// must hold what it held.
template <class T, class Operation>
void every_moment(Operation operation) {
  const ashlar_memstats before = stats();
  const long alive = Bomb::alive;
  bool failed = true;
  for (long moment = 0; failed; ++moment) {
    ASSERT_LT(moment, 1000);
    auto s = full<T>(10);
    const size_t n = s.size();
    Bomb::fuse = moment;
    failed = false;
    try {
      operation(s);
    } catch (const std::runtime_error&) {
      failed = true;
    }
    ASSERT_TRUE(failed || moment > 0) << "nothing was ever constructed";
    Bomb::fuse = -1;
    if (failed) expect_counting(s, n);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(Bomb::alive, alive);
  EXPECT_EQ(stats().heap_objects, before.heap_objects);
}

template <class T>
class ThrowAtTheEnd : public testing::Test {};
using AllTypes = testing::Types<Copyable, MoveOnly, Relocatable>;
TYPED_TEST_SUITE(ThrowAtTheEnd, AllTypes);

TYPED_TEST(ThrowAtTheEnd, growth_by_push_back) {
  every_moment<TypeParam>([](auto& s) { s.push_back(TypeParam(100)); });
}
TYPED_TEST(ThrowAtTheEnd, growth_by_emplace_back) {
  if constexpr (std::is_same_v<TypeParam, Relocatable>) {
    // Bytes cannot throw; only the last step, from the stack, is a copy.
    every_moment<TypeParam>([](auto& s) { s.emplace_back(s.back()); });
  } else {
    every_moment<TypeParam>([](auto& s) { s.emplace_back(100); });
  }
}
TEST(Throw, growth_by_reserve) {
  every_moment<Copyable>([](auto& s) { s.reserve(1000); });
  every_moment<MoveOnly>([](auto& s) { s.reserve(1000); });
}
TEST(Throw, shrink_to_fit) {
  const auto shrink = [](auto& s) {
    s.reserve(1000);
    s.shrink_to_fit();
  };
  every_moment<Copyable>(shrink);
  every_moment<MoveOnly>(shrink);
}
template <class T>
class ThrowCopies : public testing::Test {};
using CopyTypes = testing::Types<Copyable, Relocatable>;
TYPED_TEST_SUITE(ThrowCopies, CopyTypes);

TYPED_TEST(ThrowCopies, append_range) {
  const auto more = full<TypeParam>(30);
  every_moment<TypeParam>([&more](auto& s) { s.append_range(more); });
}
TYPED_TEST(ThrowCopies, append_of_its_own) {
  every_moment<TypeParam>([](auto& s) { s.append_range(s.sub(2, 7)); });
}
TYPED_TEST(ThrowCopies, resize) {
  every_moment<TypeParam>([](auto& s) { s.resize(s.size() + 20, TypeParam(7)); });
}
TYPED_TEST(ThrowCopies, assign) {
  every_moment<TypeParam>([](auto& s) { s.assign(40, TypeParam(7)); });
}
TYPED_TEST(ThrowCopies, copy) {
  every_moment<TypeParam>([](auto& s) {
    auto copy(s);
    copy.clear();
  });
}
TEST(Throw, insert_in_the_middle_of_what_moves_as_bytes) {
  const auto more = full<Relocatable>(30);
  every_moment<Relocatable>([&more](auto& s) { s.insert(s.begin() + 3, more.begin(), more.end()); });
  every_moment<Relocatable>([](auto& s) { s.insert(s.begin() + 3, Relocatable(7)); });
  every_moment<Relocatable>([](auto& s) { s.insert(s.begin() + 3, 20, Relocatable(7)); });
}
TEST(Throw, insert_in_the_middle_of_others_leaks_nothing) {
  const long alive = Bomb::alive;
  const auto before = stats();
  for (long moment = 0; moment < 200; ++moment) {
    auto s = full<Copyable>(10);
    Bomb::fuse = moment;
    try {
      s.insert(s.begin() + 3, 20, s[5]);
    } catch (const std::runtime_error&) {
      EXPECT_GE(s.size(), 10U);
    }
    Bomb::fuse = -1;
  }
  EXPECT_EQ(Bomb::alive, alive);
  EXPECT_EQ(stats().heap_objects, before.heap_objects);
}

// ---- lengths and memory -----------------------------------------------------------------------------

template <class E, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(Throw, length_out_of_range_by_table) {
  using S = ashlar::slice<uint64_t>;
  const std::string expected = "growslice: len out of range";
  S s{1, 2, 3};
  const S before = s;
  const size_t most = S::max_size();
  EXPECT_EQ(message_of<std::length_error>([&] { s.reserve(opaque(most + 1)); }), expected);
  EXPECT_EQ(message_of<std::length_error>([&] { s.resize(opaque(most + 1)); }), expected);
  EXPECT_EQ(message_of<std::length_error>([&] { s.resize(opaque(SIZE_MAX), 1); }), expected);
  EXPECT_EQ(message_of<std::length_error>([&] { s.insert(s.begin(), opaque(most - 2), 1); }), expected);
  EXPECT_EQ(message_of<std::length_error>([&] { s.insert(s.begin(), opaque(SIZE_MAX - 1), 1); }), expected);
  EXPECT_EQ(message_of<std::length_error>([&] { const S t(opaque(most + 1)); }), expected);
  EXPECT_EQ(s, before);
}

TEST(Throw, out_of_memory_keeps_the_elements) {
  using S = ashlar::slice<uint64_t>;
  S s{1, 2, 3};
  const S before = s;
  EXPECT_THROW(s.reserve(opaque(S::max_size())), std::bad_alloc);
  EXPECT_THROW(s.resize(opaque(S::max_size() / 2)), std::bad_alloc);
  EXPECT_EQ(s, before);
  ashlar::slice<Copyable> t = full<Copyable>(10);
  const size_t n = t.size();
  EXPECT_THROW(t.reserve(opaque(ashlar::slice<Copyable>::max_size())), std::bad_alloc);
  expect_counting(t, n);
}

TEST(Throw, out_of_range) {
  ashlar::slice<int> s{1, 2, 3};
  EXPECT_EQ(s.at(2), 3);
  EXPECT_THROW(s.at(3), std::out_of_range);
  EXPECT_THROW(s.at(SIZE_MAX), std::out_of_range);
  EXPECT_EQ(s.sub(1, 3).size(), 2U);
  EXPECT_EQ(s.sub(3, 3).size(), 0U);
  EXPECT_THROW(s.sub(1, 4), std::out_of_range);
  EXPECT_THROW(s.sub(3, 2), std::out_of_range);
}

}  // namespace
}  // namespace ashlar_test
