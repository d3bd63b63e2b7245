// SPDX-License-Identifier: MIT
//
// growth.cc - n inserts into one map, which is empty (or has been told n), and what memory that takes.
//
//   growth --map NAME [--n 4000000] [--threads 1] [--reserve 0|1] [--what speed|latency|memory|churn]
//
// speed    inserts a second; the longest 64 inserts in a row of one thread, by the clock.
// latency  each insert by the time stamp counter: median, 99, 99.9, 99.99 % and the longest; the longest 64, by the
//          clock and by CPU time (on a machine that others use, too, the clock also counts their turns: for as long as
//          the inserts took, one thread then only reads the clock; its longest stop is printed, too).
// memory   bytes an entry (resident), the peak, what is left after 90 % are erased: one process a map, so it is the
//          map's. Allocators give memory back with a delay: 1.5 s are waited for.
// churn    n entries; then, n times in turns, the oldest goes and a new one comes: resident memory may not grow.
// Afterwards every key is looked for: a key that is lost, or was erased and is there, fails the program.
#include <string.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "bench/hash/harness.h"
#include "bench/hash/maps.h"

namespace bench {
namespace {

uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<uint64_t>(wall() * 1e9);
#endif
}

/// Counts of durations, by their highest five bits: an error of at most 1/16.
class Histogram {
 public:
  void add(uint64_t ticks) {
    ++counts_[index(ticks)];
    longest_ = std::max(longest_, ticks);
  }
  void operator+=(const Histogram& h) {
    for (size_t i = 0; i < kCells; ++i) counts_[i] += h.counts_[i];
    longest_ = std::max(longest_, h.longest_);
  }
  uint64_t longest() const { return longest_; }
  uint64_t quantile(double q) const {
    uint64_t all = 0, seen = 0;
    for (const uint64_t c : counts_) all += c;
    for (size_t i = 0; i < kCells; ++i) {
      seen += counts_[i];
      if (static_cast<double>(seen) >= q * static_cast<double>(all)) return upper(i);
    }
    return longest_;
  }

 private:
  static constexpr size_t kCells = 64 * 16;
  static size_t index(uint64_t t) {
    if (t < 16) return t;
    const auto log = 63 - static_cast<unsigned>(__builtin_clzll(t));
    return (log - 3) * 16 + (t >> (log - 4) & 15);
  }
  static uint64_t upper(size_t i) { return i < 16 ? i : ((i & 15) + 17) << (i / 16 - 1); }
  uint64_t counts_[kCells] = {};
  uint64_t longest_ = 0;
};

struct Longest {
  double wall = 0, cpu = 0;
};

class Stopwatch {
 public:
  explicit Stopwatch(bool cpu) : cpu_clock_(cpu) { restart(); }
  void lap(Longest& longest) {
    const double wall_before = wall_, cpu_before = cpu_;
    restart();
    longest.wall = std::max(longest.wall, wall_ - wall_before);
    longest.cpu = std::max(longest.cpu, cpu_ - cpu_before);
  }

 private:
  void restart() {
    wall_ = wall();
    if (cpu_clock_) cpu_ = seconds(CLOCK_THREAD_CPUTIME_ID);
  }
  bool cpu_clock_;
  double wall_ = 0, cpu_ = 0;
};

template <class Map>
class Growth {
 public:
  explicit Growth(const Args& args)
      : n_(args.number("n", 4'000'000)),
        threads_(static_cast<unsigned>(args.number("threads", 1))),
        what_(args.text("what", "speed")),
        hint_(args.number("reserve", 0) != 0 ? n_ : 0),
        longest_(threads_) {}

  void run() {
    before_ = resident_bytes();
    map_ = std::make_unique<Map>(hint_);
    const bool latency = what_ == "latency";
    std::vector<Histogram> histograms(latency ? threads_ : 0);
    const Timing timing = together(threads_, 0, [&](unsigned t, const std::atomic<bool>&) {
      if (latency)
        insert<true>(t, &histograms[t]);
      else
        insert<false>(t, nullptr);
    });
    Line line;
    line.count("n", n_).count("threads", threads_).count("reserve", hint_ != 0 ? 1 : 0);
    speed(line, n_, timing, threads_);
    Longest longest;
    for (const Longest& l : longest_) {
      longest.wall = std::max(longest.wall, l.wall);
      longest.cpu = std::max(longest.cpu, l.cpu);
    }
    line.number("longest_64_ms", longest.wall * 1e3);
    if (latency) {
      for (unsigned t = 1; t < threads_; ++t) histograms[0] += histograms[t];
      line.number("longest_64_cpu_ms", longest.cpu * 1e3).number("machine_stop_ms", machine_stop(timing.wall) * 1e3);
      latencies(line, histograms[0]);
    }
    if (what_ == "churn") {
      churn(line);
      check(n_, 2 * n_);
    } else if (what_ == "memory") {
      memory(line);
    } else {
      check(0, n_);
    }
    line.print();
  }

