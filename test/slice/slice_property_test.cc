// SPDX-License-Identifier: MIT
//
// slice_property_test.cc - slice<T> against std::vector<T>: random operations on both, equal after each of them; for
// elements that move as bytes and for those that do not, and for every policy.
#include <gtest/gtest.h>

#include <list>
#include <sstream>
#include <string>
#include <vector>

#include "alloc/slice/slice.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {
namespace {

struct Triple {
  uint64_t a = 0, b = 0, c = 0;
  bool operator==(const Triple&) const = default;
};

struct alignas(64) Line {
  uint64_t a = 0;
  bool operator==(const Line&) const = default;
};

/// Not trivially relocatable: knows its own address. Counts who lives.
class Tracked {
 public:
  static inline long alive = 0;
  Tracked() : Tracked(0) {}
  explicit Tracked(uint64_t value) : self_(this), value_(value) { ++alive; }
  Tracked(const Tracked& other) : Tracked(other.value_) { EXPECT_EQ(other.self_, &other); }
  Tracked(Tracked&& other) noexcept : Tracked(other.value_) { EXPECT_EQ(other.self_, &other); }
  Tracked& operator=(const Tracked& other) {  // NOLINT(bugprone-unhandled-self-assignment): it does no harm
    EXPECT_EQ(self_, this);
    value_ = other.value_;
    return *this;
  }
  Tracked& operator=(Tracked&& other) noexcept {
    EXPECT_EQ(self_, this);
    value_ = other.value_;
    return *this;
  }
  ~Tracked() {
    EXPECT_EQ(self_, this);
    self_ = nullptr;
    --alive;
  }
  bool operator==(const Tracked& other) const { return value_ == other.value_; }

 private:
  const Tracked* self_;
  uint64_t value_;
};

template <class T>
T make(uint64_t i) {
  if constexpr (std::is_same_v<T, std::string>) {
    return i % 3 == 0 ? std::to_string(i) : "a string too long for the small one: " + std::to_string(i);
  } else if constexpr (std::is_same_v<T, Triple>) {
    return {i, mix(i), ~i};
  } else if constexpr (std::is_same_v<T, Line>) {
    return {i};
  } else {
    return static_cast<T>(i);
  }
}

template <class T, ashlar::GrowthPolicy Policy>
class Twins {
 public:
  using Slice = ashlar::slice<T, Policy>;
  using Vector = std::vector<T>;

  explicit Twins(uint64_t seed, size_t most) : rng_(seed), most_(most) {}

  void step() {
    const unsigned op = static_cast<unsigned>(rng_.below(28));
    last_ = op;
    if (s_.size() > most_) {
      const size_t to = rng_.below(most_);
      s_.resize(to);
      v_.resize(to);
      return;
    }
    switch (op) {
      case 0:
      case 1:
      case 2:
        return each([t = fresh()](auto& c) { c.push_back(t); });
      case 3:
        return each([i = rng_.next()](auto& c) { c.emplace_back(make<T>(i)); });
      case 4:
        return s_.empty() ? void() : each([i = at()](auto& c) { c.push_back(c[i]); });
      case 5:
        return s_.empty() ? void() : each([](auto& c) { c.pop_back(); });
      case 6:
      case 7:
        return append();
      case 8:
        return append_own();
      case 9:
        return append_list();
      case 10:
      case 11:
        return each([i = gap(), t = fresh()](auto& c) { c.insert(c.begin() + off(i), t); });
      case 12:
        return s_.empty() ? void() : each([i = gap(), k = at()](auto& c) { c.insert(c.begin() + off(i), c[k]); });
      case 13:
        return each([i = gap(), n = count(), t = fresh()](auto& c) { c.insert(c.begin() + off(i), n, t); });
      case 14:
        return insert_range();
      case 15:
        return insert_own();
      case 16:
      case 17:
        return s_.empty() ? void() : each([i = at()](auto& c) { c.erase(c.begin() + off(i)); });
      case 18:
        return erase_range();
      case 19:
        return each([n = rng_.below(most_)](auto& c) { c.resize(n); });
      case 20:
        return each([n = rng_.below(most_), t = fresh()](auto& c) { c.resize(n, t); });
      case 21:
        return each([n = rng_.below(2 * most_)](auto& c) { c.reserve(n); });
      case 22:
        return shrink();
      case 23:
        return rng_.one_in(8) ? each([](auto& c) { c.clear(); }) : void();
      case 24:
        return copies();
      case 25:
        return moves();
      case 26:
        return each([n = count(), t = fresh()](auto& c) { c.assign(n, t); });
      default:
        return views();
    }
  }

