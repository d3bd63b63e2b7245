// SPDX-License-Identifier: MIT
//
// futex.h - a mutex of eight bytes that parks in the kernel, never allocates, and knows its owner.
//
// Owns: Mutex. Zero bytes are an unlocked mutex, so it may sit in zero-initialised memory.
// States: 0 free; the owner's thread pointer: locked; the same with bit 0 set: locked and somebody may be parked.
// (After U. Drepper, "Futexes Are Tricky", mutex2.) One compare-and-exchange takes the lock and says by whom, so that a
// signal handler finds an owner at every instruction. It costs nothing: the value comes from %fs:0 instead of a
// constant. Not recursive: a thread that asks for what it holds is a signal handler that interrupted us, and the
// process ends with a line that says so. Held across fork by the prepare handler; the child's copy is unlocked by the
// thread that holds it.
#pragma once

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "alloc/base/check.h"

namespace ashlar {

/// A hint to the CPU that this is a spin loop.
inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

/// Sleeps for about so long, no cancellation point: by the system call that the mutex needs anyway, since a sandbox may
/// know no other.
inline void nap(uint32_t ms = 1) noexcept {
  const uint32_t nobody = 0;
  const timespec time = {ms / 1000, static_cast<long>(ms % 1000) * 1000000};
  syscall(SYS_futex, &nobody, FUTEX_WAIT_PRIVATE, 0, &time, nullptr, 0);
}

/// The calling thread, as locks name it: its thread pointer, never 0, even.
inline uintptr_t this_thread() noexcept {
  return reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
}

class Mutex {
 public:
  void lock() noexcept {
    if (!try_lock()) lock_slow();
  }

  bool try_lock() noexcept {
    uintptr_t expected = 0;
    // Acquire pairs with the release in unlock().
    return __atomic_compare_exchange_n(&state_, &expected, this_thread(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
  }

  void unlock() noexcept {
    // Release pairs with the acquire in lock().
    if ((__atomic_exchange_n(&state_, 0, __ATOMIC_RELEASE) & kParked) != 0) wake_one();
  }

  /// Whether the calling thread holds it; exact in a signal handler, too.
  bool is_mine() const noexcept {
    // Relaxed: only this thread writes the value that this thread looks for.
    return (__atomic_load_n(&state_, __ATOMIC_RELAXED) & ~kParked) == this_thread();
  }

  /// For fork: takes the mutex, unless the calling thread holds it already (false). `interrupted`: the thread holds
  /// locks of ours, a signal handler having interrupted it, so that the order of locks cannot be kept; then whoever
  /// waits for those may hold this one for ever, which ends the process with a line that says so.
  [[nodiscard]] bool lock_for_fork(bool interrupted) noexcept {
    if (is_mine()) return false;
    if (!interrupted) {
      lock();
      return true;
    }
    for (int i = 0; i < kPatience; ++i) {
      if (try_lock()) return true;
      nap();
    }
    fatal("fork from a signal handler that interrupted malloc, while other threads wait for what it had locked");
  }

 private:
  // Sections under our locks last well below a microsecond, so a short spin beats a sleep where the owner runs.
  static constexpr int kSpins = 100;
  static constexpr int kPatience = 10000;  // naps
  static constexpr uintptr_t kParked = 1;

  [[gnu::noinline, gnu::cold]] void lock_slow() noexcept {
    if (is_mine()) fatal("malloc called from a signal handler that interrupted malloc");
    for (int i = 0; i < kSpins; ++i) {
      // Relaxed: only a look; the acquisition itself is an exchange below or in try_lock().
      if (__atomic_load_n(&state_, __ATOMIC_RELAXED) == 0 && try_lock()) return;
      cpu_relax();
    }
    uintptr_t seen = __atomic_load_n(&state_, __ATOMIC_RELAXED);
    for (;;) {
      // Whoever parked once marks the mutex when it gets it: there may be others. A failed exchange has `seen` anew.
      if (seen == 0) {
        if (__atomic_compare_exchange_n(&state_, &seen, this_thread() | kParked, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
          return;
        continue;
      }
      if ((seen & kParked) == 0 &&
          !__atomic_compare_exchange_n(&state_, &seen, seen | kParked, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
      syscall(SYS_futex, word(), FUTEX_WAIT_PRIVATE, static_cast<uint32_t>(seen | kParked), nullptr, nullptr, 0);
      seen = __atomic_load_n(&state_, __ATOMIC_RELAXED);
    }
  }

  [[gnu::noinline, gnu::cold]] void wake_one() noexcept {
    syscall(SYS_futex, word(), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

  // What the kernel compares: the low half. Where two owners share it, a sleeper sleeps on, marked, as it should.
  void* word() noexcept { return &state_; }
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

  uintptr_t state_ = 0;
};

class MutexGuard {
 public:
  explicit MutexGuard(Mutex& m) noexcept : mutex_(m) { mutex_.lock(); }
  ~MutexGuard() { mutex_.unlock(); }
  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace ashlar
