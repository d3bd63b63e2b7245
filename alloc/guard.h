// SPDX-License-Identifier: MIT
//
// guard.h - sampled blocks between guard pages (GWP-ASan's idea), option `guard_sample`.
//
// Owns: the pool of slots, outside of the window, and what is known of the block of each: size, state, who allocated
// and who freed it. One of `guard_sample` small blocks, on average, gets a slot of its own, ending at the inaccessible
// page behind it or (every second one) beginning at the one before it. A freed slot is inaccessible, too, and is used
// again as late as possible. So overflow, underflow and use after free fault at the access, and the fault handler
// (guard_report.cc) says whose block it was.
//
//    | guard | slot 0 | guard | slot 1 | ... | slot n-1 | guard |       each of a unit: 8 KiB, or an OS page if larger
//
//    slot:  fresh --allocate--> live --free--> freed (inaccessible) --all others are live, or freed later--> live
//
// Sampling costs the fast path nothing: with the option on, the table of sizes in a slab sends every malloc the slow
// way (cache.cc), where a thread counts down to its next sample. free stays as it is: a slot is no address of the heap.
// The pool has a lock of its own, under which nothing else is locked.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sizeclass/sizeclass.h"

namespace ashlar {

/// Slots: at most twice as many maps.
inline constexpr unsigned kGuardSlots = 64;

/// Largest block that is sampled: a page.
inline constexpr size_t kMaxGuardedBytes = kPageBytes;

/// Where a call came from: return addresses, innermost first.
struct Trace {
  static constexpr unsigned kFrames = 12;
  uintptr_t at[kFrames];
  unsigned count;
};

struct GuardSlot {
  enum State : uint8_t { kFresh, kLive, kFreed };
  uintptr_t block;
  size_t size;
  State state;
  uint32_t freed_at;  ///< number among all frees, for the oldest
  Trace allocated, freed;
};

struct GuardPool {
  uintptr_t start;  ///< of the pool; 0: there is none
  size_t bytes;
  size_t unit;
};
[[gnu::visibility("hidden")]] extern GuardPool guard_pool;
[[gnu::visibility("hidden")]] extern GuardSlot guard_slots[kGuardSlots];

/// One in so many is sampled; 0: none. 1 until initialisation has read the option, so that the first block of a process
/// leaves the fast path, too.
[[gnu::visibility("hidden")]] extern uint32_t guard_mean;
/// Relaxed: a thread that comes before another one's initialisation has written it finds 1, and initialises, too.
inline uint32_t guard_mean_now() {
  return __atomic_load_n(&guard_mean, __ATOMIC_RELAXED);
}

/// Reserves the pool and installs the fault handler, as the options say. Called once by initialisation.
void init_guard() noexcept;

inline bool in_guard_pool(const void* p) {
  return reinterpret_cast<uintptr_t>(p) - guard_pool.start < guard_pool.bytes;
}

/// Counts one allocation of this thread; true where it is to be sampled. Only where guard_mean is not 0,
/// and after initialisation.
bool guard_sample_due() noexcept;

/// The caller's caller and those above, as far as frame pointers lead. `frame`: __builtin_frame_address(0) of the
/// function that was called from outside.
void take_trace(Trace* out, void* frame) noexcept;

/// A block in a slot, zeroed; null: not possible now (or not at all with this size and alignment).
void* guard_allocate(size_t alignment, size_t size, const Trace& trace) noexcept;

/// `p` is in the pool. Aborts with a report where it is not the start of a live block, or its surroundings were
/// written. `size`: what the caller claims, or kAnySize.
inline constexpr size_t kAnySize = ~size_t{0};
void guard_deallocate(void* p, size_t size, const Trace& trace) noexcept;

/// Requested size of the live block `p` in the pool; aborts with a report on anything else.
size_t guard_usable(const void* p) noexcept;

/// Blocks per class of their size, for statistics.
struct GuardCounts {
  uint64_t mallocs[kNumClasses], frees[kNumClasses];
};
void count_guarded(GuardCounts* out) noexcept;

/// For fork; see Mutex::lock_for_fork.
bool guard_is_mine() noexcept;
[[nodiscard]] bool lock_guard_for_fork(bool interrupted) noexcept;
void unlock_guard_after_fork() noexcept;

}  // namespace ashlar
