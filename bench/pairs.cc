// SPDX-License-Identifier: MIT
//
// pairs MODE [UNITS] - the cost of one malloc and one free, and nothing else.
//
// Models: nothing; it isolates the fast paths, for the clock (bench/micro) and for callgrind (test/golden).
// Idea: glibc's benchtests/bench-malloc-simple.c (batches), and the loop that every allocator's paper starts with.
// Stresses: pair      malloc and free of 48 bytes in turn                        1 unit = 1,000 pairs
//           random    random sizes 16..527, 16 blocks live, the oldest replaced   1 unit = 1,000 pairs
//           lifo      4,000 blocks of 48 bytes, freed in reverse                  1 unit = 4,000 pairs
//           fifo      4,000 blocks of 16..527 bytes, freed in order               1 unit = 4,000 pairs
// The blocks are not written to: instructions would be the program's, and the limits are on the allocator's. Random
// sizes come from a table filled beforehand. The loops are 6 to 12 instructions a pair, the same under every allocator.
// stdout: the mode and the number of pairs. stderr: nanoseconds a pair.
#include "bench/program.h"

namespace {

constexpr int kUnit = 1000;
constexpr int kBatch = 4000;
constexpr int kLive = 16;
constexpr int kTable = 4000;
static_assert(kTable % kLive == 0 && kTable >= kBatch);

uint16_t g_sizes[kTable];
void* g_blocks[kBatch];

/// Makes the compiler believe that the block is used, so that it may not remove the pair. No instruction.
inline void* used(void* block) {
  asm volatile("" : "+r"(block) : : "memory");
  return block;
}

__attribute__((noinline)) void pair_loop(long pairs) {
  for (; pairs != 0; --pairs) std::free(used(std::malloc(48)));
}

/// One walk over the size table is kTable pairs.
__attribute__((noinline)) void random_loop(long walks) {
  for (; walks != 0; --walks) {
    for (const uint16_t* size = g_sizes; size != g_sizes + kTable; size += kLive) {
      for (long slot = 0; slot != kLive; ++slot) {
        std::free(g_blocks[slot]);
        g_blocks[slot] = used(std::malloc(size[slot]));
      }
    }
  }
}

__attribute__((noinline)) void lifo_loop(long batches) {
  for (; batches != 0; --batches) {
    for (void** at = g_blocks; at != g_blocks + kBatch; ++at) *at = used(std::malloc(48));
    for (void** at = g_blocks + kBatch; at != g_blocks;) std::free(*--at);
  }
}

__attribute__((noinline)) void fifo_loop(long batches) {
  for (; batches != 0; --batches) {
    for (long i = 0; i != kBatch; ++i) g_blocks[i] = used(std::malloc(g_sizes[i]));
    for (void** at = g_blocks; at != g_blocks + kBatch; ++at) std::free(*at);
  }
}

struct Mode {
  const char* name;
  void (*loop)(long);
  long pairs_per_unit;
  long loops_per_4_units;  ///< argument of `loop` for four units
  long warm_up;            ///< argument of `loop` before the clock starts
};

constexpr Mode kModes[] = {
    {"pair", pair_loop, kUnit, 4 * kUnit, kUnit},
    {"random", random_loop, kUnit, 1, 1},
    {"lifo", lifo_loop, kBatch, 4, 2},
    {"fifo", fifo_loop, kBatch, 4, 2},
};

}  // namespace

int main(int argc, char** argv) {
  const Mode* mode = nullptr;
  for (const Mode& known : kModes) {
    if (argc > 1 && std::strcmp(argv[1], known.name) == 0) mode = &known;
  }
  if (mode == nullptr) {
    std::fprintf(stderr, "usage: pairs pair|random|lifo|fifo [UNITS]\n");
    return 2;
  }
  const long fours = (bench::argument(argc, argv, 2, 1000) + 3) / 4;
  bench::Rng random(1);
  for (uint16_t& size : g_sizes) size = static_cast<uint16_t>(random.between(16, 527));

  mode->loop(mode->warm_up);
  const double start = bench::now_seconds();
  mode->loop(fours * mode->loops_per_4_units);
  const double seconds = bench::now_seconds() - start;

  const long pairs = fours * 4 * mode->pairs_per_unit;
  std::printf("%s %ld pairs\n", mode->name, pairs);
  std::fprintf(stderr, "%.3f ns\n", seconds * 1e9 / static_cast<double>(pairs));
  return 0;
}
