// SPDX-License-Identifier: MIT
//
// chan_preempt.h - an Os for the channel whose threads are interrupted between any two accesses of shared memory.
//
// Owns: PreemptOs (System, with a pause, a yield or a short sleep now and then before and behind every atomic
// operation).
#pragma once

#include <time.h>

#include "chan/select.h"
#include "test/alloc/test_util.h"

namespace ashlar_test {

/// Of the calling thread; 0: no preemption.
inline thread_local uint64_t preempt_state = 0;

inline void maybe_preempt() {
  if (preempt_state == 0) return;
  preempt_state = mix(preempt_state);
  const uint64_t dice = preempt_state & 0x3fff;
  if (dice < 4) {
    const timespec nap = {0, 30'000};
    nanosleep(&nap, nullptr);
  } else if (dice < 200) {
    ashlar::chan_core::System::yield();
  } else if (dice < 800) {
    for (uint64_t i = dice & 31; i > 0; --i) ashlar::chan_core::System::pause();
  }
}

template <class T>
class PreemptAtomic {
 public:
  constexpr PreemptAtomic(T v = 0) : a_(v) {}
  T load(std::memory_order mo) const {
    maybe_preempt();
    return a_.load(mo);
  }
  void store(T v, std::memory_order mo) {
    maybe_preempt();
    a_.store(v, mo);
    maybe_preempt();
  }
  T exchange(T v, std::memory_order mo) {
    return around([&] { return a_.exchange(v, mo); });
  }
  T fetch_add(T v, std::memory_order mo) {
    return around([&] { return a_.fetch_add(v, mo); });
  }
  T fetch_sub(T v, std::memory_order mo) {
    return around([&] { return a_.fetch_sub(v, mo); });
  }
  T fetch_or(T v, std::memory_order mo) {
    return around([&] { return a_.fetch_or(v, mo); });
  }
  T fetch_and(T v, std::memory_order mo) {
    return around([&] { return a_.fetch_and(v, mo); });
  }
  bool compare_exchange_weak(T& e, T v, std::memory_order mo, std::memory_order failed) {
    return around([&] { return a_.compare_exchange_weak(e, v, mo, failed); });
  }
  bool compare_exchange_strong(T& e, T v, std::memory_order mo, std::memory_order failed) {
    return around([&] { return a_.compare_exchange_strong(e, v, mo, failed); });
  }
  std::atomic<T>& plain() { return a_; }

 private:
  template <class F>
  auto around(F f) {
    maybe_preempt();
    const auto result = f();
    maybe_preempt();
    return result;
  }
  std::atomic<T> a_;
};

struct PreemptOs : ashlar::chan_core::System {
  using System = ashlar::chan_core::System;
  template <class T>
  using Atomic = PreemptAtomic<T>;
  static bool wait(Atomic<uint32_t>& word, uint32_t value, uint64_t deadline_ns) {
    return System::wait(word.plain(), value, deadline_ns);
  }
  static void wake(Atomic<uint32_t>& word, uint32_t count) { System::wake(word.plain(), count); }
};

/// A channel of words over PreemptOs.
class Preempted {
 public:
  using Os = PreemptOs;
  using Channel = ashlar::chan_core::Channel<Os>;
  using Status = ashlar::chan_core::Status;

  Preempted(size_t capacity, size_t element_size = 8)
      : buffer_(capacity), turns_(new PreemptAtomic<uint32_t>[capacity + 1]) {
    ashlar::chan_core::System::prepare();
    c.measure(element_size, capacity);
    c.buffer = reinterpret_cast<unsigned char*>(buffer_.data());
    if (c.flavour == ashlar::chan_core::Flavour::kRing) c.turns = turns_.get();
    c.quarter_mask = c.is_patient ? 3 : 0;
    c.send_hints.spins.store(300, std::memory_order_relaxed);
    c.recv_hints.spins.store(300, std::memory_order_relaxed);
  }

  Status send(uint64_t v, uint64_t deadline = ashlar::chan_core::kNever) {
    return ashlar::chan_core::send<Os>(c, &v, deadline, nullptr);
  }
  Status recv(uint64_t& v, uint64_t deadline = ashlar::chan_core::kNever) {
    return ashlar::chan_core::recv<Os>(c, &v, deadline, nullptr);
  }

  Channel c;

 private:
  std::vector<uint64_t> buffer_;
  std::unique_ptr<PreemptAtomic<uint32_t>[]> turns_;
};

}  // namespace ashlar_test
