// SPDX-License-Identifier: MIT
//
// policies.h - what the words of a slot mean, for a key type and a value type.
//
// Owns: the three modes, entries that are not in the map yet, and how a hash is mixed with a map's seed.
//
//   inline  | key <= 8 | value <= 8 |           12 slots   trivially copyable both
//   boxed   | key <= 8 | value* |               12 slots   the value is an immutable block of its own
//           | key <= 16 (2 words) | value* |     8 slots
//   entry   | hash     | entry* |               12 slots   entry: an immutable block {key, value}; the hash rejects
//                                                          without a look at keys
#pragma once

#include <stdint.h>
#include <string.h>

#include <functional>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include "hash/bucket.h"
#include "hash/mix.h"

namespace ashlar {

/// The default hash of hash_map: std::hash. What it returns is mixed with the map's seed, so a weak one serves as long
/// as it is different for different keys.
template <class K>
struct hash : std::hash<K> {};  // NOLINT(readability-identifier-naming): as std

/// Strings: a hash of their characters, faster than std::hash, and of any seed.
template <class C>
struct hash<std::basic_string_view<C>> {
  static_assert(std::has_unique_object_representations_v<C>);
  size_t operator()(std::basic_string_view<C> text) const noexcept { return seeded(text, 0x2545f4914f6cdd1du); }
  /// What a map uses where there is one: spread over all bits, differently for each seed.
  uint64_t seeded(std::basic_string_view<C> text, uint64_t seed) const noexcept {
    return hash_core::hash_bytes(text.data(), text.size() * sizeof(C), seed);
  }
};
template <class C, class A>
struct hash<std::basic_string<C, std::char_traits<C>, A>> : hash<std::basic_string_view<C>> {};

/// Figures of a map, for people.
struct MapStatistics {
  uint64_t entries, buckets, slots;
  double load;          ///< entries / slots
  uint64_t tombstones;  ///< slots that were written and are free
  uint64_t busy;        ///< slots that a writer is at
  uint64_t displaced;   ///< entries that found no slot in their bucket
  uint64_t longest;     ///< entries in the fullest bucket
  uint64_t growths, shrinks;
  uint64_t stalls;  ///< buckets that were filled by another thread than the one that began it
  uint64_t bytes;   ///< header, table and overflow blocks; not what entries own
};

namespace hash_core {

enum class Mode { kInline, kBoxed, kEntry };

template <class K, class V>
constexpr Mode mode_of() {
  // Compared, and copied, as bytes; a boxed key has to start on a word.
  constexpr bool kPlainKey = std::is_trivially_copyable_v<K> && sizeof(K) <= 16 && alignof(K) <= 8;
  // (std::atomic is trivially copyable, by the letter; what a callback does to a copy of it would be lost.)
  constexpr bool kPlainValue =
      std::is_trivially_copyable_v<V> && std::is_copy_constructible_v<V> && sizeof(V) <= 8 && alignof(V) <= 8;
  if (kPlainKey && kPlainValue && sizeof(K) <= 8) return Mode::kInline;
  return kPlainKey ? Mode::kBoxed : Mode::kEntry;
}

/// An object of at most 8 N bytes in N words, padded with zeros, and back.
template <unsigned kN, class T>
void to_words(Word* words, const T& object) {
  Word copy[kN] = {};
  memcpy(copy, &object, std::is_empty_v<T> ? 0 : sizeof(T));
  for (unsigned i = 0; i < kN; ++i) words[i] = copy[i];
}
template <class T>
struct FromWords {
  alignas(alignof(T) < 8 ? 8 : alignof(T)) unsigned char bytes[sizeof(T)];
  explicit FromWords(const Word* words) { memcpy(bytes, words, sizeof(T)); }
  const T& get() const { return *std::launder(reinterpret_cast<const T*>(bytes)); }
};

/// The same for one word, by value.
template <class T>
T from_word(Word word) {
  struct Bytes {
    unsigned char bytes[sizeof(T)];
  } copy;
  memcpy(copy.bytes, &word, sizeof(T));
  return __builtin_bit_cast(T, copy);
}

template <class T>
T* make_block() {
  if constexpr (alignof(T) > 16) return static_cast<T*>(ashlar_aligned_alloc(alignof(T), sizeof(T)));
  return static_cast<T*>(ashlar_malloc(sizeof(T)));
}
template <class P, class T>
void release_block(void* p) {
  static_cast<T*>(p)->~T();
  P::deallocate(p);
}

template <class K>
concept HasOwnEqual = requires(const K& a, const K& b) {
  operator==(a, b);  // no built-in one, so written
};
template <class K, class Eq>
inline constexpr bool kEqualAsBytes = !HasOwnEqual<K> && std::has_unique_object_representations_v<K> &&
                                      (std::is_integral_v<K> || std::is_enum_v<K> || std::is_pointer_v<K>)&&(
                                          std::is_same_v<Eq, std::equal_to<K>> || std::is_same_v<Eq, std::equal_to<>>);

template <class K, class V, class Hash, class Eq, class Plat>
struct MapPolicy {
  using Platform = Plat;
  static constexpr Mode kMode = mode_of<K, V>();
  static constexpr unsigned kKeyWords = kMode == Mode::kEntry || sizeof(K) <= 8 ? 1 : 2;
  static constexpr unsigned kWords = kKeyWords + 1;
  static constexpr unsigned kSlots = hash_core::kBucketWords / kWords;
  static constexpr uint64_t kChunkUnits = Platform::kChunkUnits;
  static constexpr uint64_t kAtOnceUnits = Platform::kAtOnceUnits;