  void check() const {
    ASSERT_EQ(s_.size(), v_.size()) << "operation " << last_;
    ASSERT_GE(s_.capacity(), s_.size());
    ASSERT_EQ(s_.empty(), v_.empty());
    ASSERT_TRUE(std::equal(s_.begin(), s_.end(), v_.begin(), v_.end())) << "operation " << last_;
    if (s_.data() != nullptr) {
      ASSERT_LE(s_.capacity() * sizeof(T), ashlar_usable_size(s_.data()));
      ASSERT_TRUE(is_aligned(s_.data(), alignof(T)));
    }
  }

 private:
  static ptrdiff_t off(size_t i) { return static_cast<ptrdiff_t>(i); }
  T fresh() { return make<T>(rng_.next()); }
  size_t at() { return rng_.below(s_.size()); }
  size_t gap() { return rng_.below(s_.size() + 1); }
  size_t count() { return rng_.one_in(4) ? rng_.below(most_ / 2 + 1) : rng_.below(5); }

  template <class F>
  void each(F f) {
    f(s_);
    f(v_);
  }
  Vector some() {
    Vector some;
    const size_t n = count();
    for (size_t i = 0; i < n; ++i) some.push_back(fresh());
    return some;
  }
  void append() {
    const Vector more = some();
    if (rng_.one_in(2)) {
      s_.append(more.begin(), more.end());
    } else {
      s_.append_range(more);
    }
    v_.insert(v_.end(), more.begin(), more.end());
  }
  void append_own() {
    const size_t to = gap();
    const size_t from = rng_.below(to + 1);
    const Vector part(v_.begin() + off(from), v_.begin() + off(to));
    s_.append_range(s_.sub(from, to));
    v_.insert(v_.end(), part.begin(), part.end());
  }
  void append_list() {
    const Vector more = some();
    const std::list<T> list(more.begin(), more.end());
    if (rng_.one_in(2)) {
      s_.append_range(list);
    } else {
      s_.append(list.begin(), list.end());
    }
    v_.insert(v_.end(), list.begin(), list.end());
  }
  void insert_range() {
    const Vector more = some();
    const size_t i = gap();
    if (rng_.one_in(2)) {
      const std::list<T> list(more.begin(), more.end());
      const auto it = s_.insert(s_.begin() + off(i), list.begin(), list.end());
      ASSERT_EQ(it, s_.begin() + off(i));
    } else {
      s_.insert(s_.begin() + off(i), more.begin(), more.end());
    }
    v_.insert(v_.begin() + off(i), more.begin(), more.end());
  }
  void insert_own() {
    const size_t to = gap();
    const size_t from = rng_.below(to + 1);
    const size_t i = gap();
    const Vector part(v_.begin() + off(from), v_.begin() + off(to));
    s_.insert(s_.begin() + off(i), s_.begin() + off(from), s_.begin() + off(to));
    v_.insert(v_.begin() + off(i), part.begin(), part.end());
  }
  void erase_range() {
    const size_t to = gap();
    const size_t from = rng_.below(to + 1);
    each([=](auto& c) { c.erase(c.begin() + off(from), c.begin() + off(to)); });
  }
  void shrink() {
    s_.shrink_to_fit();
    if (s_.empty()) {
      ASSERT_EQ(s_.data(), nullptr);
    } else {
      ASSERT_EQ(s_.capacity(), ashlar_good_size(s_.size() * sizeof(T)) / sizeof(T));
    }
  }
  void copies() {
    Slice copy(s_);
    ASSERT_EQ(copy, s_);
    copy.push_back(fresh());
    ASSERT_NE(copy, s_);
    copy = s_;
    ASSERT_EQ(copy, s_);
    const Slice viewed{ashlar::slice_view<const T>(s_)};
    ASSERT_EQ(viewed, s_);
    s_ = viewed;
  }
  void moves() {
    Slice other(std::move(s_));
    ASSERT_TRUE(s_.empty());  // NOLINT(bugprone-use-after-move): a moved slice is empty
    s_.push_back(fresh());
    s_.swap(other);
    other = std::move(s_);
    s_ = std::move(other);
  }
  void views() {
    const size_t to = gap();
    const size_t from = rng_.below(to + 1);
    const ashlar::slice_view<T> view = s_.sub(from, to);
    ASSERT_EQ(view.data(), s_.data() + from);
    ASSERT_EQ(view.size(), to - from);
    const std::span<T> span = view;
    ASSERT_EQ(span.size(), view.size());
    if (!view.empty()) {
      const size_t i = rng_.below(view.size());
      view[i] = fresh();
      v_[from + i] = s_[from + i];
    }
  }

