// SPDX-License-Identifier: MIT
//
// layout.h - the words of a bucket, and the atomics that ship.
//
// Owns: the encoding of a bucket's head word, of its overflow word and of a table's root word; struct Bucket. No
// algorithm (core.h, migrate.h).
//
//   Bucket, 128 bytes (two cache lines that the prefetcher pairs), here with 7 slots of 2 words:
//     | head 8 | over 8 | slot 0: 16 | slot 1 | slot 2 || slot 3 | slot 4 | slot 5 | slot 6 |
//
//   head:  | version 48 | state 2 | slot 6: 2 | ... | slot 0: 2 |
//     slot:   00 EMPTY (never used)  01 BUSY (a writer fills it)  11 USED  10 DELETED (free again)
//     state:  0 fresh: ready in a first table, still to be filled in a table that another one migrates to
//             1 filling: one thread fills it; others may do it in another way
//             2 ready    3 frozen: nothing changes any more; what it holds is, or will be, in the next table
//
//   over:  | filter 16 | address of a block, 16-byte aligned: 44 | entries in it, 15: its first word says how many: 4 |
//     The entries that found no slot, as an immutable array. 0: none. In the filter the bit of each entry's first word
//     is set: where a word is tested for equality and its bit is 0, the block needs no look.
//
//   root:  | address of the table, 128-byte aligned | 1: it migrates | log2 of its buckets: 6 |
//
// Invariants: a USED slot is never written. All that a bucket holds changes by one compare-and-exchange of `head`, or
// of `head` and `over` together, which counts the version up. A BUSY slot belongs to the thread that made it so; making
// a slot BUSY, or free again without use, leaves the version. So: same version, same contents.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/ashlar.h"
#include "alloc/epoch.h"

extern "C" {
/* The library's part of maps that are instantiated in programs; not for use by programs themselves. */
ASHLAR_EPOCH_API_ int ashlar_map_cas16(void* at, uint64_t low, uint64_t high, uint64_t new_low,
                                       uint64_t new_high) noexcept;
ASHLAR_EPOCH_API_ void* ashlar_map_zeroed(size_t bytes) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_return(void* table, size_t keep) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_fault_in(void* from, size_t bytes) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_want_huge(void* table, size_t bytes) noexcept;
ASHLAR_EPOCH_API_ uint64_t ashlar_map_seed(void) noexcept;
ASHLAR_EPOCH_API_ uint32_t ashlar_map_stripes(void) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_trace(const void* caller, size_t header_bytes, uint64_t buckets,
                                        uint64_t seed) noexcept;
}

namespace ashlar::hash_core {

using Word = uint64_t;

inline constexpr unsigned kMaxSlots = 7;
inline constexpr Word kSlotBits = 0x1555;  // the low bit of each of 7 slots
enum SlotState : Word { kEmpty = 0, kBusy = 1, kUsed = 3, kDeleted = 2 };

inline constexpr unsigned kStateShift = 14;
inline constexpr Word kStateMask = Word{3} << kStateShift;
inline constexpr Word kFresh = 0;
inline constexpr Word kFilling = Word{1} << kStateShift;
inline constexpr Word kReady = Word{2} << kStateShift;
inline constexpr Word kFrozen = Word{3} << kStateShift;
inline constexpr unsigned kVersionShift = 16;
inline constexpr Word kOneVersion = Word{1} << kVersionShift;

constexpr bool is_frozen(Word head) {
  return (head & kStateMask) == kFrozen;
}
/// Ready or frozen: it has been filled.
constexpr bool is_filled(Word head) {
  return (head & kReady) != 0;
}
constexpr bool same_version(Word a, Word b) {
  return ((a ^ b) >> kVersionShift) == 0;
}
/// Bit 2 i is set where slot i is USED.
constexpr Word used_bits(Word head) {
  return (head >> 1) & head & kSlotBits;
}
/// Bit 2 i is set where slot i (of `slots`) is EMPTY or DELETED.
constexpr Word free_bits(Word head, unsigned slots) {
  return ~head & kSlotBits & ((Word{1} << (2 * slots)) - 1);
}
constexpr Word with_slot(Word head, unsigned slot, SlotState state) {
  return (head & ~(Word{3} << (2 * slot))) | (static_cast<Word>(state) << (2 * slot));
}

inline constexpr Word kOverCountMask = 15;
inline constexpr Word kOverMany = 15;
inline constexpr unsigned kOverFilterShift = 48;
inline constexpr Word kOverAddressMask = ((Word{1} << kOverFilterShift) - 1) & ~kOverCountMask;
constexpr Word filter_bit(Word first) {
  return Word{1} << (kOverFilterShift + ((first * 0x9e3779b97f4a7c15u) >> 60));
}

inline constexpr Word kLogMask = 63;
inline constexpr Word kMigrating = 64;
inline constexpr size_t kTableAlign = 128;

constexpr unsigned log2_of(Word root) {
  return static_cast<unsigned>(root & kLogMask);
}
/// The bucket of a hash in a table of 2^log2 buckets: its highest bits, so that every table has the order of the
/// hashes.
constexpr uint64_t index_of(uint64_t hash, unsigned log2) {
  return (hash >> 1) >> (63 - log2);
}

/// A bucket's two words that change together.
struct alignas(16) HeadPair {
  std::atomic<Word> head{0};
  std::atomic<Word> over{0};

