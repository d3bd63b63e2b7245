// SPDX-License-Identifier: MIT
//
// guard_test.cc - the slots behind guard_sample: where blocks lie, how slots are used again, how often it samples.
#include "alloc/guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <set>

#include "alloc/alloc.h"
#include "alloc/ashlar.h"
#include "alloc/guard_report.h"
#include "alloc/options.h"

namespace ashlar {
namespace {

constexpr Trace kTrace = {{0x1234}, 1};

/// The option would be read from the environment by the first call; this program is under test in many of them.
void start(uint32_t mean) {
  ashlar_free(ashlar_malloc(1));
  options.guard_sample = mean;
  if (guard_pool.start == 0) init_guard();
  guard_mean = mean;
  ASSERT_NE(guard_pool.start, 0U);
}

TEST(Guard, blocks_end_at_a_guard_or_begin_at_one) {
  start(1);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16}, size_t{100}, size_t{8192}}) {
    int at_front = 0;
    for (int i = 0; i < 2; ++i) {
      auto* p = static_cast<char*>(guard_allocate(16, size, kTrace));
      ASSERT_NE(p, nullptr);
      ASSERT_TRUE(in_guard_pool(p));
      const uintptr_t offset = (reinterpret_cast<uintptr_t>(p) - guard_pool.start) % guard_pool.unit;
      const uintptr_t slot = (reinterpret_cast<uintptr_t>(p) - guard_pool.start) / guard_pool.unit;
      EXPECT_EQ(slot % 2, 1U);
      at_front += offset == 0 ? 1 : 0;
      EXPECT_TRUE(offset == 0 || guard_pool.unit - offset - size < 16 || size == 0) << offset;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0U);
      EXPECT_EQ(guard_usable(p), size);
      for (size_t k = 0; k < size; ++k) ASSERT_EQ(p[k], 0);
      memset(p, 7, size);
      guard_deallocate(p, kAnySize, kTrace);
    }
    EXPECT_EQ(at_front, size == 8192 ? 2 : 1) << size;
  }
}

TEST(Guard, alignment_is_kept_and_what_does_not_fit_is_refused) {
  start(1);
  for (size_t alignment = 16; alignment <= kMaxGuardedBytes; alignment *= 2) {
    for (int i = 0; i < 2; ++i) {
      void* p = guard_allocate(alignment, 10, kTrace);
      ASSERT_NE(p, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0U);
      guard_deallocate(p, 10, kTrace);
    }
  }
  EXPECT_EQ(guard_allocate(16, kMaxGuardedBytes + 1, kTrace), nullptr);
  EXPECT_EQ(guard_allocate(2 * kMaxGuardedBytes, 10, kTrace), nullptr);
}

TEST(Guard, a_freed_slot_is_the_last_to_be_used_again) {
  start(1);
  void* first = guard_allocate(16, 10, kTrace);
  guard_deallocate(first, kAnySize, kTrace);
  std::set<void*> seen;
  for (unsigned i = 0; i + 1 < kGuardSlots; ++i) {
    void* p = guard_allocate(16, 10, kTrace);
    const auto slot = [](void* q) { return (reinterpret_cast<uintptr_t>(q) - guard_pool.start) / guard_pool.unit; };
    EXPECT_NE(slot(p), slot(first)) << i;
    guard_deallocate(p, kAnySize, kTrace);
    seen.insert(p);
  }
  EXPECT_EQ(seen.size(), kGuardSlots - 1);
}

TEST(Guard, without_a_slot_the_heap_serves) {
  start(1);
  void* blocks[kGuardSlots];
  for (void*& p : blocks) ASSERT_NE(p = guard_allocate(16, 10, kTrace), nullptr);
  EXPECT_EQ(guard_allocate(16, 10, kTrace), nullptr);
  void* p = ashlar_malloc(10);
  EXPECT_NE(p, nullptr);
  EXPECT_FALSE(in_guard_pool(p));
  ashlar_free(p);
  for (void* q : blocks) ashlar_free(q);
}

