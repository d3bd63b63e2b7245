// SPDX-License-Identifier: MIT
//
// tables.h - the tables of a map: the first one, growing, shrinking, counting.
//
// Owns: Tables: the root word, the migration from a table to the next one, the counters.
//
// A migration goes by units: one bucket of the smaller table and those of the larger one that hold the same hashes
// (they lie side by side). To migrate a unit is to freeze its old buckets, one compare-and-exchange each, and then to
// fill its new ones. Whoever meets a frozen bucket does that for its unit; besides, every writer takes a chunk of
// units. Filling:
//
//   fresh --claim (slots BUSY)--> filling --all slots USED--> ready
//     a thread that finds it filling, and has been patient: filling --all entries in an overflow block--> ready
//
// so that a thread which stops in between stops nobody: the other one's single exchange publishes everything, and the
// slots that were claimed remain BUSY until their owner comes back. A new bucket is written by its claimer alone: no
// late helper can overwrite what came after. When the bits of all chunks are set the root moves on, and the old table
// is retired.
//
// Invariants: a table's `next` is set once, before any of its buckets is frozen. In a table that is, or was, the root,
// every bucket is filled, or fresh and empty since its beginning.
#pragma once

#include <new>

#include "hash/counters.h"
#include "hash/exceptions.h"
#include "hash/migration.h"

namespace ashlar::hash_core {

template <class Policy>
class Tables : public TableOps<Policy> {
 public:
  using Ops = TableOps<Policy>;
  using Move = Migration<Policy>;
  using P = typename Policy::Platform;
  using Ops::bucket;
  using Ops::bucket_at;
  using Ops::kSlots;
  using Ops::kWords;
  using Ops::next_of;
  using Ops::table;
  using Ops::unit_log2;
  using typename Ops::Bucket;
  using typename Ops::Seen;
  using typename Ops::Table;
  template <class T>
  using Atomic = typename P::template Atomic<T>;

  /// Entries that a table of 2^log2 buckets takes before it grows: 70 % of the slots (8.4 of 12), and 80 % of a large
  /// one's (1 of 24 entries is then in an overflow block), where memory counts for more than time.
  /// The smallest takes what it has slots for.
  static constexpr unsigned kLargeLog2 = 20;
  static constexpr uint64_t max_entries(unsigned log2) {
    if (log2 == 0 && Ops::kHasSmall) return Ops::kSmallSlots;
    return ((uint64_t{kSlots} << log2) * (log2 < kLargeLog2 ? 7 : 8) + 9) / 10;
  }
  /// Below that it shrinks: 1 of 7.
  static constexpr uint64_t min_entries(unsigned log2) { return (uint64_t{kSlots} << log2) / 7; }
  static constexpr unsigned kStripedLog2 = 8;        // tables from here on have many counters
  static constexpr unsigned kMaxLog2 = 43 - 8;       // as many bytes as a heap has addresses
  static constexpr size_t kPieceBytes = 256 * 1024;  // 40 us of the kernel's time

  /// The smallest table for so many entries.
  static constexpr unsigned log2_for(uint64_t entries) {
    unsigned log2 = 0;
    while (log2 < kMaxLog2 && max_entries(log2) < entries) ++log2;
    return log2;
  }

  Tables(const Policy& policy, uint64_t seed, unsigned min_log2) : policy_(policy), seed_(seed), min_log2_(min_log2) {}
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  const Policy& policy() const { return policy_; }
  uint64_t seed() const { return seed_; }

  struct Figures {
    uint64_t growths, shrinks, overtaken;
  };
  Figures figures() const {
    return {growths_.load(std::memory_order_relaxed), shrinks_.load(std::memory_order_relaxed),
            overtaken_.load(std::memory_order_relaxed)};
  }

  /// Bytes of the current table, and of the next one while there is one.
  uint64_t table_bytes() const {
    uint64_t bytes = 0;
    for (Word root = this->root(); root != 0; root = next_of(root)) bytes += table(root)->bytes;
    return bytes;
  }

  int64_t size() const {
    // Acquire pairs with the release in add_stripes.
    const int64_t n = sum<P>(count_, stripes_.load(std::memory_order_acquire));
    return n < 0 ? 0 : n;
  }

