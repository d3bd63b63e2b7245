// SPDX-License-Identifier: MIT
//
// words.h - find, insert, change and erase of keys of one word with values of one word, as long as nobody interferes.
//
// Owns: Words, the fast paths of a map. What they cannot do so simply they leave undone (Quick::kNot), and the caller
// does it by core.h. They neither allocate nor retire, so a brief pin is enough (epoch.h).
//
// Whether the key is there nobody can predict, and a wrong guess costs all that was begun behind it: the more, the
// longer the answer takes from memory. So a find does not branch on it: where no tag fits it looks at two words of the
// table's head instead of a slot, and what it reads from memory decides no jump but one that is hardly ever taken. (An
// insert and an erase do branch: an exchange for nothing costs more.) The rest is instructions: how many operations
// overlap while one waits for its line, that the processor's queues say. Hence the locals: gcc keeps a structure's
// fields in memory beside the loads of tags.h.
//
// The orders of all loads and stores are those of BucketOps::search, look and put.
#pragma once

#include "hash/tables.h"

namespace ashlar::hash_core {

template <class Policy>
class Words : public Tables<Policy> {
 public:
  using Base = Tables<Policy>;
  using Ops = BucketOps<Policy>;
  using Base::Base;
  using Base::kSlots;
  using Base::kWords;
  using typename Base::Bucket;
  using typename Base::P;

  struct Hit {
    Word value;  // something, where it was not found
    Word found;  // not 0: it was
  };
  /// False: use Core::find_word_slow.
  ///
  /// The root did not migrate. If the bucket is frozen by now, then it became so after we began: what it holds is what
  /// the map held at that moment, so there is no look for that. What changes a bucket has to look.
  [[gnu::always_inline]] bool find_word(uint64_t hash, Word key, Hit& hit) const {
    const Word root = this->quick_root();
    if ((root & kMigrating) != 0) [[unlikely]]
      return false;
    using At = const typename Base::template Atomic<Word>*;
    const Bucket b = Base::bucket_fast(root, hash);
    auto& top = b.top;
    const auto& tags = b.tags;
    const Word slots = reinterpret_cast<Word>(b.word);
    b.prefetch(hash);
    const Word head = top.load_head(std::memory_order_acquire);
    Word expected = top.and_over(filter_bit(tag_of(hash)), std::memory_order_acquire);
    const Word hits = tags.equal(hash) & head;
    Word at = reinterpret_cast<Word>(Base::table(root)->nothing);
    select(hits, at, slots + lowest_bit(hits) * (kWords * 8), expected, key);
    const Word wrong = xor_with(reinterpret_cast<At>(at)[0], expected, std::memory_order_acquire);
    hit.value = reinterpret_cast<At>(at)[1].load(std::memory_order_acquire);
    hit.found = hits;
    return (wrong | top.xor_head(head, std::memory_order_relaxed)) == 0;
  }

  /// Adds an entry, if its key is not there (kKept: it was). `number`: of the caller's epoch record (by reference: it
  /// is read at the end).
  [[gnu::always_inline]] Quick insert_word(uint64_t hash, Word key, Word value, const uint32_t& number) {
    const Word root = this->quick_root();
    if ((root & kMigrating) != 0) [[unlikely]]
      return Quick::kNot;
    const Bucket b = Base::bucket_fast(root, hash);
    auto& top = b.top;
    auto& tags = b.tags;
    auto* const slots = b.word;
    b.prefetch(hash);
    const Word head = top.load_head(std::memory_order_acquire);
    const Word over = top.load_over(std::memory_order_acquire);
    if (const Word hits = tags.equal(hash) & head; hits != 0) {
      const bool same = slots[lowest_bit(hits) * kWords].load(std::memory_order_acquire) == key;
      return same && head == top.load_head(std::memory_order_relaxed) ? Quick::kKept : Quick::kNot;
    }
    if (over != 0) [[unlikely]] {
      if ((may_be_in(over, hash) | may_be_due(hash)) != 0) return Quick::kNot;
    }
    const Word free = free_bits(head, kSlots);
    if (free == 0 || frozen_bit(head) != 0) [[unlikely]]
      return Quick::kNot;
    if (!put_word(top, tags, slots, head, free, 0, hash, key, value)) [[unlikely]]
      return Quick::kNot;
    this->count(1, number);
    return Quick::kDone;
  }

