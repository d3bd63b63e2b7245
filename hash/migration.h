// SPDX-License-Identifier: MIT
//
// migration.h - tables, and how the entries of one get into the next.
//
// Owns: the shape of a table, and Migration: freezing the old buckets of a unit, and filling the new ones (tables.h
// says what a unit is, and who migrates which). Any number of threads may migrate the same unit, and stop anywhere in
// it.
//
//   fresh --claim (slots BUSY)--> filling --all slots USED--> ready
//     a thread that finds it filling, and has been patient: filling --all entries in an overflow block--> ready
//
// so that a thread which stops in between stops nobody: the other one's single exchange publishes everything, and the
// slots that were claimed remain BUSY until their owner comes back. A new bucket is written by its claimer alone: no
// late helper can overwrite what came after.
#pragma once

#include "hash/bucket.h"

namespace ashlar::hash_core {

template <class Policy>
struct TableOps : BucketOps<Policy> {
  using typename BucketOps<Policy>::Bucket;
  using Index = IndexEntry<typename Policy::Platform>;
  using BucketOps<Policy>::kSlots;
  using BucketOps<Policy>::kWords;
  template <class T>
  using Atomic = typename Policy::Platform::template Atomic<T>;

  /// The part of a table before its index: a line that is only read, and half of one that who migrates writes.
  struct alignas(32) Table {
    Atomic<Word> nothing[2];  // what a find looks at that need not look at a slot: first, so it has no offset
    Atomic<Word>* slots;
    Atomic<Word> next;       // root word of the table that this one migrates to; 0: none
    Atomic<uint64_t>* done;  // a bit for each chunk of the migration to this table
    uint64_t chunks;         // of that migration
    uint64_t bytes;
    uint64_t log2;
    Atomic<uint64_t> cursor;      // the next chunk of the migration from here to hand out
    Atomic<uint64_t> first_open;  // words of `done` before this one are full
    Atomic<uint64_t> grow_at;     // entries beyond which the next table is made
  };

  static constexpr size_t kSlotBytes = sizeof(Atomic<Word>) * kWords * kSlots;  // of a bucket
  // (The atomics of a model are larger.)
  static_assert(Policy::Platform::kConstructs || (sizeof(Table) == 96 && sizeof(Index) == 32 && kSlotBytes == 192 &&
                                                  kSlots * kWords == kBucketWords),
                "a table: hash/README.md");
  /// Where they begin in a table: behind its head and its index, in a line of their own.
  static constexpr size_t slots_offset(unsigned log2) {
    return (sizeof(Table) + (sizeof(Index) << log2) + 63) / 64 * 64;
  }

  /// A map's first table of one bucket takes 256 bytes: its last slots are missing, and BUSY for ever.
  static constexpr size_t kSmallBytes = 256;
  static constexpr size_t kSmallSlots =
      slots_offset(0) < kSmallBytes ? (kSmallBytes - slots_offset(0)) / (kWords * sizeof(Word)) : kSlots;
  static constexpr bool kHasSmall = !Policy::Platform::kConstructs && kSmallSlots < kSlots;
  static constexpr Word kMissingSlots = kHasSmall ? (Word{1} << kSlots) - (Word{1} << kSmallSlots) : 0;
  static bool is_small(Word root) { return kHasSmall && table(root)->bytes == kSmallBytes; }

  static Table* table(Word root) { return reinterpret_cast<Table*>(root & ~(kTableAlign - 1)); }
  [[gnu::always_inline]] static Bucket bucket_at(Word root, uint64_t index) {
    Table* t = table(root);
    Index& entry = reinterpret_cast<Index*>(t + 1)[index];
    return {entry.top, entry.tags, t->slots + index * (kSlots * kWords)};
  }
  [[gnu::always_inline]] static Bucket bucket(Word root, uint64_t hash) {
    return bucket_at(root, index_of(hash, log2_of(root)));
  }

