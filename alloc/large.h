// SPDX-License-Identifier: MIT
//
// large.h - blocks above kMaxSmallBytes, and blocks aligned to more than a page: runs of pages of their own.
#pragma once

#include <stddef.h>

#include "alloc/span.h"

namespace ashlar {

/// `align` is a power of two. `*zeroed` (may be null): the block reads as zero. Null: no memory.
void* allocate_large(size_t size, size_t align, bool* zeroed) noexcept;

/// `entry`: the page map entry of the block. Aborts where `block` is not the start of the large block.
void deallocate_large(void* block, uint64_t entry) noexcept;

/// Hardened. Makes the whole pages at the end of a block behind its first `bytes` inaccessible, as far as maps allow.
void guard_large(Span* span, size_t bytes) noexcept;

/// Hardened. Gives the block's memory back and makes it inaccessible; false: maps are short, it is as before.
bool close_large(Span* span) noexcept;

/// Hardened. Releases the block whose pages become fresh ones; its page map entry goes, too.
void renew_and_release_large(Span* span) noexcept;

/// Gives the pages behind the first `keep` > 0 bytes back to the kernel.
void return_large(Span* span, size_t keep) noexcept;

/// Changes the block's size where it lies or by moving its pages; null: no memory, the block is as it was.
void* reallocate_large(void* block, Span* span, size_t size) noexcept;

/// Grows the block to `size` bytes where it lies, without a move; false: not possible, it is as it was.
/// `*clean` (may be null): what was added holds no memory yet.
bool expand_large(Span* span, size_t size, bool* clean) noexcept;

/// The block's first `written` bytes are in use, and the program will write on in order: up to `certain` for sure.
/// Asks for huge pages where they fit into bytes [from, to) of the block.
void advise_huge_large(Span* span, size_t from, size_t to) noexcept;

/// Asks for huge pages where they fit and fault less memory in than a tenth of what is written then. `clean`: the rest
/// holds no memory yet, so small pages are faulted in together, as far as a twentieth of what is written.
void advise_filling(Span* span, size_t written, size_t certain, bool clean) noexcept;

/// Counted at every large block that comes, goes, or changes its size in place.
struct LargeStats {
  uint64_t mallocs, frees, total_bytes, live_bytes;
};
LargeStats large_stats() noexcept;

inline size_t large_pages(size_t size) {
  return (size + kPageBytes - 1) >> kPageLog2;
}

}  // namespace ashlar
