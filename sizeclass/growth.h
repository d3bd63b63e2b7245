// SPDX-License-Identifier: MIT
//
// growth.h - how much room a growing slice asks for: the policies, and the rules around them that no policy can break.
//
// Owns: the arithmetic, in elements. Pure, constexpr, no state, no other header of ours: it is installed as
// <ashlar/growth.h>. What the allocator then really gives is rounding.h's, or the block's own usable size.
//
// A policy is a function (capacity, needed, element bytes) -> next capacity. It is asked only where
// capacity < needed <= 2 * capacity, and whatever it answers, next_capacity() keeps within needed .. the maximum: so a
// user's own policy cannot lose an element or wrap around.
// Sources: the step form is the one of the handbook that Ashlar follows; the smooth form is Go's (runtime/slice.go,
// nextslicecap, since Go 1.18).
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar {

using GrowthPolicy = size_t (*)(size_t capacity, size_t needed, size_t element_bytes);

/// Elements of the largest slice: its bytes are at most PTRDIFF_MAX, so that pointers into it can be subtracted.
constexpr size_t max_elements(size_t element_bytes) {
  return element_bytes == 0 ? SIZE_MAX : size_t{PTRDIFF_MAX} / element_bytes;
}

/// a + b, or SIZE_MAX.
constexpr size_t add_saturated(size_t a, size_t b) {
  return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

inline constexpr size_t kStepThreshold = 1024;  ///< elements: below, grow_by_step doubles
inline constexpr size_t kStep = 64;             ///< elements: from the threshold on, it adds multiples of this

/// Doubles below kStepThreshold, then adds as few steps of kStep as are needed: 32 -> 64, 1024 -> 1088, 8192 -> 8256.
constexpr size_t grow_by_step(size_t capacity, size_t needed, size_t /*element_bytes*/) {
  if (capacity < kStepThreshold) return 2 * capacity;
  const size_t missing = needed > capacity ? needed - capacity : 1;
  const size_t steps = (missing - 1) / kStep + 1;
  return add_saturated(capacity, steps > SIZE_MAX / kStep ? SIZE_MAX : steps * kStep);
}

inline constexpr size_t kSmoothThreshold = 256;  ///< elements: below, grow_smoothly doubles

/// Go's: doubles below kSmoothThreshold, then adds (capacity + 3 * 256) / 4 until it is enough, so that the factor
/// falls slowly from 2 to 1.25.
constexpr size_t grow_smoothly(size_t capacity, size_t needed, size_t /*element_bytes*/) {
  if (capacity < kSmoothThreshold) return 2 * capacity;
  size_t next = capacity;
  do {
    next = add_saturated(next, next / 4 + 3 * kSmoothThreshold / 4);
  } while (next < needed);
  return next;
}

/// Always twice as much.
constexpr size_t grow_twice(size_t capacity, size_t /*needed*/, size_t /*element_bytes*/) {
  return add_saturated(capacity, capacity);
}

inline constexpr size_t kPagesThreshold = size_t{1} << 20;  ///< bytes: below, grow_by_pages doubles

/// Doubles below kPagesThreshold, then adds a sixteenth. For blocks that grow where they lie, or by page tables: there
/// a step costs next to nothing, so that it can be small, and at rest little is wasted. The default of what moves as
/// bytes (alloc/slice/README.md has the measurements).
constexpr size_t grow_by_pages(size_t capacity, size_t needed, size_t element_bytes) {
  if (element_bytes == 0 || capacity < kPagesThreshold / element_bytes)
    return grow_twice(capacity, needed, element_bytes);
  const size_t next = add_saturated(capacity, capacity / 16 + 1);
  return next < needed ? needed : next;
}

inline constexpr GrowthPolicy kDefaultGrowth = grow_by_pages;

/// The capacity to ask for, when `capacity` elements are there and `needed` are wanted: `capacity` where that is
/// enough; `needed` from nothing and beyond double; else what `policy` says, but at least `needed` and at most the
/// maximum. 0: "growslice: len out of range", no slice has `needed` elements of that size.
constexpr size_t next_capacity(GrowthPolicy policy, size_t capacity, size_t needed, size_t element_bytes) {
  const size_t most = max_elements(element_bytes);
  if (needed > most) return 0;
  if (needed <= capacity) return capacity;
  if (needed - capacity > capacity || capacity == 0) return needed;
  const size_t next = policy(capacity, needed, element_bytes);
  if (next < needed) return needed;
  return next < most ? next : most;
}

static_assert(next_capacity(grow_by_step, 0, 1, 8) == 1 && next_capacity(grow_smoothly, 0, 1, 8) == 1);
static_assert(next_capacity(grow_by_step, 32, 33, 1) == 64 && next_capacity(grow_by_step, 1023, 1024, 1) == 2046);
static_assert(next_capacity(grow_by_step, 1024, 1025, 1) == 1088 && next_capacity(grow_by_step, 8192, 8193, 1) == 8256);
static_assert(next_capacity(grow_by_step, 1024, 1089, 1) == 1152 && next_capacity(grow_by_step, 1024, 2049, 1) == 2049);
static_assert(next_capacity(grow_smoothly, 255, 256, 1) == 510 && next_capacity(grow_smoothly, 256, 257, 1) == 512);
static_assert(next_capacity(grow_smoothly, 512, 513, 1) == 832);
static_assert(next_capacity(grow_twice, max_elements(8) / 2 + 1, max_elements(8) / 2 + 2, 8) == max_elements(8));
static_assert(next_capacity(grow_twice, max_elements(8), max_elements(8), 8) == max_elements(8));
static_assert(next_capacity(grow_twice, max_elements(8), max_elements(8) + 1, 8) == 0);

}  // namespace ashlar
