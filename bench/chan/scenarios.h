// SPDX-License-Identifier: MIT
//
// scenarios.h - the scenarios of bench/chan over any queue, in C++.
//
// Owns: what a scenario does, the same as peer.go and crossbeam/main.rs do it. A Queue has send(uint64_t) and recv()
// that wait.
#pragma once

#include <time.h>

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