  struct Entry {
    template <class Q, class... A>
    explicit Entry(Q&& k, A&&... a) : key(std::forward<Q>(k)), value(std::forward<A>(a)...) {}
    K key;
    V value;
  };
  using Block = std::conditional_t<kMode == Mode::kEntry, Entry, V>;

  [[no_unique_address]] Hash hash;
  [[no_unique_address]] Eq eq;

  template <class Q>
  uint64_t hash_key(const Q& key, uint64_t seed) const {
    // Not of what was derived from it, which may hash in its own way.
    if constexpr (std::is_same_v<Hash, ashlar::hash<K>> && requires { hash.seeded(key, seed); })
      return hash.seeded(key, seed);
    else if constexpr (!std::is_same_v<Q, K> && std::is_convertible_v<const Q&, K> &&
                       !requires { typename Hash::is_transparent; })
      return mix(static_cast<uint64_t>(hash(static_cast<K>(key))), seed);  // as std does: it may be a template
    else
      return mix(static_cast<uint64_t>(hash(key)), seed);
  }
  /// What a change looks for, and stores: a number as a K at once, which other numbers may become, too.
  template <class Q>
  static decltype(auto) as_stored(const Q& key) {
    if constexpr (std::is_arithmetic_v<Q> && std::is_arithmetic_v<K>)
      return static_cast<K>(key);
    else
      return (key);
  }
  uint64_t hash_of(const Word* words, uint64_t seed) const {
    if constexpr (kMode == Mode::kEntry)
      return words[0];
    else
      return hash_key(FromWords<K>(words).get(), seed);
  }

  /// Any key that Eq can compare.
  template <class Q>
  struct KeyMatch {
    static constexpr bool kFirstFilters = kMode == Mode::kEntry;
    static constexpr bool kFirstDecides = false;
    const MapPolicy& policy;
    const Q& key;
    Word hash;
    Word first() const { return hash; }
    bool confirm(const Word* words) const {
      if constexpr (kMode == Mode::kEntry)
        return policy.eq(reinterpret_cast<const Entry*>(words[1])->key, key);
      else
        return policy.eq(FromWords<K>(words).get(), key);
    }
  };
  template <class Q>
  auto match(const Q& key, uint64_t hash_value) const {
    // Where Eq would convert the key it may be converted at once.
    constexpr bool kSame =
        std::is_same_v<Q, K> || (std::is_same_v<Eq, std::equal_to<K>> && std::is_convertible_v<const Q&, K>);
    if constexpr (kMode != Mode::kEntry && kKeyWords == 1 && kEqualAsBytes<K, Eq> && kSame) {
      Word word[1];
      to_words<1>(word, static_cast<K>(key));
      return WordMatch{word[0]};
    } else {
      return KeyMatch<Q>{*this, key, hash_value};
    }
  }