  /// The same in fewer instructions: both addresses from four times the index.
  [[gnu::always_inline]] static Bucket bucket_fast(Word root, uint64_t hash) {
    Table* t = table(root);
    const uint64_t four = hidden(hash >> (root & kLogMask) & ~uint64_t{3});
    Index& entry = *reinterpret_cast<Index*>(reinterpret_cast<char*>(t + 1) + four * (sizeof(Index) / 4));
    return {entry.top, entry.tags,
            reinterpret_cast<Atomic<Word>*>(reinterpret_cast<char*>(t->slots) + times_slots(four))};
  }
  /// The bytes of a quarter of a bucket's slots, n times.
  [[gnu::always_inline]] static uint64_t times_slots(uint64_t n) {
    // 48 n as 16 (3 n): the compiler would multiply by 192 what it has divided before.
    if constexpr (kSlotBytes == kBucketWords * sizeof(Word)) return hidden(n * 3) * 16;
    return n / 4 * kSlotBytes;
  }

  /// The table that a frozen bucket's table migrates to.
  static Word next_of(Word root) {
    // Acquire pairs with the release in start_migration, which came before anything was frozen.
    return table(root)->next.load(std::memory_order_acquire);
  }

  static unsigned unit_log2(Word from, Word to) { return log2_of(from) < log2_of(to) ? log2_of(from) : log2_of(to); }
};

template <class Policy>
struct Migration : TableOps<Policy> {
  using Ops = TableOps<Policy>;
  using P = typename Policy::Platform;
  using Ops::bucket_at;
  using Ops::kSlots;
  using Ops::kWords;
  using Ops::table;
  using Ops::unit_log2;
  using typename Ops::Bucket;
  using typename Ops::Table;

  static constexpr Word kSlotMask = (Word{1} << kSlots) - 1;
  static constexpr uint64_t kAhead = 4;             // units
  static constexpr size_t kFaultBytes = 64 * 1024;  // 20 us of the kernel's time

  const Policy& policy;
  uint64_t seed;
  typename Ops::template Atomic<uint64_t>* overtaken;  // figure

  Migration(const Policy& p, uint64_t s, typename Ops::template Atomic<uint64_t>* figure)
      : policy(p), seed(s), overtaken(figure) {}

  /// Each exchange waits for its line, and what is behind it is not begun: so the lines of a unit's old bucket are
  /// asked for before; and, once those of the unit kAhead / 2 before it are there, its overflow block.
  static void ask_for(Word from, Word to, uint64_t unit, uint64_t units) {
    const unsigned shift = log2_of(from) - unit_log2(from, to);
    if (unit < units) {
      const Bucket b = bucket_at(from, unit << shift);
      __builtin_prefetch(&b.top, 1);
      for (unsigned line = 0; line < 3; ++line) __builtin_prefetch(reinterpret_cast<const char*>(b.word) + line * 64);
    }
    if (const uint64_t near = unit - kAhead / 2; near < units) {
      // Relaxed: only its address is used.
      if (const Word over = bucket_at(from, near << shift).top.load_over(std::memory_order_relaxed); over != 0)
        __builtin_prefetch(Ops::over_block(over));
    }
  }

  /// Before the first chunk of each 64 KiB of each part of a new table: 16 pages in one go cost half of what 16
  /// faults do.
  static void fault_in(Word from, Word to, uint64_t chunk) {
    if (table(to)->bytes < 2 * kFaultBytes) return;
    const uint64_t buckets = Policy::kChunkUnits << (log2_of(to) - unit_log2(from, to));
    fault_in_part(to, table(to) + 1, chunk, buckets * sizeof(typename Ops::Index));
    fault_in_part(to, table(to)->slots, chunk, buckets * Ops::kSlotBytes);
  }
  /// `bytes` of each chunk, from `begin` on in the table.
  static void fault_in_part(Word to, void* begin, uint64_t chunk, size_t bytes) {
    const size_t piece = (chunk * bytes + kFaultBytes - 1) / kFaultBytes * kFaultBytes;
    if (bytes > kFaultBytes || piece >= (chunk + 1) * bytes) return;
    char* from = static_cast<char*>(begin) + piece;
    const auto rest = static_cast<size_t>(reinterpret_cast<char*>(table(to)) + table(to)->bytes - from);
    P::fault_in(from, rest < kFaultBytes ? rest : kFaultBytes);
  }

