// SPDX-License-Identifier: MIT
//
// core.h - the map over words: find, the one way in which anything is changed, and the walk over all entries.
//
// Owns: Core. What the words mean is the policy's business (policies.h); buckets are bucket.h's, tables are tables.h's.
//
// Linearization. Every change is one successful compare-and-exchange of the head of the key's bucket, of the version
// that the bucket was searched in. Every look is valid at the moment of its last load of the head, which had the
// version of its first: nothing had changed between. In a frozen bucket whose heir is not filled yet nothing changes:
// valid when the heir was seen so.
//
// Progress. No thread waits for another. A writer marks a slot BUSY, fills it, and commits; where it stops in between,
// the others use other slots, or an overflow block. A failed compare-and-exchange means that another thread's
// succeeded.
//
// All functions: the caller is pinned (epoch.h). Only memory can fail.
#pragma once

#include <type_traits>

#include "hash/tables.h"

namespace ashlar::hash_core {

enum class Action { kKeep, kPut, kErase };

template <class Policy>
class Core : public Tables<Policy> {
 public:
  using Base = Tables<Policy>;
  using Ops = BucketOps<Policy>;
  using Base::Base;
  using Base::kSlots;
  using Base::kWords;
  using typename Base::Buckets;
  using typename Base::P;
  using typename Base::Seen;
  /// Keys of one word, equal only to the same word, with a value of one word.
  template <class Match>
  static constexpr bool kPlain = std::is_same_v<Match, WordMatch>&& kWords == 2;

  /// Calls `found(words)` with the entry that matches; what the words point to is there while the caller is pinned.
  /// Retries only where a writer has changed the bucket meanwhile.
  template <class Match, class F>
  [[gnu::always_inline]] bool find(uint64_t hash, const Match& match, F&& found) const {
    if constexpr (kPlain<Match>) {
      const Hit hit = find_word(hash, match.first());
      const Word words[2] = {match.first(), hit.value};
      if (hit.found) found(static_cast<const Word*>(words));
      return hit.found;
    } else {
      const Word root = this->root();
      if (root == 0) [[unlikely]]
        return false;
      Seen seen;
      search_from(root, hash, match, seen);
      if (!seen.found()) return false;
      found(const_cast<const Word*>(seen.words));
      return true;
    }
  }

  /// The same for keys of one word, without a branch that depends on whether the key is there: nobody could predict it.
  struct Hit {
    Word value;  // something, where it was not found
    bool found;
  };
  [[gnu::always_inline]] Hit find_word(uint64_t hash, Word key) const {
    const Word root = this->root();
    if (root == 0) [[unlikely]]
      return {0, false};
    const Buckets& b = Base::bucket(root, hash);
    // The orders are those of Ops::search and Ops::look.
    const Word head = b.top.load_head(std::memory_order_acquire);
    const Word over = b.top.load_over(std::memory_order_acquire);
    // All values are asked for with their keys: while the line is on its way, what waits for it fills the processor's
    // queues, and the fewer instructions those are, the more finds overlap.
    const Word used = head >> 1 & head;
    Word hits = 0, value = 0;
#pragma GCC unroll 8
    for (unsigned i = 0; i < kSlots; ++i) {
      const Word at = b.word[i * kWords].load(std::memory_order_acquire);
      const Word other = opaque(b.word[i * kWords + 1].load(std::memory_order_acquire));
      const Word hit = opaque(at == key ? used : 0) & Word{1} << (2 * i);
      value = opaque(hit != 0 ? other : value);
      hits |= hit;
    }
    hits = opaque(hits);
    const Word in_over = opaque(over & filter_bit(key));
    const Word changed = (head ^ b.top.load_head(std::memory_order_relaxed)) >> kVersionShift;
    // In a root's table a bucket is never seen filling, so of the state frozen has this bit alone.
    if ((changed | (head & kFilling) | opaque(hits != 0 ? 0 : in_over)) == 0) [[likely]]
      return {value, hits != 0};
    return find_word_slow(root, hash, key);
  }

  /// Adds an entry of two words, if its key is not there. False: it was.
  [[gnu::always_inline]] Outcome insert_word(uint64_t hash, Word key, Word value) {
    const Word root = this->root();
    if (root != 0 && (root & kMigrating) == 0) [[likely]] {
      Buckets& b = Base::bucket(root, hash);
      const Word head = b.top.load_head(std::memory_order_acquire);
      const Word free = free_bits(head, kSlots);
      if (Ops::hits(b, head, key) != 0) {
        if (is_same_ready(head, b.top.load_head(std::memory_order_relaxed))) [[likely]]
          return Outcome::kKept;
      } else if (const Word over = b.top.load_over(std::memory_order_acquire);
                 !is_frozen(head) && (over & filter_bit(key)) == 0) [[likely]] {
        if (free == 0) return insert_word_full(root, hash, b, head, over, key, value);
        // As Ops::put does it, as long as nobody interferes. (The claim succeeds only if all that we saw was of one
        // version.)
        const auto slot = static_cast<unsigned>(__builtin_ctzll(free)) / 2;
        Word claimed = with_slot(head, slot, kBusy);
        Word expected = head;
        P::step();
        if (b.top.cas_head(expected, claimed)) [[likely]] {
          b.word[slot * kWords + 0].store(key, std::memory_order_release);
          b.word[slot * kWords + 1].store(value, std::memory_order_release);
          P::step();
          if (b.top.cas_head(claimed, with_slot(claimed, slot, kUsed) + kOneVersion)) [[likely]] {
            this->count(1);
            return Outcome::kDone;
          }
          Ops::give_back(b, slot);
        }
      }
    }
    return insert_word_slow(hash, key, value);
  }

