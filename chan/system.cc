// SPDX-License-Identifier: MIT
//
// system.cc - see system.h.
#include "chan/system.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "alloc/alloc.h"

namespace ashlar::chan_core {
namespace {

// A pause takes 10 to 40 ns, and waking a thread whose CPU sleeps 30 us (README.md): more pauses than these are not
// worth it.
constexpr uint32_t kMaxSpins = 6000;

// Relaxed, all of them: each is a hint or written once with the same value.
constinit std::atomic<uint32_t> spins{kMaxSpins};
constinit std::atomic<bool> is_prepared{false};
constinit std::atomic<bool> has_membarrier{false};

}  // namespace

constinit uint32_t System::fork_epoch = 0;

void System::yield() noexcept {
  sched_yield();
}

uint64_t System::now_ns() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

bool System::wait(Atomic<uint32_t>& word, uint32_t value, uint64_t deadline_ns) noexcept {
  const int saved = errno;
  timespec until{};
  timespec* limit = nullptr;
  if (deadline_ns != kNever) {
    until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
    until.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000);
    limit = &until;
  }
  // WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC.
  const long result =
      syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, value, limit, nullptr, FUTEX_BITSET_MATCH_ANY);
  const bool timed_out = result != 0 && errno == ETIMEDOUT;
  errno = saved;
  return !timed_out;
}

void System::wake(Atomic<uint32_t>& word, uint32_t count) noexcept {
  const int saved = errno;
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
  errno = saved;
}

void System::heavy_barrier() noexcept {
  const int saved = errno;
  if (has_heavy_barrier()) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  errno = saved;
}

bool System::has_heavy_barrier() noexcept {
  return has_membarrier.load(std::memory_order_relaxed);
}

uint32_t System::max_spins() noexcept {
  return spins.load(std::memory_order_relaxed);
}

uint32_t System::thread_id() noexcept {
  return static_cast<uint32_t>(syscall(SYS_gettid));
}

void System::count_cpus() noexcept {
  const int saved = errno;
  cpu_set_t cpus;
  // Of the main thread: a thread that has pinned itself says nothing of the others.
  const bool one = sched_getaffinity(getpid(), sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1;
  spins.store(one ? 1 : kMaxSpins, std::memory_order_relaxed);
  errno = saved;
}

void System::prepare() noexcept {
  if (is_prepared.load(std::memory_order_relaxed) || is_prepared.exchange(true, std::memory_order_relaxed)) return;
  const int saved = errno;
  count_cpus();
  pthread_atfork(nullptr, nullptr, [] { ++fork_epoch; });
  if (may_use_membarrier() && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
    has_membarrier.store(true, std::memory_order_relaxed);
  errno = saved;
}

}  // namespace ashlar::chan_core