  /// Fills the new buckets of a unit. False: no memory; then they can still be filled later.
  bool unit(Word from, Word to, uint64_t unit) const {
    const unsigned from_shift = log2_of(from) - unit_log2(from, to);
    const unsigned to_shift = log2_of(to) - unit_log2(from, to);
    const uint64_t from_begin = unit << from_shift, from_end = (unit + 1) << from_shift;
    for (uint64_t i = from_begin; i < from_end; ++i) freeze(bucket_at(from, i));
    if (from_shift == 0 && to_shift == 1 && split(bucket_at(from, unit), to, unit)) return true;
    for (uint64_t j = unit << to_shift; j < (unit + 1) << to_shift; ++j) {
      if (!fill_bucket(from, from_begin, from_end, to, j)) return false;
    }
    return true;
  }

  /// An entry on its way.
  struct Moving {
    Word words[kWords];
    uint8_t tag;
  };

  /// The common case in one go: a bucket of few entries, to be split in two. False: not done, or not all of it.
  bool split(Bucket from, Word to, uint64_t unit) const {
    constexpr uint64_t kMost = kSlots + 5;
    const Word over = from.top.load_over(std::memory_order_acquire);
    // Where a new bucket is not filled yet the chunk is not done, and so its old blocks are not retired: our pin came
    // before. Otherwise they may be gone, though old buckets refer to them still.
    if (over != 0 && is_filled(bucket_at(to, 2 * unit).top.load_head(std::memory_order_acquire))) return false;
    if (Ops::over_count_or_0(over) > kMost - kSlots) return false;
    Moving kept[2][kMost];
    unsigned n[2] = {0, 0};
    Ops::each(from, from.top.load_head(std::memory_order_acquire), over, [&](const Word* words) {
      const uint64_t hash = policy.hash_of(words, seed), half = index_of(hash, log2_of(to)) & 1;
      Moving& entry = kept[half][n[half]++];
      Ops::copy_entry(entry.words, words);
      entry.tag = tag_of(hash);
    });
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned slots = n[half] < kSlots ? n[half] : kSlots;
      bool ok = false;
      Word rest = Ops::new_over(n[half] - slots, &ok);
      if (!ok) return false;
      for (unsigned i = slots; i < n[half]; ++i)
        Ops::set_over_entry(rest, i - slots, kept[half][i].words, kept[half][i].tag);
      if (!fill_fresh(bucket_at(to, 2 * unit + half), kept[half], slots, rest)) return false;
    }
    return true;
  }

  /// Claims a fresh bucket and fills slots with n entries; `over` becomes its overflow block. False: another thread
  /// did, or does, and the block is gone.
  // (Inline: a bucket's three words by way of the stack cost more than what is done with them.)
  [[gnu::always_inline]] static bool fill_fresh(Bucket b, const Moving* kept, unsigned n, Word over) {
    unsigned slot[kSlots];
    Word free = kSlotMask;
    for (unsigned i = 0; i < n; ++i) {
      slot[i] = Ops::slot_for(free, kept[i].tag);
      free ^= Word{1} << slot[i];
    }
    const Word all = free ^ kSlotMask;
    const Word filled = kReady | all | kOneVersion;
    Word expected = 0;
    P::step();
    if (n == 0) return b.top.cas_head(expected, filled);
    const Word claimed = kFilling | all << kBusyShift;
    if (!b.top.cas_head(expected, claimed)) {
      Ops::discard_over(over);
      return false;
    }
    for (unsigned i = 0; i < n; ++i) Ops::write_slot(b, slot[i], kept[i].tag, kept[i].words);
    expected = claimed;
    P::step();
    if (over == 0 ? b.top.cas_head(expected, filled) : b.top.cas_both(claimed, 0, filled, over)) return true;
    // Another thread has published everything in an overflow block. Our slots are ours still.
    Ops::discard_over(over);
    for (unsigned i = 0; i < n; ++i) Ops::give_back(b, slot[i]);
    return false;
  }