  /// Calls f(const K&, const V&) with the entry of these words.
  template <class F>
  static decltype(auto) with(const Word* words, F&& f) {
    if constexpr (kMode == Mode::kEntry) {
      const auto* e = reinterpret_cast<const Entry*>(words[1]);
      return f(e->key, e->value);
    } else if constexpr (kMode == Mode::kBoxed) {
      const FromWords<K> key(words);
      return f(key.get(), *reinterpret_cast<const V*>(words[kKeyWords]));
    } else {
      const FromWords<K> key(words);
      const FromWords<V> value(words + 1);
      return f(key.get(), value.get());
    }
  }

  /// Makes the words of a new entry. False: no memory.
  template <class Q, class... A>
  static bool make(Word* words, uint64_t hash_value, Q&& key, A&&... a) {
    if constexpr (kMode == Mode::kInline) {
      to_words<1>(words, static_cast<K>(key));
      const V value(std::forward<A>(a)...);
      to_words<1>(words + 1, value);
      return true;
    } else {
      Block* block = make_block<Block>();
      if (block == nullptr) return false;
      Unmade guard{block};
      if constexpr (kMode == Mode::kEntry) {
        words[0] = hash_value;
        ::new (static_cast<void*>(block)) Entry(std::forward<Q>(key), std::forward<A>(a)...);
      } else {
        to_words<kKeyWords>(words, static_cast<K>(key));
        ::new (static_cast<void*>(block)) V(std::forward<A>(a)...);
      }
      guard.block = nullptr;
      words[kKeyWords] = reinterpret_cast<Word>(block);
      return true;
    }
  }
  /// Frees what words own: at once, nobody has seen them; or once no reader can see them.
  static void discard(const Word* words) {
    if constexpr (kMode != Mode::kInline) release_block<Platform, Block>(reinterpret_cast<void*>(words[kKeyWords]));
  }
  static void retire(const Word* words) {
    if constexpr (kMode != Mode::kInline)
      Platform::retire(reinterpret_cast<void*>(words[kKeyWords]), sizeof(Block), release_block<Platform, Block>);
  }

  /// For walks: whether a search with an entry's own key finds it (not so for keys like NaN), and that search.
  bool is_findable(const Word* words) const {
    return with(words, [&](const K& key, const V&) { return static_cast<bool>(eq(key, key)); });
  }
  struct SelfMatch {
    static constexpr bool kFirstFilters = kMode == Mode::kEntry;
    static constexpr bool kFirstDecides = false;
    const MapPolicy& policy;
    const Word* words;
    Word first() const { return words[0]; }
    bool confirm(const Word* other) const {
      return with(words, [&](const K& a, const V&) {
        return with(other, [&](const K& b, const V&) { return static_cast<bool>(policy.eq(b, a)); });
      });
    }
  };
  SelfMatch match_of(const Word* words) const { return {*this, words}; }

 private:
  struct Unmade {  // memory of an object whose constructor threw
    void* block;
    ~Unmade() { ashlar_free(block); }
  };
};

/// The words of an entry that is not in the map (yet).
template <class Policy>
struct UnusedWords {
  Word words[Policy::kWords] = {};
  bool made = false;
  ~UnusedWords() { drop(); }
  void drop() {
    if (made) Policy::discard(words);
    made = false;
  }
  void copy_to(Word* to) const {
    for (unsigned w = 0; w < Policy::kWords; ++w) to[w] = words[w];
  }
};

}  // namespace hash_core
}  // namespace ashlar
