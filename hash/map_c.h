// SPDX-License-Identifier: MIT
//
// map_c.h - what an ashlar_map is made of, for map_c.cc and map_walk.cc.
#pragma once

#include "hash/c_policies.h"
#include "hash/word_map.h"

namespace ashlar::hash_core {

/// True where a map of this type keeps its entries in the slots.
inline bool is_plain(const RuntimeType& type) {
  return type.key_size <= 8 && type.value_size <= 8;
}

}  // namespace ashlar::hash_core

/// Either of the two; both begin with the same members, the type among them.
struct ashlar_map {
  using Plain = ashlar::hash_core::WordMap<ashlar::hash_core::PlainPolicy>;
  using Block = ashlar::hash_core::Core<ashlar::hash_core::BlockPolicy>;

  union {
    Plain plain;
    Block block;
  };

  ashlar_map(const ashlar::hash_core::RuntimeType& type, uint64_t seed, unsigned log2) {
    if (ashlar::hash_core::is_plain(type))
      ::new (&plain) Plain(ashlar::hash_core::PlainPolicy{type}, seed, log2);
    else
      ::new (&block) Block(ashlar::hash_core::BlockPolicy{type}, seed, log2);
  }
  ~ashlar_map() {}
  ashlar_map(const ashlar_map&) = delete;
  ashlar_map& operator=(const ashlar_map&) = delete;

  /// Both have the type at the same place.
  bool is_plain() const { return ashlar::hash_core::is_plain(plain.policy()); }
  /// Keys are words, and equal as such: the map has the fast paths of word_map.h.
  bool has_quick() const { return is_plain() && plain.policy().eq == nullptr; }
  template <class F>
  auto with_core(F&& f) {
    return is_plain() ? f(plain) : f(block);
  }
  template <class F>
  auto with_core(F&& f) const {
    return is_plain() ? f(plain) : f(block);
  }
};
static_assert(sizeof(ashlar_map) == 128, "an empty map");
