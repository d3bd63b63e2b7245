// SPDX-License-Identifier: MIT
//
// bucket.h - what happens inside of one bucket: search, put, erase, overflow blocks.
//
// Owns: BucketOps, the only code that changes a bucket which is in use. (tables.h freezes and fills them.)
//
// A writer searches (the version it saw is in `seen.head`), marks a free slot BUSY, fills it, and commits: the head
// with the new slot USED, the replaced one DELETED, the version one up. The commit fails where another one came first.
// Then the slot is given back, and the caller searches again. Where no slot is free the change is a new overflow block,
// committed together with the head.
//
// All functions: the caller is pinned. They return kKept where the bucket has changed since `seen`, or is frozen.
#pragma once

#include "hash/layout.h"

namespace ashlar::hash_core {

/// What a search saw. `at`: kNone; a slot; or kOver + i: entry i of the overflow block.
template <unsigned kWords>
struct View {
  static constexpr int kNone = -1;
  static constexpr int kOver = 64;

  Word head;
  Word over;
  int at;
  uint8_t tag;         // of what was searched
  Word words[kWords];  // of what was found

  bool found() const { return at != kNone; }
};

enum class Outcome { kDone, kKept, kNoMemory };

/// Of what may leave the work to others. kNot: nothing was done. kReplaced: of change_word, the key was there.
enum class Quick { kDone, kReplaced, kKept, kNot };

/// A key of one word that is equal only to the same word.
struct WordMatch {
  static constexpr bool kFirstFilters = true;
  static constexpr bool kFirstDecides = true;
  Word key;
  Word first() const { return key; }
  static bool confirm(const Word* /*words*/) { return true; }
};

/// Finds an entry whose key equals nothing, by its words.
template <unsigned kWords>
struct SameWords {
  static constexpr bool kFirstFilters = true;
  static constexpr bool kFirstDecides = false;
  const Word* words;
  Word first() const { return words[0]; }
  bool confirm(const Word* other) const { return __builtin_memcmp(words, other, kWords * sizeof(Word)) == 0; }
};

template <class Policy>
struct BucketOps {
  using P = typename Policy::Platform;
  static constexpr unsigned kSlots = Policy::kSlots;
  static constexpr unsigned kWords = Policy::kWords;
  using Bucket = BucketAt<P>;
  using Seen = View<kWords>;

  // ---- overflow blocks ------------------------------------------------------------------------------------------

  static Word* over_block(Word over) { return reinterpret_cast<Word*>(over >> kOverAddressShift << 4); }
  static Word over_count_field(Word over) { return over >> kOverCountShift & 15; }
  static uint64_t over_count(Word over) {
    const Word n = over_count_field(over);
    return n == kOverMany ? over_block(over)[0] : n;
  }
  /// Entry i of a block. A block is never written once it is in a bucket.
  static Word* over_entry(Word over, uint64_t i) {
    return over_block(over) + (over_count_field(over) == kOverMany ? 2 : 0) + i * kWords;
  }
  static size_t over_bytes(uint64_t n) { return (n * kWords + (n >= kOverMany ? 2 : 0)) * sizeof(Word); }

  /// A new block for n entries, to be filled by set_over_entry; 0 for none, and *ok false where memory is out.
  static Word new_over(uint64_t n, bool* ok) {
    *ok = true;
    if (n == 0) return 0;
    auto* block = static_cast<Word*>(P::allocate(over_bytes(n)));
    *ok = block != nullptr;
    if (block == nullptr) return 0;
    if (n >= kOverMany) block[0] = n;
    return reinterpret_cast<Word>(block) >> 4 << kOverAddressShift | (n < kOverMany ? n : kOverMany) << kOverCountShift;
  }
  static void copy_entry(Word* to, const Word* from) {
    for (unsigned w = 0; w < kWords; ++w) to[w] = from[w];
  }
  static void set_over_entry(Word& over, uint64_t i, const Word* from, uint8_t tag) {
    copy_entry(over_entry(over, i), from);
    over |= filter_bit(tag);
  }
  /// `over` without entry `skip` (kNoSkip: with all) and, where `add` is not null, with that one more, of that tag. The
  /// filter keeps the bits that it had.
  static constexpr uint64_t kNoSkip = ~uint64_t{0};
  static Word changed_over(Word over, uint64_t skip, const Word* add, uint8_t tag, bool* ok) {
    const uint64_t n = over_count_or_0(over);
    Word result = new_over(n - (skip == kNoSkip ? 0 : 1) + (add == nullptr ? 0 : 1), ok);
    if (!*ok || result == 0) return result;
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; ++i) {
      if (i != skip) copy_entry(over_entry(result, at++), over_entry(over, i));
    }
    if (add != nullptr) set_over_entry(result, at, add, tag);
    return result | (over & kOverFilterMask);
  }
  static uint64_t over_count_or_0(Word over) { return over == 0 ? 0 : over_count(over); }
  static void discard_over(Word over) {
    if (over != 0) P::deallocate(over_block(over));
  }
  static void retire_over(Word over) {
    if (over != 0) P::retire(over_block(over), over_bytes(over_count(over)), P::deallocate);
  }

