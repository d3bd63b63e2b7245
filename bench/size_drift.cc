// SPDX-License-Identifier: MIT
//
// size_drift [PHASES] [LIVE_MIB] - a live set of constant size whose blocks become larger over time, and smaller again.
//
// Models: long-running stores and caches whose records change their size with the traffic.
// Idea: M. Johnstone and P. Wilson, "The Memory Fragmentation Problem: Solved?", ISMM 1998 (measure what the heap takes
// against what is live), and J. M. Robson's worst case, "Worst case fragmentation of first fit and best fit storage
// allocation strategies", 1977: sizes that drift, with survivors that hold the holes open.
// Stresses: memory that was cut for one size and is wanted for another. In each phase the typical size changes by a
// quarter, and blocks in random order give way to new ones of that size, until the live bytes are the same again; one
// block in sixteen of each phase is a survivor, which stays for eight phases.
// stderr: peak RSS, the live set, their ratio.
#include <algorithm>
#include <deque>
#include <vector>

#include "bench/program.h"

namespace {

constexpr uint32_t kSmallest = 24;
constexpr uint32_t kLargest = 6000;
constexpr size_t kSurvivedPhases = 8;

/// The typical size of a phase: up by a quarter each until kLargest, down again, and so on.
uint32_t next_typical(uint32_t typical, bool& growing) {
  const uint32_t next = growing ? typical + typical / 4 : typical - typical / 5;
  if (next > kLargest) growing = false;
  if (next < kSmallest) growing = true;
  return std::clamp(next, kSmallest, kLargest);
}

}  // namespace

int main(int argc, char** argv) {
  const long phases = bench::argument(argc, argv, 1, 50);
  const auto live_limit = static_cast<uint64_t>(bench::argument(argc, argv, 2, 16)) << 20;
  bench::Rng random(5);
  std::vector<bench::Block*> live;
  std::deque<std::vector<bench::Block*>> survivors(1);
  uint64_t live_bytes = 0;
  uint64_t allocated = 0;
  uint64_t blocks = 0;
  uint32_t typical = kSmallest;
  bool growing = true;
  const double start = bench::now_seconds();
  for (long phase = 0; phase < phases; ++phase) {
    // As many bytes as are live pass through, so that most of the old phase is gone at its end.
    for (uint64_t passed = 0; passed < live_limit;) {
      const uint32_t size = random.between(typical - typical / 3, typical + typical / 3);
      while (live_bytes + size > live_limit && !live.empty()) {
        const uint32_t at = random.below(static_cast<uint32_t>(live.size()));
        live_bytes -= bench::drop_block(live[at]);
        live[at] = live.back();
        live.pop_back();
      }
      bench::Block* block = bench::make_block(size);
      passed += size;
      live_bytes += size;
      allocated += size;
      ++blocks;
      if (random.below(16) == 0) {
        survivors.back().push_back(block);
      } else {
        live.push_back(block);
      }
    }
    if (survivors.size() == kSurvivedPhases) {
      for (bench::Block* block : survivors.front()) live_bytes -= bench::drop_block(block);
      survivors.pop_front();
    }
    survivors.emplace_back();
    typical = next_typical(typical, growing);
  }
  const double seconds = bench::now_seconds() - start;
  const long peak_kib = bench::peak_rss_kib();
  for (bench::Block* block : live) bench::drop_block(block);
  for (auto& group : survivors) {
    for (bench::Block* block : group) bench::drop_block(block);
  }
  std::printf("size_drift: %llu blocks, %llu bytes\n", static_cast<unsigned long long>(blocks),
              static_cast<unsigned long long>(allocated));
  std::fprintf(stderr, "%.1f ns a block, peak RSS %ld KiB, live set %llu KiB, ratio %.3f\n",
               seconds * 1e9 / static_cast<double>(blocks), peak_kib,
               static_cast<unsigned long long>(live_limit / 1024),
               static_cast<double>(peak_kib) * 1024.0 / static_cast<double>(live_limit));
  return 0;
}
