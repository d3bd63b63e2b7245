// SPDX-License-Identifier: MIT
//
// hash_map.h - ashlar::hash_map, the concurrent map for C++ programs. Link with libashlar.
//
// Owns: the class template. The algorithm is core.h's, the representation of entries policies.h's.
//
//   ashlar::hash_map<uint64_t, uint64_t> map;
//   map.insert(1, 2);
//   map.upsert(1, [](const uint64_t* old) { return old == nullptr ? 1 : *old + 1; });
//   if (std::optional<uint64_t> v = map.find(1)) ...
//
// Threads: every member function but the constructor, the destructor and moves may be called by any number of threads
// at once. Each operation on one key is linearizable: it takes effect at one moment between its call and its return.
// Finds take no lock, wait for nobody, and make no atomic read-modify-write; the others are lock-free, also while the
// map grows or shrinks, and where a thread stops in the middle. Callbacks run without a lock, and may call any function
// of the map (but not change, each time, the very entry that they are asked about); what `upsert` and `erase_if` are
// given is asked again where another thread has changed the entry. Plain values of at most 8 bytes are handed to them
// as copies. A callback that sleeps holds up the reuse of memory of all maps (alloc/epoch.h). Exceptions: those of
// Hash, Eq, constructors and callbacks pass through, and the map is as before. std::bad_alloc where memory is out, and
// the operation has not happened. Finds and erases of keys with plain small values do not allocate. A bad hash function
// makes it slow, not wrong. Keys may be given as anything that Hash and Eq take, and are stored as what a conversion to
// K gives. What an erased or replaced entry owns is destroyed once no reader can see it, by any thread: at once by
// ashlar_epoch_synchronize(). Signals: AS-Unsafe. Fork: usable in the child.
#pragma once

#include <bits/functexcept.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "hash/policies.h"
#include "hash/word_map.h"

namespace ashlar {

template <class K, class V, class Hash = hash<K>, class Eq = std::equal_to<K>, class Plat = hash_core::Platform>
class hash_map {  // NOLINT(readability-identifier-naming): as std
  using Policy = hash_core::MapPolicy<K, V, Hash, Eq, Plat>;
  using Core = hash_core::WordMap<Policy>;
  using Seen = typename Core::Seen;
  using Word = hash_core::Word;
  using Pin = typename Plat::Pin;
  using Action = hash_core::Action;
  using Outcome = hash_core::Outcome;
  using Quick = hash_core::Quick;
  static constexpr unsigned kWords = Core::kWords;

 public:
  using key_type = K;     // NOLINT(readability-identifier-naming): as std
  using mapped_type = V;  // NOLINT(readability-identifier-naming): as std
  static constexpr hash_core::Mode kMode = Policy::kMode;

  /// `hint`: entries to come. Nothing is allocated before the first of them.
  /// Errors: std::length_error("makemap: size out of range") where no memory could hold so many.
  explicit hash_map(int64_t hint = 0, const Hash& hash = Hash(), const Eq& eq = Eq())
      : core_(Policy{hash, eq}, ashlar_map_seed(), log2_for_hint(hint)) {
    trace(__builtin_return_address(0));
  }
  ~hash_map() { core_.free_all(Policy::discard); }
  hash_map(const hash_map&) = delete;
  hash_map& operator=(const hash_map&) = delete;

  // ---- look -----------------------------------------------------------------------------------------------------

  /// A copy of the key's value. O(1), wait-free while no writer changes the bucket.
  template <class Q = K>
  [[gnu::always_inline]] std::optional<V> find(const Q& key) const {
    if constexpr (kHasQuick<Q>) {
      const uint64_t hash = hash_of(key);
      const auto hit = core_.find_pinned(hash, match(key, hash).first());
      // Hidden, so that it is no branch: it moves the flag.
      const V value = hash_core::from_word<V>(hash_core::hidden(hit.value));
      std::optional<V> result;
      if (hash_core::hidden(hit.found) != 0) result.emplace(value);
      return result;
    } else {
      std::optional<V> result;
      visit(key, [&](const V& value) { result.emplace(value); });
      return result;
    }
  }

