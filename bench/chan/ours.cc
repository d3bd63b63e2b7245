// SPDX-License-Identifier: MIT
//
// ours.cc - the scenarios of bench/chan on Ashlar's channels.
//
// `ours SCENARIO CAP SENDERS RECEIVERS MESSAGES` prints nanoseconds a message.
#include <atomic>
#include <memory>

#include "bench/chan/scenarios.h"
#include "chan/chan.hpp"

namespace {

using bench::Group;
using bench::Request;
using bench::share;

struct Words {
  ashlar::chan<uint64_t> c;
  explicit Words(size_t capacity) : c(capacity) {}
  void send(uint64_t v) { c.send(v); }
  uint64_t recv() { return *c.recv(); }
};

struct Token {};
struct Tokens {
  ashlar::chan<Token> c;
  explicit Tokens(size_t capacity) : c(capacity) {}
  void send(uint64_t) { c.send(Token{}); }
  uint64_t recv() { return c.recv() ? 1 : 0; }
};

void batched(const Request& r, size_t batch) {
  ashlar::chan<uint64_t> c(r.capacity);
  Group group;
  for (size_t i = 0; i < r.senders; ++i) {
    group.start([&, i] {
      uint64_t values[64] = {};
      for (size_t k = share(r.n, r.senders, i); k > 0;) k -= c.send_n(values, k < batch ? k : batch);
    });
  }
  for (size_t i = 0; i < r.receivers; ++i) {
    group.start([&, i] {
      uint64_t values[64];
      for (size_t k = share(r.n, r.receivers, i); k > 0;) k -= c.recv_n(values, k < batch ? k : batch);
    });
  }
}

void batched_uncontended(const Request& r, size_t batch) {
  ashlar::chan<uint64_t> c(r.capacity);
  uint64_t values[64] = {};
  for (size_t k = 0; k < r.n; k += batch) {
    c.send_n(values, batch);
    c.recv_n(values, batch);
  }
}

size_t select_send(ashlar::chan<uint64_t>* c, uint64_t v) {
  ashlar_chan_case cases[4];
  for (int i = 0; i < 4; ++i) cases[i] = {c[i].get(), &v, ASHLAR_CHAN_SEND};
  size_t chosen = 0;
  ashlar_chan_select(cases, 4, &chosen);
  return chosen;
}

uint64_t select_recv(ashlar::chan<uint64_t>* c) {
  uint64_t v = 0;
  ashlar_chan_case cases[4];
  for (int i = 0; i < 4; ++i) cases[i] = {c[i].get(), &v, ASHLAR_CHAN_RECV};
  size_t chosen = 0;
  ashlar_chan_select(cases, 4, &chosen);
  return v;
}

void select_four(const Request& r, bool is_both) {
  ashlar::chan<uint64_t> c[4];
  for (auto& one : c) one = ashlar::chan<uint64_t>(r.capacity);
  Group group;
  for (size_t i = 0; i < 4; ++i) {
    group.start([&, i] {
      for (size_t k = share(r.n, 4, i); k > 0; --k) {
        if (is_both) {
          select_send(c, k);
        } else {
          c[i].send(k);
        }
      }
    });
    if (is_both) {
      group.start([&, i] {
        for (size_t k = share(r.n, 4, i); k > 0; --k) select_recv(c);
      });
    }
  }
  if (!is_both) {
    for (size_t k = r.n; k > 0; --k) select_recv(c);
  }
}

/// A place each for as many as the capacity; who has none waits.
void semaphore(const Request& r) {
  ashlar::chan<Token> places(r.capacity);
  Group group;
  for (size_t i = 0; i < r.senders; ++i) {
    group.start([&, i] {
      for (size_t k = share(r.n, r.senders, i); k > 0; --k) {
        places.send(Token{});
        places.recv();
      }
    });
  }
}

/// Many threads wait for one channel that all share, on which nothing comes, or for one of their own.
void popular(const Request& r) {
  ashlar::chan<bool> shared(0);
  std::vector<ashlar::chan<bool>> own;
  for (size_t i = 0; i < r.senders; ++i) own.emplace_back(0);
  Group group;
  const size_t rounds = r.n / r.senders;
  for (size_t i = 0; i < r.senders; ++i) {
    group.start([&, i] {
      for (size_t k = 0; k < rounds; ++k) {
        bool v = false;
        ashlar_chan_case cases[2] = {{shared.get(), &v, ASHLAR_CHAN_RECV}, {own[i].get(), &v, ASHLAR_CHAN_RECV}};
        ashlar_chan_select(cases, 2, nullptr);
      }
    });
  }
  for (size_t k = 0; k < rounds; ++k) {
    for (auto& one : own) one.send(true);
  }
}

/// How long a line takes from one CPU to the other and back: what this machine is like just now.
void line(const Request& r) {
  alignas(128) std::atomic<uint64_t> word{0};
  const auto bounce = [&](uint64_t parity) {
    for (uint64_t i = parity; i < 2 * r.n; i += 2) {
      while (word.load(std::memory_order_acquire) != i) {
      }
      word.store(i + 1, std::memory_order_release);
    }
  };
  Group group;
  group.start([&] { bounce(1); });
  bounce(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const Request r = bench::parse(argv);
  const std::string& s = r.scenario;
  double begin = bench::now_ns();
  if (s == "shape") {
    Words q(r.capacity);
    bench::shape(q, r);
  } else if (s == "zero") {
    Tokens q(r.capacity);
    bench::shape(q, r);
  } else if (s == "seq") {
    Words q(r.n);
    bench::seq(q, r);
  } else if (s == "uncontended") {
    Words q(r.capacity);
    begin = bench::now_ns();
    bench::uncontended(q, r);
  } else if (s == "zero_uncontended") {
    Tokens q(r.capacity);
    bench::uncontended(q, r);
  } else if (s == "miss") {
    Words q(r.capacity);
    for (size_t i = 0; i < r.n; ++i) {
      if (q.c.try_recv()) return 1;
    }
  } else if (s == "miss_c") {
    Words q(r.capacity);
    uint64_t v = 0;
    for (size_t i = 0; i < r.n; ++i) {
      if (ashlar_chan_try_recv(q.c.get(), &v) != ASHLAR_CHAN_NOT_READY) return 1;
    }
  } else if (s == "create") {
    for (size_t i = 0; i < r.n; ++i) Words q(r.capacity);
  } else if (s == "pingpong") {
    Words there(r.capacity), back(r.capacity);
    bench::pingpong(there, back, r);
  } else if (s == "batch16") {
    batched(r, 16);
  } else if (s == "batch16_uncontended") {
    batched_uncontended(r, 16);
  } else if (s == "select_rx") {
    select_four(r, false);
  } else if (s == "select_both") {
    select_four(r, true);
  } else if (s == "semaphore") {
    semaphore(r);
  } else if (s == "popular") {
    popular(r);
  } else if (s == "contended") {
    Words q(r.capacity);
    bench::contended(q, r);
  } else if (s == "sync") {
    Words q(r.capacity);
    bench::sync(q, r);
  } else if (s == "prodcons") {
    Words q(r.capacity);
    bench::prodcons(q, r);
  } else if (s == "idle") {
    Words empty(r.capacity), full(r.capacity);
    bench::idle(empty, full, r);
  } else if (s == "parked") {
    Words q(r.capacity), answer(1);
    printf("%.3f\n", bench::parked(q, answer, r));
    return 0;
  } else if (s == "line") {
    line(r);
  } else {
    return 2;
  }
  printf("%.3f\n", (bench::now_ns() - begin) / static_cast<double>(r.n));
}
