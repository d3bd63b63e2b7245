// SPDX-License-Identifier: MIT
//
// check.h - the end of a process whose heap cannot be trusted any more.
//
// Owns: the one form of a fatal message, "ashlar: <cause>: 0x<pointer>" on stderr, then abort(). Callable from
// anywhere: it neither allocates nor locks.
#pragma once

namespace ashlar {

/// Writes "ashlar: <cause>" and aborts.
[[noreturn, gnu::cold]] void fatal(const char* cause) noexcept;

/// Writes "ashlar: <cause>: 0x<pointer>" and aborts.
[[noreturn, gnu::cold]] void fatal_pointer(const char* cause, const void* p) noexcept;

/// Aborts with `cause` unless `ok`.
inline void check(bool ok, const char* cause) noexcept {
  if (!ok) [[unlikely]] {
    fatal(cause);
  }
}

}  // namespace ashlar
