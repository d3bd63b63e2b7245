// SPDX-License-Identifier: MIT
//
// growth.cc - n inserts from empty: operations a second, the longest 64 inserts in a row, bytes an entry (resident),
// and the resident peak beside what remains; then 90 % are erased.
//
//   growth [--n 4000000] [--threads 1] [--maps ashlar,boost,...] [--reserve 0]
// Each map in a process of its own (fork), so that resident memory is the map's.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "bench/hash/maps.h"

namespace bench {
namespace {

/// Allocators give memory back with a delay (Ashlar's is a second).
constexpr unsigned kSettle = 1'500'000;

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double resident_bytes() {
  FILE* f = fopen("/proc/self/statm", "r");
  unsigned long size = 0, pages = 0;
  if (fscanf(f, "%lu %lu", &size, &pages) != 2) abort();
  fclose(f);
  return static_cast<double>(pages) * 4096;
}

uint64_t scramble(uint64_t x) {
  x = (x + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 29)) * 0x94d049bb133111ebu;
  return x ^ (x >> 32);
}

template <class Map>
void run(uint64_t n, unsigned threads, bool reserve) {
  const double before = resident_bytes();
  auto map = std::make_unique<Map>(reserve ? n : 0);
  std::vector<double> longest(threads), cpu(threads);
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      const double begin_cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
      double last = seconds(CLOCK_THREAD_CPUTIME_ID);
      unsigned in_row = 0;
      for (uint64_t i = t; i < n; i += threads) {
        map->insert(scramble(i), i);
        if (++in_row == 64) {
          in_row = 0;
          const double now = seconds(CLOCK_THREAD_CPUTIME_ID);
          longest[t] = std::max(longest[t], now - last);
          last = now;
        }
      }
      cpu[t] = seconds(CLOCK_THREAD_CPUTIME_ID) - begin_cpu;
    });
  }
  for (std::thread& w : workers) w.join();
  double all_cpu = 0;
  for (double c : cpu) all_cpu += c;
  const double time = all_cpu / std::min(threads, std::thread::hardware_concurrency());
  usleep(kSettle);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double after = resident_bytes() - before, peak = static_cast<double>(usage.ru_maxrss) * 1024 - before;
  for (uint64_t i = 0; i < n; ++i) {
    if (i % 10 != 0) map->erase(scramble(i));
  }
  usleep(kSettle);
  const double erased = resident_bytes() - before;
  const auto count = static_cast<double>(n);
  printf("%-11s %8.2f %10.2f %8.1f %8.1f %6.2f %10.1f\n", Map::kName, count / time / 1e6,
         1e3 * *std::max_element(longest.begin(), longest.end()), after / count, peak / count, peak / after,
         erased / 1e6);
  fflush(stdout);
}

template <class Map>
void in_process(const std::string& maps, uint64_t n, unsigned threads, bool reserve) {
  if (!maps.empty() && ("," + maps + ",").find(std::string(",") + Map::kName + ",") == std::string::npos) return;
  const pid_t child = fork();
  if (child == 0) {
    run<Map>(n, threads, reserve);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  uint64_t n = 4'000'000;
  unsigned threads = 1;
  bool reserve = false;
  std::string maps;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--n") n = strtoull(argv[i + 1], nullptr, 10);
    if (key == "--threads") threads = static_cast<unsigned>(atoi(argv[i + 1]));
    if (key == "--maps") maps = argv[i + 1];
    if (key == "--reserve") reserve = atoi(argv[i + 1]) != 0;
  }
  printf("%lu inserts, %u threads\n%-11s %8s %10s %8s %8s %6s %10s\n", static_cast<unsigned long>(n), threads, "map",
         "Mops/s", "64 ins, ms", "B/entry", "peak B", "peak/", "90% off, MB");
  using K = uint64_t;
  bench::in_process<bench::Ashlar<K, K>>(maps, n, threads, reserve);
#if BENCH_PARLAY
  bench::in_process<bench::Parlay<K, K>>(maps, n, threads, reserve);
#endif
#if BENCH_BOOST
  bench::in_process<bench::Boost<K, K>>(maps, n, threads, reserve);
#endif
  bench::in_process<bench::Tbb<K, K>>(maps, n, threads, reserve);
  bench::in_process<bench::Cuckoo<K, K>>(maps, n, threads, reserve);
  bench::in_process<bench::Mutexed<K, K>>(maps, n, threads, reserve);
}