 private:
  template <bool kLatency>
  void insert(unsigned t, Histogram* histogram) {
    Stopwatch watch(kLatency);
    unsigned in_row = 0;
    uint64_t added = 0;
    for (uint64_t i = t; i < n_; i += threads_) {
      const uint64_t begin = kLatency ? ticks() : 0;
      added += map_->insert(key_of(i), i) ? 1 : 0;
      if (kLatency) histogram->add(ticks() - begin);
      if (++in_row == 64) {
        in_row = 0;
        watch.lap(longest_[t]);
      }
    }
    if (added != (n_ - t + threads_ - 1) / threads_) fail("an insert of a new key said that it was there");
  }

  /// Seconds: the longest time that the machine kept a thread from running, in so many seconds.
  static double machine_stop(double seconds) {
    Stopwatch watch(false);
    Longest longest;
    const double begin = wall();
    while (wall() - begin < seconds) watch.lap(longest);
    return longest.wall;
  }

  void latencies(Line& line, const Histogram& histogram) const {
    const uint64_t tick_begin = ticks();
    const double begin = wall();
    usleep(20'000);
    const double ns = (wall() - begin) * 1e9 / static_cast<double>(ticks() - tick_begin);
    const auto at = [&](const char* name, double q) {
      line.number(name, static_cast<double>(histogram.quantile(q)) * ns / 1e3);
    };
    at("p50_us", 0.5);
    at("p99_us", 0.99);
    at("p999_us", 0.999);
    at("p9999_us", 0.9999);
    line.number("max_us", static_cast<double>(histogram.longest()) * ns / 1e3);
  }

  void memory(Line& line) {
    settle();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double after = resident_bytes() - before_, peak = static_cast<double>(usage.ru_maxrss) * 1024 - before_;
    check(0, n_);
    const auto count = static_cast<double>(n_);
    line.number("bytes", after / count).number("peak_bytes", peak / count).number("peak_ratio", peak / after);
    for (uint64_t i = 0; i < n_; ++i) {
      if (i % 10 != 0 && !map_->erase(key_of(i))) fail("a key was not there to be erased");
    }
    settle();
    line.number("erased_mb", (resident_bytes() - before_) / 1e6);
    if (map_->size() != (n_ + 9) / 10) fail("the size after erasing");
  }

  void churn(Line& line) {
    settle();
    const double before = resident_bytes();
    const Timing timing = together(threads_, 0, [&](unsigned t, const std::atomic<bool>&) {
      uint64_t both = 0;
      for (uint64_t i = t; i < n_; i += threads_) {
        both += map_->erase(key_of(i)) ? 1 : 0;
        both += map_->insert(key_of(n_ + i), n_ + i) ? 1 : 0;
      }
      if (both != 2 * ((n_ - t + threads_ - 1) / threads_)) fail("churn: a key was lost");
    });
    line.number("churn_mops", 2 * static_cast<double>(n_) / timing.wall / 1e6);
    settle();
    line.number("churn_memory", (resident_bytes() - before_) / (before - before_));
  }

  /// The keys from `first` to `last` are there, and no others.
  void check(uint64_t first, uint64_t last) const {
    for (uint64_t i = first; i < last; ++i) {
      if (map_->find_or(key_of(i), ~uint64_t{0}) != i) fail("a key is lost");
    }
    if (map_->size() != last - first) fail("the size");
  }

  uint64_t n_;
  unsigned threads_;
  std::string what_;
  uint64_t hint_;
  double before_ = 0;
  std::vector<Longest> longest_;
  std::unique_ptr<Map> map_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Args args(argc, argv);
  const bool found = bench::with_map<uint64_t, uint64_t>(
      args.text("map", "ashlar"), [&](auto tag) { bench::Growth<typename decltype(tag)::Map>(args).run(); });
  if (!found) bench::fail("no map of that name");
  return 0;
}
