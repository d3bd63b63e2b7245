// SPDX-License-Identifier: MIT
//
// hardened.h - libashlar-hardened.so: what it does around the blocks of the normal allocator.
//
// Owns: canaries, live bits, the quarantine. A small object, and a large block but for the guard pages behind it:
//
//    | what the program asked for | canary bytes, up to | word: canary ^ slack, twice 32 bits |
//                                   the word (= slack)
//
// Invariants: all free memory of the heap reads as zero. Freed objects are cleared at once, which keeps secrets, and
// looked at when they are handed out again, which finds writes after the free; calloc has nothing left to do.
// A live bit (Span::live) is 1 while an object is with the program. Freed objects wait in the quarantine, their bit 0,
// before a cache gets them. fast_path.h and slow_path.cc call these where kHardened; nothing here runs otherwise.
// The shards of the quarantine have locks of their own, under which nothing else is locked.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/base/hardened.h"
#include "alloc/guard.h"

namespace ashlar {

void init_hardened() noexcept;

/// Zeroed. `alignment`: a power of two.
void* hardened_allocate(size_t alignment, size_t size) noexcept;

/// `size`: what the caller claims that it asked for, or kAnySize. Null is ignored; errno is kept.
void hardened_deallocate(void* block, size_t size) noexcept;

/// `block` is not null, `size` not 0.
void* hardened_reallocate(void* block, size_t size) noexcept;

/// As expand(); the block keeps its place only within what it has.
size_t hardened_expand(void* block, size_t size) noexcept;

/// What was asked for.
size_t hardened_usable_size(const void* block) noexcept;

/// Random, below n, which is not 0.
unsigned random_index(unsigned n) noexcept;

/// Frees for good what is in the quarantine.
void empty_quarantine() noexcept;

struct QuarantineStats {
  uint64_t objects[kNumClasses];
  uint64_t large, large_bytes;
};
void count_quarantined(QuarantineStats* out) noexcept;

/// For fork; see Mutex::lock_for_fork. The bits say which locks were taken.
bool quarantine_is_mine() noexcept;
[[nodiscard]] unsigned lock_quarantine_for_fork(bool interrupted) noexcept;
void unlock_quarantine_after_fork(unsigned taken) noexcept;

/// slow_path.cc: a block of the normal allocator.
void* plain_aligned(size_t alignment, size_t size) noexcept;

}  // namespace ashlar