  /// Calls f(const V&) with the key's value, which stays as it is until f returns. Whether there was one.
  template <class Q = K, class F>
  bool visit(const Q& key, F&& f) const {
    const uint64_t hash = hash_of(key);
    if constexpr (kHasQuick<Q>) {
      const auto hit = core_.find_pinned(hash, match(key, hash).first());
      if (hit.found != 0) f(static_cast<const V&>(hash_core::FromWords<V>(&hit.value).get()));  // a copy
      return hit.found != 0;
    } else {
      const Pin pin;
      return core_.find(hash, match(key, hash),
                        [&](const Word* words) { Policy::with(words, [&](const K&, const V& value) { f(value); }); });
    }
  }

  template <class Q = K>
  bool contains(const Q& key) const {
    return visit(key, [](const V&) {});
  }

  /// For i < n, calls f(i, const V*) with the value of keys[i], or null. Twice as fast as n finds where the table is
  /// larger than the caches: the memory of the next 16 keys is asked for ahead. Each is a find of its own, in this
  /// order; what is erased meanwhile is freed once all have been answered.
  template <class F>
  void bulk_find(const K* keys, size_t n, F&& f) const {
    constexpr size_t kAhead = 16;
    const Pin pin;
    uint64_t hashes[kAhead];  // of the keys from i on
    const auto ask_for = [&](size_t i) {
      hashes[i % kAhead] = hash_of(keys[i]);
      core_.prefetch(hashes[i % kAhead]);
    };
    for (size_t i = 0; i < n && i < kAhead; ++i) ask_for(i);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t hash = hashes[i % kAhead];
      if (i + kAhead < n) ask_for(i + kAhead);
      if constexpr (kHasQuick<K>) {
        const auto hit = core_.find_hit(hash, match(keys[i], hash).first());
        const hash_core::FromWords<V> value(&hit.value);
        f(i, hit.found != 0 ? &value.get() : nullptr);
      } else {
        if (kMode != hash_core::Mode::kInline && i + kAhead / 2 < n)
          core_.prefetch_entry(hashes[(i + kAhead / 2) % kAhead]);
        const bool found = core_.find(hash, match(keys[i], hash), [&](const Word* words) {
          Policy::with(words, [&](const K&, const V& value) { f(i, &value); });
        });
        if (!found) f(i, static_cast<const V*>(nullptr));
      }
    }
  }

  // ---- change -----------------------------------------------------------------------------------------------------

  /// Adds the entry if the key is not there. Whether it was added.
  template <class Q = K, class U = V>
  bool insert(Q&& key, U&& value) requires std::is_convertible_v<U, V> {
    return try_emplace(std::forward<Q>(key), std::forward<U>(value));
  }

  /// The same, and the value is only constructed where the key was not seen.
  template <class Q, class... A>
  bool try_emplace(Q&& given, A&&... arguments) {
    const auto& key = Policy::as_stored(given);
    const uint64_t hash = hash_of(key);
    // The quick path makes the value first: only where nobody sees that.
    constexpr bool kSilent =
        sizeof...(A) == 1 && ((std::is_same_v<std::remove_cvref_t<A>, V> && ...) ||
                              (std::is_scalar_v<V> && (std::is_scalar_v<std::remove_cvref_t<A>> && ...)));
    if constexpr (kSilent && kHasQuick<std::remove_cvref_t<decltype(key)>>) {
      Word words[kWords];
      Policy::make(words, hash, key, std::forward<A>(arguments)...);
      return done(core_.insert_pinned(hash, words[0], words[1]));
    }
    const Pin pin;
    Unused fresh;
    Seen seen;
    const Outcome outcome = core_.modify(
        hash, match(key, hash),
        [&](const Seen& s, Word* words) {
          if (s.found()) return Action::kKeep;
          if (!fresh.made) {
            need(Policy::make(fresh.words, hash, key, std::forward<A>(arguments)...));
            fresh.made = true;
          }
          fresh.copy_to(words);
          return Action::kPut;
        },
        &seen);
    need(outcome != Outcome::kNoMemory);
    if (outcome == Outcome::kDone) fresh.made = false;
    return outcome == Outcome::kDone;
  }

