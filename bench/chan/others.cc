// SPDX-License-Identifier: MIT
//
// others.cc - the scenarios of bench/chan on queues that have neither close nor select nor parking: they yield while
// they wait, so they show what a bare queue costs, and burn a CPU while idle.
//
// `others QUEUE SCENARIO CAP SENDERS RECEIVERS MESSAGES` prints nanoseconds a message. Queues: boost, tbb, moodycamel,
// atomic_b2 (any number of threads); boost_spsc and atomic_spsc (one to one). Status 3: built without that queue.
#include <sched.h>
#include <tbb/concurrent_queue.h>

#include <concurrentqueue/concurrentqueue.h>
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstring>

#include "bench/chan/scenarios.h"

// Debian's package of it and boost 1.81 (bench/maps) exclude each other.
#if __has_include(<atomic_queue/atomic_queue.h>)
#include <atomic_queue/atomic_queue.h>
#define HAS_ATOMIC_QUEUE 1
#endif

namespace {

template <class F>
void retry(F f) {
  for (int spins = 0; !f(); ++spins) {
    if (spins > 16) sched_yield();
  }
}

struct Boost {
  boost::lockfree::queue<uint64_t, boost::lockfree::fixed_sized<true>> q;
  explicit Boost(size_t capacity) : q(capacity) {}
  void send(uint64_t v) {
    retry([&] { return q.bounded_push(v); });
  }
  uint64_t recv() {
    uint64_t v = 0;
    retry([&] { return q.pop(v); });
    return v;
  }
};

/// More elements than its bounded form can have.
struct BoostLarge {
  boost::lockfree::queue<uint64_t> q;
  explicit BoostLarge(size_t capacity) : q(capacity) {}
  void send(uint64_t v) { q.push(v); }
  uint64_t recv() {
    uint64_t v = 0;
    retry([&] { return q.pop(v); });
    return v;
  }
};

struct BoostSpsc {
  boost::lockfree::spsc_queue<uint64_t> q;
  explicit BoostSpsc(size_t capacity) : q(capacity) {}
  void send(uint64_t v) {
    retry([&] { return q.push(v); });
  }
  uint64_t recv() {
    uint64_t v = 0;
    retry([&] { return q.pop(v); });
    return v;
  }
};

struct Tbb {
  tbb::concurrent_bounded_queue<uint64_t> q;
  explicit Tbb(size_t capacity) { q.set_capacity(static_cast<std::ptrdiff_t>(capacity)); }
  void send(uint64_t v) { q.push(v); }  // parks
  uint64_t recv() {
    uint64_t v = 0;
    q.pop(v);
    return v;
  }
};

struct Moodycamel {
  moodycamel::ConcurrentQueue<uint64_t> q;
  explicit Moodycamel(size_t capacity) : q(capacity) {}  // has no bound: never full
  void send(uint64_t v) { q.enqueue(v); }
  uint64_t recv() {
    uint64_t v = 0;
    retry([&] { return q.try_dequeue(v); });
    return v;
  }
};

#if HAS_ATOMIC_QUEUE
template <bool is_spsc>
struct Atomic {
  atomic_queue::AtomicQueueB2<uint64_t, std::allocator<uint64_t>, true, false, is_spsc> q;
  explicit Atomic(size_t capacity) : q(static_cast<unsigned>(capacity)) {}
  void send(uint64_t v) {
    retry([&] { return q.try_push(v); });
  }
  uint64_t recv() {
    uint64_t v = 0;
    retry([&] { return q.try_pop(v); });
    return v;
  }
};
#endif

template <class Queue>
int run(const bench::Request& r) {
  double begin = bench::now_ns();
  Queue q(r.scenario == "seq" ? r.n : r.capacity);
  if (r.scenario == "shape") {
    bench::shape(q, r);
  } else if (r.scenario == "uncontended") {
    begin = bench::now_ns();
    bench::uncontended(q, r);
  } else if (r.scenario == "seq") {
    bench::seq(q, r);
  } else if (r.scenario == "idle") {
    Queue full(r.capacity);
    bench::idle(q, full, r);
  } else {
    return 2;
  }
  printf("%.3f\n", (bench::now_ns() - begin) / static_cast<double>(r.n));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const bench::Request r = bench::parse(argv + 1);
  const std::string queue = argv[1];
  if (queue == "boost") return r.capacity < 65535 && r.scenario != "seq" ? run<Boost>(r) : run<BoostLarge>(r);
  if (queue == "boost_spsc") return run<BoostSpsc>(r);
  if (queue == "tbb") return run<Tbb>(r);
  if (queue == "moodycamel") return run<Moodycamel>(r);
#if HAS_ATOMIC_QUEUE
  if (queue == "atomic_b2") return run<Atomic<false>>(r);
  if (queue == "atomic_spsc") return run<Atomic<true>>(r);
#else
  if (queue == "atomic_b2" || queue == "atomic_spsc") return 3;
#endif
  return 2;
}
