// SPDX-License-Identifier: MIT
//
// layout.h - the words of a bucket, and the atomics that ship.
//
// Owns: the encoding of a bucket's head word, of its overflow word and of a table's root word; struct BucketAt. No
// algorithm (core.h, migration.h).
//
//   A bucket lies in two arrays: what decides where to look is packed with that of other buckets, so that it stays in a
//   cache, and is half a line; entries are where nothing else is, in three lines.
//     index: | head 8 | over 8 | a tag for each slot: 16 |
//     slots: | slot 0: 16 | slot 1 | ... 12 slots |      (or 8 slots of 24)
//
//   tags:  of the hashes of the entries. A tag belongs to its slot: it is written with it.
//   head:  | version 34 | state 2 | 12: BUSY | 4: 0 | 12: USED |
//     slot:   EMPTY (never used)  BUSY (a writer fills it)  USED  DELETED (free again); free: neither BUSY nor USED,
//             EMPTY where it holds zeros, its tag, too
//     state:  0 fresh: ready in a first table, still to be filled in a table that another one migrates to
//             1 filling: one thread fills it; others may do it in another way
//             2 ready    3 frozen: nothing changes any more; what it holds is, or will be, in the next table
//
//   over:  | address of a block, 16-byte aligned: 44 | entries in it, 15: its first word says how many: 4 | filter 16 |
//     The entries that found no slot, as an immutable array. 0: none. In the filter the bit of each entry's tag is set:
//     a search for another one needs no look at the block.
//
//   root:  | address of the table, 128-byte aligned | 1: it migrates | 62 - log2 of its buckets: 6 |
//
// Invariants: a USED slot is never written, nor is its tag. All that a bucket holds changes by one compare-and-exchange
// of `head`, or of `head` and `over` together, which counts the version up. A BUSY slot belongs to the thread that made
// it so; making a slot BUSY, or free again without use, leaves the version. So: same version, same contents.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/ashlar.h"
#include "alloc/epoch.h"
#include "hash/tags.h"

extern "C" {
/* The library's part of maps that are instantiated in programs; not for use by programs themselves. */
ASHLAR_EPOCH_API_ int ashlar_map_cas16(void* at, uint64_t low, uint64_t high, uint64_t new_low,
                                       uint64_t new_high) noexcept;
ASHLAR_EPOCH_API_ void* ashlar_map_zeroed(size_t bytes) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_return(void* table, size_t keep) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_fault_in(void* from, size_t bytes) noexcept;
ASHLAR_EPOCH_API_ uint64_t ashlar_map_seed(void) noexcept;
ASHLAR_EPOCH_API_ uint32_t ashlar_map_stripes(void) noexcept;
ASHLAR_EPOCH_API_ void ashlar_map_trace(const void* caller, size_t header_bytes, uint64_t buckets,
                                        uint64_t seed) noexcept;
}