  static unsigned slot_for(Word free, uint8_t tag) {
    return static_cast<unsigned>(Bucket::slot_for(kWords, free, tag));
  }

  // ---- search ---------------------------------------------------------------------------------------------------

  /// False: frozen (`seen.head` says so), or changed while we looked.
  template <class Match>
  static bool search(Bucket b, uint64_t hash, const Match& match, Seen& seen, bool want_over) {
    b.prefetch(hash);
    // Acquire pairs with the release of the commit that made a slot USED: its words are there.
    seen.head = b.top.load_head(std::memory_order_acquire);
    if (is_frozen(seen.head)) [[unlikely]]
      return false;
    look(b, hash, match, seen, want_over);
    // Relaxed: it is behind our loads of the tags and slots, which acquire. Who overwrites a slot has seen it freed, by
    // a commit that counted the version up; whoever reads what he stored therefore finds another version here.
    return same_version(seen.head, b.top.load_head(std::memory_order_relaxed));
  }

  /// The USED slots with the tag of `hash`: all where its entry can be.
  [[gnu::always_inline]] static Word hits(Bucket b, Word head, uint64_t hash) { return b.tags.equal(hash) & head; }

  /// Fills `seen.at` and the words, from a bucket that stands still, or whose version the caller checks afterwards.
  template <class Match>
  static void look(Bucket b, uint64_t hash, const Match& match, Seen& seen, bool want_over) {
    seen.at = Seen::kNone;
    seen.tag = tag_of(hash);
    for (Word hits = BucketOps::hits(b, seen.head, hash); hits != 0; hits &= hits - 1) {
      const auto i = static_cast<unsigned>(__builtin_ctzll(hits));
      for (unsigned w = 0; w < kWords; ++w) seen.words[w] = b.word[i * kWords + w].load(std::memory_order_acquire);
      if (Match::kFirstFilters && seen.words[0] != match.first()) continue;
      // A match may follow a pointer of these words. It was in a USED slot since we are pinned, so what it points to is
      // there.
      if constexpr (!Match::kFirstDecides) {
        // But words of two entries may be mixed, where the slot is filled anew: not before the version is checked.
        if (!same_version(seen.head, b.top.load_head(std::memory_order_relaxed))) return;
        if (!match.confirm(seen.words)) continue;
      }
      seen.at = static_cast<int>(i);
      if (!want_over) return;
      break;
    }
    // Acquire pairs with the release of the exchange that stored it: the block is filled.
    seen.over = b.top.load_over(std::memory_order_acquire);
    if (seen.at != Seen::kNone || seen.over == 0) [[likely]]
      return;
    if (may_be_in(seen.over, hash) == 0) return;
    // The exchange that stored it is one of the head, too, and is seen as such: where the version is still ours the
    // block is that version's, and filled.
    if (same_version(seen.head, b.top.load_head(std::memory_order_acquire))) look_over(match, seen);
  }

  /// A search by who only wants the entry's words, as long as nobody interferes and the first slot that the tags name
  /// is the one (kNot: use search; kKept: the key is not there). The bucket was no frozen one when its root was read.
  template <class Match>
  [[gnu::always_inline]] static Quick find_first(Bucket b, uint64_t hash, const Match& match, Word* words) {
    b.prefetch(hash);
    // Orders: as in search and look.
    const Word head = b.top.load_head(std::memory_order_acquire);
    const Word over = b.top.and_over(filter_bit(tag_of(hash)), std::memory_order_acquire);
    const Word hits = BucketOps::hits(b, head, hash);
    if (hits == 0) return (over | b.top.xor_head(head, std::memory_order_relaxed)) == 0 ? Quick::kKept : Quick::kNot;
    const Word slot = lowest_bit(hits);
    for (unsigned w = 0; w < kWords; ++w) words[w] = b.word[slot * kWords + w].load(std::memory_order_acquire);
    if (Match::kFirstFilters && words[0] != match.first()) [[unlikely]]
      return Quick::kNot;
    if (!same_version(head, b.top.load_head(std::memory_order_relaxed)) || !match.confirm(words)) [[unlikely]]
      return Quick::kNot;
    return Quick::kDone;
  }

