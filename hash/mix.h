// SPDX-License-Identifier: MIT
//
// mix.h - how hashes are mixed with a map's seed, and the hash of bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar::hash_core {

/// The halves of a product, folded (after W. Yi's wyhash).
constexpr uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
}

/// Spreads a hash over all bits, differently for each seed.
constexpr uint64_t mix(uint64_t hash, uint64_t seed) {
  return fold(hash ^ seed, 0x9e3779b97f4a7c15u);
}

/// A hash of `size` bytes, well spread.
inline uint64_t hash_bytes(const void* bytes, size_t size, uint64_t seed) {
  const auto* p = static_cast<const unsigned char*>(bytes);
  uint64_t h = seed ^ (size * 0xd6e8feb86659fd93u);
  for (; size >= 8; size -= 8, p += 8) {
    uint64_t word;
    __builtin_memcpy(&word, p, 8);
    h = fold(h ^ word, 0x9e3779b97f4a7c15u) + word;
  }
  uint64_t rest = 0;
  __builtin_memcpy(&rest, p, size);
  return fold(h ^ rest, 0xbf58476d1ce4e5b9u);
}

}  // namespace ashlar::hash_core
