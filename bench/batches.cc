// SPDX-License-Identifier: MIT
//
// batches [ROUNDS] [BATCH] [THREADS] - thousands of blocks allocated, then all of them freed.
//
// Models: one request, frame or compiler pass at a time: its data is built up, used once, and dropped together.
// Idea: glibc's benchtests/bench-malloc-simple.c and bench-malloc-thread.c (batches beyond the thread cache).
// Stresses: what lies behind the cache of a thread or CPU: refill, flush, and the order in which blocks come back.
// A round is four batches: small blocks freed last first, mixed ones freed first first, mixed ones freed in
// random order, and mixed ones of which every other block stays until the next round (holes to fill).
#include <pthread.h>

#include <utility>
#include <vector>

#include "bench/program.h"

namespace {

struct Work {
  uint64_t seed = 0;
  long rounds = 0;
  uint32_t batch = 0;
  uint64_t bytes = 0;
  uint64_t blocks = 0;
  pthread_t thread{};
};

/// Mostly small, as programs are: 3 of 4 up to 128 bytes, 1 of 64 up to 8 KiB, the rest up to 1 KiB.
uint32_t mixed_size(bench::Rng& random) {
  const uint32_t kind = random.below(64);
  if (kind < 48) return random.between(8, 128);
  if (kind < 63) return random.between(129, 1024);
  return random.between(1025, 8192);
}

void* run(void* argument) {
  auto* work = static_cast<Work*>(argument);
  bench::pin_thread(static_cast<long>(work->seed) - 1);
  bench::Rng random(work->seed);
  std::vector<bench::Block*> blocks(work->batch);
  std::vector<bench::Block*> kept;
  kept.reserve(work->batch / 2 + 1);
  const auto drop = [work](bench::Block* block) {
    work->bytes += bench::drop_block(block);
    ++work->blocks;
  };
  for (long round = 0; round < work->rounds; ++round) {
    const uint32_t small = 16 * random.between(1, 8);
    for (auto& block : blocks) block = bench::make_block(small);
    for (size_t i = blocks.size(); i > 0; --i) drop(blocks[i - 1]);

    for (auto& block : blocks) block = bench::make_block(mixed_size(random));
    for (auto* block : blocks) drop(block);

    for (auto& block : blocks) block = bench::make_block(mixed_size(random));
    for (uint32_t i = work->batch; i > 1; --i) std::swap(blocks[i - 1], blocks[random.below(i)]);
    for (auto* block : blocks) drop(block);

    for (auto& block : blocks) block = bench::make_block(mixed_size(random));
    for (auto* block : kept) drop(block);
    kept.clear();
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (i % 2 == 0) {
        kept.push_back(blocks[i]);
      } else {
        drop(blocks[i]);
      }
    }
  }
  for (auto* block : kept) drop(block);
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const long rounds = bench::argument(argc, argv, 1, 100);
  const long batch = bench::argument(argc, argv, 2, 20000);
  const long threads = bench::argument(argc, argv, 3, 1);
  if (batch == 0 || threads == 0) bench::fail("batch and threads must be at least 1");
  std::vector<Work> all(static_cast<size_t>(threads));
  const double start = bench::now_seconds();
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].seed = i + 1;
    all[i].rounds = rounds;
    all[i].batch = static_cast<uint32_t>(batch);
    // The first one runs here, so that one thread means a process that has never had two.
    if (i > 0 && pthread_create(&all[i].thread, nullptr, run, &all[i]) != 0) bench::fail("pthread_create");
  }
  run(&all[0]);
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i > 0) pthread_join(all[i].thread, nullptr);
    blocks += all[i].blocks;
    bytes += all[i].bytes;
  }
  const double seconds = bench::now_seconds() - start;
  std::printf("batches: %llu blocks, %llu bytes\n", static_cast<unsigned long long>(blocks),
              static_cast<unsigned long long>(bytes));
  std::fprintf(stderr, "%.1f ns a block, peak RSS %ld KiB\n", seconds * 1e9 / static_cast<double>(blocks),
               bench::peak_rss_kib());
  return 0;
}