  template <class Match>
  [[gnu::noinline]] static void look_over(const Match& match, Seen& seen) {
    const uint64_t n = over_count(seen.over);
    for (uint64_t i = 0; i < n; ++i) {
      const Word* entry = over_entry(seen.over, i);
      if (Match::kFirstFilters && entry[0] != match.first()) continue;
      if (!Match::kFirstDecides && !match.confirm(entry)) continue;
      copy_entry(seen.words, entry);
      seen.at = Seen::kOver + static_cast<int>(i);
      return;
    }
  }

  /// Calls f(words) for each entry of a bucket that stands still; or whose version the caller checks afterwards, and
  /// then f may only copy.
  template <class F>
  static void each(Bucket b, Word head, Word over, F&& f) {
    Word words[kWords];
    for (Word used = used_bits(head); used != 0; used &= used - 1) {
      const auto i = static_cast<unsigned>(__builtin_ctzll(used));
      for (unsigned w = 0; w < kWords; ++w) words[w] = b.word[i * kWords + w].load(std::memory_order_acquire);
      f(const_cast<const Word*>(words));
    }
    const uint64_t n = over_count_or_0(over);
    for (uint64_t i = 0; i < n; ++i) f(const_cast<const Word*>(over_entry(over, i)));
  }

  /// The DELETED slots of a bucket. (One that held zeros with the tag 0 is taken for EMPTY: a figure.)
  static Word deleted_bits(Bucket b, Word head) {
    Word deleted = 0;
    for (Word free = free_bits(head, kSlots); free != 0; free &= free - 1) {
      const auto i = static_cast<unsigned>(__builtin_ctzll(free));
      Word any = b.tags.get(i);
      for (unsigned w = 0; w < kWords; ++w) any |= b.word[i * kWords + w].load(std::memory_order_relaxed);
      if (any != 0) deleted |= Word{1} << i;
    }
    return deleted;
  }

  // ---- changes --------------------------------------------------------------------------------------------------

  /// Where it makes room, `seen` becomes what the bucket is then.
  static Outcome put(Bucket b, Seen& seen, const Word* fresh) {
    Word head = seen.head;
    for (;;) {
      const Word free = free_bits(head, kSlots);
      if (free == 0) [[unlikely]] {
        if (others(seen, head) == 0) return put_over(b, seen, head, fresh);
        const Outcome room = make_room(b, seen, head);
        if (room != Outcome::kDone) return room;
        head = seen.head;
        continue;
      }
      const unsigned slot = slot_for(free, seen.tag);
      P::step();
      if (b.top.cas_head(head, claimed(head, slot))) return fill(b, seen, claimed(head, slot), slot, fresh);
      if (is_frozen(head) || !same_version(head, seen.head)) return Outcome::kKept;
    }
  }

  /// `after`: the head that it left, where a slot has become free.
  static Outcome erase(Bucket b, const Seen& seen, Word& after) {
    if (seen.at >= Seen::kOver)
      return change_over(b, seen, seen.head, static_cast<uint64_t>(seen.at - Seen::kOver), nullptr, -1);
    Word head = seen.head;
    for (;;) {
      P::step();
      after = erased(head, static_cast<unsigned>(seen.at)) + kOneVersion;
      if (b.top.cas_head(head, after)) return Outcome::kDone;
      if (is_frozen(head) || !same_version(head, seen.head)) return Outcome::kKept;
    }
  }

  /// A slot has become free, and there is an overflow block: its last entry moves in, which has this tag. As good as
  /// may be; where others are busy here, it stays.
  static void pull_in(Bucket b, Word head, Word over, uint8_t tag) {
    const Word free = free_bits(head, kSlots);
    if (free == 0) return;
    const unsigned slot = slot_for(free, tag);
    P::step();
    Word expected = head;
    if (!b.top.cas_head(expected, claimed(head, slot))) return;
    Seen seen;
    seen.head = head;
    seen.over = over;
    seen.at = Seen::kOver + static_cast<int>(over_count(over) - 1);
    seen.tag = tag;
    fill(b, seen, claimed(head, slot), slot, over_entry(over, over_count(over) - 1));
  }

  /// Gives a BUSY slot back.
  static void give_back(Bucket b, unsigned slot) {
    Word head = b.top.load_head(std::memory_order_relaxed);
    while (!is_frozen(head)) {
      P::step();
      if (b.top.cas_head(head, given_back(head, slot))) return;
    }
  }

