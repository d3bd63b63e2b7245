// SPDX-License-Identifier: MIT
//
// tags.h - the tags of a bucket, compared all at once; selecting without a branch.
//
// Owns: TagBytes, lowest_bit, hidden, select, xor_with and and_with: where the map's code depends on the
// machine. No other file has machine code. In a find that waits for memory the number of instructions decides how many
// finds overlap (hash/README.md).
#pragma once

#include <stdint.h>

#include <atomic>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace ashlar::hash_core {

/// Of a hash, the part that a bucket's tags keep. (The highest bits are the bucket's index.)
constexpr uint8_t tag_of(uint64_t hash) {
  return static_cast<uint8_t>(hash);
}

/// The tags of a bucket's slots. That the bytes of one look may be of different moments does no harm: the version
/// tells, as with the slots' words.
struct alignas(16) TagBytes {
  std::atomic<uint8_t> tag[16] = {};

  void set(uint64_t slot, uint8_t value) noexcept {
    // Release: as with the slots' words, see BucketOps::search.
    tag[slot].store(value, std::memory_order_release);
  }
  uint8_t get(uint64_t slot) const noexcept { return tag[slot].load(std::memory_order_acquire); }
  /// Bit i is set where tag i is that of the hash, for i < 12; bits 12 to 15 say nothing, higher ones are 0. An acquire
  /// load of each tag.
  [[gnu::always_inline]] uint64_t equal(uint64_t hash) const noexcept {
#if defined(__SSE2__)
    __m128i one = _mm_cvtsi32_si128(static_cast<int>(hash));
    one = _mm_shufflelo_epi16(_mm_unpacklo_epi8(one, one), 0);
    one = _mm_unpacklo_epi64(one, one);
    asm volatile("pcmpeqb %1, %0" : "+x"(one) : "m"(tag) : "memory");  // a load of this machine acquires
    return static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(one)));
#else
    using Aliasing [[gnu::may_alias]] = uint64_t;
    const auto* const halves = reinterpret_cast<const Aliasing*>(this);
    const uint8_t one = tag_of(hash);
    return equal_bytes(__atomic_load_n(halves, __ATOMIC_ACQUIRE), one) |
           equal_bytes(__atomic_load_n(halves + 1, __ATOMIC_ACQUIRE), one) << 8;
#endif
  }

  /// The same without vectors.
  static constexpr uint64_t equal_bytes(uint64_t all, uint8_t one) {
    constexpr uint64_t kEach = 0x0101010101010101u, kLow = 127 * kEach;
    // 0 is where they agree. A byte plus 127 carries into its highest bit unless it is 0; none carries into the next.
    const uint64_t x = all ^ (one * kEach);
    const uint64_t zero = ~(((x & kLow) + kLow) | x | kLow);
    // The highest bits of the bytes, at 8 i + 7, to bit i: each one is multiplied to where no other one falls.
    return ((zero >> 7) * 0x0102040810204080u) >> 56;
  }
};

/// The number of the lowest bit that is set; where none is, anything.
[[gnu::always_inline]] inline uint64_t lowest_bit(uint64_t word) {
#if defined(__x86_64__)
  // The builtin may take it for granted that there is one. (As tzcnt or, on machines without it, bsf.)
  uint64_t number;
  asm("rep bsfq %1, %0" : "=r"(number) : "r"(word) : "cc");
  return number;
#else
  return word == 0 ? 64 : static_cast<uint64_t>(__builtin_ctzll(word));
#endif
}

/// `word` changed by a load: one instruction, where gcc makes two of an atomic load and what is done with it.
template <class Atomic>
[[gnu::always_inline]] inline uint64_t xor_with(const Atomic& in_memory, uint64_t word,
                                                std::memory_order order) noexcept {
  return word ^ in_memory.load(order);
}
template <class Atomic>
[[gnu::always_inline]] inline uint64_t and_with(const Atomic& in_memory, uint64_t word,
                                                std::memory_order order) noexcept {
  return word & in_memory.load(order);
}
// Loads of this machine acquire. (Sanitizers would not see these.)
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
[[gnu::always_inline]] inline uint64_t xor_with(const std::atomic<uint64_t>& in_memory, uint64_t word,
                                                std::memory_order /*order*/) noexcept {
  asm volatile("xorq %1, %0" : "+r"(word) : "m"(in_memory) : "cc", "memory");
  return word;
}
[[gnu::always_inline]] inline uint64_t and_with(const std::atomic<uint64_t>& in_memory, uint64_t word,
                                                std::memory_order /*order*/) noexcept {
  asm volatile("andq %1, %0" : "+r"(word) : "m"(in_memory) : "cc", "memory");
  return word;
}
#endif

/// The word, as something that the compiler knows nothing about: so it is computed once, as it is written.
[[gnu::always_inline]] inline uint64_t hidden(uint64_t word) {
  asm("" : "+r"(word));
  return word;
}

/// `yes` where `condition` is not 0, else `no`, without a branch.
[[gnu::always_inline]] inline uint64_t select(uint64_t condition, uint64_t yes, uint64_t no) {
#if defined(__x86_64__)
  asm("test %1, %1\n\tcmovne %2, %0" : "+&r"(no) : "r"(condition), "rm"(yes) : "cc");
  return no;
#else
  return condition != 0 ? yes : no;
#endif
}

/// Both words become the other ones where `condition` is not 0, without a branch: where nobody can predict which, a
/// compiler that makes one costs 5 ns, and more than 100 where the condition waits for memory.
[[gnu::always_inline]] inline void select(uint64_t condition, uint64_t& a, uint64_t if_a, uint64_t& b, uint64_t if_b) {
#if defined(__x86_64__)
  asm("test %2, %2\n\tcmovne %3, %0\n\tcmovne %4, %1"
      : "+&r"(a), "+&r"(b)
      : "r"(condition), "rm"(if_a), "rm"(if_b)
      : "cc");
#else
  a = condition != 0 ? if_a : a;
  b = condition != 0 ? if_b : b;
#endif
}

}  // namespace ashlar::hash_core
