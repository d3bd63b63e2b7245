// SPDX-License-Identifier: MIT
//
// scenarios.h - the scenarios of bench/chan over any queue, in C++.
//
// Owns: what a scenario does, the same as peer.go and crossbeam/main.rs do it. A Queue has send(uint64_t) and recv()
// that wait. Go's own micro benchmarks (runtime/chan_test.go) are re-expressed: contended, sync, prodcons, semaphore,
// popular.
#pragma once

#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace bench {

inline double now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

inline size_t share(size_t n, size_t parts, size_t i) {
  return n / parts + (i < n % parts ? 1 : 0);
}

struct Request {
  std::string scenario;
  size_t capacity, senders, receivers, n;
};

inline Request parse(char** argv) {
  return {argv[1], strtoull(argv[2], nullptr, 0), strtoull(argv[3], nullptr, 0), strtoull(argv[4], nullptr, 0),
          strtoull(argv[5], nullptr, 0)};
}

class Group {
 public:
  template <class F>
  void start(F f) {
    threads_.emplace_back(f);
  }
  ~Group() {
    for (auto& t : threads_) t.join();
  }

 private:
  std::vector<std::thread> threads_;
};

template <class Queue>
void shape(Queue& q, const Request& r) {
  Group group;
  for (size_t i = 0; i < r.senders; ++i) {
    group.start([&, i] {
      for (size_t k = share(r.n, r.senders, i); k > 0; --k) q.send(k);
    });
  }
  for (size_t i = 0; i < r.receivers; ++i) {
    group.start([&, i] {
      for (size_t k = share(r.n, r.receivers, i); k > 0; --k) q.recv();
    });
  }
}

template <class Queue>
void uncontended(Queue& q, const Request& r) {
  for (size_t i = 0; i < r.n; ++i) {
    q.send(i);
    q.recv();
  }
}

/// Each thread fills a hundred places of a queue that all share, and then empties as many.
template <class Queue>
void contended(Queue& q, const Request& r) {
  Group group;
  for (size_t i = 0; i < r.senders; ++i) {
    group.start([&, i] {
      for (size_t k = share(r.n, r.senders, i); k > 0;) {
        const size_t batch = k < 100 ? k : 100;
        for (size_t j = 0; j < batch; ++j) q.send(j);
        for (size_t j = 0; j < batch; ++j) q.recv();
        k -= batch;
      }
    });
  }
}

/// Two threads and one queue: what one sends is answered on the same one. A message is one way.
template <class Queue>
void sync(Queue& q, const Request& r) {
  Group group;
  group.start([&] {
    for (size_t i = 0; i < r.n / 2; ++i) {
      q.recv();
      q.send(i);
    }
  });
  for (size_t i = 0; i < r.n / 2; ++i) {
    q.send(i);
    q.recv();
  }
}

inline uint64_t work() {
  uint64_t x = 0;
  for (int i = 0; i < 100; ++i) {
    x = x * 2 + 1;
    asm volatile("" : "+r"(x));
  }
  return x & 1;
}

/// As many consumers as producers; both work between two messages.
template <class Queue>
void prodcons(Queue& q, const Request& r) {
  Group group;
  for (size_t i = 0; i < r.senders; ++i) {
    group.start([&, i] {
      for (size_t k = share(r.n, r.senders, i); k > 0; --k) q.send(work());
    });
    group.start([&, i] {
      for (size_t k = share(r.n, r.senders, i); k > 0; --k) {
        q.recv();
        work();
      }
    });
  }
}

/// A message every two milliseconds, to a thread that sleeps meanwhile: nanoseconds from before the send to after the
/// receive.
template <class Queue>
double parked(Queue& q, Queue& answer, const Request& r) {
  double sum = 0;
  Group group;
  group.start([&] {
    for (size_t i = 0; i < r.n; ++i) {
      const uint64_t sent = q.recv();
      answer.send(static_cast<uint64_t>(now_ns()) - sent);
    }
  });
  for (size_t i = 0; i < r.n; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    q.send(static_cast<uint64_t>(now_ns()));
    sum += static_cast<double>(answer.recv());
  }
  return sum / static_cast<double>(r.n);
}

/// Half of the threads wait for an element, the other half for room, for two seconds; `run` looks at the CPU time that
/// they burn.
template <class Queue>
[[noreturn]] void idle(Queue& empty, Queue& full, const Request& r) {
  for (size_t i = 0; i < r.capacity; ++i) full.send(i);
  for (size_t i = 0; i < r.receivers; ++i) std::thread([&] { empty.recv(); }).detach();
  for (size_t i = 0; i < r.senders; ++i) std::thread([&] { full.send(1); }).detach();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  puts("0");
  fflush(stdout);
  _exit(0);
}

template <class Queue>
void seq(Queue& q, const Request& r) {
  for (size_t i = 0; i < r.n; ++i) q.send(i);
  for (size_t i = 0; i < r.n; ++i) q.recv();
}

template <class Queue>
void pingpong(Queue& there, Queue& back, const Request& r) {
  Group group;
  group.start([&] {
    for (size_t i = 0; i < r.n; ++i) back.send(there.recv());
  });
  for (size_t i = 0; i < r.n; ++i) {
    there.send(i);
    back.recv();
  }
}

}  // namespace bench
