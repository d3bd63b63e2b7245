// SPDX-License-Identifier: MIT
//
// guard_report.h - what is said of a guarded block that was misused, by a call or by a fault.
//
// One line with cause, pointer and block; then, for a guarded block, a line each for where it was allocated, where it
// was freed, and where it is freed now. Code is named as file+offset, for addr2line. Neither allocates nor locks.
#pragma once

#include "alloc/guard.h"

namespace ashlar {

/// Reports and aborts. `slot` may be null (no block is meant), and so may `now`, where the misusing call came from.
[[noreturn, gnu::cold]] void fatal_guarded(const char* cause, const void* p, const GuardSlot* slot,
                                           const Trace* now) noexcept;

/// Handles SIGSEGV and SIGBUS: reports a fault in the guard pool (hardened: or in an inaccessible part of the heap),
/// and lets the process die of it. Any other fault goes to whoever handled the signal before.
void install_fault_handler() noexcept;

}  // namespace ashlar
