// SPDX-License-Identifier: MIT
//
// shared_slices [ELEMENTS] [ROUNDS] - what it costs to publish a growing array to readers without locks: a shared_slice
// with the barrier (epochs) and without it (old buffers are kept), and a plain slice that no reader can look at.
//
// `append`: one writer, one element of 8 bytes at a time, with no reader and with one that looks all the time; by
// doubling, and by steps of 64 elements, which replaces the buffer as often as can be where a wall of another block
// stands behind it. `look`: size and last element, with no writer and with one that appends all the time. The kinds
// take turns; stdout: medians of ROUNDS (15) in nanoseconds, the blocks of memory at the end of an append round.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "alloc/slice/shared_slice.h"
#include "alloc/slice/slice.h"
#include "bench/program.h"

namespace {

using On = ashlar::shared_slice<uint64_t>;
using Off = ashlar::shared_slice<uint64_t, ashlar::NoBarrier>;
using OnSteps = ashlar::shared_slice<uint64_t, ashlar::EpochBarrier, ashlar::grow_by_step>;
using OffSteps = ashlar::shared_slice<uint64_t, ashlar::NoBarrier, ashlar::grow_by_step>;

template <class T>
void append(ashlar::slice<T>& s, uint64_t i) {
  s.push_back(i);
}
template <class S>
void append(S& s, uint64_t i) {
  s.append(i);
}

template <class S>
uint64_t look(const S& s) {
  const auto r = s.read();
  return r.empty() ? 0 : r[r.size() - 1] + r.size();
}

/// Another thread that does one thing over and over while this object lives.
template <class F>
class Meanwhile {
 public:
  explicit Meanwhile(F f) : f_(f) {
    if (pthread_create(&thread_, nullptr, run, this) != 0) bench::fail("no thread");
    while (rounds_.load(std::memory_order_relaxed) == 0) sched_yield();
  }
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  ~Meanwhile() {
    stop_.store(true, std::memory_order_relaxed);
    pthread_join(thread_, nullptr);
  }

 private:
  static void* run(void* self) {
    auto* me = static_cast<Meanwhile*>(self);
    while (!me->stop_.load(std::memory_order_relaxed)) {
      me->f_();
      me->rounds_.store(1, std::memory_order_relaxed);
    }
    return nullptr;
  }
  F f_;
  std::atomic<bool> stop_{false};
  std::atomic<int> rounds_{0};
  pthread_t thread_;
};

struct Row {
  const char* name;
  std::vector<double> ns;
  int64_t bytes = 0;
};

template <class S, bool kWithReader, bool kWalls>
void append_round(Row* row, size_t n) {
  S s;
  std::vector<void*> walls;
  ashlar_memstats before;
  ashlar_read_memstats(&before);
  const auto fill = [&] {
    const double start = bench::now_seconds();
    for (size_t i = 0; i < n; ++i) {
      append(s, i);
      if (kWalls && i % 512 == 0) walls.push_back(ashlar_malloc(40000));
    }
    row->ns.push_back((bench::now_seconds() - start) * 1e9 / static_cast<double>(n));
  };
  if constexpr (kWithReader) {
    const Meanwhile reader([&s] {
      for (int k = 0; k < 100; ++k) asm volatile("" ::"r"(look(s)));
    });
    fill();
  } else {
    fill();
  }
  ashlar_memstats after;
  ashlar_read_memstats(&after);
  row->bytes = static_cast<int64_t>(after.heap_alloc - before.heap_alloc - walls.size() * ashlar_good_size(40000));
  for (void* wall : walls) ashlar_free(wall);
}

template <class S, bool kWithWriter>
void look_round(Row* row, size_t n) {
  S s;
  for (uint64_t i = 0; i < 1000; ++i) s.append(i);
  const auto looks = [&] {
    const double start = bench::now_seconds();
    for (size_t i = 0; i < n; ++i) asm volatile("" ::"r"(look(s)));
    row->ns.push_back((bench::now_seconds() - start) * 1e9 / static_cast<double>(n));
  };
  if constexpr (kWithWriter) {
    const Meanwhile writer([&s] {
      if (s.size() < 50'000'000) s.append(1);
    });
    looks();
  } else {
    looks();
  }
}

void print(Row& row) {
  std::sort(row.ns.begin(), row.ns.end());
  std::printf("%-58s %8.2f ns", row.name, row.ns[row.ns.size() / 2]);
  if (row.bytes != 0) std::printf("  %8.2f MB", static_cast<double>(row.bytes) / 1e6);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const auto n = static_cast<size_t>(bench::argument(argc, argv, 1, 1'000'000));
  const auto rounds = static_cast<size_t>(bench::argument(argc, argv, 2, 15));
  Row rows[] = {{"append, slice", {}},
                {"append, shared, barrier off", {}},
                {"append, shared, barrier on", {}},
                {"append, shared, barrier off, a reader looks", {}},
                {"append, shared, barrier on, a reader looks", {}},
                {"append by steps between walls, barrier off", {}},
                {"append by steps between walls, barrier on", {}},
                {"append by steps between walls, on, a reader looks", {}},
                {"look, barrier off", {}},
                {"look, barrier on", {}},
                {"look, barrier off, a writer appends", {}},
                {"look, barrier on, a writer appends", {}}};
  const size_t steps = n / 20;  // every step copies all there is
  for (size_t r = 0; r < rounds; ++r) {
    append_round<ashlar::slice<uint64_t>, false, false>(&rows[0], n);
    append_round<Off, false, false>(&rows[1], n);
    append_round<On, false, false>(&rows[2], n);
    append_round<Off, true, false>(&rows[3], n);
    append_round<On, true, false>(&rows[4], n);
    append_round<OffSteps, false, true>(&rows[5], steps);
    append_round<OnSteps, false, true>(&rows[6], steps);
    append_round<OnSteps, true, true>(&rows[7], steps);
    look_round<Off, false>(&rows[8], n);
    look_round<On, false>(&rows[9], n);
    look_round<Off, true>(&rows[10], n);
    look_round<On, true>(&rows[11], n);
  }
  for (Row& row : rows) print(row);
  return 0;
}
