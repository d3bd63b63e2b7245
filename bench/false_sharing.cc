// SPDX-License-Identifier: MIT
//
// false_sharing MODE [THREADS] [ROUNDS] [PADDED] - many threads that each make and fill small maps of 24 to 40 bytes.
//
// Models: per-request maps, counters and headers that are smaller than a cache line. The seed case of this project:
// Go's makemap from many goroutines, where neighbours on one line cost 3.2 times the cache misses. Idea: cache-scratch
// and cache-thrash of E. Berger et al., "Hoard: A Scalable Memory Allocator for Multithreaded Applications", ASPLOS
// 2000, which name the two kinds. Stresses: active   each thread allocates its maps itself: does the allocator give two
// threads parts of one line?
//           passive  the first thread allocates a row of neighbours and hands one to each thread; each frees it and
//                    allocates its own of that size: does it get the same shared line back?
// PADDED 1 is the cure to compare with: the same maps, each on 128 bytes of its own (aligned_alloc).
// A map is open addressing over 3 to 5 cells of 8 bytes; every cell is written many times, so the line must be owned.
#include <pthread.h>

#include <vector>

#include "bench/program.h"

namespace {

constexpr size_t kLinePair = 128;
/// Updates of each map: enough that owning the line, and not malloc, is what a round costs.
constexpr long kUpdates = 1500;
constexpr uint32_t kMinCells = 3;
constexpr uint32_t kMaxCells = 5;

constexpr int kMapsARound = 32;

/// Key in the upper half, value in the lower one; 0 is an empty cell.
using Cell = volatile uint64_t;

struct Plan {
  bool passive = false;
  bool padded = false;
  long threads = 0;
  long rounds = 0;
};

Plan g_plan;
std::vector<Cell*> g_row;  ///< passive: what the first thread allocated for each thread
pthread_barrier_t g_filled;
pthread_barrier_t g_taken;

struct Worker {
  long index = 0;
  uint64_t sum = 0;
  pthread_t thread{};
};

uint32_t cells_of(long round) {
  return kMinCells + static_cast<uint32_t>(round) % (kMaxCells - kMinCells + 1);
}

Cell* make_map(uint32_t cells) {
  const size_t bytes = cells * sizeof(Cell);
  void* block = g_plan.padded ? std::aligned_alloc(kLinePair, kLinePair) : std::malloc(bytes);
  if (block == nullptr) bench::fail("malloc returned null");
  auto* map = static_cast<Cell*>(block);
  for (uint32_t i = 0; i < cells; ++i) map[i] = 0;
  return map;
}

void drop_map(Cell* map) {
  std::free(const_cast<uint64_t*>(map));
}

/// Adds to the values of as many keys as there are cells, in turn; returns the sum of all values.
uint64_t fill_map(Cell* map, uint32_t cells) {
  uint32_t key = 1;
  for (long i = 0; i < kUpdates; ++i) {
    uint32_t at = key % cells;
    while (map[at] != 0 && map[at] >> 32 != key) at = at + 1 == cells ? 0 : at + 1;
    map[at] = (uint64_t{key} << 32) | ((map[at] & 0xffffffffu) + 1);
    key = key == cells ? 1 : key + 1;
  }
  uint64_t sum = 0;
  for (uint32_t i = 0; i < cells; ++i) sum += map[i] & 0xffffffffu;
  if (sum != kUpdates) bench::fail("a map lost its contents");
  return sum;
}

void* run(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  bench::pin_thread(worker->index);
  for (long round = 0; round < g_plan.rounds; ++round) {
    const uint32_t cells = cells_of(round);
    if (g_plan.passive) {
      if (worker->index == 0) {
        for (Cell*& map : g_row) map = make_map(cells);
      }
      pthread_barrier_wait(&g_filled);
      Cell* handed = g_row[static_cast<size_t>(worker->index)];
      worker->sum += handed[0];
      drop_map(handed);
    }
    // Several maps a round, as a request makes several: most of the time would else go to the barriers.
    for (int i = 0; i < kMapsARound; ++i) {
      Cell* map = make_map(cells);
      worker->sum += fill_map(map, cells);
      drop_map(map);
    }
    if (g_plan.passive) pthread_barrier_wait(&g_taken);
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  g_plan.passive = std::strcmp(mode, "passive") == 0;
  if (!g_plan.passive && std::strcmp(mode, "active") != 0) bench::fail("usage: false_sharing active|passive [...]");
  g_plan.threads = bench::argument(argc, argv, 2, 4);
  g_plan.rounds = bench::argument(argc, argv, 3, 2000);
  g_plan.padded = bench::argument(argc, argv, 4, 0) != 0;
  if (g_plan.threads == 0) bench::fail("threads must be at least 1");
  g_row.resize(static_cast<size_t>(g_plan.threads));
  pthread_barrier_init(&g_filled, nullptr, static_cast<unsigned>(g_plan.threads));
  pthread_barrier_init(&g_taken, nullptr, static_cast<unsigned>(g_plan.threads));

  std::vector<Worker> workers(static_cast<size_t>(g_plan.threads));
  const double start = bench::now_seconds();
  for (size_t i = 0; i < workers.size(); ++i) {
    workers[i].index = static_cast<long>(i);
    if (pthread_create(&workers[i].thread, nullptr, run, &workers[i]) != 0) bench::fail("pthread_create");
  }
  uint64_t sum = 0;
  for (Worker& worker : workers) {
    pthread_join(worker.thread, nullptr);
    sum += worker.sum;
  }
  const double seconds = bench::now_seconds() - start;
  const long maps = g_plan.threads * g_plan.rounds * kMapsARound;
  std::printf("false_sharing: %ld maps, sum %llu\n", maps, static_cast<unsigned long long>(sum));
  std::fprintf(stderr, "%.1f ns an update, peak RSS %ld KiB\n",
               seconds * 1e9 / static_cast<double>(maps) / static_cast<double>(kUpdates), bench::peak_rss_kib());
  return 0;
}
