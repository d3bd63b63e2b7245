// SPDX-License-Identifier: MIT
//
// test_util.h - what the tests of test/alloc share: a random generator with a printed seed, content patterns, figures
// of the process.
//
// Owns: nothing that outlives a test. The tests link libashlar-core.a, so GoogleTest's own memory comes from libc and
// the figures of ashlar_read_memstats count the calls of the test alone.
// Invariant: nothing here allocates through Ashlar.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "alloc/ashlar.h"

namespace ashlar_test {

inline constexpr size_t kKiB = size_t{1} << 10;
inline constexpr size_t kMiB = size_t{1} << 20;
inline constexpr size_t kGiB = size_t{1} << 30;

/// Largest block that comes from a size class; above it a block is a run of pages (32 KiB: issue 2, design.md).
inline constexpr size_t kLargestSmall = 32 * kKiB;

/// One step of splitmix64 (S. Vigna, public domain description): a bijection of 64 bits that mixes well.
constexpr uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() { return mix(state_++); }

  /// Uniform enough in [0, bound).
  size_t below(size_t bound) { return static_cast<size_t>(next() % bound); }

  /// In [low, high].
  size_t between(size_t low, size_t high) { return low + below(high - low + 1); }

  bool one_in(size_t n) { return below(n) == 0; }

  /// A size as programs ask for: mostly small, sometimes up to `max`, evenly over the powers of two.
  size_t skewed_size(size_t max) {
    size_t bits = 1;
    while ((size_t{1} << bits) < max) ++bits;
    const size_t ceiling = size_t{1} << between(0, bits);
    const size_t size = below(ceiling + 1);
    return size > max ? max : size;
  }

 private:
  uint64_t state_;
};

/// The seed of this run: ASHLAR_TEST_SEED, or a fresh one. Printed, so that a failure can be run again.
inline uint64_t announce_seed() {
  uint64_t seed = 0;
  if (const char* text = getenv("ASHLAR_TEST_SEED")) {
    seed = strtoull(text, nullptr, 0);
  } else {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    seed = mix(static_cast<uint64_t>(now.tv_nsec) ^ (static_cast<uint64_t>(getpid()) << 32)) & 0xffffffffU;
  }
  printf("seed: run again with ASHLAR_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  fflush(stdout);
  return seed;
}

/// True where the CPU is emulated (TEST_EMULATED, set by scripts/run-tests for qemu-user).
inline bool is_emulated() {
  static const bool emulated = getenv("TEST_EMULATED") != nullptr;
  return emulated;
}

/// ThreadSanitizer keeps a shadow of all memory that the program touched, and ends a child of a multi-threaded process
/// that starts a thread.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kUnderTsan = true;
#elif defined(__has_feature)
inline constexpr bool kUnderTsan = __has_feature(thread_sanitizer);
#else
inline constexpr bool kUnderTsan = false;
#endif

/// How often a stress test does something: `count` times, a twentieth of it where the CPU is emulated, which costs ten
/// to thirty times the time.
inline size_t rounds(size_t count) {
  return is_emulated() ? count / 20 + 1 : count;
}

/// The byte at `offset` of a block filled with `tag`. It depends on the offset, so that a shifted copy shows.
constexpr uint8_t pattern_byte(uint64_t tag, size_t offset) {
  return static_cast<uint8_t>(mix(tag ^ (offset >> 3)) >> ((offset & 7) * 8));
}

namespace detail {

inline void fill_range(uint8_t* bytes, size_t from, size_t to, uint64_t tag) {
  size_t at = from;
  for (; at < to && (at & 7) != 0; ++at) bytes[at] = pattern_byte(tag, at);
  for (; at + 8 <= to; at += 8) {
    const uint64_t word = mix(tag ^ (at >> 3));
    memcpy(bytes + at, &word, 8);
  }
  for (; at < to; ++at) bytes[at] = pattern_byte(tag, at);
}

inline bool check_range(const uint8_t* bytes, size_t from, size_t to, uint64_t tag) {
  size_t at = from;
  for (; at < to && (at & 7) != 0; ++at) {
    if (bytes[at] != pattern_byte(tag, at)) return false;
  }
  for (; at + 8 <= to; at += 8) {
    uint64_t word = 0;
    memcpy(&word, bytes + at, 8);
    if (word != mix(tag ^ (at >> 3))) return false;
  }
  for (; at < to; ++at) {
    if (bytes[at] != pattern_byte(tag, at)) return false;
  }
  return true;
}

// Blocks above this are marked at both ends and once per 4 KiB, which finds overlaps and lost pages at a fraction of
// the cost.
inline constexpr size_t kFullBytes = 64 * kKiB;
inline constexpr size_t kEdgeBytes = 4 * kKiB;

/// Calls visit(from, to) for every range that the pattern covers in a block of `size` bytes, until it returns false.
template <typename Visit>
bool for_marked(size_t size, Visit visit) {
  if (size <= kFullBytes) return visit(size_t{0}, size);
  if (!visit(size_t{0}, kEdgeBytes)) return false;
  for (size_t at = kEdgeBytes; at + kEdgeBytes < size; at += kEdgeBytes) {
    if (!visit(at, at + 16)) return false;
  }
  return visit(size - 64, size);
}

}  // namespace detail

/// Writes the pattern `tag` over the block.
inline void fill(void* block, size_t size, uint64_t tag) {
  auto* bytes = static_cast<uint8_t*>(block);
  detail::for_marked(size, [=](size_t from, size_t to) {
    detail::fill_range(bytes, from, to, tag);
    return true;
  });
}

/// True where the block still holds what fill(block, size, tag) wrote.
[[nodiscard]] inline bool holds(const void* block, size_t size, uint64_t tag) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  return detail::for_marked(size, [=](size_t from, size_t to) { return detail::check_range(bytes, from, to, tag); });
}

/// True where the first `kept` bytes hold what fill(block, size, tag) wrote while the block had `size` bytes.
[[nodiscard]] inline bool holds_prefix(const void* block, size_t size, size_t kept, uint64_t tag) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  return detail::for_marked(size, [=](size_t from, size_t to) {
    if (to > kept) to = kept;
    return from >= to || detail::check_range(bytes, from, to, tag);
  });
}

/// True where all bytes are zero.
[[nodiscard]] inline bool is_zero(const void* block, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

[[nodiscard]] inline bool is_aligned(const void* block, size_t alignment) {
  return (reinterpret_cast<uintptr_t>(block) & (alignment - 1)) == 0;
}

inline ashlar_memstats stats() {
  ashlar_memstats figures;
  memset(&figures, 0xa5, sizeof figures);
  ashlar_read_memstats(&figures);
  return figures;
}

/// Resident bytes of this process, by the kernel's count.
inline size_t rss_bytes() {
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[128] = {};
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return 0;
  char* end = nullptr;
  strtoull(text, &end, 10);
  return strtoull(end, nullptr, 10) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

/// Hides a value from the optimiser, which otherwise reasons about sizes above PTRDIFF_MAX.
template <typename T>
T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

}  // namespace ashlar_test