  Rng rng_;
  size_t most_;
  unsigned last_ = 0;
  Slice s_;
  Vector v_;
};

template <class T, ashlar::GrowthPolicy Policy>
void run(size_t most, size_t steps) {
  const uint64_t seed = announce_seed();
  const long alive = Tracked::alive;
  const ashlar_memstats before = stats();
  for (size_t round = 0; round < 4; ++round) {
    Twins<T, Policy> twins(mix(seed + round), most);
    for (size_t i = 0; i < rounds(steps); ++i) {
      twins.step();
      twins.check();
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(Tracked::alive, alive);
  EXPECT_EQ(stats().heap_objects, before.heap_objects) << "blocks leaked, or freed twice";
}

TEST(SliceProperties, bytes) {
  run<uint8_t, ashlar::kDefaultGrowth>(3000, 20000);
}
TEST(SliceProperties, bytes_in_large_blocks) {
  run<uint8_t, ashlar::grow_by_step>(300000, 400);
}
TEST(SliceProperties, large_blocks_of_the_default) {
  run<uint64_t, ashlar::kDefaultGrowth>(400000, 100);
}
TEST(SliceProperties, ints) {
  run<int, ashlar::grow_smoothly>(1000, 20000);
}
TEST(SliceProperties, triples) {
  run<Triple, ashlar::grow_twice>(300, 20000);
}
TEST(SliceProperties, lines) {
  run<Line, ashlar::kDefaultGrowth>(300, 20000);
}
TEST(SliceProperties, strings) {
  run<std::string, ashlar::grow_twice>(100, 10000);
}
TEST(SliceProperties, tracked) {
  run<Tracked, ashlar::grow_twice>(300, 20000);
}
TEST(SliceProperties, tracked_in_large_blocks) {
  run<Tracked, ashlar::grow_by_step>(20000, 200);
}

TEST(SliceProperties, input_iterators_that_pass_once) {
  std::istringstream text("1 2 3 4 5 6 7 8 9 10");
  ashlar::slice<int> s{100, 200};
  s.insert(s.begin() + 1, std::istream_iterator<int>(text), std::istream_iterator<int>());
  EXPECT_EQ(s, (ashlar::slice<int>{100, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200}));
}

TEST(SliceProperties, elements_that_only_move) {
  ashlar::slice<std::unique_ptr<int>> s;
  for (int i = 0; i < 1000; ++i) s.push_back(std::make_unique<int>(i));
  s.insert(s.begin() + 10, std::make_unique<int>(-1));
  s.erase(s.begin(), s.begin() + 10);
  ASSERT_EQ(s.size(), 991U);
  EXPECT_EQ(*s[0], -1);
  for (int i = 10; i < 1000; ++i) ASSERT_EQ(*s[static_cast<size_t>(i) - 9], i);
  ashlar::slice<std::unique_ptr<int>> other(std::move(s));
  other.resize(5);
  other.shrink_to_fit();
  EXPECT_EQ(*other.back(), 13);
  std::sort(other.begin(), other.end(), [](const auto& a, const auto& b) { return *a > *b; });
  EXPECT_EQ(*other.back(), -1);
}

TEST(SliceProperties, comparisons) {
  using S = ashlar::slice<int>;
  EXPECT_LT((S{1, 2}), (S{1, 2, 3}));
  EXPECT_GT((S{2}), (S{1, 2, 3}));
  EXPECT_EQ(S{}, S{});
  EXPECT_EQ((S(3, 7)), (S{7, 7, 7}));
  EXPECT_EQ((S(2)), (S{0, 0}));
}

TEST(SliceProperties, neighbours_that_grow_in_turn_keep_their_elements) {
  ashlar::slice<uint64_t> s[3];
  const size_t n = rounds(600000);
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < 3; ++k) s[k].push_back(mix(i * 3 + k));
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < 3; ++k) ASSERT_EQ(s[k][i], mix(i * 3 + k));
  }
}

}  // namespace
}  // namespace ashlar_test