  // Relaxed: a wish.
  unsigned min_log2() const { return min_log2_.load(std::memory_order_relaxed); }
  void set_min_log2(unsigned log2) { min_log2_.store(log2, std::memory_order_relaxed); }

  /// The root word; 0: there is no table.
  Word root() const {
    const Word root = root_.load(std::memory_order_acquire);
    return root == kNoTable ? 0 : root;
  }

 protected:
  /// The root word of a table that does not migrate, or something with kMigrating.
  Word quick_root() const { return root_.load(std::memory_order_acquire); }

  /// `number`: P::thread_number(), where the caller knows it.
  [[gnu::always_inline]] void count(int64_t n, size_t number) {
    add<P>(count_, stripes_.load(std::memory_order_acquire), n, number);
  }
  void count(int64_t n) { count(n, P::thread_number()); }

  /// For a writer: the root word of the table where the hash's bucket can be changed now. 0: no memory.
  Word settle(uint64_t hash) {
    Word root = this->root();
    if (root == 0) [[unlikely]] {
      root = first_table();
      if (root == 0) return 0;
    }
    if ((root & kMigrating) != 0) [[unlikely]] {
      if (!help(root)) return 0;
    }
    while (is_frozen(bucket(root, hash).top.load_head(std::memory_order_acquire))) [[unlikely]] {
        const Word next = next_of(root);
        if (!migrate_unit(root, next, index_of(hash, unit_log2(root, next)))) return 0;
        root = next;
      }
    return root;
  }

  [[gnu::noinline]] void maybe_grow(Word root) {
    const unsigned log2 = log2_of(root);
    if ((root & kMigrating) != 0 || root != this->root() || log2 >= kMaxLog2) return;
    const auto n = static_cast<uint64_t>(size());
    // Relaxed: a ticket. One thread makes the next table, not each a table of its own; where it stops, or finds no
    // memory, the next one tries an eighth later.
    uint64_t at = table(root)->grow_at.load(std::memory_order_relaxed);
    if (n <= at || !table(root)->grow_at.compare_exchange_strong(at, n + n / 8 + 1, std::memory_order_relaxed,
                                                                 std::memory_order_relaxed))
      return;
    unsigned wanted = log2 + 1;
    while (wanted < kMaxLog2 && max_entries(wanted) < n) ++wanted;
    start_migration(root, wanted);
    finish_small(root);
  }

  [[gnu::noinline]] void maybe_shrink(Word root) {
    const unsigned log2 = log2_of(root);
    const unsigned least = min_log2();
    if ((root & kMigrating) != 0 || root != this->root() || log2 <= least) return;
    const auto n = static_cast<uint64_t>(size());
    if (n >= min_entries(log2)) return;
    unsigned wanted = log2_for(n * 2);
    if (wanted < least) wanted = least;
    if (wanted >= log2) return;
    start_migration(root, wanted);
    finish_small(root);
  }

  /// A small table goes over in one go: where nobody writes any more the rest would never be moved, and each find would
  /// look in both (24 instead of 9 ns, 10K entries).
  void finish_small(Word root) {
    const Word next = next_of(root);  // perhaps another thread's
    if (next == 0) return;
    const unsigned log2 = log2_of(next) > log2_of(root) ? log2_of(next) : log2_of(root);
    if (uint64_t{1} << log2 > 2 * Policy::kAtOnceUnits) return;
    // The caller's change has happened, and what it made is the map's: a hash function that throws here shall not undo
    // that. It will throw again, at who migrates the rest.
    without_exceptions([&] {
      while (this->root() == (root | kMigrating) && help(root)) {
      }
    });
  }

  /// An insert has found its bucket full.
  void after_overflow(Word root, uint64_t hash) {
    // Where the counters are many, one of 8 looks.
    if (log2_of(root) < kStripedLog2 || (hash & 7) == 0) maybe_grow(root);
  }

  void after_erase(Word root, uint64_t hash) {
    count(-1);
    look_after_erase(root, hash);
  }
  void look_after_erase(Word root, uint64_t hash) {
    // One of 64 looks: the counters are many.
    if ((hash & 63) == 0 && log2_of(root) > min_log2()) [[unlikely]]
      maybe_shrink(root);
  }

