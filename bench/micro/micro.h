// SPDX-License-Identifier: MIT
//
// micro.h - how a case of the micro suite is written: fixed work, warm-up, counters.
//
// A case is a name, a body, and how often it runs; Google Benchmark provides threads and output. The number of
// operations is fixed and divided among the threads, so that every allocator does the same work and the time is the
// answer: from the first thread's start to the last one's end, as more threads than CPUs take turns. BENCH_SCALE=0.01
// runs a part of it (for callgrind and for tests). Counters of a case: ops (operations in one run of the body),
// elapsed_ns (of all threads together, so elapsed_ns / iterations / ops is the time of one operation), and
// bytes_per_object where it is about memory.
#ifndef BENCH_MICRO_MICRO_H_
#define BENCH_MICRO_MICRO_H_

#include <benchmark/benchmark.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "bench/program.h"

namespace micro {

/// Does the case's work so many times; owns what it needs. One call of it is what is timed.
using Body = std::function<void(long runs)>;
/// Runs in each thread before the clock starts.
using Make = std::function<Body(benchmark::State& state)>;

enum class Threads { kAll, kOne, kTwoAndMore };

struct Case {
  std::string name;
  Threads threads = Threads::kAll;
  long runs = 0;  ///< of the body, by all threads together
  long ops = 1;   ///< operations in one run of the body
  Make make;
};

/// The body that calls `once` in a loop, inlined.
template <class Once>
Body repeated(Once once) {
  return [once](long runs) mutable {
    for (; runs > 0; --runs) once();
  };
}

/// Makes the compiler believe that the block is used, so that it may not remove the pair. No instruction.
inline void* used(void* block) {
  asm volatile("" : "+r"(block) : : "memory");
  return block;
}

/// malloc, and a write to the block: what a program does with every one of them.
inline void* touched(size_t size) {
  void* block = used(std::malloc(size));
  *static_cast<volatile char*>(block) = 1;
  return block;
}

/// Monotonic nanoseconds.
int64_t now_ns();

/// Takes time out of the measurement, which a body with one thread spent on something else.
void leave_out_ns(int64_t ns);

/// 1,000 random sizes, the same in every process: `low` .. `high`, evenly over the powers of two if `by_power`.
std::vector<uint32_t> random_sizes(uint32_t low, uint32_t high, bool by_power);

void add_loops(std::vector<Case>& cases);
void add_kinds(std::vector<Case>& cases);
void add_threads(std::vector<Case>& cases);
void add_memory(std::vector<Case>& cases);

}  // namespace micro

#endif  // BENCH_MICRO_MICRO_H_
