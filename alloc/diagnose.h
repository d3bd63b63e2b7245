// SPDX-License-Identifier: MIT
//
// diagnose.h - the last words of a program that freed what it should not have.
#pragma once

#include <stddef.h>

namespace ashlar {

/// `p` is outside the heap: a stack, static, foreign or wild pointer.
[[noreturn, gnu::cold]] void fatal_not_ours(const void* p) noexcept;

/// `p` is in the heap, but its page holds no block that starts there: tells an interior pointer of a large block from
/// one that is free.
[[noreturn, gnu::cold]] void fatal_bad_block(const void* p) noexcept;

/// "ashlar: <cause>: 0x<pointer> (block of <bytes> bytes, class <object bytes>)". `bytes` may be kUnknownBytes.
inline constexpr size_t kUnknownBytes = ~size_t{0};
[[noreturn, gnu::cold]] void fatal_object(const char* cause, const void* p, size_t bytes, size_t object_bytes) noexcept;

/// A fault at an address of the heap (hardened: the guard behind a large block, or a large block in quarantine): says
/// so and returns true where it is one.
bool report_heap_fault(const void* p) noexcept;

}  // namespace ashlar