 public:
  /// Makes the table one of at least (grow) or at most 2^log2 buckets, but not smaller than its entries allow, or
  /// leaves it where memory is out. Returns when it is so, or false.
  bool resize(unsigned log2, bool grow) {
    for (;;) {
      Word root = this->root();
      if (root == 0) return true;  // the first table will have min_log2
      if ((root & kMigrating) != 0) {
        if (!help(root)) return false;
        continue;
      }
      // Others may have grown it since the caller looked.
      if (!grow && log2 < log2_for(static_cast<uint64_t>(size()))) log2 = log2_for(static_cast<uint64_t>(size()));
      if (grow ? log2_of(root) >= log2 : log2_of(root) <= log2) return true;
      if (!start_migration(root, log2)) return false;
    }
  }

  /// Frees everything but what entries own; nobody else uses the map any more. `drop(words)` is called for each entry.
  template <class F>
  void free_all(F&& drop) {
    for (Word root = this->root(); root != 0;) {
      Table* t = table(root);
      const Word next = t->next.load(std::memory_order_acquire);
      const uint64_t buckets = uint64_t{1} << log2_of(root);
      for (uint64_t i = 0; i < buckets; ++i) {
        const Bucket b = bucket_at(root, i);
        const Word head = b.top.load_head(std::memory_order_acquire);
        const Word over = b.top.load_over(std::memory_order_acquire);
        if (over == 0 && used_bits(head) == 0) continue;
        // All has heirs, and the overflow block was retired: it may be gone.
        if (is_frozen(head) && is_done(root, next, i)) continue;
        Ops::each(b, head, over, [&](const Word* words) {
          const bool has_heir =
              is_frozen(head) &&
              is_filled(bucket(next, policy_.hash_of(words, seed_)).top.load_head(std::memory_order_acquire));
          if (!has_heir) drop(words);
        });
        Ops::discard_over(over);
      }
      free_table(root);
      root = next & ~kMigrating;
    }
    root_.store(kNoTable, std::memory_order_relaxed);
    if (Stripes<P>* s = stripes_.load(std::memory_order_acquire)) free_stripes(s);
    stripes_.store(nullptr, std::memory_order_relaxed);
    count_.store(0, std::memory_order_relaxed);
  }

 private:
  static uint64_t chunk_count(unsigned unit_log2) {
    return ((uint64_t{1} << unit_log2) + Policy::kChunkUnits - 1) / Policy::kChunkUnits;
  }
  bool is_done(Word from, Word to, uint64_t index) const {
    const uint64_t chunk = (index >> (log2_of(from) - unit_log2(from, to))) / Policy::kChunkUnits;
    return (table(to)->done[chunk / 64].load(std::memory_order_acquire) >> (chunk % 64) & 1) != 0;
  }

  /// A table without entries; 0: no memory. `chunks`: of the migration to it; 0: the map's first one.
  static Word new_table(unsigned log2, uint64_t chunks) {
    const bool small = Ops::kHasSmall && chunks == 0 && log2 == 0;
    const size_t index_end = Ops::slots_offset(log2);
    const size_t bytes = small ? Ops::kSmallBytes : index_end + (Ops::kSlotBytes << log2);
    void* memory = P::zeroed(bytes);
    if (memory == nullptr) return 0;
    auto* t = ::new (memory) Table;
    t->slots = reinterpret_cast<Atomic<Word>*>(static_cast<char*>(memory) + index_end);
    const Word root = reinterpret_cast<Word>(memory) | (kTopLog2 - log2);
    if constexpr (P::kConstructs) {
      each_part(root, [](auto& part) { ::new (static_cast<void*>(&part)) std::remove_reference_t<decltype(part)>; });
    }
    if (small) {
      Word fresh = 0;
      bucket_at(root, 0).top.cas_head(fresh, Ops::kMissingSlots << kBusyShift);
    }
    t->next.store(0, std::memory_order_relaxed);  // published with the root word
    t->cursor.store(0, std::memory_order_relaxed);
    t->first_open.store(0, std::memory_order_relaxed);
    t->grow_at.store(max_entries(log2), std::memory_order_relaxed);
    for (auto& word : t->nothing) word.store(0, std::memory_order_relaxed);
    t->chunks = chunks;
    t->bytes = bytes;
    t->log2 = log2;
    t->done = nullptr;
    if (chunks != 0) {
      const size_t words = (chunks + 63) / 64;
      t->done = static_cast<Atomic<uint64_t>*>(P::zeroed(words * sizeof(Atomic<uint64_t>)));
      if (t->done == nullptr) {
        P::deallocate(memory);
        return 0;
      }
      if constexpr (P::kConstructs) {
        for (size_t i = 0; i < words; ++i) (::new (&t->done[i]) Atomic<uint64_t>)->store(0, std::memory_order_relaxed);
      }
    }
    return root;
  }