  /// Sets the key's value. Whether the key was new. (Of keys that are equal, but not the same, the last one is stored:
  /// as in Go, not as in std. So with upsert.)
  template <class Q = K, class U = V>
  bool insert_or_assign(Q&& given, U&& value) {
    static_assert(!std::is_same_v<std::remove_cvref_t<U>, std::optional<V>>, "a value, not perhaps one");
    const auto& key = Policy::as_stored(given);
    const uint64_t hash = hash_of(key);
    if constexpr (kHasQuick<std::remove_cvref_t<decltype(key)>>) {
      Word words[kWords];
      Policy::make(words, hash, key, std::forward<U>(value));
      return done(core_.assign_pinned(hash, words[0], words[1]));
    }
    const Pin pin;
    Unused fresh;
    Seen seen;
    const Outcome outcome = core_.modify(
        hash, match(key, hash),
        [&](const Seen&, Word* words) {
          // The key is copied: the match still refers to it.
          if (!fresh.made) make(fresh, hash, key, std::forward<U>(value));
          fresh.copy_to(words);
          return Action::kPut;
        },
        &seen);
    need(outcome != Outcome::kNoMemory);
    if (outcome == Outcome::kDone) fresh.made = false;
    return replaced(outcome, seen);
  }

  /// Sets the key's value to f(old), where `old` is null if there is none, and keeps it where f returns an empty
  /// optional. f may be called several times; the last call counts. Whether the key was new.
  template <class Q = K, class F>
  bool upsert(const Q& given, F&& f) {
    const Pin pin;
    const auto& key = Policy::as_stored(given);
    const uint64_t hash = hash_of(key);
    Unused fresh;
    if constexpr (kHasQuick<std::remove_cvref_t<decltype(key)>>) {
      const Quick quick =
          core_.change_word(hash, match(key, hash).first(), Plat::thread_number(), [&](bool found, Word& word) {
            const hash_core::FromWords<V> old(&word);
            make(fresh, hash, key, f(found ? &old.get() : static_cast<const V*>(nullptr)));
            word = fresh.words[1];
            return fresh.made;
          });
      if (quick != Quick::kNot) [[likely]]
        return quick == Quick::kDone;
    }
    Seen seen;
    const Outcome outcome = core_.modify(
        hash, match(key, hash),
        [&](const Seen& s, Word* words) {
          fresh.drop();
          if (s.found())
            Policy::with(s.words, [&](const K&, const V& old) { make(fresh, hash, key, f(&old)); });
          else
            make(fresh, hash, key, f(static_cast<const V*>(nullptr)));
          if (!fresh.made) return Action::kKeep;
          fresh.copy_to(words);
          return Action::kPut;
        },
        &seen);
    need(outcome != Outcome::kNoMemory);
    if (outcome == Outcome::kDone) fresh.made = false;
    return replaced(outcome, seen);
  }

  /// If the key's value equals `expected`, makes it `desired`. Whether it did.
  template <class Q = K, class U = V>
  bool compare_exchange(const Q& key, const V& expected, U&& desired) {
    static_assert(!std::is_same_v<std::remove_cvref_t<U>, std::optional<V>>, "a value, not perhaps one");
    const Pin pin;
    const uint64_t hash = hash_of(key);
    Unused fresh;
    if constexpr (kHasQuick<Q>) {
      const Quick quick =
          core_.change_word(hash, match(key, hash).first(), Plat::thread_number(), [&](bool found, Word& word) {
            const hash_core::FromWords<V> old(&word);
            if (!found || !(old.get() == expected)) return false;
            if (!fresh.made) make(fresh, hash, key, std::forward<U>(desired));
            word = fresh.words[1];
            return true;
          });
      if (quick != Quick::kNot) [[likely]]
        return quick == Quick::kReplaced;
    }
    Seen seen;
    const Outcome outcome = core_.modify(
        hash, match(key, hash),
        [&](const Seen& s, Word* words) {
          if (!s.found() || !Policy::with(s.words, [&](const K&, const V& old) { return old == expected; }))
            return Action::kKeep;
          if (!fresh.made) make(fresh, hash, key, std::forward<U>(desired));
          fresh.copy_to(words);
          return Action::kPut;
        },
        &seen);
    need(outcome != Outcome::kNoMemory);
    if (outcome != Outcome::kDone) return false;
    fresh.made = false;
    Policy::retire(seen.words);
    return true;
  }

