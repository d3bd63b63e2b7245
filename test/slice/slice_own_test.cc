// SPDX-License-Identifier: MIT
//
// slice_own_test.cc - slices that are given what is theirs while they grow; elements that are not moved in the usual
// way, or not at all.
#include <gtest/gtest.h>
#include <stdio.h>

#include <atomic>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "alloc/slice/slice.h"

namespace ashlar_test {
namespace {

using ashlar::slice;

// Each case for slices of many sizes, so that blocks grow in place, by copies and by page tables.
constexpr size_t kSizes[] = {1, 3, 8, 100, 3000, 300'000};

std::string text_of(size_t i) {
  return "a text that does not fit inside a string, number " + std::to_string(i);
}

template <class T, class Make>
slice<T> full_slice(size_t size, Make make) {
  slice<T> s;
  for (size_t i = 0; i < size; ++i) s.push_back(make(i));
  s.shrink_to_fit();
  while (s.size() < s.capacity()) s.push_back(make(s.size()));
  return s;
}

// (Not std::views: clang 14 cannot compile those of this library.)
template <class It>
struct Range {
  It first, last;
  size_t n;
  It begin() const { return first; }
  It end() const { return last; }
  size_t size() const { return n; }
};
template <class T>
Range<typename slice<T>::reverse_iterator> backwards(slice<T>& s) {
  return {s.rbegin(), s.rend(), s.size()};
}
template <class T>
Range<std::move_iterator<const T*>> through(slice<T>& s) {
  return {std::move_iterator<const T*>(s.data()), std::move_iterator<const T*>(s.data() + s.size()), s.size()};
}

template <class T, class Make>
void append_itself_in_many_ways(Make make) {
  for (const size_t size : kSizes) {
    SCOPED_TRACE(size);
    const slice<T> one = full_slice<T>(size, make);
    const std::vector<T> was(one.begin(), one.end());
    const auto check = [&](const char* how, auto change_slice, auto change_vector) {
      slice<T> s(one);
      s.shrink_to_fit();
      std::vector<T> v(was);
      v.reserve(3 * v.size());
      change_slice(s);
      change_vector(v, std::vector<T>(was));
      ASSERT_EQ(v.size(), s.size()) << how;
      EXPECT_TRUE(std::equal(v.begin(), v.end(), s.begin())) << how;
    };
    check(
        "reversed", [](auto& s) { s.append_range(backwards(s)); },
        [](auto& v, const auto& w) { v.insert(v.end(), w.rbegin(), w.rend()); });
    check(
        "reverse iterators", [](auto& s) { s.append(s.rbegin(), s.rend()); },
        [](auto& v, const auto& w) { v.insert(v.end(), w.rbegin(), w.rend()); });
    check(
        "transformed", [](auto& s) { s.append_range(through(s)); },
        [](auto& v, const auto& w) { v.insert(v.end(), w.begin(), w.end()); });
    check(
        "in front", [](auto& s) { s.insert(s.begin(), s.rbegin(), s.rend()); },
        [](auto& v, const auto& w) { v.insert(v.begin(), w.rbegin(), w.rend()); });
    check(
        "itself", [](auto& s) { s.append_range(s); },
        [](auto& v, const auto& w) { v.insert(v.end(), w.begin(), w.end()); });
  }
}

TEST(SliceOwn, elements_in_any_order) {
  append_itself_in_many_ways<int>([](size_t i) { return static_cast<int>(i); });
  append_itself_in_many_ways<std::string>(text_of);
}

struct Four {
  int n[4];
  Four(int first) : n{first, first + 1, first + 2, first + 3} {}  // NOLINT(google-explicit-constructor)
};
TEST(SliceOwn, what_lies_in_an_element) {
  for (const size_t size : kSizes) {
    slice<Four> s = full_slice<Four>(size, [](size_t i) { return static_cast<int>(10 * i); });
    const size_t before = s.size();
    s.insert(s.end(), s[0].n, s[0].n + 4);
    ASSERT_EQ(before + 4, s.size());
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(static_cast<int>(i), s[before + i].n[0]) << size;
  }
}

struct Node {
  int value;
  std::vector<Node> kids;
  explicit Node(int n) : value(n) {}
  Node(const Node&) = default;
  Node& operator=(const Node&) = default;
  ~Node() { value = -1; }  // so it is copied where others move
};
TEST(SliceOwn, what_an_element_owns) {
  for (const size_t size : kSizes) {
    slice<Node> s = full_slice<Node>(size, [](size_t i) { return Node(static_cast<int>(i)); });
    s[0].kids = {Node(77), Node(78)};
    const size_t before = s.size();
    s.insert(s.end(), s[0].kids.begin(), s[0].kids.end());
    ASSERT_EQ(before + 2, s.size());
    EXPECT_EQ(77, s[before].value);
    EXPECT_EQ(78, s[before + 1].value);
  }
}

struct Pinned {
  Pinned* self = this;
  Pinned() = default;
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
};
TEST(SliceElements, what_cannot_move_stays_where_it_was_made) {
  static_assert(!ashlar::is_trivially_relocatable<std::mutex>::value);
  static_assert(!ashlar::is_trivially_relocatable<std::atomic<int>>::value);
  slice<std::mutex> locks(40);
  for (std::mutex& m : locks) EXPECT_TRUE(m.try_lock());
  for (std::mutex& m : locks) m.unlock();
  slice<Pinned> s(4);
  EXPECT_THROW(s.resize(400'000), std::length_error);
  EXPECT_EQ(4U, s.size());
  s.shrink_to_fit();
  s.resize(2);
  for (const Pinned& p : s) EXPECT_EQ(&p, p.self);
}

struct MoveOnly {
  int n;
  explicit MoveOnly(int value) : n(value) {}
  MoveOnly(MoveOnly&&) = default;
  MoveOnly& operator=(MoveOnly&&) = default;
};
TEST(SliceElements, plain_but_only_moved) {
  static_assert(std::is_trivially_copyable_v<MoveOnly>);
  slice<MoveOnly> s;
  for (int i = 0; i < 1000; ++i) s.push_back(MoveOnly(i));
  s.emplace_back(1000);
  s.insert(s.begin(), MoveOnly(-1));
  for (int i = 0; i < 1002; ++i) EXPECT_EQ(i - 1, s[static_cast<size_t>(i)].n);
}

struct Tree {
  int value = 0;
  slice<Tree> kids;
};
TEST(SliceElements, of_a_type_that_is_not_complete_yet) {
  Tree root;
  root.kids.resize(3);
  root.kids[1].kids.push_back(Tree{5, {}});
  root.kids.resize(1000);
  const Tree copy(root);
  EXPECT_EQ(5, copy.kids[1].kids[0].value);
}

struct Refusing {
  static inline int left = 0;
  int n;
  Refusing() : n(1) {
    if (left-- == 0) throw std::runtime_error("no more");
  }
};
TEST(SliceElements, a_constructor_that_throws_leaks_no_block) {
  static_assert(std::is_trivially_copyable_v<Refusing>);
  const auto resident = [] {
    long pages = 0;
    FILE* f = fopen("/proc/self/statm", "r");
    EXPECT_EQ(1, fscanf(f, "%*d %ld", &pages));
    fclose(f);
    return pages;
  };
  long before = 0;
  for (int i = 0; i < 1000; ++i) {
    Refusing::left = 20'000;
    EXPECT_THROW(slice<Refusing>(30'000), std::runtime_error);
    if (i == 50) before = resident();
  }
  EXPECT_LT(resident(), before + 5000) << "pages of memory";
}

}  // namespace
}  // namespace ashlar_test