  /// Removes a key of one word; `value` is what it had.
  [[gnu::always_inline]] Outcome erase_word(uint64_t hash, Word key, Word& value) {
    const Word root = this->root();
    if (root != 0 && (root & kMigrating) == 0) [[likely]] {
      Buckets& b = Base::bucket(root, hash);
      const Word head = b.top.load_head(std::memory_order_acquire);
      const Word hits = Ops::hits(b, head, key);
      const Word over = b.top.load_over(std::memory_order_acquire);
      if (!is_frozen(head)) [[likely]] {
        if (hits == 0) {
          if ((over & filter_bit(key)) == 0 && is_same_ready(head, b.top.load_head(std::memory_order_relaxed)))
              [[likely]]
            return Outcome::kKept;
        } else if (over == 0) [[likely]] {
          const auto slot = static_cast<unsigned>(__builtin_ctzll(hits)) / 2;
          value = b.word[slot * kWords + 1].load(std::memory_order_acquire);
          Word expected = head;
          P::step();
          if (b.top.cas_head(expected, with_slot(head, slot, kDeleted) + kOneVersion)) [[likely]] {
            this->after_erase(root, hash);
            return Outcome::kDone;
          }
        }
      }
    }
    return erase_word_slow(hash, key, value);
  }

  void prefetch(uint64_t hash) const {
    const Word root = this->root();
    if (root == 0) return;
    const char* b = reinterpret_cast<const char*>(&Base::bucket(root, hash));
    __builtin_prefetch(b);
    if constexpr (sizeof(Buckets) > 64) __builtin_prefetch(b + 64);
  }

  /// Searches, asks `decide(seen, fresh)` what to do, and does it as one change; asks again where the bucket has
  /// changed in between. With kPut, `fresh` holds the words to store. `*seen` is what the change found, or what kKeep
  /// was said to.
  template <class Match, class Decide>
  Outcome modify(uint64_t hash, const Match& match, Decide&& decide, Seen* seen) {
    Word fresh[kWords] = {};
    for (;;) {
      Word root = 0;
      Buckets* b = this->settle(hash, root);
      if (b == nullptr) return Outcome::kNoMemory;
      if (!Ops::search(*b, match, *seen, true)) continue;
      Outcome outcome = Outcome::kKept;
      switch (decide(const_cast<const Seen&>(*seen), fresh)) {
        case Action::kKeep:
          return Outcome::kKept;
        case Action::kErase:
          outcome = Ops::erase(*b, *seen);
          if (outcome == Outcome::kDone) this->after_erase(root, hash);
          break;
        case Action::kPut:
          outcome = Ops::put(*b, *seen, fresh);
          if (outcome == Outcome::kDone && !seen->found()) {
            this->count(1);
            if (free_bits(seen->head, kSlots) == 0) [[unlikely]]
              this->after_overflow(root, hash);
          }
      }
      if (outcome != Outcome::kKept) return outcome;
    }
  }

  /// The entries of one bucket at one moment, of those with a hash from `first` to `last`.
  struct Snapshot {
    Word words[kSlots][kWords];
    unsigned count;
    Word over;
    uint64_t first, last;
    const Buckets* bucket;
    Word head;
  };

  /// A walk goes through the hashes from 0 up: all tables have their order, so that no growing or shrinking on the way
  /// makes it miss an entry, or meet it twice. Takes the entries of the bucket of hash `first`. False: no table.
  bool take(uint64_t first, Snapshot& s) const {
    Word root = this->root();
    if (root == 0) return false;
    s.first = first;
    for (;;) {
      const Buckets& b = Base::bucket(root, first);
      s.bucket = &b;
      s.head = b.top.load_head(std::memory_order_acquire);
      s.last = last_hash(root, first);
      if (is_frozen(s.head)) {
        const Word next = Base::next_of(root);
        if (is_filled(Base::bucket(next, first).top.load_head(std::memory_order_acquire))) {
          root = next;
          continue;
        }
        // Of the old bucket only what this heir gets: another one may have been filled, and changed.
        if (last_hash(next, first) < s.last) s.last = last_hash(next, first);
      }
      s.over = b.top.load_over(std::memory_order_acquire);
      s.count = 0;
      Ops::each(b, s.head, 0, [&](const Word* words) { Ops::copy_entry(s.words[s.count++], words); });
      // As in `search`.
      if (same_version(s.head, b.top.load_head(std::memory_order_relaxed))) return true;
    }
  }

