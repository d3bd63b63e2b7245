// SPDX-License-Identifier: MIT
//
// guard_report.cc - see guard_report.h.
#include "alloc/guard_report.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "alloc/base/hardened.h"
#include "alloc/base/print.h"
#include "alloc/diagnose.h"
#include "alloc/os/modules.h"
#include "alloc/page_map.h"

namespace ashlar {
namespace {

struct sigaction old_segv = {};
struct sigaction old_bus = {};

void print_trace(const char* what, const Trace& trace) {
  if (trace.count == 0) return;
  os::Module modules[Trace::kFrames];
  os::find_modules(trace.at, trace.count, modules);
  LineWriter line("ashlar:   ");
  line.text(what);
  for (unsigned i = 0; i < trace.count; ++i) {
    line.text(i == 0 ? " " : " < ");
    if (modules[i].base == 0) {
      line.hex(trace.at[i]);
    } else {
      line.text(modules[i].name).text("+").hex(trace.at[i] - modules[i].base);
    }
  }
  line.flush(kStderr);
}

void report(const char* cause, const void* p, const GuardSlot* slot, const Trace* now) {
  LineWriter line("ashlar: ");
  line.text(cause).text(": ").pointer(p);
  if (slot != nullptr) {
    line.text(" (guarded block of ").dec(slot->size).text(" bytes");
    const auto offset = static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) - slot->block);
    if (offset != 0) line.text(" at ").hex(slot->block).text(offset < 0 ? " " : " +").dec_signed(offset);
    line.text(", class ").dec(class_bytes(class_of_size(slot->size))).text(")");
  }
  line.flush(kStderr);
  if (slot == nullptr) return;
  print_trace("allocated by", slot->allocated);
  if (slot->state == GuardSlot::kFreed) print_trace("freed by", slot->freed);
  if (now != nullptr) print_trace("now by", *now);
}

/// Reports a fault in the pool. Without the lock: the process is about to die, and may have been stopped under it.
void report_fault(uintptr_t address) {
  const auto* p = reinterpret_cast<const void*>(address);
  const size_t unit = (address - guard_pool.start) / guard_pool.unit;
  const GuardSlot* slot = nullptr;
  if (unit % 2 != 0) {
    slot = &guard_slots[unit / 2];
  } else {
    // In a guard: the block that is nearer.
    const GuardSlot* left = unit == 0 ? nullptr : &guard_slots[unit / 2 - 1];
    const GuardSlot* right = unit / 2 == kGuardSlots ? nullptr : &guard_slots[unit / 2];
    if (left != nullptr && left->state == GuardSlot::kFresh) left = nullptr;
    if (right != nullptr && right->state == GuardSlot::kFresh) right = nullptr;
    slot = left;
    if (left == nullptr || (right != nullptr && right->block - address < address - (left->block + left->size))) {
      slot = right;
    }
  }
  if (slot == nullptr || slot->state == GuardSlot::kFresh) return report("wild access", p, nullptr, nullptr);
  if (slot->state == GuardSlot::kFreed) return report("use after free", p, slot, nullptr);
  report(address < slot->block ? "underflow" : "overflow", p, slot, nullptr);
}

/// Ends the handling of a signal: the fault happens again, and meets whoever handled it before.
void pass_on(int number, siginfo_t* info, void* context) {
  struct sigaction& old = number == SIGSEGV ? old_segv : old_bus;
  if ((old.sa_flags & SA_SIGINFO) != 0 && old.sa_sigaction != nullptr) return old.sa_sigaction(number, info, context);
  if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) return old.sa_handler(number);
  if (old.sa_handler == SIG_IGN && info->si_code <= 0) return;  // sent, and to be ignored
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(number, &standard, nullptr);
  // A signal that was sent does not come again by itself.
  if (info->si_code <= 0) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}

void on_fault(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (info->si_code > 0) {
    const bool guarded = in_guard_pool(info->si_addr);
    if (guarded) report_fault(reinterpret_cast<uintptr_t>(info->si_addr));
    if (guarded || (kHardened && in_heap(info->si_addr) && report_heap_fault(info->si_addr))) {
      struct sigaction standard = {};
      standard.sa_handler = SIG_DFL;
      sigaction(number, &standard, nullptr);
      return;  // to the access, which faults again
    }
  }
  errno = saved_errno;
  pass_on(number, info, context);
}

}  // namespace

void fatal_guarded(const char* cause, const void* p, const GuardSlot* slot, const Trace* now) noexcept {
  report(cause, p, slot, now);
  abort();
}

void install_fault_handler() noexcept {
  struct sigaction ours = {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &ours, &old_segv);
  sigaction(SIGBUS, &ours, &old_bus);
}

}  // namespace ashlar
