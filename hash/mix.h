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

/// A hash of `size` bytes, spread over all bits. Both factors depend on the seed, so none can be made 0, which would
/// hide the other one, by who does not know it.
inline uint64_t hash_bytes(const void* bytes, size_t size, uint64_t seed) {
  const auto* p = static_cast<const unsigned char*>(bytes);
  const auto load8 = [](const unsigned char* at) {
    uint64_t word;
    __builtin_memcpy(&word, at, 8);
    return word;
  };
  const auto load4 = [](const unsigned char* at) {
    uint32_t word;
    __builtin_memcpy(&word, at, 4);
    return uint64_t{word};
  };
  uint64_t h = seed ^ (size * 0xd6e8feb86659fd93u);
  const uint64_t g = (seed << 32 | seed >> 32) ^ 0xbf58476d1ce4e5b9u;
  uint64_t first = 0, last = 0;  // of the last 16 bytes, or all: they may share some
  if (size >= 8) [[likely]] {
    for (; size > 16; size -= 16, p += 16) h = fold(load8(p) ^ h, load8(p + 8) ^ g);
    if (size >= 8) {
      first = load8(p);
      last = load8(p + size - 8);
    } else {
      // Behind a block of 16 bytes: those before p are there.
      first = load8(p + size - 16);
      last = load8(p + size - 8);
    }
  } else if (size >= 4) {
    first = load4(p);
    last = load4(p + size - 4);
  } else if (size > 0) {
    first = uint64_t{p[0]} << 16 | uint64_t{p[size / 2]} << 8 | p[size - 1];
  }
  // Of one product alone 1 seed in 100 leaves counted keys clustered (test/hash/string_hash_test.cc).
  return mix(fold(first ^ h, last ^ g), h);
}

}  // namespace ashlar::hash_core
