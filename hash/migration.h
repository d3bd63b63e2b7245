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
  using typename BucketOps<Policy>::Buckets;
  template <class T>
  using Atomic = typename Policy::Platform::template Atomic<T>;

  /// The part of a table before its buckets.
  struct alignas(kTableAlign) Table {
    Atomic<Word> next;            // root word of the table that this one migrates to; 0: none
    Atomic<uint64_t> cursor;      // the next chunk of the migration from here to hand out
    Atomic<uint64_t> first_open;  // words of `done` before this one are full
    Atomic<uint64_t> grow_at;     // entries beyond which the next table is made
    Atomic<uint64_t>* done;       // a bit for each chunk of the migration to this table
    uint64_t chunks;              // of that migration
    uint64_t bytes;
    unsigned log2;
  };

  static Table* table(Word root) { return reinterpret_cast<Table*>(root & ~(kTableAlign - 1)); }
  static Buckets& bucket_at(Word root, uint64_t index) { return reinterpret_cast<Buckets*>(table(root) + 1)[index]; }
  static Buckets& bucket(Word root, uint64_t hash) { return bucket_at(root, index_of(hash, log2_of(root))); }

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
  using Ops::unit_log2;
  using typename Ops::Buckets;

  const Policy& policy;
  uint64_t seed;
  typename Ops::template Atomic<uint64_t>* overtaken;  // figure

  Migration(const Policy& p, uint64_t s, typename Ops::template Atomic<uint64_t>* figure)
      : policy(p), seed(s), overtaken(figure) {}

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

  /// The common case in one go: a bucket of few entries, to be split in two. False: not done, or not all of it.
  bool split(Buckets& from, Word to, uint64_t unit) const {
    constexpr uint64_t kMost = kSlots + 5;
    const Word over = from.top.load_over(std::memory_order_acquire);
    // Where a new bucket is not filled yet the chunk is not done, and so its old blocks are not retired: our pin came
    // before. Otherwise they may be gone, though old buckets refer to them still.
    if (over != 0 && is_filled(bucket_at(to, 2 * unit).top.load_head(std::memory_order_acquire))) return false;
    if (Ops::over_count_or_0(over) > kMost - kSlots) return false;
    Word kept[2][kMost][kWords];
    unsigned n[2] = {0, 0};
    Ops::each(from, from.top.load_head(std::memory_order_acquire), over, [&](const Word* words) {
      const uint64_t half = index_of(policy.hash_of(words, seed), log2_of(to)) & 1;
      Ops::copy_entry(kept[half][n[half]++], words);
    });
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned slots = n[half] < kSlots ? n[half] : kSlots;
      bool ok = false;
      Word rest = Ops::new_over(n[half] - slots, &ok);
      if (!ok) return false;
      for (unsigned i = slots; i < n[half]; ++i) Ops::set_over_entry(rest, i - slots, kept[half][i]);
      if (!fill_fresh(bucket_at(to, 2 * unit + half), kept[half], slots, rest)) return false;
    }
    return true;
  }

  /// Claims a fresh bucket and fills slots with n entries; `over` becomes its overflow block. False: another thread
  /// did, or does, and the block is gone.
  static bool fill_fresh(Buckets& b, const Word (*kept)[kWords], unsigned n, Word over) {
    const Word all = (Word{1} << (2 * n)) - 1;
    const Word filled = kReady | all | kOneVersion;  // USED
    Word expected = 0;
    P::step();
    if (n == 0) return b.top.cas_head(expected, filled);
    const Word claimed = kFilling | (all & kSlotBits);  // BUSY
    if (!b.top.cas_head(expected, claimed)) {
      Ops::discard_over(over);
      return false;
    }
    for (unsigned s = 0; s < n; ++s) {
      for (unsigned w = 0; w < kWords; ++w) b.word[s * kWords + w].store(kept[s][w], std::memory_order_release);
    }
    expected = claimed;
    P::step();
    if (over == 0 ? b.top.cas_head(expected, filled) : b.top.cas_both(claimed, 0, filled, over)) return true;
    // Another thread has published everything in an overflow block. Our slots are ours still.
    Ops::discard_over(over);
    for (unsigned s = 0; s < n; ++s) Ops::give_back(b, s);
    return false;
  }

 private:
  static void freeze(Buckets& b) {
    Word head = b.top.load_head(std::memory_order_acquire);
    while (!is_frozen(head)) {
      P::step();
      if (b.top.cas_head(head, head | kFrozen)) return;
    }
  }

  /// Calls f(words) for what belongs into bucket `index` of `to`.
  template <class F>
  void each_to_move(Word from, uint64_t begin, uint64_t end, Word to, uint64_t index, F&& f) const {
    for (uint64_t i = begin; i < end; ++i) {
      Buckets& b = bucket_at(from, i);
      Ops::each(b, b.top.load_head(std::memory_order_acquire), b.top.load_over(std::memory_order_acquire),
                [&](const Word* words) {
                  if (log2_of(to) <= log2_of(from) || index_of(policy.hash_of(words, seed), log2_of(to)) == index)
                    f(words);
                });
    }
  }

  bool fill_bucket(Word from, uint64_t begin, uint64_t end, Word to, uint64_t index) const {
    Buckets& b = bucket_at(to, index);
    Word head = b.top.load_head(std::memory_order_acquire);
    if (is_filled(head)) return true;
    // Entries that find a slot are kept here: the hash of each is computed once.
    Word kept[kSlots][kWords];
    uint64_t n = 0;
    each_to_move(from, begin, end, to, index, [&](const Word* words) {
      if (n < kSlots) Ops::copy_entry(kept[n], words);
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
  bool fill_slots(Buckets& b, Word from, uint64_t begin, uint64_t end, Word to, uint64_t index,
                  const Word (*kept)[kWords], uint64_t n, Word* head) const {
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
    each_to_move(from, begin, end, to, index, [&](const Word* words) {
      if (at >= skip) Ops::set_over_entry(over, at - skip, words);
      ++at;
    });
    guard.over = 0;
    return over;
  }
};

}  // namespace ashlar::hash_core
