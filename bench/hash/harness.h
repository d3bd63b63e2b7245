// SPDX-License-Identifier: MIT
//
// harness.h - what the programs of bench/hash share: arguments, clocks, threads that start together, streams of keys,
// and the lines of JSON that `run` reads.
//
// Owns: the numbers of keys (key_of, text_of), the same in peer.go. A stream is a file of `streams`: every map, and
// Go's, is asked for the same keys in the same order.
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace bench {

[[noreturn]] inline void fail(const std::string& what) {
  fprintf(stderr, "bench/hash: %s\n", what.c_str());
  exit(1);
}

/// `--name value` pairs.
class Args {
 public:
  Args(int argc, char** argv) {
    for (int i = 1; i < argc; i += 2) {
      if (argv[i][0] != '-' || argv[i][1] != '-' || i + 1 == argc) fail(std::string("no value for ") + argv[i]);
      values_[argv[i] + 2] = argv[i + 1];
    }
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    const auto at = values_.find(name);
    return at == values_.end() ? otherwise : at->second;
  }
  uint64_t number(const std::string& name, uint64_t otherwise) const {
    const auto at = values_.find(name);
    return at == values_.end() ? otherwise : strtoull(at->second.c_str(), nullptr, 10);
  }
  std::vector<std::string> list(const std::string& name, const std::string& otherwise) const {
    std::vector<std::string> words(1);
    for (const char c : text(name, otherwise)) {
      if (c == ',')
        words.emplace_back();
      else
        words.back() += c;
    }
    return words;
  }
  std::vector<unsigned> numbers(const std::string& name, const std::string& otherwise) const {
    std::vector<unsigned> result;
    for (const std::string& word : list(name, otherwise))
      result.push_back(static_cast<unsigned>(strtoul(word.c_str(), nullptr, 10)));
    return result;
  }

 private:
  std::map<std::string, std::string> values_;
};

/// One line of results: `"name": value` pairs.
class Line {
 public:
  Line& number(const char* name, double value) {
    char text[64] = "null";
    if (std::isfinite(value)) snprintf(text, sizeof text, "%.9g", value);
    return raw(name, text);
  }
  Line& count(const char* name, uint64_t value) { return raw(name, std::to_string(value)); }
  Line& text(const char* name, const std::string& value) { return raw(name, "\"" + value + "\""); }
  void print() {
    printf("{%s}\n", body_.c_str());
    fflush(stdout);
  }

 private:
  Line& raw(const char* name, const std::string& value) {
    if (!body_.empty()) body_ += ", ";
    body_ += std::string("\"") + name + "\": " + value;
    return *this;
  }
  std::string body_;
};

inline double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
inline double wall() {
  return seconds(CLOCK_MONOTONIC);
}

inline double resident_bytes() {
  FILE* f = fopen("/proc/self/statm", "r");
  unsigned long size = 0, pages = 0;
  if (f == nullptr || fscanf(f, "%lu %lu", &size, &pages) != 2) fail("/proc/self/statm");
  fclose(f);
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Which allocators need, to give memory back (Ashlar's helper: a second).
inline void settle() {
  usleep(1'500'000);
}

/// Spreads numbers over 64 bits; no two become the same.
constexpr uint64_t scramble(uint64_t x) {
  x = (x + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 29)) * 0x94d049bb133111ebu;
  return x ^ (x >> 32);
}
/// The key of number `id`: 62 bits, so that a step of work fits a word with two bits for what to do.
constexpr uint64_t key_of(uint64_t id) {
  return scramble(id) >> 2;
}
/// The same as text, of 23 characters: more than a std::string holds inside.
inline std::string text_of(uint64_t key) {
  char text[32];
  snprintf(text, sizeof text, "user%019llu", static_cast<unsigned long long>(key));
  return text;
}

/// The stream `dist` over `universe` ids, as `streams` wrote it: 2^21 numbers of 4 bytes.
class Stream {
 public:
  static constexpr size_t kSteps = size_t{1} << 21;
  Stream(const std::string& folder, const std::string& dist, uint64_t universe) {
    const std::string path = folder + "/" + dist + "-" + std::to_string(universe);
    const int fd = open(path.c_str(), O_RDONLY);
    if (fd < 0) fail("no stream " + path + " (build/bench/hash/streams makes it)");
    void* at = mmap(nullptr, kSteps * 4, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) fail("mmap " + path);
    ids_ = static_cast<const uint32_t*>(at);
  }
  ~Stream() { munmap(const_cast<uint32_t*>(ids_), kSteps * 4); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  uint32_t operator[](size_t i) const { return ids_[i & (kSteps - 1)]; }
  /// Where thread t of n begins.
  static size_t start(unsigned t, unsigned n) { return kSteps / n * t; }

 private:
  const uint32_t* ids_;
};

struct Timing {
  double wall, cpu;  // seconds: from the start to the end of the last thread; of all threads together
};

/// Runs work(t, stop) in n threads that begin together; after `limit` seconds (0: none) sets `stop`.
template <class F>
Timing together(unsigned n, double limit, F work) {
  std::atomic<bool> go{false}, stop{false};
  std::atomic<unsigned> ready{0};
  std::vector<double> cpu(n), end(n);
  std::mutex mutex;
  std::condition_variable all_done;
  unsigned running = n;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < n; ++t) {
    threads.emplace_back([&, t] {
      ++ready;
      while (!go.load()) std::this_thread::yield();
      const double begin = seconds(CLOCK_THREAD_CPUTIME_ID);
      work(t, stop);
      cpu[t] = seconds(CLOCK_THREAD_CPUTIME_ID) - begin;
      end[t] = wall();
      const std::lock_guard<std::mutex> guard(mutex);
      if (--running == 0) all_done.notify_one();
    });
  }
  while (ready != n) std::this_thread::yield();
  Timing timing{0, 0};
  const double begin = wall();
  go = true;
  if (limit > 0) {
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait_for(lock, std::chrono::duration<double>(limit), [&] { return running == 0; });
    stop = true;
  }
  for (std::thread& t : threads) t.join();
  for (unsigned t = 0; t < n; ++t) {
    if (end[t] - begin > timing.wall) timing.wall = end[t] - begin;
    timing.cpu += cpu[t];
  }
  return timing;
}

/// Millions a second, by the clock and by the CPU time that the threads had (of the CPUs that they could use).
inline Line& speed(Line& line, uint64_t operations, const Timing& t, unsigned threads) {
  const unsigned cpus = std::thread::hardware_concurrency();
  const double cpu = t.cpu / (threads < cpus ? threads : cpus);
  return line.number("mops", static_cast<double>(operations) / t.wall / 1e6)
      .number("cpu_mops", static_cast<double>(operations) / cpu / 1e6);
}

}  // namespace bench
