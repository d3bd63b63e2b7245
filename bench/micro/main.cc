// SPDX-License-Identifier: MIT
//
// micro - the micro suite. Built once, without Ashlar; the allocator comes by LD_PRELOAD. --benchmark_list_tests lists
// the cases, bench/ab runs them one process each.
//
// Idea: Google Benchmark's own structure; the loops are those that glibc's benchtests and the allocators' papers use.
// Here: which thread counts a case runs with, and how its loop is timed and counted. Under callgrind each case leaves a
// dump named after it, which holds the instructions of its loop alone, without warm-up.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>

#include "bench/micro/micro.h"

#ifdef __has_include
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_ZERO_STATS
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name)
#endif

namespace micro {

std::vector<uint32_t> random_sizes(uint32_t low, uint32_t high, bool by_power) {
  bench::Rng random(1);
  std::vector<uint32_t> sizes(1000);
  uint32_t powers = 0;
  while ((low << (powers + 1)) <= high) ++powers;
  for (uint32_t& size : sizes) {
    size = random.between(low, high);
    if (by_power) {
      const uint32_t from = low << random.below(powers);
      size = random.between(from, 2 * from);
    }
  }
  return sizes;
}

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

namespace {

/// From the first thread's start to the last one's end. Google Benchmark's own clocks run in each thread for itself:
/// where threads take turns on a CPU, they miss that one waited for the other.
class Stopwatch {
 public:
  void set_up(int threads) {
    pthread_barrier_init(&begin_, nullptr, static_cast<unsigned>(threads));
    pthread_barrier_init(&end_, nullptr, static_cast<unsigned>(threads));
    first_ = INT64_MAX;
    last_ = 0;
    left_out_ = 0;
  }
  void wait_for_all() { pthread_barrier_wait(&begin_); }
  void leave_out(int64_t ns) { left_out_ += ns; }

  /// Each thread says when it worked; returns the seconds of all of them together.
  double seconds(int64_t start, int64_t end) {
    pthread_mutex_lock(&lock_);
    first_ = std::min(first_, start);
    last_ = std::max(last_, end);
    pthread_mutex_unlock(&lock_);
    pthread_barrier_wait(&end_);
    return static_cast<double>(last_ - first_ - left_out_) * 1e-9;
  }

 private:
  pthread_barrier_t begin_{};
  pthread_barrier_t end_{};
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  int64_t first_ = 0;
  int64_t last_ = 0;
  int64_t left_out_ = 0;
};

Stopwatch g_watch;

/// BENCH_SCALE: the part of each case's work that is done.
double scale() {
  const char* text = std::getenv("BENCH_SCALE");
  return text == nullptr ? 1 : std::clamp(std::strtod(text, nullptr), 1e-6, 1.0);
}

void run(benchmark::State& state, const Case& test) {
  bench::pin_thread(state.thread_index());
  double elapsed = 0;
  {
    const Body body = test.make(state);
    const auto runs = static_cast<long>(state.max_iterations);
    // Warm-up: caches fill, spans are cut, pages are faulted in. A single run is cold by intention (add_memory).
    if (runs > 1) body(std::max(1L, runs / 8));
    // One batch holds all runs, so that nothing of Google Benchmark is in the loop.
    while (state.KeepRunningBatch(runs)) {
      g_watch.wait_for_all();
      const int64_t start = now_ns();
      CALLGRIND_ZERO_STATS;
      body(runs);
      CALLGRIND_DUMP_STATS_AT(test.name.c_str());
      elapsed = g_watch.seconds(start, now_ns());
      state.SetIterationTime(elapsed);
    }
  }
  using benchmark::Counter;
  state.counters["ops"] = Counter(static_cast<double>(test.ops), Counter::kAvgThreads);
  state.counters["elapsed_ns"] = Counter(elapsed * 1e9, Counter::kAvgThreads);
}

void set_up(const benchmark::State& state) {
  g_watch.set_up(state.threads());
}

/// 1, the powers of two, the CPUs, and twice as many.
std::vector<int> thread_counts(Threads threads) {
  const int cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  std::vector<int> counts;
  for (int n = 1; n < cpus; n *= 2) counts.push_back(n);
  counts.push_back(cpus);
  counts.push_back(2 * cpus);
  if (threads == Threads::kOne) return {1};
  if (threads == Threads::kTwoAndMore) {
    counts.push_back(2);
    std::sort(counts.begin(), counts.end());
    counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
    counts.erase(counts.begin());
  }
  return counts;
}

}  // namespace

void leave_out_ns(int64_t ns) {
  g_watch.leave_out(ns);
}

}  // namespace micro

int main(int argc, char** argv) {
  std::vector<micro::Case> cases;
  micro::add_loops(cases);
  micro::add_kinds(cases);
  micro::add_threads(cases);
  micro::add_memory(cases);
  for (const micro::Case& test : cases) {
    for (const int threads : micro::thread_counts(test.threads)) {
      const double runs = static_cast<double>(test.runs) * (test.runs > 1 ? micro::scale() : 1) / threads;
      benchmark::RegisterBenchmark(test.name.c_str(), [test](benchmark::State& state) { micro::run(state, test); })
          ->Iterations(std::max(1L, static_cast<long>(runs)))
          ->Threads(threads)
          ->Setup(micro::set_up)
          ->UseManualTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 3;
}