 private:
  static void freeze(Bucket b) {
    Word head = b.top.load_head(std::memory_order_acquire);
    while (!is_frozen(head)) {
      P::step();
      if (b.top.cas_head(head, head | kFrozen)) return;
    }
  }

  /// Calls f(words, hash) for what belongs into bucket `index` of `to`.
  template <class F>
  void each_to_move(Word from, uint64_t begin, uint64_t end, Word to, uint64_t index, F&& f) const {
    for (uint64_t i = begin; i < end; ++i) {
      const Bucket b = bucket_at(from, i);
      Ops::each(b, b.top.load_head(std::memory_order_acquire), b.top.load_over(std::memory_order_acquire),
                [&](const Word* words) {
                  const uint64_t hash = policy.hash_of(words, seed);
                  if (index_of(hash, log2_of(to)) == index) f(words, hash);
                });
    }
  }

  bool fill_bucket(Word from, uint64_t begin, uint64_t end, Word to, uint64_t index) const {
    const Bucket b = bucket_at(to, index);
    Word head = b.top.load_head(std::memory_order_acquire);
    if (is_filled(head)) return true;
    // Entries that find a slot are kept here: the hash of each is computed once.
    Moving kept[kSlots];
    uint64_t n = 0;
    each_to_move(from, begin, end, to, index, [&](const Word* words, uint64_t hash) {
      if (n < kSlots) {
        Ops::copy_entry(kept[n].words, words);
        kept[n].tag = tag_of(hash);
      }
      ++n;
    });
    for (unsigned patience = 0;; ++patience) {
      if (is_filled(head)) return true;
      if (head == 0) {
        if (fill_slots(b, from, begin, end, to, index, kept, n, &head)) return true;
        if (head == 0) return false;
      } else if (patience >= P::kPatience) {
        bool ok = false;
        const Word over = block_of(from, begin, end, to, index, 0, n, &ok);
        if (!ok) return false;
        P::step();
        const Word desired = ((head & ~kStateMask) | kReady) + kOneVersion;
        if (b.top.cas_both(head, 0, desired, over)) {
          overtaken->fetch_add(1, std::memory_order_relaxed);  // a figure
          return true;
        }
        Ops::discard_over(over);
      }
      head = b.top.load_head(std::memory_order_acquire);
    }
  }

  /// Claims a fresh bucket and fills its slots. False: another thread was before (*head says what it is now), or, with
  /// 0 in *head, memory is out.
  bool fill_slots(Bucket b, Word from, uint64_t begin, uint64_t end, Word to, uint64_t index, const Moving* kept,
                  uint64_t n, Word* head) const {
    const auto slots = static_cast<unsigned>(n < kSlots ? n : kSlots);
    bool ok = false;
    const Word over = block_of(from, begin, end, to, index, slots, n, &ok);
    if (!ok) return false;
    if (fill_fresh(b, kept, slots, over)) return true;
    *head = b.top.load_head(std::memory_order_acquire);
    return false;
  }

  /// A block with the entries from number `skip` on, of the n that belong into bucket `index` of `to`.
  Word block_of(Word from, uint64_t begin, uint64_t end, Word to, uint64_t index, uint64_t skip, uint64_t n,
                bool* ok) const {
    Word over = Ops::new_over(n - skip, ok);
    if (over == 0) return 0;
    struct Guard {  // hash functions may throw
      Word over;
      ~Guard() { Ops::discard_over(over); }
    } guard{over};
    uint64_t at = 0;
    each_to_move(from, begin, end, to, index, [&](const Word* words, uint64_t hash) {
      if (at >= skip) Ops::set_over_entry(over, at - skip, words, tag_of(hash));
      ++at;
    });
    guard.over = 0;
    return over;
  }
};

}  // namespace ashlar::hash_core
