// SPDX-License-Identifier: MIT
//
// cells.cc - operations a second of every map in cells: keys x distribution x updates x threads. All maps run in turn
// in every round; the table has medians, the geometric mean of each map, and our ratio to each.
//
//   cells [--keys 10000,1000000] [--dist uniform,zipf] [--updates 0,10,50] [--threads 1,2,16] [--ms 200] [--rounds 3]
//         [--maps ashlar,boost,...]
//
// A map is filled with half of the keys; finds take any key, an update is an insert or an erase of any key, as often.
// So half of the finds hit, and the size stays.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "bench/hash/maps.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Cell {
  uint64_t keys;
  bool zipf;
  unsigned updates;  // percent
  unsigned threads;
};

struct Options {
  std::vector<std::string> keys{"10000", "1000000"}, dists{"uniform", "zipf"}, updates{"0", "10", "50"},
      threads{"1", "2", "16"}, maps;
  unsigned ms = 200, rounds = 3;
};

uint64_t scramble(uint64_t x) {
  x = (x + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 29)) * 0x94d049bb133111ebu;
  return x ^ (x >> 32);
}

/// Numbers of keys as the threads will ask for them, with the operation: 0 find, 1 insert, 2 erase.
struct Step {
  uint64_t key;
  unsigned op;
};
std::vector<Step> steps_of(const Cell& cell, unsigned thread) {
  std::mt19937_64 rng(thread + 1);
  const uint64_t universe = 2 * cell.keys;
  std::vector<Step> steps(1 << 19);
  // Zipf after J. Gray and others, "Quickly generating billion-record synthetic databases".
  const double theta = 0.99;
  double zetan = 0;
  if (cell.zipf) {
    for (uint64_t i = 1; i <= universe; ++i) zetan += 1 / pow(static_cast<double>(i), theta);
  }
  const double zeta2 = 1 + pow(0.5, theta);
  const double alpha = 1 / (1 - theta);
  const double eta = (1 - pow(2.0 / static_cast<double>(universe), 1 - theta)) / (1 - zeta2 / zetan);
  for (Step& s : steps) {
    if (cell.zipf) {
      const double u = static_cast<double>(rng() >> 11) * 0x1p-53;
      const double uz = u * zetan;
      const uint64_t rank = uz < 1 ? 0
                            : uz < zeta2
                                ? 1
                                : static_cast<uint64_t>(static_cast<double>(universe) * pow(eta * u - eta + 1, alpha));
      s.key = scramble(rank < universe ? rank : universe - 1);
    } else {
      s.key = scramble(rng() % universe);
    }
    const unsigned dice = static_cast<unsigned>(rng() % 200);
    s.op = dice < cell.updates ? 1 : dice < 2 * cell.updates ? 2 : 0;
  }
  return steps;
}

/// On a machine that others use, too: count the time that the threads ran, not that of the clock.
bool cpu_clock = false;
double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class Map>
struct Runner {
  std::unique_ptr<Map> map;

  void fill(const Cell& cell) {
    map = std::make_unique<Map>(cell.keys);
    for (uint64_t i = 0; i < 2 * cell.keys; i += 2) map->insert(scramble(i), i);
  }

  double run(const Cell& cell, const std::vector<std::vector<Step>>& steps, unsigned ms) {
    std::atomic<bool> go{false}, stop{false};
    std::vector<uint64_t> done(cell.threads * 16);
    std::vector<double> cpu(cell.threads * 16);
    std::vector<std::thread> threads;
    std::atomic<unsigned> ready{0};
    for (unsigned t = 0; t < cell.threads; ++t) {
      threads.emplace_back([&, t] {
        const std::vector<Step>& mine = steps[t];
        uint64_t n = 0, sum = 0;
        size_t at = 0;
        ++ready;
        while (!go.load()) std::this_thread::yield();
        const double begin_cpu = thread_seconds();
        while (!stop.load(std::memory_order_relaxed)) {
          for (unsigned i = 0; i < 64; ++i) {
            const Step& s = mine[at++ & (mine.size() - 1)];
            if (s.op == 0) {
              sum += map->find_or(s.key, 0);
            } else if (s.op == 1) {
              map->insert(s.key, s.key);
            } else {
              map->erase(s.key);
            }
          }
          n += 64;
        }
        cpu[t * 16] = thread_seconds() - begin_cpu;
        done[t * 16] = n + (sum == 12345 ? 1 : 0);
      });
    }
    while (ready != cell.threads) std::this_thread::yield();
    const auto begin = Clock::now();
    go = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    stop = true;
    for (std::thread& t : threads) t.join();
    double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (cpu_clock) {
      seconds = 0;
      for (double s : cpu) seconds += s;
      seconds /= std::min(cell.threads, std::thread::hardware_concurrency());
    }
    uint64_t all = 0;
    for (uint64_t n : done) all += n;
    return static_cast<double>(all) / seconds / 1e6;
  }
};