  /// Fills a slot that is ours.
  static void write_slot(Bucket b, unsigned slot, uint8_t tag, const Word* words) {
    b.tags.set(slot, tag);
    // Release: see the last load in `search`.
    for (unsigned w = 0; w < kWords; ++w) b.word[slot * kWords + w].store(words[w], std::memory_order_release);
  }

 private:
  /// The second half of a put: `slot` is ours.
  static Outcome fill(Bucket b, const Seen& seen, Word head, unsigned slot, const Word* fresh) {
    write_slot(b, slot, seen.tag, fresh);
    if (seen.at >= Seen::kOver) [[unlikely]] {
      const Outcome o =
          change_over(b, seen, head, static_cast<uint64_t>(seen.at - Seen::kOver), nullptr, static_cast<int>(slot));
      if (o != Outcome::kDone) give_back(b, slot);
      return o;
    }
    for (;;) {
      Word desired = filled(head, slot) + kOneVersion;
      if (seen.at != Seen::kNone) desired = erased(desired, static_cast<unsigned>(seen.at));
      P::step();
      if (b.top.cas_head(head, desired)) return Outcome::kDone;
      if (is_frozen(head)) return Outcome::kKept;
      if (!same_version(head, seen.head)) {
        give_back(b, slot);
        return Outcome::kKept;
      }
    }
  }

  /// The USED slots beside that of the entry which was found; 0: none was found, or all others are BUSY.
  static Word others(const Seen& seen, Word head) {
    if (!seen.found()) return 0;
    const Word own = seen.at < Seen::kOver ? Word{1} << static_cast<unsigned>(seen.at) : 0;
    return used_bits(head) & ~own;
  }

  /// No slot is free for another value of an entry that is there: one of the others moves to the overflow block, and
  /// `seen` is brought up to date. (What is updated often would be in the block itself, otherwise, where each find
  /// takes longer.) kKept: the bucket has changed.
  [[gnu::noinline]] static Outcome make_room(Bucket b, Seen& seen, Word head) {
    // Not always the same one: the first from a slot on that changes with the version.
    const Word all = others(seen, head), later = all & ~Word{0} << (head >> kVersionShift) % kSlots;
    const auto slot = static_cast<unsigned>(__builtin_ctzll(later != 0 ? later : all));
    Word words[kWords];
    for (unsigned w = 0; w < kWords; ++w) words[w] = b.word[slot * kWords + w].load(std::memory_order_acquire);
    bool ok = false;
    const Word over = changed_over(seen.over, kNoSkip, words, b.tags.get(slot), &ok);
    if (!ok) return Outcome::kNoMemory;
    const Word desired = erased(head, slot) + kOneVersion;
    P::step();
    // It succeeds only if the slot is still what it was when the version was read.
    if (!b.top.cas_both(head, seen.over, desired, over)) {
      discard_over(over);
      return Outcome::kKept;
    }
    retire_over(seen.over);
    // The entries of the block, and so the one that may have been found there, have the numbers that they had.
    seen.head = desired;
    seen.over = over;
    return Outcome::kDone;
  }

  /// No slot is free: the new entry goes to the overflow block.
  [[gnu::noinline]] static Outcome put_over(Bucket b, const Seen& seen, Word head, const Word* fresh) {
    const uint64_t skip = seen.at >= Seen::kOver ? static_cast<uint64_t>(seen.at - Seen::kOver) : kNoSkip;
    return change_over(b, seen, head, skip, fresh, -1);
  }

  /// Commits another overflow block: without entry `skip`, with `add`. `slot` >= 0 becomes USED; a slot that was found
  /// and is replaced by `add` DELETED.
  [[gnu::noinline]] static Outcome change_over(Bucket b, const Seen& seen, Word head, uint64_t skip, const Word* add,
                                               int slot) {
    bool ok = false;
    const Word over = changed_over(seen.over, skip, add, seen.tag, &ok);
    if (!ok) return Outcome::kNoMemory;
    for (;;) {
      Word desired = head + kOneVersion;
      if (slot >= 0) desired = filled(desired, static_cast<unsigned>(slot));
      if (add != nullptr && seen.at >= 0 && seen.at < Seen::kOver)
        desired = erased(desired, static_cast<unsigned>(seen.at));
      P::step();
      if (b.top.cas_both(head, seen.over, desired, over)) {
        retire_over(seen.over);
        return Outcome::kDone;
      }
      head = b.top.load_head(std::memory_order_acquire);
      if (is_frozen(head) || !same_version(head, seen.head)) {
        discard_over(over);
        return Outcome::kKept;
      }
    }
  }
};

}  // namespace ashlar::hash_core