TEST(Guard, one_of_n_is_sampled_on_average) {
  constexpr uint32_t kMean = 50;
  constexpr int kCalls = 200000;
  start(kMean);
  int sampled = 0;
  for (int i = 0; i < kCalls; ++i) sampled += guard_sample_due() ? 1 : 0;
  // Draws are even over 1..2N-1, so the deviation of the count is about sqrt(kCalls / N / 3), below 40 here.
  EXPECT_NEAR(sampled, static_cast<double>(kCalls) / kMean, 250);
}

TEST(Guard, figures_count_guarded_blocks) {
  start(1);
  static ashlar_memstats before;
  static ashlar_memstats held;
  static ashlar_memstats after;
  ashlar_read_memstats(&before);
  void* p = guard_allocate(16, 100, kTrace);
  ashlar_read_memstats(&held);
  guard_deallocate(p, kAnySize, kTrace);
  ashlar_read_memstats(&after);
  EXPECT_EQ(held.mallocs, before.mallocs + 1);
  EXPECT_EQ(held.heap_objects, before.heap_objects + 1);
  EXPECT_EQ(held.heap_alloc, before.heap_alloc + 112);
  EXPECT_EQ(after.frees, before.frees + 1);
  EXPECT_EQ(after.heap_objects, before.heap_objects);
}

TEST(GuardDeathTest, a_claimed_size_that_does_not_match_is_named) {
  start(1);
  void* p = guard_allocate(16, 100, kTrace);
  EXPECT_DEATH(guard_deallocate(p, 99, kTrace), "mismatched size in delete: 0x.*guarded block of 100 bytes");
  guard_deallocate(p, 100, kTrace);
}

// ---- faults that are not ours go to whoever handled them before ---------------------------------------

void fault() {
  static volatile int* volatile nowhere = nullptr;
  *nowhere = 1;
}

const char* const kSilent = "^(qemu: [^\n]*\n)?$";

void exit_40(int number) {
  _exit(number == SIGSEGV ? 40 : 1);
}
void exit_41(int number, siginfo_t* info, void* context) {
  _exit(number == SIGSEGV && info->si_addr == nullptr && context != nullptr ? 41 : 1);
}

void handle_by(void (*plain)(int), void (*with_info)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  if (with_info != nullptr) {
    action.sa_sigaction = with_info;
    action.sa_flags = SA_SIGINFO;
  } else {
    action.sa_handler = plain;
  }
  sigaction(SIGSEGV, &action, nullptr);
  install_fault_handler();
}

int use_after_free() {
  auto* p = static_cast<int*>(guard_allocate(16, 64, kTrace));
  guard_deallocate(p, kAnySize, kTrace);
  return *static_cast<volatile int*>(p);
}

TEST(GuardFaults, a_handler_from_before_gets_what_is_not_ours) {
  start(1);
  EXPECT_EXIT((handle_by(exit_40, nullptr), fault()), testing::ExitedWithCode(40), kSilent);
  EXPECT_EXIT((handle_by(nullptr, exit_41), fault()), testing::ExitedWithCode(41), kSilent);
  EXPECT_EXIT((handle_by(SIG_DFL, nullptr), fault()), testing::KilledBySignal(SIGSEGV), kSilent);
  // A fault cannot be ignored, a signal that was sent can.
  EXPECT_EXIT((handle_by(SIG_IGN, nullptr), fault()), testing::KilledBySignal(SIGSEGV), kSilent);
  EXPECT_EXIT((handle_by(SIG_IGN, nullptr), raise(SIGSEGV), _exit(42)), testing::ExitedWithCode(42), kSilent);
  EXPECT_EXIT((handle_by(SIG_DFL, nullptr), raise(SIGSEGV), _exit(1)), testing::KilledBySignal(SIGSEGV), kSilent);
  EXPECT_EXIT((handle_by(exit_40, nullptr), raise(SIGSEGV), _exit(1)), testing::ExitedWithCode(40), kSilent);
}

TEST(GuardFaults, ours_are_reported_and_kill) {
  start(1);
  EXPECT_EXIT((handle_by(exit_40, nullptr), use_after_free()), testing::KilledBySignal(SIGSEGV), "use after free: 0x");
  EXPECT_EXIT((handle_by(SIG_IGN, nullptr), use_after_free()), testing::KilledBySignal(SIGSEGV), "use after free: 0x");
}

}  // namespace
}  // namespace ashlar
