// SPDX-License-Identifier: MIT
//
// system.h - what the channel asks of the machine: atomics, futex, clock, barriers, who runs where.
//
// Owns: System, the parameter `Os` that ships. Tests pass others (test/chan/preempt_os.h, test/white/chan_model*.cc),
// so that a model checker and injected preemption run the code that ships. An Os has
//   Atomic<T>                     as std::atomic
//   pause(), yield()              a hint that this is a spin loop; lets another thread of this CPU run, if one wants to
//   now_ns()                      CLOCK_MONOTONIC
//   wait(word, value, deadline)   sleeps while word == value; false once the deadline has passed. May return early
//   wake(word, count)             may be called with a word that is gone: it uses the address alone
//   light_barrier(), heavy_barrier()
//                                 a store before a light barrier and a load behind it, against the same round a heavy
//                                 one in another thread: at least one of the loads sees the other's store (membarrier)
//   max_spins()                   pauses that are worth a sleep: 0 where the process has one CPU
//   copy_word(to, from)           moves an element of 8 bytes
//   thread_id(), epoch()          for the dump; which fork of the process this is
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/base/futex.h"

namespace ashlar::chan_core {

inline constexpr uint64_t kNever = UINT64_MAX;

struct System {
  template <class T>
  using Atomic = std::atomic<T>;

  static void pause() noexcept { cpu_relax(); }
  static void yield() noexcept;
  static uint64_t now_ns() noexcept;
  static bool wait(Atomic<uint32_t>& word, uint32_t value, uint64_t deadline_ns) noexcept;
  static void wake(Atomic<uint32_t>& word, uint32_t count) noexcept;
  /// The store may still be in this CPU's buffer: heavy_barrier() empties it. The compiler, at least, keeps the order.
  static void light_barrier() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }
  static void heavy_barrier() noexcept;
  /// Whether heavy_barrier() works here; if not, whoever relies on it sleeps in short naps.
  static bool has_heavy_barrier() noexcept;
  static uint32_t max_spins() noexcept;
  static void copy_word(void* to, const void* from) noexcept { __builtin_memcpy(to, from, sizeof(uint64_t)); }
  static uint32_t thread_id() noexcept;
  static uint32_t epoch() noexcept { return fork_epoch; }

  /// Registers for fork and membarrier, and counts the CPUs. By the first newchan of a process.
  static void prepare() noexcept;
  /// Counts the CPUs anew; called now and then by those who go to sleep.
  static void count_cpus() noexcept;

 private:
  // Written by the child of a fork while it has one thread; relaxed reads elsewhere would see nothing else.
  [[gnu::visibility("hidden")]] static uint32_t fork_epoch;
};

}  // namespace ashlar::chan_core
