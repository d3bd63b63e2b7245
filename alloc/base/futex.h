// SPDX-License-Identifier: MIT
//
// futex.h - a mutex of four bytes that parks in the kernel and never allocates.
//
// Owns: Mutex. Zero bytes are an unlocked mutex, so it may sit in zero-initialised memory.
// States: 0 free, 1 locked, 2 locked and somebody may be parked. (After U. Drepper, "Futexes Are Tricky", mutex2.)
// Not recursive. Held across fork by the prepare handler; the child's copy is unlocked by the thread that holds it.
#pragma once

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ashlar {

/// A hint to the CPU that this is a spin loop.
inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

class Mutex {
 public:
  void lock() noexcept {
    uint32_t expected = 0;
    // Acquire pairs with the release in unlock().
    if (!__atomic_compare_exchange_n(&state_, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) lock_slow();
  }

  bool try_lock() noexcept {
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(&state_, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
  }

  void unlock() noexcept {
    // Release pairs with the acquire in lock().
    if (__atomic_exchange_n(&state_, 0, __ATOMIC_RELEASE) == 2) wake_one();
  }

 private:
  // Sections under our locks last well below a microsecond, so a short spin beats a sleep where the owner runs.
  static constexpr int kSpins = 100;

  [[gnu::noinline, gnu::cold]] void lock_slow() noexcept {
    for (int i = 0; i < kSpins; ++i) {
      // Relaxed: only a look; the acquisition itself is the exchange below or lock().
      if (__atomic_load_n(&state_, __ATOMIC_RELAXED) == 0 && try_lock()) return;
      cpu_relax();
    }
    while (__atomic_exchange_n(&state_, 2, __ATOMIC_ACQUIRE) != 0) {
      syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, 2, nullptr, nullptr, 0);
    }
  }

  [[gnu::noinline, gnu::cold]] void wake_one() noexcept {
    syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

  uint32_t state_ = 0;
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