  /// Removes the key; a copy of the value that it had.
  template <class Q = K>
  std::optional<V> erase(const Q& key) {
    std::optional<V> result;
    if constexpr (kHasQuick<Q>) {
      Word value = 0;
      if (erase_plain(key, value)) result.emplace(hash_core::FromWords<V>(&value).get());
      return result;
    } else {
      const auto copy = [&](const V& value) {
        result.emplace(value);
        return true;
      };
      erase_if(key, copy, &result);
      return result;
    }
  }

  /// Removes the key; for values that cannot be copied. Whether it was there.
  template <class Q = K>
  bool remove(const Q& key) {
    if constexpr (kHasQuick<Q>) {
      Word value = 0;
      return erase_plain(key, value);
    } else {
      return erase_if(
          key, [](const V&) { return true; }, static_cast<std::optional<V>*>(nullptr));
    }
  }

  /// Removes the key if f(value). Whether it did. f may be called several times; the last call counts.
  template <class Q = K, class F>
  bool erase_if(const Q& key, F&& f) {
    return erase_if(key, std::forward<F>(f), static_cast<std::optional<V>*>(nullptr));
  }

  /// Removes every entry for which f(key, value) holds, each at one moment. The number of them.
  template <class F>
  size_t erase_all_if(F&& f) {
    size_t n = 0;
    walk([&](const Word* words) {
      if (!Policy::with(words, f)) return;
      const uint64_t hash = core_.policy().hash_of(words, core_.seed());
      Seen seen;
      // Where the key has got another value meanwhile, f must see that one, too.
      const auto erase = [&](const Seen& s, Word*) {
        const bool same = s.found() && memcmp(s.words, words, sizeof s.words) == 0;
        return same || (s.found() && Policy::with(s.words, f)) ? Action::kErase : Action::kKeep;
      };
      const Outcome outcome = core_.policy().is_findable(words)
                                  ? core_.modify(hash, core_.policy().match_of(words), erase, &seen)
                                  : core_.modify(hash, hash_core::SameWords<kWords>{words}, erase, &seen);
      need(outcome != Outcome::kNoMemory);
      if (outcome != Outcome::kDone) return;
      Policy::retire(seen.words);
      ++n;
    });
    return n;
  }

  // ---- all entries --------------------------------------------------------------------------------------------------

  /// Calls f(const K&, const V&) for every entry. An entry that stays from the call to the return is met exactly once;
  /// one that comes or goes meanwhile at most once; the value is the one that it has at that moment.
  template <class F>
  void for_each(F&& f) const {
    walk([&](const Word* words) { Policy::with(words, f); });
  }

  /// Entries; while others write, a number that was right not long ago. O(CPUs).
  size_t size() const { return static_cast<size_t>(core_.size()); }
  bool empty() const { return size() == 0; }

  /// Makes room for n entries in all, so that the map does not grow until then; it will not shrink below, either.
  void reserve(size_t n) {
    const Pin pin;
    if (n > static_cast<size_t>(INT64_MAX)) std::__throw_length_error("makemap: size out of range");
    const unsigned log2 = log2_for_hint(static_cast<int64_t>(n));
    const unsigned was = core_.min_log2();
    if (log2 > was) core_.set_min_log2(log2);
    const Word root = core_.root();
    if (root == 0 || (hash_core::log2_of(root) >= log2 && (root & hash_core::kMigrating) == 0)) return;
    if (core_.resize(log2, true)) return;
    if (log2 > was) core_.set_min_log2(was);
    need(false);
  }

  /// Makes the table as small as the entries allow; what `reserve` and the hint said is over.
  void shrink_to_fit() {
    const Pin pin;
    core_.set_min_log2(0);
    const unsigned log2 = Core::log2_for(size());
    const Word root = core_.root();
    if (root != 0 && hash_core::log2_of(root) > log2) need(core_.resize(log2, false));
  }

  /// Removes every entry that was there when it was called (one at a time), and shrinks.
  void clear() {
    erase_all_if([](const K&, const V&) { return true; });
    shrink_to_fit();
  }

