// SPDX-License-Identifier: MIT
//
// padding.cc - 8 threads, each of which fills small maps of 24, 32 or 40 bytes that no other thread touches: maps side
// by side, so that threads share cache lines, and each map on lines of its own.
//
//   padding [--threads 8] [--maps 4] [--ms 100] [--pin 0|1]
//
// Ashlar's maps have no switch: their headers and tables always have lines of their own (`hash_map` below). So the maps
// here are a bucket of hash/bucket.h in small: a head word with two bits a slot, then 1 to 3 slots, filled by the same
// two compare-and-exchanges an insert. They lie in memory as ashlar_malloc gives it for that size (off: one thread
// makes them in a row, for the threads in turn, as a program does that prepares work for its threads), or as
// ashlar_malloc_padded does (on).
//
// Invalidations: a thread's maps fit into its L1 cache, so it misses there only where another CPU has taken a line
// away. Those misses, and the machine's own event where we know it, are counted by perf_event_open; where the machine
// does not count (most virtual ones), the line says so.
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <memory>

#include "alloc/ashlar.h"
#include "bench/hash/harness.h"
#include "hash/hash_map.h"

namespace bench {
namespace {

/// An event of all threads that are begun after it was opened.
class Counter {
 public:
  Counter(uint32_t type, uint64_t config) {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    attr.disabled = 1;
    attr.inherit = 1;
    attr.exclude_kernel = 1;
    attr.exclude_hv = 1;
    fd_ = static_cast<int>(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
    error_ = fd_ < 0 ? errno : 0;
  }
  ~Counter() {
    if (fd_ >= 0) close(fd_);
  }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  void start() const {
    if (fd_ >= 0) ioctl(fd_, PERF_EVENT_IOC_ENABLE, 0);
  }
  /// Puts what was counted for each insert into the line, or why there is nothing.
  void stop(Line& line, const std::string& name, double inserts) const {
    uint64_t count = 0;
    if (fd_ >= 0 && ioctl(fd_, PERF_EVENT_IOC_DISABLE, 0) == 0 && read(fd_, &count, sizeof count) == sizeof count)
      line.number(name.c_str(), static_cast<double>(count) / inserts);
    else
      line.text((name + "_not_counted").c_str(), strerror(error_));
  }

 private:
  int fd_, error_;
};
constexpr uint64_t kL1Misses =
    PERF_COUNT_HW_CACHE_L1D | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16;
/// Intel (Skylake to Sapphire Rapids): loads that found their line modified in another core (MEM_LOAD_L3_HIT_RETIRED).
constexpr uint64_t kIntelHitModified = 0x04d2;

/// kSlots of key and value, of kHalf bytes each, behind a head: 8 + 2 * kHalf * kSlots bytes.
template <class Half, unsigned kSlots>
struct SmallMap {
  static constexpr unsigned kEntries = kSlots;
  std::atomic<uint64_t> head;
  std::atomic<Half> key[kSlots], value[kSlots];

