// SPDX-License-Identifier: MIT
//
// os_sites_test.cc - every operation of the API with its 1st, 2nd, 3rd ... call to the kernel failing, until it needs
// no more: once alone, once with all that follow. It succeeds, or it says null and ENOMEM; live blocks keep their
// contents, the figures agree with each other, and once memory is back the operation succeeds.
//
// What makes an operation need the kernel: a Filler takes every free page of the heap first.
#include <errno.h>

#include <functional>
#include <vector>

#include "alloc/os/os.h"
#include "test/alloc/stress_util.h"

namespace ashlar {
namespace {

using ashlar_test::Stamped;

constexpr unsigned kForEver = ~0U;
constexpr unsigned kMostCalls = 100;  // no operation makes so many

/// All that the heap has without the kernel.
class Filler {
 public:
  Filler() {
    os::fail_after(1, kForEver);
    for (const size_t size : {size_t{1} << 20, size_t{33000}, size_t{16384}, size_t{8192}, size_t{3000}, size_t{100}}) {
      while (void* p = ashlar_malloc(size)) blocks_.push_back(p);
    }
    os::fail_after(0);
  }
  ~Filler() {
    for (void* p : blocks_) ashlar_free(p);
  }
  Filler(const Filler&) = delete;
  Filler& operator=(const Filler&) = delete;

 private:
  std::vector<void*> blocks_;
};

/// Blocks that must not notice anything.
class Witnesses {
 public:
  explicit Witnesses(ashlar_test::Rng& rng) {
    for (int i = 0; i < 60; ++i) blocks_.push_back(ashlar_test::allocate_stamped(rng, 300000));
  }
  void check() const {
    for (const Stamped& b : blocks_) ashlar_test::check_stamped(b, "beside a failure");
  }
  ~Witnesses() {
    for (const Stamped& b : blocks_) ashlar_test::free_stamped(b);
  }
  Witnesses(const Witnesses&) = delete;
  Witnesses& operator=(const Witnesses&) = delete;

 private:
  std::vector<Stamped> blocks_;
};

void expect_identities() {
  const ashlar_memstats s = ashlar_test::stats();
  EXPECT_EQ(s.mallocs - s.frees, s.heap_objects);
  EXPECT_EQ(s.heap_sys, s.heap_idle + s.heap_inuse);
  EXPECT_LE(s.heap_released, s.heap_idle);
  EXPECT_LE(s.heap_alloc, s.heap_inuse);
  EXPECT_LE(s.mspan_inuse, s.mspan_sys);
}

/// What an operation works on: the block that it makes, or changes.
struct Subject {
  Stamped block;

