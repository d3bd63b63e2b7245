// SPDX-License-Identifier: MIT
//
// word_map.h - find, insert, assign and erase of keys of one word with values of one word, pins included.
//
// Owns: WordMap: first the fast path under a brief pin (words.h); what that leaves undone, under a pin, by core.h.
//
// Errors: Outcome::kNoMemory of what changes the map: even an erase may have to migrate its bucket first. Finds never
// fail.
#pragma once

#include "hash/core.h"

namespace ashlar::hash_core {

template <class Policy>
class WordMap : public Core<Policy> {
 public:
  using Base = Core<Policy>;
  using Base::Base;
  using typename Base::Hit;
  using typename Base::P;
  using typename Base::Seen;
  using Pin = typename P::Pin;

  [[gnu::always_inline]] Hit find_pinned(uint64_t hash, Word key) const {
    Hit hit;
    if (auto* head = P::enter_briefly(); head != nullptr) [[likely]] {
      const bool sure = this->find_word(hash, key, hit);
      P::leave(head);
      if (sure) [[likely]]
        return hit;
    }
    return find_slow(hash, key);
  }

  /// kKept: the key was there.
  [[gnu::always_inline]] Outcome insert_pinned(uint64_t hash, Word key, Word value) {
    if (auto* head = P::enter_briefly(); head != nullptr) [[likely]] {
      const Quick quick = this->insert_word(hash, key, value, head->number);
      P::leave(head);
      if (quick != Quick::kNot) [[likely]]
        return quick == Quick::kDone ? Outcome::kDone : Outcome::kKept;
    }
    return insert_slow(hash, key, value);
  }

  /// Sets the key's value. kKept: it had another one.
  [[gnu::always_inline]] Outcome assign_pinned(uint64_t hash, Word key, Word value) {
    if (auto* head = P::enter_briefly(); head != nullptr) [[likely]] {
      const Quick quick = this->change_word(hash, key, head->number, [value](bool, Word& to) {
        to = value;
        return true;
      });
      P::leave(head);
      if (quick != Quick::kNot) [[likely]]
        return quick == Quick::kDone ? Outcome::kDone : Outcome::kKept;
    }
    return assign_slow(hash, key, value);
  }

  /// kKept: the key was not there. `value` is what it had.
  [[gnu::always_inline]] Outcome erase_pinned(uint64_t hash, Word key, Word& value) {
    if (auto* head = P::enter_briefly(); head != nullptr) [[likely]] {
      bool aftermath = false;
      const Quick quick = this->erase_word(hash, key, value, head->number, aftermath);
      P::leave(head);
      if (aftermath) [[unlikely]]
        after_erase(hash);
      if (quick != Quick::kNot) [[likely]]
        return quick == Quick::kDone ? Outcome::kDone : Outcome::kKept;
    }
    return erase_slow(hash, key, value);
  }

 private:
  [[gnu::noinline]] Hit find_slow(uint64_t hash, Word key) const {
    const Pin pin;
    return this->find_word_slow(hash, key);
  }
  [[gnu::noinline]] Outcome insert_slow(uint64_t hash, Word key, Word value) {
    const Pin pin;
    const auto decide = [&](const Seen& s, Word* fresh) {
      fresh[0] = key;
      fresh[1] = value;
      return s.found() ? Action::kKeep : Action::kPut;
    };
    Seen seen;
    return this->modify(hash, WordMatch{key}, decide, &seen);
  }
  [[gnu::noinline]] Outcome assign_slow(uint64_t hash, Word key, Word value) {
    const Pin pin;
    const auto decide = [&](const Seen&, Word* fresh) {
      fresh[0] = key;
      fresh[1] = value;
      return Action::kPut;
    };
    Seen seen;
    const Outcome outcome = this->modify(hash, WordMatch{key}, decide, &seen);
    return outcome == Outcome::kDone && seen.found() ? Outcome::kKept : outcome;
  }
  [[gnu::noinline]] void after_erase(uint64_t hash) {
    const Pin pin;
    this->after_erase_word(hash);
  }
  [[gnu::noinline]] Outcome erase_slow(uint64_t hash, Word key, Word& value) {
    const Pin pin;
    const auto decide = [](const Seen& s, Word*) { return s.found() ? Action::kErase : Action::kKeep; };
    Seen seen;
    const Outcome outcome = this->modify(hash, WordMatch{key}, decide, &seen);
    if (outcome == Outcome::kDone) value = seen.words[1];
    return outcome;
  }
};

}  // namespace ashlar::hash_core
