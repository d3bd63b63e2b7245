// SPDX-License-Identifier: MIT
//
// lifetimes [THREADS] [OPERATIONS] - blocks of random lifetimes, a quarter of which end in another thread.
//
// Models: caches, sessions, queues: most blocks die young, some live long, and whoever has a block last frees it.
// Idea: mstress of D. Leijen's mimalloc-bench (random lifetimes, transfer between threads), and the heavy-tailed
// lifetimes of B. Zorn and D. Grunwald, "Evaluating Models of Memory Allocation", ACM TOMACS 1994.
// Stresses: order of frees that has nothing to do with that of allocations, blocks of 24 bytes to 64 KiB side by side,
// frees by other threads, a live set that breathes.
// Time is counted in operations. A block lives 2^k of them, k evenly 0 .. 15; a wheel of lists holds what dies when.
// Every fourth block changes places with one in a mailbox, and whoever takes it out keeps it for its lifetime.
#include <pthread.h>

#include <atomic>
#include <vector>

#include "bench/program.h"

namespace {

constexpr uint32_t kWheel = 1u << 16;
constexpr uint32_t kLongestLog2 = 15;
constexpr uint32_t kMailboxes = 64;

/// A block that waits in a list. The marks of bench::Block come first.
struct Waiting {
  bench::Block block;
  Waiting* next;
};
/// The last byte is a mark, behind the pointer.
constexpr uint32_t kMinSize = sizeof(Waiting) + 8;

std::atomic<Waiting*> g_mailbox[kMailboxes];

struct Worker {
  long index = 0;
  long operations = 0;
  uint64_t allocated = 0;
  uint64_t freed = 0;
  pthread_t thread{};
};

/// 15 of 16 up to 512 bytes, the rest evenly over the powers of two up to 64 KiB.
uint32_t random_size(bench::Rng& random) {
  if (random.below(16) != 0) return random.between(kMinSize, 512);
  const uint32_t low = 512u << random.below(7);
  return random.between(low, 2 * low);
}

Waiting* make(uint32_t size) {
  return reinterpret_cast<Waiting*>(bench::make_block(size));
}

uint32_t drop(Waiting* waiting) {
  return bench::drop_block(&waiting->block);
}

void* run(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  bench::pin_thread(worker->index);
  bench::Rng random(static_cast<uint64_t>(worker->index) + 11);
  std::vector<Waiting*> wheel(kWheel, nullptr);
  for (long i = 0; i < worker->operations; ++i) {
    const auto now = static_cast<uint32_t>(i) % kWheel;
    for (Waiting* due = wheel[now]; due != nullptr;) {
      Waiting* next = due->next;
      worker->freed += drop(due);
      due = next;
    }
    const uint32_t size = random_size(random);
    worker->allocated += size;
    Waiting* block = make(size);
    if (i % 4 == 0) {
      // acq_rel pairs with the other threads' exchange: the block's marks travel with the pointer.
      block = g_mailbox[random.below(kMailboxes)].exchange(block, std::memory_order_acq_rel);
    }
    wheel[now] = nullptr;
    Waiting*& list = wheel[(now + (1u << random.below(kLongestLog2 + 1))) % kWheel];
    if (block == nullptr) continue;
    block->next = list;
    list = block;
  }
  for (Waiting* due : wheel) {
    while (due != nullptr) {
      Waiting* next = due->next;
      worker->freed += drop(due);
      due = next;
    }
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const long threads = bench::argument(argc, argv, 1, 4);
  const long operations = bench::argument(argc, argv, 2, 1000000);
  if (threads == 0) bench::fail("threads must be at least 1");
  std::vector<Worker> workers(static_cast<size_t>(threads));
  const double start = bench::now_seconds();
  for (size_t i = 0; i < workers.size(); ++i) {
    workers[i].index = static_cast<long>(i);
    workers[i].operations = operations / threads;
    if (pthread_create(&workers[i].thread, nullptr, run, &workers[i]) != 0) bench::fail("pthread_create");
  }
  uint64_t allocated = 0;
  uint64_t freed = 0;
  for (Worker& worker : workers) {
    pthread_join(worker.thread, nullptr);
    allocated += worker.allocated;
    freed += worker.freed;
  }
  // relaxed: the threads that put them there have been joined.
  for (auto& box : g_mailbox) {
    Waiting* left = box.load(std::memory_order_relaxed);
    if (left != nullptr) freed += drop(left);
  }
  const double seconds = bench::now_seconds() - start;
  if (allocated != freed) bench::fail("blocks were lost");
  const long total = operations / threads * threads;
  std::printf("lifetimes: %ld blocks, %llu bytes\n", total, static_cast<unsigned long long>(allocated));
  std::fprintf(stderr, "%.1f ns a block, peak RSS %ld KiB\n", seconds * 1e9 / static_cast<double>(total),
               bench::peak_rss_kib());
  return 0;
}