bool wanted(const Options& o, const char* name) {
  return o.maps.empty() || std::find(o.maps.begin(), o.maps.end(), name) != o.maps.end();
}

struct Result {
  std::string name;
  std::vector<double> mops;  // a median for each cell
};

template <class Map>
void measure(const Options& o, const Cell& cell, const std::vector<std::vector<Step>>& steps,
             std::vector<double>* rounds) {
  if (!wanted(o, Map::kName)) return;
  Runner<Map> runner;
  runner.fill(cell);
  rounds->push_back(runner.run(cell, steps, o.ms));
}

std::vector<std::string> split(const char* text) {
  std::vector<std::string> words(1);
  for (; *text != '\0'; ++text) {
    if (*text == ',')
      words.emplace_back();
    else
      words.back() += *text;
  }
  return words;
}

void run(const Options& o) {
  using K = uint64_t;
  using V = uint64_t;
  std::vector<Result> results;
  const auto add = [&](const char* name) {
    if (wanted(o, name)) results.push_back({name, {}});
  };
  add("ashlar");
#if BENCH_PARLAY
  add("parlayhash");
#endif
#if BENCH_BOOST
  add("boost");
#endif
  add("tbb");
  add("libcuckoo");
  add("mutex+std");
  printf("%8s %7s %4s %3s", "keys", "dist", "upd", "thr");
  for (const Result& r : results) printf(" %11s", r.name.c_str());
  printf("   Mops/s\n");
  for (const auto& keys : o.keys) {
    for (const auto& dist : o.dists) {
      for (const auto& updates : o.updates) {
        for (const auto& threads : o.threads) {
          const Cell cell{strtoull(keys.c_str(), nullptr, 10), dist == "zipf",
                          static_cast<unsigned>(atoi(updates.c_str())), static_cast<unsigned>(atoi(threads.c_str()))};
          std::vector<std::vector<Step>> steps;
          for (unsigned t = 0; t < cell.threads; ++t) {
            if (t < 4)
              steps.push_back(steps_of(cell, t));
            else
              steps.push_back(steps[t % 4]);
          }
          std::vector<std::vector<double>> all(results.size());
          for (unsigned round = 0; round < o.rounds; ++round) {
            size_t i = 0;
            const auto next = [&](auto* map) {
              using Map = std::remove_pointer_t<decltype(map)>;
              if (!wanted(o, Map::kName)) return;
              measure<Map>(o, cell, steps, &all[i++]);
            };
            next(static_cast<Ashlar<K, V>*>(nullptr));
#if BENCH_PARLAY
            next(static_cast<Parlay<K, V>*>(nullptr));
#endif
#if BENCH_BOOST
            next(static_cast<Boost<K, V>*>(nullptr));
#endif
            next(static_cast<Tbb<K, V>*>(nullptr));
            next(static_cast<Cuckoo<K, V>*>(nullptr));
            next(static_cast<Mutexed<K, V>*>(nullptr));
          }
          printf("%8s %7s %4s %3s", keys.c_str(), dist.c_str(), updates.c_str(), threads.c_str());
          for (size_t i = 0; i < results.size(); ++i) {
            std::sort(all[i].begin(), all[i].end());
            results[i].mops.push_back(all[i][all[i].size() / 2]);
            printf(" %11.1f", results[i].mops.back());
          }
          printf("\n");
          fflush(stdout);
        }
      }
    }
  }
  printf("%-25s", "geometric mean");
  std::vector<double> means;
  for (const Result& r : results) {
    double sum = 0;
    for (double m : r.mops) sum += log(m);
    means.push_back(exp(sum / static_cast<double>(r.mops.size())));
    printf(" %11.2f", means.back());
  }
  printf("\n%-25s", "ours / theirs");
  for (double m : means) printf(" %11.2f", means[0] / m);
  printf("\n");
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--keys") o.keys = bench::split(argv[i + 1]);
    if (key == "--dist") o.dists = bench::split(argv[i + 1]);
    if (key == "--updates") o.updates = bench::split(argv[i + 1]);
    if (key == "--threads") o.threads = bench::split(argv[i + 1]);
    if (key == "--maps") o.maps = bench::split(argv[i + 1]);
    if (key == "--clock") bench::cpu_clock = strcmp(argv[i + 1], "cpu") == 0;
    if (key == "--ms") o.ms = static_cast<unsigned>(atoi(argv[i + 1]));
    if (key == "--rounds") o.rounds = static_cast<unsigned>(atoi(argv[i + 1]));
  }
  bench::run(o);
}
