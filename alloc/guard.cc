// SPDX-License-Identifier: MIT
//
// guard.cc - see guard.h. Reports are in guard_report.cc.
#include "alloc/guard.h"

#include "alloc/base/futex.h"
#include "alloc/guard_report.h"
#include "alloc/options.h"
#include "alloc/os/os.h"

namespace ashlar {

constinit uint32_t guard_mean = 1;
constinit GuardPool guard_pool = {};
constinit GuardSlot guard_slots[kGuardSlots] = {};

namespace {

// What lies beside the block in its slot is filled, and looked at when the block is freed: an overflow that stays below
// the alignment reaches no guard page.
constexpr size_t kMarginBytes = 64;
constexpr unsigned char kMarginByte = 0xd5;

// 4 bytes of static TLS. 0: not drawn yet.
__thread uint32_t until_sample __attribute__((tls_model("initial-exec"))) = 0;

constinit Mutex mutex;  // guards the slots and all below
constinit unsigned fresh = kGuardSlots;
constinit uint32_t frees = 0;
constinit bool at_front = false;  // whether the next block begins at its left guard
constinit GuardCounts counts = {};
constinit uint64_t random_state = 0;  // atomic

uint32_t random_word() {
  uint64_t x = __atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return static_cast<uint32_t>(x >> 32);
}

uintptr_t slot_start(unsigned i) {
  return guard_pool.start + (2 * i + 1) * guard_pool.unit;
}

/// A slot that is not live: a fresh one, else the one that was freed first. kGuardSlots: all are live.
unsigned take_slot_locked() {
  if (fresh != 0) return kGuardSlots - fresh--;
  unsigned best = kGuardSlots;
  for (unsigned i = 0; i < kGuardSlots; ++i) {
    if (guard_slots[i].state != GuardSlot::kFreed) continue;
    if (best == kGuardSlots || frees - guard_slots[i].freed_at > frees - guard_slots[best].freed_at) best = i;
  }
  return best;
}

/// Calls f(from, bytes, what) for the margins of a block; `what` names who wrote there.
template <typename F>
void for_margins(const GuardSlot& s, uintptr_t start, F f) {
  const uintptr_t end = s.block + s.size;
  const size_t before = s.block - start;
  const size_t behind = start + guard_pool.unit - end;
  const size_t low = before < kMarginBytes ? before : kMarginBytes;
  f(s.block - low, low, "underflow");
  f(end, behind < kMarginBytes ? behind : kMarginBytes, "overflow");
}

/// Without the lock: a handler of SIGABRT may allocate.
[[noreturn, gnu::cold]] void die(const char* cause, const void* p, const GuardSlot* slot, const Trace* now) {
  mutex.unlock();
  fatal_guarded(cause, p, slot, now);
}

/// The live block that starts at p; reports anything else.
unsigned checked_slot(const void* p, const char* freed, const Trace* trace) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  const size_t unit = (address - guard_pool.start) / guard_pool.unit;
  const auto i = static_cast<unsigned>(unit / 2);
  if (unit % 2 == 0 || guard_slots[i].state == GuardSlot::kFresh) {
    die("invalid pointer: between guarded blocks", p, nullptr, nullptr);
  }
  const GuardSlot& s = guard_slots[i];
  if (s.block != address) die("interior or misaligned pointer", p, &s, trace);
  if (s.state != GuardSlot::kLive) die(freed, p, &s, trace);
  return i;
}

}  // namespace

void init_guard() noexcept {
  constexpr uint32_t kLargestMean = 1U << 30;
  const uint32_t mean = options.guard_sample < kLargestMean ? options.guard_sample : kLargestMean;
  __atomic_store_n(&guard_mean, mean, __ATOMIC_RELAXED);  // pairs with nothing: see guard_mean_now
  if (kHardened || guard_mean != 0) install_fault_handler();
  if (guard_mean == 0) return;
  random_state = os::random_bits();
  const size_t os_page = os::page_bytes();
  const size_t unit = os_page < kPageBytes ? kPageBytes : os_page;
  const size_t bytes = (2 * kGuardSlots + 1) * unit;
  // A unit more, so that slots lie at multiples of a unit: blocks may be aligned to one.
  void* at = os::reserve(bytes + unit);
  if (at != nullptr) guard_pool = {(reinterpret_cast<uintptr_t>(at) + unit - 1) & ~(unit - 1), bytes, unit};
}

