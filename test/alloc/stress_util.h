// SPDX-License-Identifier: MIT
//
// stress_util.h - what the stress tests share: blocks that know their own content, allocation by every route,
// threads, a watchdog.
//
// Invariant: a Stamped block carries nothing inside it but its pattern, so an allocator that hands one out twice, or
// writes to it, is caught by the check before its free.
#pragma once

#include <signal.h>

#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "test/alloc/test_util.h"

namespace ashlar_test {

struct Stamped {
  void* at = nullptr;
  size_t size = 0;
  uint64_t tag = 0;
};

/// Allocates by a route drawn from `rng` (malloc, calloc, realloc, aligned, padded), checks what that route
/// promises, and stamps the block. Aborts the process on a failure: GoogleTest's macros are slow in such loops.
inline Stamped allocate_stamped(Rng& rng, size_t max_size) {
  Stamped block;
  block.size = rng.skewed_size(max_size);
  block.tag = rng.next();
  size_t alignment = ASHLAR_MIN_ALIGN;
  switch (rng.below(8)) {
    case 0:
      block.at = ashlar_calloc(1, block.size);
      if (block.at != nullptr && !is_zero(block.at, block.size)) {
        fprintf(stderr, "calloc(%zu) is not zero at %p\n", block.size, block.at);
        abort();
      }
      break;
    case 1:
      alignment = size_t{16} << rng.below(10);
      block.at = ashlar_aligned_alloc(alignment, block.size);
      break;
    case 2:
      alignment = 128;
      block.at = ashlar_malloc_padded(block.size);
      break;
    case 3:
      block.at = ashlar_realloc(nullptr, block.size);
      break;
    default:
      block.at = ashlar_malloc(block.size);
  }
  if (block.at == nullptr || !is_aligned(block.at, alignment) || ashlar_usable_size(block.at) < block.size) {
    fprintf(stderr, "bad block %p for %zu bytes aligned to %zu\n", block.at, block.size, alignment);
    abort();
  }
  fill(block.at, block.size, block.tag);
  return block;
}

inline void check_stamped(const Stamped& block, const char* when) {
  if (!holds(block.at, block.size, block.tag)) {
    fprintf(stderr, "block %p of %zu bytes lost its contents (%s)\n", block.at, block.size, when);
    abort();
  }
}

inline void free_stamped(const Stamped& block) {
  if (block.at != nullptr) check_stamped(block, "before free");
  ashlar_free(block.at);
}

inline void reallocate_stamped(Rng& rng, Stamped& block, size_t max_size) {
  const size_t size = 1 + rng.skewed_size(max_size);
  void* moved = ashlar_realloc(block.at, size);
  const size_t kept = size < block.size ? size : block.size;
  if (moved == nullptr || (block.at != nullptr && !holds_prefix(moved, block.size, kept, block.tag))) {
    fprintf(stderr, "realloc of %p from %zu to %zu gave %p, contents lost\n", block.at, block.size, size, moved);
    abort();
  }
  block = {moved, size, rng.next()};
  fill(block.at, block.size, block.tag);
}

/// Every live block by address, so that an overlap shows at once, not when the contents are found broken.
class Shadow {
 public:
  void add(const Stamped& block) {
    const auto at = reinterpret_cast<uintptr_t>(block.at);
    const auto above = live_.lower_bound(at);
    if (above != live_.end() && above->first < at + usable(block)) die(block, above->first);
    if (above != live_.begin()) {
      const auto below = std::prev(above);
      if (below->first + below->second > at) die(block, below->first);
    }
    live_.emplace(at, usable(block));
  }

  void remove(const Stamped& block) { live_.erase(reinterpret_cast<uintptr_t>(block.at)); }

 private:
  static size_t usable(const Stamped& block) { return ashlar_usable_size(block.at); }

  [[noreturn]] static void die(const Stamped& block, uintptr_t other) {
    fprintf(stderr, "block %p of %zu bytes overlaps the live block %#zx\n", block.at, block.size, other);
    abort();
  }

  std::map<uintptr_t, size_t> live_;
};

/// Runs body(i) on `count` threads and waits for all.
template <typename Body>
void on_threads(size_t count, Body body) {
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (size_t i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

/// Cells that threads exchange blocks through. A mutex per cell orders the contents, as a program would.
class Ring {
 public:
  explicit Ring(size_t cells) : cells_(cells) {}

  /// Puts `block` into the cell and returns what was there.
  Stamped exchange(size_t cell, const Stamped& block) {
    Cell& at = cells_[cell % cells_.size()];
    const std::lock_guard<std::mutex> guard(at.mutex);
    const Stamped old = at.block;
    at.block = block;
    return old;
  }

  size_t size() const { return cells_.size(); }

 private:
  struct Cell {
    std::mutex mutex;
    Stamped block;
  };
  std::vector<Cell> cells_;
};

/// Ends the process with SIGALRM where a test hangs: a generous bound that a loaded machine does not come near.
class Watchdog {
 public:
  explicit Watchdog(unsigned seconds) { alarm(seconds); }
  ~Watchdog() { alarm(0); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
};

inline constexpr unsigned kWatchdogSeconds = 240;

/// Expects that as many objects were freed as allocated since `before`, and that no byte is left.
inline void expect_nothing_left(const ashlar_memstats& before) {
  const ashlar_memstats after = stats();
  EXPECT_EQ(after.mallocs - before.mallocs, after.frees - before.frees);
  EXPECT_EQ(after.heap_objects, before.heap_objects);
  EXPECT_EQ(after.heap_alloc, before.heap_alloc);
}

}  // namespace ashlar_test
