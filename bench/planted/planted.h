// SPDX-License-Identifier: MIT
//
// planted.h - an Ashlar that is worse by a known amount, for the proofs that the benchmark finds it. Never shipped.
//
// bench.mk compiles override_libc.cc and override_cxx.cc with `-include bench/planted/planted.h` into libraries of
// their own. PLANTED_SLOW_PERCENT: every 64th malloc of a thread waits for so many percent of the time since the last
// wait ended, so that any program that allocates steadily becomes slower by that share, whatever its operations cost.
// PLANTED_FAT_PERCENT: every 256th malloc looks at the resident memory, and touches pages of its own until they are so
// many percent of the rest. With both 0 it is the control: the same code, nothing planted.
#ifndef BENCH_PLANTED_PLANTED_H_
#define BENCH_PLANTED_PLANTED_H_

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "alloc/fast_path.h"

namespace planted {

inline constexpr int64_t kSlowPercent = PLANTED_SLOW_PERCENT;
inline constexpr int64_t kFatPercent = PLANTED_FAT_PERCENT;
/// A longer time since the last wait was not spent allocating.
inline constexpr int64_t kLongestNs = 10'000'000;

inline thread_local uint32_t calls;
inline thread_local int64_t last_ns;
inline int64_t ballast_pages;

inline int64_t now_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

[[gnu::noinline]] inline void wait_a_share() noexcept {
  const int64_t begin = now_ns();
  const int64_t spent = begin - last_ns;
  int64_t now = begin;
  if (spent < kLongestNs) {
    while (now - begin < spent * kSlowPercent / 100) now = now_ns();
  }
  last_ns = now;
}

inline int64_t resident_pages() noexcept {
  char text[128];
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  int64_t pages = 0;
  ssize_t at = 0;
  while (at < got && text[at] != ' ') ++at;
  for (++at; at < got && text[at] >= '0' && text[at] <= '9'; ++at) pages = pages * 10 + (text[at] - '0');
  return pages;
}

[[gnu::noinline]] inline void grow() noexcept {
  // Two threads may both add a little: relaxed, since nothing but an amount hangs on it.
  const int64_t have = __atomic_load_n(&ballast_pages, __ATOMIC_RELAXED);
  const int64_t missing = (resident_pages() - have) * kFatPercent / 100 - have;
  if (missing < 8) return;
  __atomic_fetch_add(&ballast_pages, missing, __ATOMIC_RELAXED);
  mmap(nullptr, static_cast<size_t>(missing) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
       -1, 0);
}

inline void before_malloc() noexcept {
  ++calls;
  if (calls % 64 == 0) wait_a_share();
  if (kFatPercent != 0 && calls % 256 == 0) grow();
}

}  // namespace planted

#define fast_allocate(size) fast_allocate((planted::before_malloc(), (size)))

#endif  // BENCH_PLANTED_PLANTED_H_