bool guard_sample_due() noexcept {
  if (until_sample == 0) {
    // 1 to 2N - 1, so N on average: a program cannot fall into step with it.
    until_sample = 1 + random_word() % (2 * guard_mean - 1);
  }
  return --until_sample == 0;
}

void take_trace(Trace* out, void* frame) noexcept {
  // A frame: {caller's frame, return address}. Code without frame pointers leaves anything in that register, so each
  // frame has to be readable, and further up a stack than the one before.
  constexpr uintptr_t kMaxFrameBytes = uintptr_t{1} << 20;
  out->count = 0;
  auto at = reinterpret_cast<uintptr_t>(frame);
  while (out->count < Trace::kFrames) {
    const auto* words = reinterpret_cast<const uintptr_t*>(at);
    const uintptr_t up = words[0];
    if (words[1] == 0) break;
    out->at[out->count++] = words[1];
    if (up <= at || up - at > kMaxFrameBytes || up % 16 != 0 || !os::is_readable(up) || !os::is_readable(up + 8)) break;
    at = up;
  }
}

void* guard_allocate(size_t alignment, size_t size, const Trace& trace) noexcept {
  if (size > kMaxGuardedBytes || alignment > kMaxGuardedBytes || guard_pool.start == 0) return nullptr;
  MutexGuard guard(mutex);
  const unsigned i = take_slot_locked();
  if (i == kGuardSlots) return nullptr;
  const uintptr_t start = slot_start(i);
  GuardSlot& s = guard_slots[i];
  if (!os::open(start, guard_pool.unit)) {
    if (s.state == GuardSlot::kFresh) ++fresh;
    return nullptr;
  }
  const size_t align = alignment < kMinAlign ? kMinAlign : alignment;
  const size_t room = size == 0 ? 1 : size;  // a block of no bytes lies in its slot, too
  s.block = at_front ? start : (start + guard_pool.unit - room) & ~(align - 1);
  at_front = !at_front;
  s.size = size;
  s.allocated = trace;
  s.freed.count = 0;
  s.state = GuardSlot::kLive;
  for_margins(s, start, [](uintptr_t from, size_t bytes, const char*) {
    __builtin_memset(reinterpret_cast<void*>(from), kMarginByte, bytes);
  });
  ++counts.mallocs[class_of_size(size)];
  return reinterpret_cast<void*>(s.block);
}

void guard_deallocate(void* p, size_t size, const Trace& trace) noexcept {
  MutexGuard guard(mutex);
  const unsigned i = checked_slot(p, "double free", &trace);
  GuardSlot& s = guard_slots[i];
  if (size != kAnySize && size != s.size) die("mismatched size in delete", p, &s, &trace);
  const uintptr_t start = slot_start(i);
  for_margins(s, start, [&](uintptr_t from, size_t bytes, const char* what) {
    const auto* b = reinterpret_cast<const unsigned char*>(from);
    for (size_t k = 0; k < bytes; ++k) {
      if (b[k] != kMarginByte) die(what, b + k, &s, &trace);
    }
  });
  s.freed = trace;
  s.freed_at = ++frees;
  s.state = GuardSlot::kFreed;
  os::close(start, guard_pool.unit);
  ++counts.frees[class_of_size(s.size)];
}

size_t guard_usable(const void* p) noexcept {
  MutexGuard guard(mutex);
  return guard_slots[checked_slot(p, "use of a freed block", nullptr)].size;
}

void count_guarded(GuardCounts* out) noexcept {
  MutexGuard guard(mutex);
  *out = counts;
}

bool guard_is_mine() noexcept {
  return mutex.is_mine();
}

bool lock_guard_for_fork(bool interrupted) noexcept {
  return mutex.lock_for_fork(interrupted);
}

void unlock_guard_after_fork() noexcept {
  mutex.unlock();
}

}  // namespace ashlar
