// SPDX-License-Identifier: MIT
//
// central.h - the central list of a bin (Go's mcentral): its spans by occupancy, and the way of objects between spans
// and caches.
//
// Owns: Span::free_bits and Span::free_count() of listed and full spans, under one lock per bin.
// Refill takes from the fullest span first, so that the emptiest drain away. An object that comes back is checked
// here, before it changes anything: its page must belong to a span, it must be at an object's start, and it must not be
// free already.
#pragma once

#include "alloc/base/futex.h"
#include "alloc/bins.h"
#include "alloc/span.h"

namespace ashlar {

inline constexpr unsigned kBuckets = 4;  ///< by free share: below 1/4, below 3/4, below 1, all
inline constexpr unsigned kEmptyBucket = kBuckets - 1;
inline constexpr uint8_t kNotListed = 0xff;

struct alignas(128) Central {
  Mutex mutex;
  uint32_t nonempty;  ///< bit b: bucket[b] has spans
  Span* bucket[kBuckets];
  uint64_t out;             ///< objects with the program or in caches
  uint64_t direct_mallocs;  ///< objects handed out past any cache; atomic
};

/// Takes up to n objects of `bin` into out, highest address first; 0: no memory.
size_t central_take(Bin bin, void** out, size_t n) noexcept;

/// Gives n objects of class c back, of any home. Aborts, with a line that names the pointer, on one that was not out.
void central_give(ClassIndex c, void* const* objects, size_t n) noexcept;

/// Counts a malloc whose object did not pass through a cache.
void central_count_direct(Bin bin) noexcept;

/// Gives the spans that are kept although all their objects are free back to the page heap.
void central_release_empty() noexcept;

/// For fork: takes the locks that the calling thread does not hold (see Mutex::lock_for_fork), and says which.
struct CentralSet {
  uint64_t bits[(kBinFirstForeign + 63) / 64];
};
bool central_is_mine() noexcept;
void central_lock_for_fork(CentralSet* taken, bool interrupted) noexcept;
void central_unlock(const CentralSet& taken) noexcept;

struct CentralStats {
  uint64_t out, direct_mallocs;
};
CentralStats central_stats(Bin bin) noexcept;

}  // namespace ashlar