  /// realloc that keeps the contents.
  bool resize(size_t size) {
    void* moved = ashlar_realloc(block.at, size);
    if (moved == nullptr) return false;
    EXPECT_TRUE(ashlar_test::holds_prefix(moved, block.size, std::min(block.size, size), block.tag));
    block.at = moved;
    block.size = size;
    ashlar_test::fill(moved, size, block.tag);
    return true;
  }
  bool take(void* p, size_t size) {
    if (p == nullptr) return false;
    block = {p, size, 77};
    ashlar_test::fill(p, size, block.tag);
    return true;
  }
  bool take_zeroed(void* p, size_t size) {
    EXPECT_TRUE(p == nullptr || ashlar_test::is_zero(p, size));
    return take(p, size);
  }
};

using Operation = std::function<bool(Subject&)>;

/// One failing call, or all from the n-th on. False: the operation needs less than n calls.
bool fail_at(unsigned n, unsigned count, const Operation& prepare, const Operation& operate, unsigned* nulls) {
  ashlar_test::Rng rng(n);
  const Witnesses witnesses(rng);
  Subject subject;
  EXPECT_TRUE(prepare == nullptr || prepare(subject));
  bool reached = false;
  {
    const Filler filler;
    errno = 0;
    os::fail_after(n, count);
    const bool done = operate(subject);
    const int error = errno;
    reached = os::failure_seam().count < count;
    os::fail_after(0);
    if (!done) {
      ++*nulls;
      EXPECT_TRUE(reached);
      EXPECT_EQ(error, ENOMEM);
      if (subject.block.at != nullptr) ashlar_test::check_stamped(subject.block, "after a failure");
      EXPECT_TRUE(operate(subject)) << "memory is back";
    }
    ashlar_test::check_stamped(subject.block, "after the operation");
    witnesses.check();
    expect_identities();
  }
  ashlar_test::free_stamped(subject.block);
  expect_identities();
  return reached;
}

void fail_everywhere(const Operation& prepare, const Operation& operate, bool may_refuse = true) {
  ashlar_free(ashlar_malloc(1));  // initialisation is another story (init_failure_test.cc)
  unsigned nulls = 0;
  for (const unsigned count : {1U, kForEver}) {
    unsigned n = 1;
    while (n < kMostCalls && fail_at(n, count, prepare, operate, &nulls)) ++n;
    EXPECT_GT(n, 1U) << "the operation needed no call, so nothing was tested";
    EXPECT_LT(n, kMostCalls);
  }
  EXPECT_EQ(nulls != 0, may_refuse);
}

/// Until the cache and the spans at hand are used up.
bool many(Subject& s, size_t size, size_t count, void* (*allocate)(size_t)) {
  std::vector<void*> blocks;
  bool good = true;
  while (good && blocks.size() < count) {
    void* p = allocate(size);
    if (p == nullptr) {
      good = false;
    } else {
      memset(p, 1, size);
      blocks.push_back(p);
    }
  }
  const int error = errno;
  if (good) good = s.take(blocks.back(), size);
  if (s.block.at != nullptr) blocks.pop_back();
  for (void* p : blocks) ashlar_free(p);
  errno = error;
  return good;
}

TEST(OsSites, realloc_that_shrinks_never_fails) {
  // The first of the tests, since the budget of dirty pages grows with the heap. It purges, and a failing purge is no
  // reason to refuse.
  size_t size = size_t{64} << 20;
  const Operation prepare = [&size](Subject& s) {
    size += size_t{96} << 20;  // more than what the budget has learnt to keep
    return s.take(ashlar_malloc(size), size);
  };
  fail_everywhere(
      prepare, [](Subject& s) { return s.resize(40000); }, false);
}

TEST(OsSites, malloc_of_small_blocks) {
  for (const size_t size : {size_t{16}, size_t{48}, size_t{200}, size_t{3000}, size_t{30000}}) {
    SCOPED_TRACE(size);
    fail_everywhere(nullptr, [size](Subject& s) { return many(s, size, 2000000 / size, ashlar_malloc); });
  }
}

TEST(OsSites, malloc_of_large_blocks) {
  for (const size_t size : {size_t{40000}, size_t{1} << 20, size_t{30} << 20}) {
    SCOPED_TRACE(size);
    fail_everywhere(nullptr, [size](Subject& s) { return s.take(ashlar_malloc(size), size); });
  }
}

TEST(OsSites, growth_of_the_page_map) {
  // More than the map that is open: one entry of 8 bytes for 8 KiB, opened by 64 KiB, which is for 64 MiB.
  constexpr size_t kSize = size_t{200} << 20;
  size_t size = kSize;
  fail_everywhere(nullptr, [&size](Subject& s) {
    size += size_t{80} << 20;
    return s.take(ashlar_malloc(size), 1 << 20);
  });
}

TEST(OsSites, calloc) {
  for (const size_t size : {size_t{500}, size_t{20000}}) {
    SCOPED_TRACE(size);
    fail_everywhere(nullptr, [size](Subject& s) {
      return many(s, size, 2000000 / size, [](size_t n) { return ashlar_calloc(1, n); });
    });
  }
  for (const size_t size : {size_t{100000}, size_t{5} << 20}) {
    SCOPED_TRACE(size);
    fail_everywhere(nullptr,
                    [size](Subject& s) { return s.take_zeroed(ashlar_calloc(size / 10, 10), size / 10 * 10); });
  }
}

TEST(OsSites, aligned_and_padded_blocks) {
  for (const size_t alignment : {size_t{16384}, size_t{1} << 20, size_t{64} << 20}) {
    SCOPED_TRACE(alignment);
    fail_everywhere(nullptr, [=](Subject& s) { return s.take(ashlar_aligned_alloc(alignment, 100), 100); });
    fail_everywhere(nullptr, [=](Subject& s) {
      void* p = &s;
      errno = 0;
      const int error = ashlar_posix_memalign(&p, alignment, 70000);
      EXPECT_EQ(errno, 0) << "posix_memalign returns its error";
      errno = error;
      if (error == 0) return s.take(p, 70000);
      EXPECT_EQ(p, static_cast<void*>(&s)) << "and leaves the pointer alone";
      return false;
    });
  }
  fail_everywhere(nullptr, [](Subject& s) { return many(s, 250, 10000, ashlar_malloc_padded); });
}

TEST(OsSites, realloc_that_grows_in_place_or_moves) {
  const Operation prepare = [](Subject& s) { return s.take(ashlar_malloc(1 << 20), 1 << 20); };
  for (const size_t size : {size_t{3} << 20, size_t{40} << 20}) {
    SCOPED_TRACE(size);
    fail_everywhere(prepare, [size](Subject& s) { return s.resize(size); });
  }
  const Operation prepare_small = [](Subject& s) { return s.take(ashlar_malloc(1000), 1000); };
  for (const size_t size : {size_t{2000}, size_t{50000}, size_t{2} << 20}) {
    SCOPED_TRACE(size);
    fail_everywhere(prepare_small, [size](Subject& s) {
      // The size class may have objects at hand: other blocks use those up.
      Subject other;
      if (size < 32768 && !many(other, size, 1000, ashlar_malloc)) return false;
      const bool done = s.resize(size);
      const int error = errno;
      ashlar_free(other.block.at);
      errno = error;
      return done;
    });
  }
}

TEST(OsSites, frees_and_purges_that_cannot_give_memory_back) {
  const Operation prepare = [](Subject& s) { return s.take(ashlar_malloc(100), 100); };
  fail_everywhere(
      prepare,
      [](Subject&) {
        std::vector<void*> blocks;
        for (int i = 0; i < 30; ++i) blocks.push_back(ashlar_malloc(1 << 20));
        for (void* p : blocks) {
          if (p != nullptr) memset(p, 1, 1 << 20);
        }
        for (void* p : blocks) ashlar_free(p);
        ashlar_purge(0);
        auto* zeroed = static_cast<char*>(ashlar_calloc(1, 1 << 20));
        EXPECT_TRUE(zeroed == nullptr || ashlar_test::is_zero(zeroed, 1 << 20));
        ashlar_free(zeroed);
        return true;
      },
      false);
}

TEST(OsSites, metadata_of_many_spans) {
  // 1,024 records fill a mapping of metadata: the operation needs several.
  fail_everywhere(nullptr, [](Subject& s) { return many(s, 33000, 3000, ashlar_malloc); });
}

}  // namespace
}  // namespace ashlar
