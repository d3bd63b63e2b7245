// SPDX-License-Identifier: MIT
//
// chan_model.h - the channel over relacy, a model checker for C++'s memory model.
//
// Owns: ModelOs, the parameter `Os` over relacy's atomics and its futex, in which time does not pass (a wait with a
// deadline may end at once), what can be taken away from it, and Modelled, a channel with a shadow variable for every
// slot, which shows a race of two copies.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>

#include "chan/select.h"
#include "test/support/relacy.h"

namespace chan_model {

using namespace ashlar::chan_core;

// A deadline that comes.
inline constexpr uint64_t kSoon = 999'999;

// What is taken away.
enum Fault { kNone, kNoSeqCst, kNoRelease, kNoLightBarrier, kLostWake };

inline Fault fault = kNone;
// Atomics that exist: wake() may be called with one that is gone. (No container: relacy has its own operator new, not
// its own delete.)
class Live {
 public:
  void add(const void* p) {
    for (const void*& slot : slots_) {
      if (slot != nullptr) continue;
      slot = p;
      return;
    }
    abort();
  }
  void remove(const void* p) { *find(p) = nullptr; }
  bool has(const void* p) { return find(p) != nullptr; }

 private:
  const void** find(const void* p) {
    for (const void*& slot : slots_) {
      if (slot == p) return &slot;
    }
    return nullptr;
  }
  const void* slots_[256] = {};
};
inline Live live;

inline rl::memory_order order(std::memory_order mo) {
  switch (mo) {
    case std::memory_order_relaxed:
      return rl::mo_relaxed;
    case std::memory_order_acquire:
    case std::memory_order_consume:
      return rl::mo_acquire;
    case std::memory_order_release:
      return fault == kNoRelease ? rl::mo_relaxed : rl::mo_release;
    case std::memory_order_acq_rel:
      return rl::mo_acq_rel;
    default:
      return rl::mo_seq_cst;
  }
}
inline rl::memory_order load_order(std::memory_order mo) {
  return fault == kNoSeqCst && mo == std::memory_order_seq_cst ? rl::mo_acquire : order(mo);
}
inline rl::memory_order rmw_order(std::memory_order mo) {
  return fault == kNoSeqCst && mo == std::memory_order_seq_cst ? rl::mo_acq_rel : order(mo);
}

template <class T>
class ModelAtomic {
 public:
  ModelAtomic() : ModelAtomic(0) {}
  ModelAtomic(T v) : a_(v) { live.add(this); }
  ~ModelAtomic() { live.remove(this); }
  ModelAtomic(const ModelAtomic&) = delete;
  ModelAtomic& operator=(const ModelAtomic&) = delete;

  T load(std::memory_order mo) const { return const_cast<rl::atomic<T>&>(a_)($).load(load_order(mo)); }
  void store(T v, std::memory_order mo) { a_($).store(v, order(mo)); }
  T exchange(T v, std::memory_order mo) { return a_($).exchange(v, rmw_order(mo)); }
  T fetch_add(T v, std::memory_order mo) { return a_($).fetch_add(v, rmw_order(mo)); }
  T fetch_sub(T v, std::memory_order mo) { return a_($).fetch_sub(v, rmw_order(mo)); }
  T fetch_or(T v, std::memory_order mo) { return a_($).fetch_or(v, rmw_order(mo)); }
  T fetch_and(T v, std::memory_order mo) { return a_($).fetch_and(v, rmw_order(mo)); }
  bool compare_exchange_weak(T& e, T v, std::memory_order mo, std::memory_order failed) {
    return a_($).compare_exchange_weak(e, v, rmw_order(mo), load_order(failed));
  }
  bool compare_exchange_strong(T& e, T v, std::memory_order mo, std::memory_order failed) {
    return a_($).compare_exchange_strong(e, v, rmw_order(mo), load_order(failed));
  }
  rl::atomic<T>& impl() { return a_; }

