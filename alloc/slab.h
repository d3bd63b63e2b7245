// SPDX-License-Identifier: MIT
//
// slab.h - the cache of one P (Go's mcache): per class an array of pointers to free objects.
//
// Owns: the layout. Who touches it: the thread that leases the slab (plain accesses, fast_path.h and cache.h), or, for
// the slab of an rseq P, whoever runs on the P inside a restartable sequence (base/rseq.h). Statistics read headers
// from outside, relaxed.
//
// Words of 8 bytes; `top` counts words from the slab's start:
//
//     [headers: top:16 | pops:48] [cache -> bin] [size -> bin] [who] | T slots of cache 0 | T slots of cache 1 | ... |
//     T T
//
// T is a tagged word (bit 0 set). The T below a cache's slots stops pops, the T above stops pushes, so neither path
// knows a capacity. The cache of a leased slab that keeps being refilled and flushed in turn grows: it moves, while it
// is empty, to a larger place in the slab's extension, up to kMaxSlabWords away, which is what `top` can reach; it is
// emptied and moves back when it has not been used for a while. A bin
// that this slab does not cache points at the last T: empty and full at once. The pops are the count of mallocs: exact,
// at no extra instruction, since `top` and count are one word.
#pragma once

#include "alloc/base/rseq.h"
#include "alloc/bins.h"

namespace ashlar {

inline constexpr uintptr_t kTag = 1;
inline constexpr uint64_t kTopMask = 0xffff;
inline constexpr unsigned kPopsShift = 16;
inline constexpr size_t kTableEntries = kTableMaxBytes / kMinAlign + 1;

/// What every slab begins with.
struct alignas(64) Slab {
  uint64_t header[kNumHeaders];
  uint8_t cache_bin[kNumCaches];     ///< cache -> bin on this slab
  uint8_t small_bin[kTableEntries];  ///< (size + 15) / 16 -> bin on this slab, sizes up to kTableMaxBytes
  uint8_t home;                      ///< home group
  bool real;                         ///< not the shared empty slab
  bool small;                        ///< its caches have a quarter of the slots, and do not grow: it is one of many
  uint16_t index;                    ///< number among all slabs, by creation
  uint16_t first[kNumCaches];        ///< cache -> word index of its first slot
  uint16_t limit[kNumCaches];        ///< cache -> word index behind its last slot, where the tag is
  uint16_t place[kNumCaches];        ///< cache -> its place in the extension, once it has grown
  uint16_t place_slots[kNumCaches];  ///< cache -> slots of that place
  uint64_t seen[kNumCaches];         ///< cache -> its header at the last aging
  uint8_t flushes[kNumCaches];       ///< cache -> flushes since its last refill, up to kManyFlushes
  uint32_t extension_next;           ///< word index of the free part of the extension
  uint32_t grown_bytes;              ///< bytes of objects that caches may hold beyond their first capacity
  uint32_t age;                      ///< refills and flushes since the last aging
  uint64_t look;                     ///< digest of the headers when the helper last looked
  Slab* next;                        ///< in the list of all slabs

  /// The word at index i of the whole slab, slots included.
  uintptr_t* word(size_t i) { return reinterpret_cast<uintptr_t*>(this) + i; }
  const uintptr_t* word(size_t i) const { return reinterpret_cast<const uintptr_t*>(this) + i; }
};

constexpr unsigned cache_slots(CacheIndex k) {
  return k < kFirstForeignCache ? kClasses.info[k].cache_slots : kMaxCacheSlots / 2;
}

/// The stores before it come before those behind it, in the program's order; for this thread's signal handlers only.
inline void keep_order() {
  asm volatile("" ::: "memory");
}

/// Slots of cache k as long as it has not grown.
inline unsigned first_slots(const Slab* s, CacheIndex k) {
  const unsigned slots = cache_slots(k);
  return s->small && slots > 8 ? slots / 4 : slots;
}

/// What `top` can reach, in words: 512 KiB of address space for a slab and its extension.
inline constexpr size_t kMaxSlabWords = size_t{1} << 16;

/// Bytes of objects that one P's caches may hold beyond their first capacity: this, or a share of the heap in use.
/// Enough for the bursts of thousands of objects that programs make again and again.
inline constexpr size_t kGrowthBudgetBytes = size_t{3} << 19;
inline constexpr size_t kGrowthPercent = 40;

/// Most slots of a grown cache.
inline constexpr size_t kMaxGrownSlots = size_t{1} << 13;

/// Bytes of objects that the caches of all slabs together may hold beyond their first capacities, or the share above.
inline constexpr size_t kGrowthBudgetAllBytes = size_t{4} << 20;

/// A grown cache that was flushed so often without a refill goes back to its first capacity: the program gives up more
/// than any cache holds, and may go idle next with whatever spans the cached objects are in.
inline constexpr unsigned kManyFlushes = 250;

/// Refills and flushes of a slab between two looks for grown caches that lie idle.
inline constexpr unsigned kAgingPeriod = 512;

struct SlabShape {
  uint16_t first[kNumCaches];  ///< word index of the first slot
  uint16_t dead;               ///< word index with a tag at it and below it
  uint16_t words;
};

consteval SlabShape make_slab_shape() {
  SlabShape s{};
  unsigned at = sizeof(Slab) / 8;
  for (CacheIndex k = 0; k < kNumCaches; ++k) {
    s.first[k] = static_cast<uint16_t>(at + 1);  // behind its tag
    at += 1 + cache_slots(k);
  }
  s.dead = static_cast<uint16_t>(at + 1);
  s.words = static_cast<uint16_t>(at + 2);
  return s;
}

inline constexpr SlabShape kSlabShape = make_slab_shape();

/// A slab with its slots and its extension, of which only what is used costs memory.
struct RealSlab : Slab {
  uintptr_t slots[kMaxSlabWords - sizeof(Slab) / 8];
};

static_assert(__builtin_offsetof(Slab, cache_bin) == kRseqBinTable);
static_assert(kPopDelta == (uint64_t{1} << kPopsShift) - 1);
static_assert(sizeof(RealSlab) == kMaxSlabWords * 8 && kSlabShape.words * 8 <= 5 * 4096);

/// The slab of every P and thread that has none: all bins empty and full. Never written.
struct EmptySlab : Slab {
  uintptr_t tags[2];
};
inline constexpr uint16_t kEmptyDead = sizeof(Slab) / 8 + 1;
static_assert(sizeof(EmptySlab) >= (kEmptyDead + 1) * 8);
[[gnu::visibility("hidden")]] extern const EmptySlab kEmptySlab;
constexpr Slab* empty_slab() {
  return const_cast<EmptySlab*>(&kEmptySlab);
}

/// The slab is lost, as in the child of a fork: what its caches grew by no longer counts.
void forget_growth(const Slab* s) noexcept;

/// Makes zeroed memory an empty cache of home group `home`.
void init_slab(Slab* s, unsigned index, unsigned home, bool small) noexcept;

}  // namespace ashlar