  bool insert(Half k, Half v) {
    // Relaxed loads of the keys: only this thread writes them; the head is acquired and released as in bucket.h.
    uint64_t now = head.load(std::memory_order_acquire);
    for (unsigned s = 0; s < kSlots; ++s) {
      const uint64_t bits = now >> (2 * s) & 3;
      if (bits == 2 && key[s].load(std::memory_order_relaxed) == k) return false;
      if (bits != 0) continue;
      const uint64_t busy = now | uint64_t{1} << (2 * s);
      if (!head.compare_exchange_strong(now, busy, std::memory_order_acq_rel)) return false;
      key[s].store(k, std::memory_order_release);
      value[s].store(v, std::memory_order_release);
      uint64_t expected = busy;
      return head.compare_exchange_strong(expected, (busy ^ uint64_t{3} << (2 * s)) + (1 << 16),
                                          std::memory_order_acq_rel);
    }
    return false;
  }
  void clear() { head.store(0, std::memory_order_release); }
};
static_assert(sizeof(SmallMap<uint64_t, 1>) == 24 && sizeof(SmallMap<uint32_t, 3>) == 32 &&
              sizeof(SmallMap<uint64_t, 2>) == 40);

template <class Map>
struct Padded {
  static void* allocate() { return ashlar_malloc_padded(sizeof(Map)); }
};
template <class Map>
struct SideBySide {
  static void* allocate() { return ashlar_malloc(sizeof(Map)); }
};

/// Filled with as many entries as a bucket holds: a header, and a table for those.
struct Product {
  static constexpr unsigned kEntries = 3;
  bool insert(uint64_t k, uint64_t v) { return map.insert(k, v); }
  void clear() {
    for (uint64_t k = 1; k <= kEntries; ++k) map.remove(k);
  }
  ashlar::hash_map<uint64_t, uint64_t> map;
};

class Bench {
 public:
  explicit Bench(const Args& args)
      : threads_(static_cast<unsigned>(args.number("threads", 8))),
        maps_(static_cast<unsigned>(args.number("maps", 4))),
        limit_(static_cast<double>(args.number("ms", 100)) / 1e3),
        pin_(args.number("pin", 1) != 0) {}

  template <class Map>
  void small() {
    measure<Map, SideBySide<Map>>(sizeof(Map), "off");
    measure<Map, Padded<Map>>(sizeof(Map), "on");
  }

  void product() { measure<Product, Padded<Product>>(sizeof(Product), "hash_map"); }

 private:
  template <class Map, class Place>
  void measure(size_t bytes, const char* padding) const {
    std::vector<Map*> all(size_t{threads_} * maps_);
    for (Map*& map : all) map = new (Place::allocate()) Map();
    const Counter l1(PERF_TYPE_HW_CACHE, kL1Misses), modified(PERF_TYPE_RAW, kIntelHitModified);
    std::vector<uint64_t> filled(threads_);
    l1.start();
    modified.start();
    const Timing timing = together(threads_, limit_, [&](unsigned t, const std::atomic<bool>& stop) {
      if (pin_) pin(t);
      uint64_t inserts = 0;
      do {
        for (unsigned turn = 0; turn < 64; ++turn) {
          for (unsigned m = 0; m < maps_; ++m) {
            Map& map = *all[m * threads_ + t];
            for (unsigned k = 1; k <= Map::kEntries; ++k) inserts += map.insert(k, k) ? 1 : 0;
            map.clear();
          }
        }
        filled[t] += uint64_t{64} * maps_ * Map::kEntries;
      } while (!stop.load(std::memory_order_relaxed));
      if (inserts != filled[t]) fail("an insert into a thread's own map failed");
    });
    uint64_t inserts = 0;
    for (const uint64_t f : filled) inserts += f;
    Line line;
    line.count("size", bytes).text("padding", padding).count("threads", threads_).count("entries", Map::kEntries);
    line.number("ns", timing.wall * 1e9 / static_cast<double>(inserts));
    l1.stop(line, "l1_misses", static_cast<double>(inserts));
    if (is_intel()) modified.stop(line, "hit_modified", static_cast<double>(inserts));
    line.print();
    for (Map* map : all) {
      map->~Map();
      ashlar_free(map);
    }
  }

  /// Neighbours on different CPUs, else the kernel may put the threads that share a line on one.
  static void pin(unsigned t) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    unsigned nth = t % static_cast<unsigned>(CPU_COUNT(&allowed));
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed) || nth-- != 0) continue;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof one, &one);
      return;
    }
  }
  static bool is_intel() {
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
  }

  unsigned threads_, maps_;
  double limit_;
  bool pin_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Args args(argc, argv);
  bench::Bench bench(args);
  bench.small<bench::SmallMap<uint64_t, 1>>();
  bench.small<bench::SmallMap<uint32_t, 3>>();
  bench.small<bench::SmallMap<uint64_t, 2>>();
  bench.product();
  return 0;
}
