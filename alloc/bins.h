// SPDX-License-Identifier: MIT
//
// bins.h - the byte that the page map holds for every page, and that free() uses as an index into a slab.
//
// A bin is a size class, or for classes below a cache line a pair (class, home group of Ps). Drawn:
//
//     0         1      2 ............ 70          71 .............. 118                119 .. 121
//     no block  large  classes 3..71              home group 0: classes 0,1,2; 1: ...  foreign caches (never in the
//     page map)
//
// A slab of home group h has real caches for the bins of h. The bins of other homes look full and empty there, so a
// free of a sub-line object on a foreign P leaves the fast path and goes to a foreign cache, which nothing is allocated
// from.
#pragma once

#include "sizeclass/sizeclass.h"

namespace ashlar {

using Bin = unsigned;

inline constexpr Bin kBinNone = 0;
inline constexpr Bin kBinLarge = 1;
inline constexpr Bin kBinFirstClass = 2;
inline constexpr Bin kBinFirstHome = kBinFirstClass + kNumClasses - kSubLineClasses;
inline constexpr Bin kBinFirstForeign = kBinFirstHome + kHomeGroups * kSubLineClasses;
inline constexpr unsigned kNumHeaders = kBinFirstForeign + kSubLineClasses;
static_assert(kNumHeaders <= 128);

/// A cache of a slab: one per size class, then the foreign ones.
using CacheIndex = unsigned;
inline constexpr CacheIndex kFirstForeignCache = kNumClasses;
inline constexpr unsigned kNumCaches = kNumClasses + kSubLineClasses;

constexpr bool is_home_bin(Bin b) {
  return b >= kBinFirstHome && b < kBinFirstForeign;
}
constexpr bool is_small_bin(Bin b) {
  return b >= kBinFirstClass && b < kBinFirstForeign;
}

constexpr ClassIndex class_of_bin(Bin b) {
  return b < kBinFirstHome ? b - kBinFirstClass + kSubLineClasses : (b - kBinFirstHome) % kSubLineClasses;
}

constexpr Bin bin_of_class(ClassIndex c, unsigned home) {
  return c >= kSubLineClasses ? c - kSubLineClasses + kBinFirstClass : kBinFirstHome + home * kSubLineClasses + c;
}

constexpr Bin bin_of_cache(CacheIndex k, unsigned home) {
  return k < kFirstForeignCache ? bin_of_class(k, home) : kBinFirstForeign + (k - kFirstForeignCache);
}

/// Size class of the objects in cache k.
constexpr ClassIndex class_of_cache(CacheIndex k) {
  return k < kFirstForeignCache ? k : k - kFirstForeignCache;
}

}  // namespace ashlar