namespace ashlar::hash_core {

using Word = uint64_t;

inline constexpr unsigned kBucketWords = 24;  // in all slots of a bucket: three lines
inline constexpr unsigned kMaxSlots = kBucketWords / 2;
inline constexpr Word kSlotBits = (Word{1} << kMaxSlots) - 1;
inline constexpr unsigned kTagBits = 16;  // what a comparison of tags may say: the USED bits, and zeros
inline constexpr unsigned kBusyShift = kTagBits;

inline constexpr unsigned kStateShift = kBusyShift + kMaxSlots;
inline constexpr Word kStateMask = Word{3} << kStateShift;
inline constexpr Word kFresh = 0;
inline constexpr Word kFilling = Word{1} << kStateShift;
inline constexpr Word kReady = Word{2} << kStateShift;
inline constexpr Word kFrozen = Word{3} << kStateShift;
inline constexpr unsigned kVersionShift = kStateShift + 2;
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
/// Bit i is set where slot i is USED; BUSY; EMPTY or DELETED, of the first `slots`.
constexpr Word used_bits(Word head) {
  return head & kSlotBits;
}
constexpr Word busy_bits(Word head) {
  return head >> kBusyShift & kSlotBits;
}
constexpr Word free_bits(Word head, unsigned slots) {
  return ~(head | head >> kBusyShift) & ((Word{1} << slots) - 1);
}
/// A free slot becomes BUSY, a BUSY one USED, or free again, a USED one free again.
constexpr Word claimed(Word head, unsigned slot) {
  return head | Word{1} << (kBusyShift + slot);
}
constexpr Word filled(Word head, unsigned slot) {
  return head ^ (Word{1} << slot | Word{1} << (kBusyShift + slot));
}
constexpr Word given_back(Word head, unsigned slot) {
  return head ^ Word { 1 } << (kBusyShift + slot);
}
constexpr Word erased(Word head, unsigned slot) {
  return head ^ Word { 1 } << slot;
}
inline constexpr unsigned kOverCountShift = 16, kOverAddressShift = 20;
inline constexpr Word kOverMany = 15;
inline constexpr Word kOverFilterMask = (Word{1} << kOverCountShift) - 1;
constexpr Word filter_bit(uint8_t tag) {
  return Word{1} << (tag & 15);
}
/// Not 0: an entry of that hash may be in the block.
constexpr Word may_be_in(Word over, uint64_t hash) {
  return over & filter_bit(tag_of(hash));
}

inline constexpr Word kLogMask = 63;
inline constexpr unsigned kTopLog2 = 62;  // a hash shifted right by 62 - log2 is four times its bucket's index
inline constexpr Word kMigrating = 64;
inline constexpr size_t kTableAlign = 128;

constexpr unsigned log2_of(Word root) {
  return kTopLog2 - static_cast<unsigned>(root & kLogMask);
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
  Word xor_head(Word word, std::memory_order order) const noexcept { return xor_with(head, word, order); }
  Word and_over(Word word, std::memory_order order) const noexcept { return and_with(over, word, order); }
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
  using Tags = TagBytes;
  using Pin = EpochPin;

  static constexpr bool kConstructs = false;      // zeroed memory is as good as constructed atomics
  static constexpr uint64_t kChunkUnits = 8;      // of a migration, that a writer takes at a time
  static constexpr uint64_t kAtOnceUnits = 1024;  // of a migration that who starts it does alone: 0.05 to 0.5 ms
  static constexpr unsigned kPatience = 64;       // looks at a bucket that another thread fills, before it is overtaken

  /// A brief pin (epoch.h), or null.
  static EpochHead<EpochAtomics>* enter_briefly() noexcept { return epoch_enter_briefly(); }
  static void leave(EpochHead<EpochAtomics>* head) noexcept { epoch_leave(*head); }

  static void step() noexcept {}  // a test may yield here: before each compare-and-exchange
  static void* zeroed(size_t bytes) noexcept { return ashlar_map_zeroed(bytes); }
  static void* allocate(size_t bytes) noexcept { return ashlar_malloc(bytes); }
  static void deallocate(void* p) noexcept { ashlar_free(p); }
  /// Gives back what lies behind the first `keep` bytes of a large table.
  static void cut(void* table, size_t keep) noexcept { ashlar_map_return(table, keep); }
  /// Faults memory of a large table in, before it is written.
  static void fault_in(void* from, size_t bytes) noexcept { ashlar_map_fault_in(from, bytes); }
  static uint64_t stripes() noexcept { return ashlar_map_stripes(); }
  static void retire(void* p, size_t bytes, void (*release)(void*)) noexcept {
    ashlar_epoch_retire_with(p, bytes, release);
  }
  static void retire_rest(void* p, size_t bytes, void (*release)(void*)) noexcept {
    ashlar_epoch_retire_rest(p, bytes, release);
  }
  /// A number that tells the threads apart which are pinned at this moment; 0: of a thread without.
  static size_t thread_number() noexcept { return ashlar_epoch_self->number; }
};

static_assert(sizeof(TagBytes) == 16 && sizeof(HeadPair) == 16 && offsetof(HeadPair, over) == 8);

/// What is indexed: of a bucket all but its slots. Half a line.
template <class P>
struct IndexEntry {
  typename P::Pair top;
  typename P::Tags tags;
};
static_assert(sizeof(IndexEntry<Platform>) == 32);

/// Where a bucket is.
///
/// Its 192 bytes of slots are three lines. An entry's home is the one of them that its tag says, and it lies there
/// unless that was full: so finds can ask for its line before they know the tags of the bucket. (At a load of 0.64 11
/// of 12 are at home.)
template <class P>
struct BucketAt {
  typename P::Pair& top;
  typename P::Tags& tags;
  typename P::template Atomic<Word>* word;  // word w of slot s: [s * words of a slot + w]

  /// In bytes.
  static uint64_t home(uint64_t tag) { return tag * 3 >> 2 & 0xc0; }
  /// Of the free slots (there is one) the one to take for an entry of `words` words: one at home, where there is one.
  /// Of 12 slots four are in a line; of 8 slots three, two and three, two of which reach into the line in the middle.
  [[gnu::always_inline]] static uint64_t slot_for(unsigned words, Word free, uint64_t tag) {
    const Word near = free & (words == 3 ? Word{0xe01807} >> home(tag) / 8 & 0xff : Word{15} << home(tag) / 16);
    return lowest_bit(select(near, near, free));
  }
  // Inline: gcc drops calls of a function that does nothing else.
  [[gnu::always_inline]] void prefetch(uint64_t hash) const {
    __builtin_prefetch(reinterpret_cast<const char*>(word) + home(tag_of(hash)));
  }
};

}  // namespace ashlar::hash_core
