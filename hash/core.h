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

#include "hash/words.h"

namespace ashlar::hash_core {

enum class Action { kKeep, kPut, kErase };

template <class Policy>
class Core : public Words<Policy> {
 public:
  using Base = Words<Policy>;
  using Ops = BucketOps<Policy>;
  using Base::Base;
  using Base::kSlots;
  using Base::kWords;
  using typename Base::Bucket;
  using typename Base::Hit;
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
      const Hit hit = find_hit(hash, match.first());
      const Word words[2] = {match.first(), hit.value};
      if (hit.found != 0) found(static_cast<const Word*>(words));
      return hit.found != 0;
    } else {
      const Word root = this->quick_root();
      Quick quick = Quick::kNot;
      Word words[kWords];
      if ((root & kMigrating) == 0) [[likely]]
        quick = Ops::find_first(Base::bucket_fast(root, hash), hash, match, words);
      if (quick == Quick::kNot) [[unlikely]]
        quick = find_slow(hash, match, words);
      if (quick == Quick::kDone) found(const_cast<const Word*>(words));
      return quick == Quick::kDone;
    }
  }

  template <class Match>
  Quick find_slow(uint64_t hash, const Match& match, Word* words) const {
    const Word root = this->root();
    if (root == 0) return Quick::kKept;
    Seen seen;
    search_from(root, hash, match, seen);
    if (!seen.found()) return Quick::kKept;
    Ops::copy_entry(words, seen.words);
    return Quick::kDone;
  }

  [[gnu::always_inline]] Hit find_hit(uint64_t hash, Word key) const {
    Hit hit;
    if (!this->find_word(hash, key, hit)) [[unlikely]]
      hit = find_word_slow(hash, key);
    return hit;
  }

  Hit find_word_slow(uint64_t hash, Word key) const {
    Word words[kWords] = {};
    const Quick quick = find_slow(hash, WordMatch{key}, words);
    return {words[1], Word{quick == Quick::kDone}};
  }

  /// Asks for the memory that a find of this hash will need: the bucket's words, and the line that is home to the
  /// entry.
  void prefetch(uint64_t hash) const {
    const Word root = this->root();
    if (root == 0) return;
    const Bucket b = Base::bucket(root, hash);
    __builtin_prefetch(&b.top);
    b.prefetch(hash);
  }
  /// And then, once these have come, for what the entry leads to.
  void prefetch_entry(uint64_t hash) const {
    const Word root = this->root();
    if (root == 0) return;
    const Bucket b = Base::bucket(root, hash);
    const Word hits = Ops::hits(b, b.top.load_head(std::memory_order_relaxed), hash);
    if (hits == 0) return;
    // Relaxed: whatever it is, it is not looked at.
    const Word last = b.word[lowest_bit(hits) * kWords + kWords - 1].load(std::memory_order_relaxed);
    __builtin_prefetch(reinterpret_cast<const void*>(last));
  }

  /// Searches, asks `decide(seen, fresh)` what to do, and does it as one change; asks again where the entry has changed
  /// in between. (Not where only its bucket has: what `decide` calls may change that each time.) With kPut, `fresh`
  /// holds the words to store. `*seen` is what the change found, or what kKeep was said to.
  template <class Match, class Decide>
  Outcome modify(uint64_t hash, const Match& match, Decide&& decide, Seen* seen) {
    Word fresh[kWords] = {}, was[kWords] = {};
    Action action = Action::kKeep;
    for (bool asked = false, found = false;;) {
      const Word root = this->settle(hash);
      if (root == 0) return Outcome::kNoMemory;
      const Bucket b = Base::bucket(root, hash);
      if (!Ops::search(b, hash, match, *seen, true)) continue;
      // The same words are the same entry, which stays there while we are pinned; or an equal key with an equal value.
      const bool same = found == seen->found() && (!found || __builtin_memcmp(was, seen->words, sizeof was) == 0);
      if (!asked || !same) {
        asked = true;
        found = seen->found();
        if (found) Ops::copy_entry(was, seen->words);
        action = decide(const_cast<const Seen&>(*seen), fresh);
      }
      Outcome outcome = Outcome::kKept;
      switch (action) {
        case Action::kKeep:
          return Outcome::kKept;
        case Action::kErase:
          outcome = erase(b, *seen);
          if (outcome == Outcome::kDone) this->after_erase(root, hash);
          break;
        case Action::kPut:
          outcome = Ops::put(b, *seen, fresh);
          if (outcome == Outcome::kDone && !seen->found()) {
            this->count(1);
            // Full; or it was, and an update has made room.
            if (free_bits(seen->head, kSlots) == 0 || seen->over != 0) [[unlikely]]
              this->after_overflow(root, hash);
          }
      }
      if (outcome != Outcome::kKept) return outcome;
    }
  }

  /// What erase_word leaves to be done.
  [[gnu::noinline]] void after_erase_word(uint64_t hash) {
    const Word root = this->root();
    if (root == 0 || (root & kMigrating) != 0) return;
    const Bucket b = Base::bucket(root, hash);
    const Word head = b.top.load_head(std::memory_order_acquire);
    const Word over = b.top.load_over(std::memory_order_acquire);
    // Still that version, so that block, and not frozen: of a frozen bucket it may be gone since before our pin.
    const Word again = b.top.load_head(std::memory_order_acquire);
    if (over != 0 && same_version(head, again) && !is_frozen(again)) pull_in(b, again, over);
    this->look_after_erase(root, hash);
  }

  /// The entries of one bucket at one moment, of those with a hash from `first` to `last`.
  struct Snapshot {
    Word words[kSlots][kWords];
    Word used;  // which of these are entries
    Word over;
    uint64_t first, last;
    Word root, head;

    uint64_t count() const { return static_cast<unsigned>(__builtin_popcountll(used)) + Ops::over_count_or_0(over); }
  };

  /// A walk goes through the hashes from 0 up: all tables have their order, so that no growing or shrinking on the way
  /// makes it miss an entry, or meet it twice. Takes the entries of the bucket of hash `first`. False: no table.
  bool take(uint64_t first, Snapshot& s) const {
    Word root = this->root();
    if (root == 0) return false;
    s.first = first;
    for (;;) {
      const Bucket b = Base::bucket(root, first);
      s.root = root;
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
      if (copy_bucket<false>(b, s)) return true;
    }
  }

  /// Calls f(words) for each entry of a snapshot, as it is now; not for those that are gone. False: f said so.
  template <class F>
  bool each_of(const Snapshot& s, F&& f) const {
    return each_copied(s, [&](const Word* words) { return visit(s, words, f); });
  }

  /// The same for each entry of the map, until f returns false. One pin for a few buckets: a long walk holds nothing
  /// up.
  template <class F>
  void walk(F&& f) const {
    for (uint64_t first = 0;;) {
      const typename P::Pin pin;
      Snapshot s;
      if (!walk_quickly(first, s, f)) return;
      if (!take(first, s) || !each_of(s, f) || s.last == ~uint64_t{0}) return;
      first = s.last + 1;
    }
  }

  struct Shape {
    uint64_t buckets, slots, busy, deleted, over_entries, over_blocks, longest;
  };
  /// Looks at every bucket of the current table: O(buckets).
  Shape shape() const {
    Shape shape{};
    const Word root = this->root();
    if (root == 0) return shape;
    shape.buckets = uint64_t{1} << log2_of(root);
    const Word missing = Base::is_small(root) ? Base::kMissingSlots : 0;
    shape.slots = shape.buckets * kSlots - static_cast<unsigned>(__builtin_popcountll(missing));
    for (uint64_t i = 0; i < shape.buckets; ++i) {
      const Bucket b = Base::bucket_at(root, i);
      const Word head = b.top.load_head(std::memory_order_acquire);
      shape.busy += static_cast<unsigned>(__builtin_popcountll(busy_bits(head) & ~missing));
      shape.deleted += static_cast<unsigned>(__builtin_popcountll(Ops::deleted_bits(b, head)));
      const uint64_t over = is_frozen(head) ? 0 : Ops::over_count_or_0(b.top.load_over(std::memory_order_acquire));
      shape.over_entries += over;
      shape.over_blocks += over != 0 ? 1 : 0;
      const uint64_t all = over + static_cast<unsigned>(__builtin_popcountll(used_bits(head)));
      if (all > shape.longest) shape.longest = all;
    }
    return shape;
  }

 private:
  /// The highest hash that is in the same bucket of a table.
  static uint64_t last_hash(Word root, uint64_t hash) { return hash | ~uint64_t{0} >> log2_of(root); }

  template <class Match>
  static void search_from(Word root, uint64_t hash, const Match& match, Seen& seen) {
    while (!Ops::search(Base::bucket(root, hash), hash, match, seen, false)) {
      if (!is_frozen(seen.head)) continue;
      const Word next = Base::next_of(root);
      if (!is_filled(Base::bucket(next, hash).top.load_head(std::memory_order_acquire))) {
        Ops::look(Base::bucket(root, hash), hash, match, seen, false);
        return;
      }
      root = next;
    }
  }

  Outcome erase(Bucket b, const Seen& seen) {
    Word after = 0;
    const Outcome outcome = Ops::erase(b, seen, after);
    if (outcome == Outcome::kDone && seen.over != 0 && seen.at < Seen::kOver) [[unlikely]]
      pull_in(b, after, seen.over);
    return outcome;
  }
  [[gnu::noinline]] void pull_in(Bucket b, Word head, Word over) {
    // The erase has happened: a hash function that throws changes nothing about it.
    without_exceptions([&] {
      const Word* last = Ops::over_entry(over, Ops::over_count(over) - 1);
      Ops::pull_in(b, head, over, tag_of(this->policy_.hash_of(last, this->seed_)));
    });
  }

  /// False: it has changed since `s.head` was read. `kWhole`: copies all slots, of a table that has them all, so that
  /// there is one branch on how many are used, in each_copied.
  template <bool kWhole>
  [[gnu::always_inline]] static bool copy_bucket(const Bucket& b, Snapshot& s) {
    s.over = b.top.load_over(std::memory_order_acquire);
    s.used = used_bits(s.head);
#pragma GCC unroll 12
    for (unsigned i = 0; i < kSlots; ++i) {
      if (!kWhole && (s.used >> i & 1) == 0) continue;
      for (unsigned w = 0; w < kWords; ++w) s.words[i][w] = b.word[i * kWords + w].load(std::memory_order_acquire);
    }
    // As in `search`.
    return same_version(s.head, b.top.load_head(std::memory_order_relaxed));
  }
  template <class F>
  [[gnu::always_inline]] static bool each_copied(const Snapshot& s, F&& f) {
    const Word over = s.over;
    for (Word used = s.used; used != 0; used &= used - 1) {
      if (!f(s.words[__builtin_ctzll(used)])) return false;
    }
    const uint64_t n = Ops::over_count_or_0(over);
    for (uint64_t i = 0; i < n; ++i) {
      if (!f(Ops::over_entry(over, i))) return false;
    }
    return true;
  }

  /// A few buckets of a walk, from that of `first` on, which moves along, up to one that migrates, or changes. Of a
  /// bucket as a whole, what nobody has changed since it was copied needs no look at its hash. False: f said so.
  template <class F>
  [[gnu::always_inline]] bool walk_quickly(uint64_t& first, Snapshot& s, F& f) const {
    constexpr uint64_t kBucketsAPin = 8;
    const Word root = this->quick_root();
    if ((root & kMigrating) != 0) return true;
    const unsigned log2 = log2_of(root);
    const uint64_t begin = index_of(first, log2), all = uint64_t{1} << log2;
    s.last = last_hash(root, first);
    // The last bucket is left to `take`; and what is not a bucket as a whole, where the table is not the last one.
    if (first != 0 && last_hash(root, first - 1) == s.last) return true;
    const uint64_t end = begin + kBucketsAPin < all ? begin + kBucketsAPin : all - 1;
    const uint64_t step = s.last - first + 1;
    s.root = root;
    for (uint64_t i = begin; i < end; ++i, first += step) {
      const Bucket b = Base::bucket_at(root, i);
      const auto& top = b.top;
      s.head = top.load_head(std::memory_order_acquire);
      if (is_frozen(s.head) || !copy_bucket<true>(b, s)) [[unlikely]]
        return true;
      const Word head = s.head;
      const bool go_on = each_copied(s, [&](const Word* words) {
        if ((head ^ top.load_head(std::memory_order_acquire)) >> kStateShift == 0) [[likely]]
          return f(words);
        s.first = first;
        s.last = first + (step - 1);
        return visit(s, words, f);
      });
      if (!go_on) return false;
    }
    return true;
  }

  template <class F>
  [[gnu::noinline]] bool visit(const Snapshot& s, const Word* words, F& f) const {
    const uint64_t hash = this->policy_.hash_of(words, this->seed_);
    if (hash < s.first || hash > s.last) return true;
    const Word head = Base::bucket(s.root, hash).top.load_head(std::memory_order_acquire);
    // Frozen, and be it since before: by now its heir may be filled, and changed.
    if ((same_version(head, s.head) && !is_frozen(head)) || !this->policy_.is_findable(words)) return f(words);
    bool go_on = true;
    find(hash, this->policy_.match_of(words), [&](const Word* now) { go_on = f(now); });
    return go_on;
  }
};

}  // namespace ashlar::hash_core