  /// Asks `decide(found, value)` for the key's value (in `value`, where it was found), and stores what that left there;
  /// kKept: it returned false. The old value's slot is freed in the same exchange. Who throws in it changes nothing.
  template <class Decide>
  [[gnu::always_inline]] Quick change_word(uint64_t hash, Word key, const uint32_t& number, Decide&& decide) {
    const Word root = this->quick_root();
    if ((root & kMigrating) != 0) [[unlikely]]
      return Quick::kNot;
    const Bucket b = Base::bucket_fast(root, hash);
    auto& top = b.top;
    auto& tags = b.tags;
    auto* const slots = b.word;
    b.prefetch(hash);
    const Word head = top.load_head(std::memory_order_acquire);
    const Word over = top.load_over(std::memory_order_acquire);
    const Word hits = tags.equal(hash) & head;
    Word value = 0, gone = 0;
    if (hits != 0) {
      const Word old = lowest_bit(hits);
      gone = Word{1} << old;
      const Word wrong = slots[old * kWords].load(std::memory_order_acquire) ^ key;
      value = slots[old * kWords + 1].load(std::memory_order_acquire);
      if (wrong != 0) [[unlikely]]
        return Quick::kNot;
    } else if (over != 0) [[unlikely]] {
      if ((may_be_in(over, hash) | may_be_due(hash)) != 0) return Quick::kNot;
    }
    const Word free = free_bits(head, kSlots);
    if (free == 0 || (frozen_bit(head) | top.xor_head(head, std::memory_order_relaxed)) != 0) [[unlikely]]
      return Quick::kNot;
    if (!decide(gone != 0, value)) return Quick::kKept;  // that was so, at the last look at the head
    if (!put_word(top, tags, slots, head, free, gone, hash, key, value)) [[unlikely]]
      return Quick::kNot;
    if (gone != 0) return Quick::kReplaced;
    this->count(1, number);
    return Quick::kDone;
  }

  /// Removes a key (kKept: it was not there); `value` is what it had. `aftermath`: call after_erase_word, with a pin.
  [[gnu::always_inline]] Quick erase_word(uint64_t hash, Word key, Word& value, const uint32_t& number,
                                          bool& aftermath) {
    const Word root = this->quick_root();
    if ((root & kMigrating) != 0) [[unlikely]]
      return Quick::kNot;
    const Bucket b = Base::bucket_fast(root, hash);
    auto& top = b.top;
    const auto& tags = b.tags;
    auto* const slots = b.word;
    b.prefetch(hash);
    const Word head = top.load_head(std::memory_order_acquire);
    const Word over = top.load_over(std::memory_order_acquire);
    const Word hits = tags.equal(hash) & head;
    if (hits == 0) {
      const Word wrong = may_be_in(over, hash) | top.xor_head(head, std::memory_order_relaxed);
      return wrong == 0 ? Quick::kKept : Quick::kNot;
    }
    const Word slot = lowest_bit(hits);
    if (slots[slot * kWords].load(std::memory_order_acquire) != key || frozen_bit(head) != 0) [[unlikely]]
      return Quick::kNot;
    value = slots[slot * kWords + 1].load(std::memory_order_acquire);
    Word expected = head;
    P::step();
    if (!top.cas_head(expected, erased(head, static_cast<unsigned>(slot)) + kOneVersion)) [[unlikely]]
      return Quick::kNot;
    this->count(-1, number);
    // One of 64 looks whether the table should shrink, where look_after_erase does; one of 4 pulls an entry of the
    // overflow block into the slot.
    aftermath = ((hash & 63) == 0) | ((over != 0) & ((hash & 3) == 0));
    return Quick::kDone;
  }

 private:
  /// As Ops::put does it: claims one of the slots `free`, fills it, and commits it; with the same exchange the slot of
  /// bit `gone` (0: none) is DELETED. It succeeds only if all that was seen since `head` is of one version.
  [[gnu::always_inline]] static bool put_word(typename P::Pair& top, typename P::Tags& tags,
                                              typename Base::template Atomic<Word>* slots, Word head, Word free,
                                              Word gone, uint64_t hash, Word key, Word value) {
    const Word slot = Bucket::slot_for(kWords, free, tag_of(hash)), one = Word{1} << slot,
               claim = head + (one << kBusyShift);
    Word expected = head;
    P::step();
    if (!top.cas_head(expected, claim)) [[unlikely]]
      return false;
    tags.set(slot, tag_of(hash));
    auto* const at = slots + slot * kWords;
    at[0].store(key, std::memory_order_release);
    at[1].store(value, std::memory_order_release);
    expected = claim;
    P::step();
    if (top.cas_head(expected, (head + one + kOneVersion) ^ gone)) [[likely]]
      return true;
    Ops::give_back(Bucket{top, tags, slots}, static_cast<unsigned>(slot));
    return false;
  }
  /// Not 0: of the inserts where there is an overflow block, one of 8: core.h looks whether the table should grow (of
  /// the same hashes, see after_overflow).
  static Word may_be_due(uint64_t hash) { return static_cast<Word>((hash & 7) == 0); }
  /// Not 0: frozen. In a table that is or was the root no bucket is seen filling, so of that state it has this bit
  /// alone.
  static Word frozen_bit(Word head) { return head & kFilling; }
};

}  // namespace ashlar::hash_core
