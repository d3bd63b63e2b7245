// SPDX-License-Identifier: MIT
//
// epoch_fork_test.cc - a fork after each instruction of a thread that retires blocks, collects and ends: the child,
// which gets what the thread's record holds, frees nothing twice, and loses little.
//
// The processor's trap flag stops the thread; the handler forks, and the child is the other threads' view of it.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc/epoch_core.h"

namespace {

constexpr uint32_t kBag = 2, kBags = 16, kBlocks = 64;

struct Pool {
  alignas(16) char memory[128];
  bool used;
};
Pool pool[kBags];
uint32_t released[kBlocks];
uint32_t retired, twice;

struct Short : ashlar::EpochAtomics {
  using Plain = EpochAtomics;
  static constexpr uint32_t kBagBlocks = kBag;
  static void heavy_barrier() noexcept {}
  /// With what it held before, as malloc gives it.
  static void* allocate_bag(size_t bytes) noexcept {
    for (Pool& bag : pool) {
      if (bag.used || bytes > sizeof bag.memory) continue;
      bag.used = true;
      return bag.memory;
    }
    return nullptr;
  }
  static void deallocate_bag(void* p) noexcept {
    bool* used = &reinterpret_cast<Pool*>(p)->used;
    if (!*used) ++twice;
    *used = false;
  }
  static void* allocate_record(size_t bytes) noexcept {
    alignas(128) static char memory[4][512];
    static uint32_t next = 0;
    return bytes <= sizeof memory[0] && next < 4 ? memory[next++] : nullptr;
  }
};

using Core = ashlar::EpochCore<Short>;
using Record = Core::Record;
Core core;

void release(void* block) {
  if (++*static_cast<uint32_t*>(block) != 1) ++twice;
}
void retire(Record* r) {
  core.retire(r, &released[retired++], 32, release);
}

/// In the child: the record is given up, and another thread goes on. 0: all is well.
int go_on() {
  for (Record* r = core.records(); r != nullptr; r = r->next) {
    if (r->in_use.load(std::memory_order_relaxed) != 0) core.detach(r);
  }
  const uint32_t before = retired;
  Record* r = core.attach(false);
  if (r == nullptr) return 3;
  for (int i = 0; i < 5; ++i) retire(r);
  core.seal(r);
  for (int i = 0; i < 8; ++i) core.collect(r);
  if (twice != 0) return 1;
  // At most the bags of one list, and what was just being retired, are in no list of the record.
  uint32_t lost = 0;
  for (uint32_t i = 0; i < retired; ++i) lost += released[i] == 0 ? 1 : 0;
  for (uint32_t i = before; i < retired; ++i) {
    if (released[i] == 0) return 4;  // its own
  }
  return lost <= 4 * kBag + 2 ? 0 : 2;
}

uint32_t steps, wrong[8], first_wrong;

void on_trap(int) {
  const int saved_errno = errno;
  ++steps;
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);  // lists that are given away twice have no end
    _exit(go_on());
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) {
    ++wrong[WIFEXITED(status) ? WEXITSTATUS(status) & 7 : 7];
    if (first_wrong == 0) first_wrong = steps;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) abort();
  }
  errno = saved_errno;
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr bool kStops = true;
[[gnu::always_inline]] inline void stop_at_each(bool on) {
  // Below what the compiler may keep under the stack pointer.
  if (on)
    asm volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
                     : "memory", "cc");
  else
    asm volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
                     : "memory", "cc");
}
#else
constexpr bool kStops = false;  // other machines have no such flag, and in a sanitizer's code it is of no use
void stop_at_each(bool /*on*/) {}
#endif

/// What the thread does, twice: so the second time round there are orphans, and a spare bag. Where it is not stopped at
/// each instruction, it is between these calls.
[[gnu::noinline]] void live() {
  const auto between = [] {
    if (!kStops) on_trap(0);
  };
  for (int life = 0; life < 2; ++life) {
    Record* r = core.attach(false);
    for (int i = 0; i < 9; ++i) {
      retire(r);
      between();
    }
    core.retire_rest(r, &released[retired++], 32, release);
    between();
    core.free_rest(r);
    between();
    core.retire_rest(r, &released[retired++], 32, release);
    between();
    retire(r);
    between();
    core.detach(r);
    between();
  }
}

TEST(EpochCore, a_fork_at_any_instruction_frees_nothing_twice) {
  struct sigaction trap = {}, old = {};
  trap.sa_handler = on_trap;
  ASSERT_EQ(0, sigaction(SIGTRAP, &trap, &old));
  stop_at_each(true);
  live();
  stop_at_each(false);
  sigaction(SIGTRAP, &old, nullptr);
  EXPECT_LT(kStops ? 1000u : 25u, steps);
  EXPECT_EQ(0u, wrong[1]) << "freed twice, first after instruction " << first_wrong;
  EXPECT_EQ(0u, wrong[2]) << "lost, first after instruction " << first_wrong;
  EXPECT_EQ(0u, wrong[3]) << "no record";
  EXPECT_EQ(0u, wrong[4]) << "the child's own blocks";
  EXPECT_EQ(0u, wrong[7]) << "crashed, first after instruction " << first_wrong;
  EXPECT_EQ(0u, twice);
}

}  // namespace