  Word load_head(std::memory_order order) const noexcept { return head.load(order); }
  Word load_over(std::memory_order order) const noexcept { return over.load(order); }
  bool cas_head(Word& expected, Word desired) noexcept {
    // Release: publishes a slot's words, or an entry, to who acquires the head. Acquire: sees what others published.
    return head.compare_exchange_strong(expected, desired, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  bool cas_both(Word expected_head, Word expected_over, Word new_head, Word new_over) noexcept {
    return ashlar_map_cas16(this, expected_head, expected_over, new_head, new_over) != 0;
  }
};

/// What ships. Tests have other ones, with the same names.
struct Platform : EpochAtomics {
  using Pair = HeadPair;
  using Pin = EpochPin;

  static constexpr bool kConstructs = false;      // zeroed memory is as good as constructed atomics
  static constexpr uint64_t kChunkUnits = 16;     // of a migration, that a writer takes at a time
  static constexpr uint64_t kAtOnceUnits = 4096;  // of a migration that who starts it does alone: 0.1 ms
  static constexpr unsigned kPatience = 64;       // looks at a bucket that another thread fills, before it is overtaken

  static void step() noexcept {}  // a test may yield here: before each compare-and-exchange
  static void* zeroed(size_t bytes) noexcept { return ashlar_map_zeroed(bytes); }
  static void* allocate(size_t bytes) noexcept { return ashlar_malloc(bytes); }
  static void deallocate(void* p) noexcept { ashlar_free(p); }
  /// Gives back what lies behind the first `keep` bytes of a large table.
  static void cut(void* table, size_t keep) noexcept { ashlar_map_return(table, keep); }
  /// Faults memory of a large table in, before it is written.
  static void fault_in(void* from, size_t bytes) noexcept { ashlar_map_fault_in(from, bytes); }
  static void want_huge(void* table, size_t bytes) noexcept { ashlar_map_want_huge(table, bytes); }
  static uint64_t stripes() noexcept { return ashlar_map_stripes(); }
  static void retire(void* p, size_t bytes, void (*release)(void*)) noexcept {
    ashlar_epoch_retire_with(p, bytes, release);
  }
  /// A number that tells the threads apart which are pinned at this moment; 0: of a thread without.
  static size_t thread_number() noexcept { return ashlar_epoch_self->number; }
};

template <class P, unsigned kSlots, unsigned kWords>
struct alignas(64) Bucket {
  static_assert(kSlots <= kMaxSlots);
  typename P::Pair top;
  typename P::template Atomic<Word> word[kSlots * kWords];  // word w of slot s: [s * kWords + w]
};
static_assert(sizeof(Bucket<Platform, 3, 2>) == 64 && sizeof(Bucket<Platform, 2, 3>) == 64);
static_assert(offsetof(HeadPair, over) == 8 && sizeof(HeadPair) == 16);

}  // namespace ashlar::hash_core
