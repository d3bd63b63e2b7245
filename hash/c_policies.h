// SPDX-License-Identifier: MIT
//
// c_policies.h - what the words of a slot mean for a map whose type is known at run time only.
//
// Owns: the two modes of ashlar_map: plain (key and value of at most a word each, in the slot, padded with zeros; keys
// without an eq are compared as words), and blocks ({hash, block}, the block being the key, padded to 8 or 16 bytes,
// and the value).
#pragma once

#include "hash/bucket.h"
#include "hash/hash.h"
#include "hash/mix.h"

namespace ashlar::hash_core {

/// A map's type, as it lies in the map's first line.
struct RuntimeType {
  uint64_t (*hash)(const void*);
  int (*eq)(const void*, const void*);
  uint32_t key_size;
  uint32_t value_size;

  uint64_t hash_key(const void* key, uint64_t seed) const {
    return hash == nullptr ? hash_bytes(key, key_size, seed) : mix(hash(key), seed);
  }
  /// Copies of keys and values lie on multiples of 8, or of 16, where one of them is large enough to need it.
  size_t padded(size_t bytes) const {
    const size_t part = key_size >= 16 || value_size >= 16 ? 16 : 8;
    return (bytes + part - 1) & ~(part - 1);
  }
  bool equal(const void* a, const void* b) const {
    return eq == nullptr ? __builtin_memcmp(a, b, key_size) == 0 : eq(a, b) != 0;
  }
};

/// An object of at most 8 bytes as a word, padded with zeros; and back.
inline Word load_word(const void* object, size_t size) {
  Word word = 0;
  if (size == sizeof(Word)) [[likely]]
    __builtin_memcpy(&word, object, sizeof(Word));
  else
    __builtin_memcpy(&word, object, size);
  return word;
}
inline void store_word(void* object, Word word, size_t size) {
  if (size == sizeof(Word)) [[likely]]
    __builtin_memcpy(object, &word, sizeof(Word));
  else
    __builtin_memcpy(object, &word, size);
}

struct PlainPolicy : RuntimeType {
  using Platform = hash_core::Platform;
  static constexpr unsigned kWords = 2;
  static constexpr unsigned kSlots = kBucketWords / kWords;
  static constexpr uint64_t kChunkUnits = Platform::kChunkUnits;
  static constexpr uint64_t kAtOnceUnits = Platform::kAtOnceUnits;

  uint64_t hash_key(const void* key, uint64_t seed) const {
    return mix(hash == nullptr ? load_word(key, key_size) : hash(key), seed);
  }
  uint64_t hash_of(const Word* words, uint64_t seed) const { return hash_key(words, seed); }
  const void* key_of(const Word* words) const { return words; }
  const void* value_of(const Word* words) const { return words + 1; }
  static void discard(const Word* /*words*/) {}
  void retire(const Word* /*words*/) const {}

  struct Match {
    static constexpr bool kFirstFilters = false;
    static constexpr bool kFirstDecides = false;
    const RuntimeType& type;
    const void* key;
    static Word first() { return 0; }
    bool confirm(const Word* words) const { return type.equal(words, key); }
  };
  Match match(const void* key, uint64_t /*hash*/) const { return {*this, key}; }
  Match match_of(const Word* words) const { return {*this, words}; }
  bool is_findable(const Word* words) const { return eq == nullptr || equal(words, words); }
};

struct BlockPolicy : RuntimeType {
  using Platform = hash_core::Platform;
  static constexpr unsigned kWords = 2;
  static constexpr unsigned kSlots = kBucketWords / kWords;
  static constexpr uint64_t kChunkUnits = Platform::kChunkUnits;
  static constexpr uint64_t kAtOnceUnits = Platform::kAtOnceUnits;

  size_t padded_key() const { return padded(key_size); }
  size_t block_size() const { return padded_key() + value_size; }
  static char* block_of(const Word* words) { return reinterpret_cast<char*>(words[1]); }
  uint64_t hash_of(const Word* words, uint64_t /*seed*/) const { return words[0]; }
  const void* key_of(const Word* words) const { return block_of(words); }
  const void* value_of(const Word* words) const { return block_of(words) + padded_key(); }
  static void discard(const Word* words) { Platform::deallocate(block_of(words)); }
  void retire(const Word* words) const { Platform::retire(block_of(words), block_size(), Platform::deallocate); }

  struct Match {
    static constexpr bool kFirstFilters = true;
    static constexpr bool kFirstDecides = false;
    const BlockPolicy& type;
    const void* key;
    Word hash;
    Word first() const { return hash; }
    bool confirm(const Word* words) const { return type.equal(block_of(words), key); }
  };
  Match match(const void* key, uint64_t hash_value) const { return {*this, key, hash_value}; }
  Match match_of(const Word* words) const { return {*this, block_of(words), words[0]}; }
  bool is_findable(const Word* words) const { return eq == nullptr || equal(block_of(words), block_of(words)); }
};

}  // namespace ashlar::hash_core
