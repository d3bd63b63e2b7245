// SPDX-License-Identifier: MIT
//
// server [CHAINS] [LIVES] [OPERATIONS] [SLOTS] - a server whose threads die and hand their heap to a successor.
//
// Models: connections served by short-lived workers. Each chain is one worker at a time: it replaces random blocks of
// its heap, then starts its successor with the same heap, and ends. Some blocks pass through a mailbox to other chains.
// Idea: P. Larson and M. Krishnan, "Memory Allocation for Long-Running Server Applications", ISMM 1998 (larson). Here
// the work is fixed and the time measured, where larson fixes the time. Stresses: frees by another thread than the one
// that allocated (nearly all), what dead threads leave behind, blocks of 8..1,000 bytes in random order.
#include <pthread.h>

#include <atomic>
#include <vector>

#include "bench/program.h"

namespace {

constexpr uint32_t kMinSize = 8;
constexpr uint32_t kMaxSize = 1000;
constexpr uint32_t kMailboxes = 64;
/// Every so many operations a block is exchanged with the mailbox.
constexpr long kExchangeEvery = 8;

std::atomic<bench::Block*> g_mailbox[kMailboxes];

pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t g_ended = PTHREAD_COND_INITIALIZER;
long g_running;

struct Chain {
  explicit Chain(long number) : index(number), random(static_cast<uint64_t>(number) + 100) {}
  long index;
  bench::Rng random;
  std::vector<bench::Block*> slots;
  long lives_left = 0;
  long operations = 0;
  uint64_t allocated = 0;  ///< bytes asked for
};

void start_worker(Chain* chain);

void* worker(void* argument) {
  auto* chain = static_cast<Chain*>(argument);
  bench::pin_thread(chain->index);
  const auto slots = static_cast<uint32_t>(chain->slots.size());
  for (long i = 0; i < chain->operations; ++i) {
    bench::Block*& slot = chain->slots[chain->random.below(slots)];
    bench::drop_block(slot);
    const uint32_t size = chain->random.between(kMinSize, kMaxSize);
    slot = bench::make_block(size);
    chain->allocated += size;
    if (i % kExchangeEvery == 0) {
      // acq_rel pairs with the other chains' exchange: the block's marks travel with the pointer.
      slot = g_mailbox[chain->random.below(kMailboxes)].exchange(slot, std::memory_order_acq_rel);
    }
  }
  if (--chain->lives_left > 0) {
    start_worker(chain);
  } else {
    pthread_mutex_lock(&g_lock);
    if (--g_running == 0) pthread_cond_signal(&g_ended);
    pthread_mutex_unlock(&g_lock);
  }
  return nullptr;
}

void start_worker(Chain* chain) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, worker, chain) != 0) bench::fail("pthread_create");
  pthread_attr_destroy(&attributes);
}

}  // namespace

int main(int argc, char** argv) {
  const long chains = bench::argument(argc, argv, 1, 2);
  const long lives = bench::argument(argc, argv, 2, 100);
  const long operations = bench::argument(argc, argv, 3, 25000);
  const long slots = bench::argument(argc, argv, 4, 5000);
  if (chains == 0 || lives == 0 || slots == 0) bench::fail("chains, lives and slots must be at least 1");

  bench::Rng random(7);
  for (auto& box : g_mailbox) {
    box.store(bench::make_block(random.between(kMinSize, kMaxSize)), std::memory_order_relaxed);
  }
  std::vector<Chain*> all;
  for (long i = 0; i < chains; ++i) {
    auto* chain = new Chain(i);
    chain->lives_left = lives;
    chain->operations = operations;
    for (long slot = 0; slot < slots; ++slot) {
      chain->slots.push_back(bench::make_block(chain->random.between(kMinSize, kMaxSize)));
    }
    all.push_back(chain);
  }
  const double start = bench::now_seconds();
  g_running = chains;
  for (Chain* chain : all) start_worker(chain);
  pthread_mutex_lock(&g_lock);
  while (g_running > 0) pthread_cond_wait(&g_ended, &g_lock);
  pthread_mutex_unlock(&g_lock);
  const double seconds = bench::now_seconds() - start;

  uint64_t allocated = 0;
  for (Chain* chain : all) {
    allocated += chain->allocated;
    for (bench::Block* block : chain->slots) bench::drop_block(block);
    delete chain;
  }
  for (auto& box : g_mailbox) bench::drop_block(box.load(std::memory_order_relaxed));
  const long total = chains * lives * operations;
  std::printf("server: %ld operations by %ld threads, %llu bytes\n", total, chains * lives,
              static_cast<unsigned long long>(allocated));
  std::fprintf(stderr, "%.1f ns an operation, peak RSS %ld KiB\n", seconds * 1e9 / static_cast<double>(total),
               bench::peak_rss_kib());
  return 0;
}