  /// Calls f with each tags, pair and word of a table.
  template <class F>
  static void each_part(Word root, F&& f) {
    for (uint64_t i = 0; i >> log2_of(root) == 0; ++i) {
      const Bucket b = bucket_at(root, i);
      f(b.tags);
      f(b.top);
      for (unsigned w = 0; w < kSlots * kWords; ++w) f(b.word[w]);
    }
  }

  static void free_table(Word root) {
    Table* t = table(root);
    if constexpr (P::kConstructs) {
      each_part(root, [](auto& part) { std::destroy_at(&part); });
      for (size_t i = 0; i < (t->chunks + 63) / 64; ++i) t->done[i].~Atomic<uint64_t>();
    }
    if (t->done != nullptr) P::deallocate(t->done);
    t->~Table();
    P::deallocate(t);
  }
  /// Once no reader is left. A large table goes a piece at a time, so that none of the operations that this happens in
  /// waits for all of it: its end is given back, and the rest a little later.
  static void release_table(void* block) {
    auto* t = static_cast<Table*>(block);
    if (t->bytes <= 2 * kPieceBytes) {
      free_table(reinterpret_cast<Word>(t) | (kTopLog2 - t->log2));
      return;
    }
    t->bytes = (t->bytes - kPieceBytes) / kPieceBytes * kPieceBytes;
    P::cut(t, t->bytes);
    P::retire_rest(t, t->bytes, release_table);
  }

  [[gnu::noinline]] Word first_table() {
    // Where there is no memory for what the hint wished, a smaller one serves as well.
    Word root = 0;
    for (unsigned log2 = min_log2(); (root = new_table(log2, 0)) == 0; log2 -= log2 < 4 ? log2 : 4) {
      if (log2 == 0) return 0;
    }
    add_stripes(log2_of(root));
    Word none = kNoTable;
    // Release publishes the table; acquire: another thread's.
    if (root_.compare_exchange_strong(none, root, std::memory_order_acq_rel, std::memory_order_acquire)) return root;
    free_table(root);
    return none;
  }

  /// Small tables have one counter, in the map itself; larger ones many.
  void add_stripes(unsigned log2) {
    if (log2 < kStripedLog2 || stripes_.load(std::memory_order_relaxed) != nullptr) return;
    Stripes<P>* s = make_stripes<P>();
    if (s == nullptr) return;  // then the one counter serves on
    Stripes<P>* none = nullptr;
    // Release pairs with the acquire in size and count.
    if (!stripes_.compare_exchange_strong(none, s, std::memory_order_release, std::memory_order_relaxed)) {
      free_stripes(s);
    }
  }

  // ---- migration --------------------------------------------------------------------------------------------------

  [[gnu::noinline]] bool start_migration(Word root, unsigned log2) {
    Word next = table(root)->next.load(std::memory_order_acquire);
    if (next == 0) {
      const unsigned units = log2 < log2_of(root) ? log2 : log2_of(root);
      const Word fresh = new_table(log2, chunk_count(units));
      if (fresh == 0) return false;  // the old one serves on, its buckets overflow
      add_stripes(log2);
      // Release publishes the table to who acquires `next`.
      if (table(root)->next.compare_exchange_strong(next, fresh, std::memory_order_acq_rel, std::memory_order_acquire))
        (log2 < log2_of(root) ? shrinks_ : growths_).fetch_add(1, std::memory_order_relaxed);
      else
        free_table(fresh);
    }
    // Relaxed: whoever acts on the flag acquires `next`. Where it fails the migration is known, or over.
    Word expected = root;
    root_.compare_exchange_strong(expected, root | kMigrating, std::memory_order_acq_rel, std::memory_order_relaxed);
    return true;
  }