  /// O(buckets): it looks at all of them.
  MapStatistics statistics() const {
    const Pin pin;
    const auto shape = core_.shape();
    const auto figures = core_.figures();
    MapStatistics s{};
    s.entries = size();
    s.buckets = shape.buckets;
    s.slots = shape.slots;
    s.load = s.slots == 0 ? 0 : static_cast<double>(s.entries) / static_cast<double>(s.slots);
    s.tombstones = shape.deleted;
    s.busy = shape.busy;
    s.displaced = shape.over_entries;
    s.longest = shape.longest;
    s.growths = figures.growths;
    s.shrinks = figures.shrinks;
    s.stalls = figures.overtaken;
    s.bytes = sizeof *this + core_.table_bytes() + shape.over_entries * kWords * sizeof(Word);
    return s;
  }

  uint64_t seed() const { return core_.seed(); }

 private:
  using Unused = hash_core::UnusedWords<Policy>;

  static unsigned log2_for_hint(int64_t hint) {
    if (hint < 0 || static_cast<uint64_t>(hint) > Core::max_entries(Core::kMaxLog2))
      std::__throw_length_error("makemap: size out of range");
    return Core::log2_for(static_cast<uint64_t>(hint));
  }
  void trace(const void* caller) const {
    ashlar_map_trace(caller, sizeof *this, uint64_t{1} << core_.min_log2(), core_.seed());
  }
  static void need(bool memory) {
    if (!memory) [[unlikely]]
      std::__throw_bad_alloc();
  }
  static bool done(Outcome outcome) {
    need(outcome != Outcome::kNoMemory);
    return outcome == Outcome::kDone;
  }

  template <class Q>
  uint64_t hash_of(const Q& key) const {
    return core_.policy().hash_key(key, core_.seed());
  }
  template <class Q>
  auto match(const Q& key, uint64_t hash) const {
    return core_.policy().match(key, hash);
  }

  template <class Q, class U>
  static void make(Unused& fresh, uint64_t hash, const Q& key, U&& value) {
    if constexpr (std::is_same_v<std::remove_cvref_t<U>, std::optional<V>>) {
      if (!value.has_value()) return;
      need(Policy::make(fresh.words, hash, key, *std::forward<U>(value)));
    } else {
      need(Policy::make(fresh.words, hash, key, std::forward<U>(value)));
    }
    fresh.made = true;
  }

  bool replaced(Outcome outcome, const Seen& seen) const {
    if (outcome != Outcome::kDone) return false;
    if (seen.found()) Policy::retire(seen.words);
    return !seen.found();
  }

  /// Such keys, with such values, have the fast paths of words.h.
  template <class Q>
  static constexpr bool kHasQuick =
      kMode == hash_core::Mode::kInline&& std::is_same_v<
                   decltype(std::declval<const Policy&>().match(std::declval<const Q&>(), 0)), hash_core::WordMatch>;
  template <class Q>
  [[gnu::always_inline]] bool erase_plain(const Q& key, Word& value) {
    const uint64_t hash = hash_of(key);
    return done(core_.erase_pinned(hash, match(key, hash).first(), value));
  }

  template <class Q, class F>
  bool erase_if(const Q& key, F&& f, std::optional<V>* result) {
    const Pin pin;
    const uint64_t hash = hash_of(key);
    Seen seen;
    const Outcome outcome = core_.modify(
        hash, match(key, hash),
        [&](const Seen& s, Word*) {
          if (result != nullptr) result->reset();
          if (!s.found()) return Action::kKeep;
          return Policy::with(s.words, [&](const K&, const V& value) { return static_cast<bool>(f(value)); })
                     ? Action::kErase
                     : Action::kKeep;
        },
        &seen);
    need(outcome != Outcome::kNoMemory);
    if (outcome == Outcome::kDone) Policy::retire(seen.words);
    return outcome == Outcome::kDone;
  }

  template <class F>
  void walk(F&& f) const {
    core_.walk([&f](const Word* words) {
      f(words);
      return true;
    });
  }

  Core core_;
  static_assert(sizeof(Core) <= 192, "an empty map: two lines, if Hash and Eq are empty");
};

}  // namespace ashlar
