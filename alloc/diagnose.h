// SPDX-License-Identifier: MIT
//
// diagnose.h - the last words of a program that freed what it should not have.
#pragma once

namespace ashlar {

/// `p` is outside the heap: a stack, static, foreign or wild pointer.
[[noreturn, gnu::cold]] void fatal_not_ours(const void* p) noexcept;

/// `p` is in the heap, but its page holds no block that starts there: tells an interior pointer of a large block from
/// one that is free.
[[noreturn, gnu::cold]] void fatal_bad_block(const void* p) noexcept;

}  // namespace ashlar