  /// A writer's share of the migration from `root`: a chunk. False: no memory.
  [[gnu::noinline]] bool help(Word root) {
    Table* from = table(root);
    const Word next = next_of(root);
    Table* to = table(next);
    // Relaxed: a ticket. What a chunk is done with, its bit says.
    uint64_t chunk = from->cursor.load(std::memory_order_relaxed);
    if (chunk < to->chunks) chunk = from->cursor.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= to->chunks) {
      // All are handed out. What is not done, its thread may never do.
      chunk = first_open_chunk(from, to);
      if (chunk == to->chunks) {
        promote(root, next);
        return true;
      }
    }
    Move::fault_in(root, next, chunk);
    if (!migrate_chunk(root, next, chunk)) return false;
    // Near the end: perhaps it was the last one.
    if (chunk + 4 * 64 >= to->chunks && first_open_chunk(from, to) == to->chunks) promote(root, next);
    return true;
  }

  uint64_t first_open_chunk(Table* from, Table* to) const {
    const uint64_t words = (to->chunks + 63) / 64;
    // A hint, of words that were seen full. Acquire pairs with the release below: whoever skips them, and promotes, has
    // what is in their chunks behind him all the same.
    for (uint64_t w = from->first_open.load(std::memory_order_acquire); w < words; ++w) {
      // Acquire pairs with the release in migrate_chunk: the chunk's buckets are filled.
      const uint64_t open = ~to->done[w].load(std::memory_order_acquire);
      if (open != 0) {
        const uint64_t chunk = w * 64 + static_cast<uint64_t>(__builtin_ctzll(open));
        if (w != from->first_open.load(std::memory_order_relaxed)) from->first_open.store(w, std::memory_order_release);
        return chunk < to->chunks ? chunk : to->chunks;
      }
    }
    return to->chunks;
  }

  bool migrate_chunk(Word from, Word to, uint64_t chunk) {
    const uint64_t units = uint64_t{1} << unit_log2(from, to);
    const uint64_t begin = chunk * Policy::kChunkUnits;
    const uint64_t end = begin + Policy::kChunkUnits < units ? begin + Policy::kChunkUnits : units;
    for (uint64_t u = begin; u < end; ++u) {
      Move::ask_for(from, to, u + Move::kAhead, units);
      if (!migrate_unit(from, to, u)) return false;
    }
    const uint64_t bit = uint64_t{1} << (chunk % 64);
    // Release: the buckets are filled. Acquire: of the bits before.
    if ((table(to)->done[chunk / 64].fetch_or(bit, std::memory_order_acq_rel) & bit) != 0) return true;
    // Ours is the bit, so the overflow blocks of the old buckets are ours to retire: their entries are copied.
    const unsigned shift = log2_of(from) - unit_log2(from, to);
    for (uint64_t i = begin << shift; i < end << shift; ++i)
      Ops::retire_over(bucket_at(from, i).top.load_over(std::memory_order_acquire));
    return true;
  }

  bool migrate_unit(Word from, Word to, uint64_t unit) {
    return Move{policy_, seed_, &overtaken_}.unit(from, to, unit);
  }

  void promote(Word root, Word next) {
    Word expected = root | kMigrating;
    // Release: whoever finds the new root finds its buckets filled. One thread succeeds, and retires the old table.
    if (root_.compare_exchange_strong(expected, next, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      Table* t = table(root);
      P::retire(t, t->bytes, release_table);
    }
  }

  // As if it migrated: so that fast paths look once.
  static constexpr Word kNoTable = kMigrating;

  // First line: what readers read. Second line: what writers of small maps write.
  alignas(64) Atomic<Word> root_{kNoTable};
  Atomic<Stripes<P>*> stripes_{nullptr};

 protected:
  [[no_unique_address]] Policy policy_;
  uint64_t seed_;
  Atomic<uint32_t> min_log2_;  // shrinks no further; the first table has as many

 private:
  alignas(64) Atomic<int64_t> count_{0};
  Atomic<uint64_t> growths_{0};
  Atomic<uint64_t> shrinks_{0};
  Atomic<uint64_t> overtaken_{0};
};

}  // namespace ashlar::hash_core