  /// Calls f(words) for each entry of a snapshot, as it is now; not for those that are gone.
  template <class F>
  void each_of(const Snapshot& s, F&& f) const {
    for (unsigned i = 0; i < s.count; ++i) visit(s, s.words[i], f);
    const uint64_t n = Ops::over_count_or_0(s.over);
    for (uint64_t i = 0; i < n; ++i) visit(s, Ops::over_entry(s.over, i), f);
  }

  struct Shape {
    uint64_t buckets, busy, deleted, over_entries, over_blocks, longest;
  };
  /// Looks at every bucket of the current table: O(buckets).
  Shape shape() const {
    Shape shape{};
    const Word root = this->root();
    if (root == 0) return shape;
    shape.buckets = uint64_t{1} << log2_of(root);
    for (uint64_t i = 0; i < shape.buckets; ++i) {
      const Buckets& b = Base::bucket_at(root, i);
      const Word head = b.top.load_head(std::memory_order_acquire);
      for (unsigned s = 0; s < kSlots; ++s) {
        const Word state = head >> (2 * s) & 3;
        shape.busy += state == kBusy ? 1 : 0;
        shape.deleted += state == kDeleted ? 1 : 0;
      }
      const uint64_t over = is_frozen(head) ? 0 : Ops::over_count_or_0(b.top.load_over(std::memory_order_acquire));
      shape.over_entries += over;
      shape.over_blocks += over != 0 ? 1 : 0;
      const uint64_t all = over + static_cast<unsigned>(__builtin_popcountll(used_bits(head)));
      if (all > shape.longest) shape.longest = all;
    }
    return shape;
  }

 private:
  /// The word, as something that the compiler knows nothing about: so it selects, where it would jump otherwise.
  [[gnu::always_inline]] static Word opaque(Word word) {
    asm("" : "+r"(word));
    return word;
  }

  /// The highest hash that is in the same bucket of a table.
  static uint64_t last_hash(Word root, uint64_t hash) {
    const unsigned log2 = log2_of(root);
    return log2 == 0 ? ~uint64_t{0} : hash | (~uint64_t{0} >> log2);
  }

  /// Same version, and not frozen.
  static bool is_same_ready(Word before, Word after) {
    return same_version(before, after) && !is_frozen(after);
  }

  template <class Match>
  static void search_from(Word root, uint64_t hash, const Match& match, Seen& seen) {
    while (!Ops::search(Base::bucket(root, hash), match, seen, false)) {
      if (!is_frozen(seen.head)) continue;
      const Word next = Base::next_of(root);
      if (!is_filled(Base::bucket(next, hash).top.load_head(std::memory_order_acquire))) {
        Ops::look(Base::bucket(root, hash), match, seen, false);
        return;
      }
      root = next;
    }
  }

  [[gnu::noinline]] static Hit find_word_slow(Word root, uint64_t hash, Word key) {
    Seen seen;
    search_from(root, hash, WordMatch{key}, seen);
    return {seen.found() ? seen.words[1] : 0, seen.found()};
  }
  [[gnu::noinline]] Outcome insert_word_slow(uint64_t hash, Word key, Word value) {
    Seen seen;
    const auto decide = [&](const Seen& s, Word* fresh) {
      fresh[0] = key;
      fresh[1] = value;
      return s.found() ? Action::kKeep : Action::kPut;
    };
    return modify(hash, WordMatch{key}, decide, &seen);
  }
  /// Where the bucket had no free slot, and the key was not there.
  [[gnu::noinline]] Outcome insert_word_full(Word root, uint64_t hash, Buckets& b, Word head, Word over, Word key,
                                             Word value) {
    const Word fresh[2] = {key, value};
    Seen seen;
    seen.head = head;
    seen.over = over;
    seen.at = Seen::kNone;
    // Acquire: as in Ops::look, before the block is copied. It succeeds only on the version of `head`, with this block.
    if (!same_version(head, b.top.load_head(std::memory_order_acquire))) return insert_word_slow(hash, key, value);
    const Outcome outcome = Ops::put(b, seen, fresh);
    if (outcome == Outcome::kKept) return insert_word_slow(hash, key, value);
    if (outcome == Outcome::kDone) {
      this->count(1);
      this->after_overflow(root, hash);
    }
    return outcome;
  }
  [[gnu::noinline]] Outcome erase_word_slow(uint64_t hash, Word key, Word& value) {
    Seen seen;
    const auto decide = [](const Seen& s, Word*) { return s.found() ? Action::kErase : Action::kKeep; };
    const Outcome outcome = modify(hash, WordMatch{key}, decide, &seen);
    if (outcome == Outcome::kDone) value = seen.words[1];
    return outcome;
  }

  template <class F>
  void visit(const Snapshot& s, const Word* words, F& f) const {
    const uint64_t hash = this->policy_.hash_of(words, this->seed_);
    if (hash < s.first || hash > s.last) return;
    const Word head = s.bucket->top.load_head(std::memory_order_acquire);
    // Frozen, and be it since before: by now its heir may be filled, and changed.
    if ((same_version(head, s.head) && !is_frozen(head)) || !this->policy_.is_findable(words)) {
      f(words);
      return;
    }
    find(hash, this->policy_.match_of(words), f);
  }
};

}  // namespace ashlar::hash_core
