// SPDX-License-Identifier: MIT
//
// program.h - what the programs in bench/ share: a random generator, blocks that carry their own proof, arguments,
// peak memory, and threads on the CPUs that the runner chose.
//
// Rules of every program: stdout is the same under every allocator (counts and checksums; bench/ab compares it with
// glibc's), measurements go to stderr. Work is a fixed amount, never "as much as fits into a second".
#ifndef BENCH_PROGRAM_H_
#define BENCH_PROGRAM_H_

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {

/// xorshift64*: a few instructions, the same sequence everywhere (std's distributions differ between libraries).
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
  }
  /// Uniform in [0, bound), by multiplication: no division.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>((uint64_t{next()} * bound) >> 32); }
  /// Uniform in [low, high].
  uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }

 private:
  uint64_t state_;
};

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::_Exit(3);
}

/// A block starts with its size and ends with a mark of it, so that an allocator that hands the same memory out twice
/// is found by the benchmark and not taken for a fast one. Sizes are at least 8 bytes.
struct Block {
  uint32_t size;
  uint32_t mark;
};

inline uint32_t mark_of(uint32_t size) {
  return (size * 2654435761u) ^ 0x5A5A5A5Au;
}

inline Block* make_block(uint32_t size) {
  auto* block = static_cast<Block*>(std::malloc(size));
  if (block == nullptr) fail("malloc returned null");
  reinterpret_cast<unsigned char*>(block)[size - 1] = static_cast<unsigned char>(size);
  block->size = size;
  block->mark = mark_of(size);
  return block;
}

/// Checks the marks, frees the block and returns its size.
inline uint32_t drop_block(Block* block) {
  const uint32_t size = block->size;
  if (block->mark != mark_of(size)) fail("a block lost its mark");
  if (size > sizeof(Block) && reinterpret_cast<unsigned char*>(block)[size - 1] != static_cast<unsigned char>(size)) {
    fail("a block lost its last byte");
  }
  std::free(block);
  return size;
}

/// Puts the calling thread onto the index-th CPU of BENCH_CPUS ("0,2,4", from build/bench/place), modulo their number;
/// nothing where it is not set. Does not allocate. A CPU that may not be used ends the program: the run would be
/// reported under a placement that it did not have.
inline void pin_thread(long index) {
  const char* list = std::getenv("BENCH_CPUS");
  if (list == nullptr || *list == '\0') return;
  long count = 1;
  for (const char* at = list; *at != '\0'; ++at) count += *at == ',';
  for (long skip = index % count; skip > 0; --skip) list = std::strchr(list, ',') + 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(std::strtol(list, nullptr, 10)), &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) fail("a CPU of BENCH_CPUS may not be used");
}

inline double now_seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Peak resident memory of this process (VmHWM), KiB. Not ru_maxrss, which starts at that of the process that called
/// exec. Reads with read(2), since stdio would allocate.
inline long peak_rss_kib() {
  char text[4096];
  const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return -1;
  text[got] = '\0';
  const char* line = std::strstr(text, "VmHWM:");
  return line == nullptr ? -1 : std::strtol(line + 6, nullptr, 10);
}

/// The index-th argument as a number, or `fallback` where it is absent. A malformed or negative one ends the program.
inline long argument(int argc, char** argv, int index, long fallback) {
  if (index >= argc) return fallback;
  char* end = nullptr;
  const long value = std::strtol(argv[index], &end, 10);
  if (end == argv[index] || *end != '\0' || value < 0) {
    std::fprintf(stderr, "%s: argument %d is not a number: '%s'\n", argv[0], index, argv[index]);
    std::exit(2);
  }
  return value;
}

}  // namespace bench

#endif  // BENCH_PROGRAM_H_