 private:
  rl::atomic<T> a_;
};

// ---- shadows ------------------------------------------------------------------------------------------------

constexpr size_t kMaxCapacity = 2;

// Of one channel: a variable per slot, and one for the cell. Copies between threads' own memory have none.
struct Shadow {
  unsigned char* base = nullptr;
  rl::var<int> slots[kMaxCapacity];
  rl::var<int> cell;
  unsigned char* cell_at = nullptr;
};
inline Shadow* shadows[2] = {};

inline rl::var<int>* shadow_of(const void* at) {
  const auto* p = static_cast<const unsigned char*>(at);
  for (Shadow* s : shadows) {
    if (s == nullptr) continue;
    if (p == s->cell_at) return &s->cell;
    if (p >= s->base && p < s->base + 8 * kMaxCapacity) return &s->slots[(p - s->base) / 8];
  }
  return nullptr;
}
inline void move_word(void* to, const void* from) {
  if (rl::var<int>* s = shadow_of(from)) (void)static_cast<int>((*s)($));
  if (rl::var<int>* s = shadow_of(to)) (*s)($) = 1;
  memcpy(to, from, 8);
}

template <uint32_t spins>
struct ModelOs {
  template <class T>
  using Atomic = ModelAtomic<T>;

  static void pause() { rl::yield(1, $); }
  static void yield() { rl::yield(1, $); }
  // A caller's deadline (kSoon) has passed or not, as you like.
  static uint64_t now_ns() { return rl::rand(2) == 0 ? 0 : 1'000'000; }
  static bool wait(Atomic<uint32_t>& word, uint32_t value, uint64_t deadline_ns) {
    // The lazy millisecond may be over at once, or never (which must not be what wakes us); a caller's deadline comes
    // for sure.
    if (deadline_ns != kNever && rl::rand(2) == 0) return false;
    const bool is_timed = deadline_ns < 1'000'000;
    rl::context& c = rl::ctx();
    c.sched();
    // The kernel has a full barrier on both sides of a futex.
    c.atomic_thread_fence_seq_cst();
    {
      rl::preemption_disabler pd(c);
      if (word.impl()($).load(rl::mo_acquire) != value) return true;
    }
    return word.impl().wait(c, is_timed, false, $) != rl::unpark_reason_timeout;
  }
  static void wake(Atomic<uint32_t>& word, uint32_t count) {
    if (fault == kLostWake && rl::rand(2) == 0) return;
    rl::context& c = rl::ctx();
    c.sched();
    c.atomic_thread_fence_seq_cst();
    // From here to the wake-up no other thread runs.
    if (live.has(&word)) word.impl().wake(c, count, $);
  }
  // The pair is a fence on both sides: membarrier makes one of the other's compiler barrier.
  static void light_barrier() {
    if (fault != kNoLightBarrier) rl::atomic_thread_fence(rl::mo_seq_cst, $);
  }
  static void heavy_barrier() {
    // (That the sleeper needs its half cannot be shown here: with the light one a fence, the kernel's in the futex
    // would do.)
    rl::atomic_thread_fence(rl::mo_seq_cst, $);
  }
  static bool has_heavy_barrier() { return true; }
  static uint32_t max_spins() { return spins; }
  static void copy_word(void* to, const void* from) { move_word(to, from); }
  static uint32_t thread_id() { return 1; }
  static uint32_t epoch() { return 0; }
  static void count_cpus() {}
};

// ---- a channel with a shadow ---------------------------------------------------------------------------------

template <class Os>
struct Modelled {
  Channel<Os> c;
  uint64_t buffer[kMaxCapacity] = {};
  ModelAtomic<uint32_t> turns[kMaxCapacity];
  Shadow shadow;

  void open(size_t capacity, size_t which) {
    c.measure(8, capacity);
    c.buffer = reinterpret_cast<unsigned char*>(buffer);
    c.turns = turns;
    c.send_hints.spins.store(2, std::memory_order_relaxed);
    c.recv_hints.spins.store(2, std::memory_order_relaxed);
    c.send_hints.rounds.store(1, std::memory_order_relaxed);
    c.recv_hints.rounds.store(1, std::memory_order_relaxed);
    shadow.base = c.buffer;
    shadow.cell_at = c.cell;
    for (auto& s : shadow.slots) s($) = 0;
    shadow.cell($) = 0;
    shadows[which] = &shadow;
  }
  Status put(uint64_t v, uint64_t deadline = kNever) { return send<Os>(c, &v, deadline, nullptr); }
  Status get(uint64_t& v, uint64_t deadline = kNever) { return recv<Os>(c, &v, deadline, nullptr); }
};

}  // namespace chan_model
