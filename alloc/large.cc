// SPDX-License-Identifier: MIT
//
// large.cc - see large.h.
#include "alloc/large.h"

#include "alloc/base/check.h"
#include "alloc/diagnose.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"

namespace ashlar {
namespace {

// Moving page tables costs two system calls and a walk; copying costs the copy and faults for the new pages. Measured
// here the two meet near 64 KiB; above 256 KiB moving wins clearly.
constexpr size_t kMoveBytes = size_t{256} << 10;

// Moved blocks are maps of their own until they are freed; the kernel allows 65,530 maps a process, and we want to use
// few.
constexpr unsigned kMaxMovedBlocks = 128;

// A page fault beyond the last byte written brings in at most one huge page: from here on that is a tenth or less.
constexpr size_t kFillBytes = 10 * kHugeBytes;
constinit unsigned moved_blocks = 0;  // relaxed counter

constinit LargeStats counted = {};  // relaxed counters

void count(uint64_t mallocs, uint64_t frees, size_t pages_gained, size_t pages_lost) {
  __atomic_fetch_add(&counted.mallocs, mallocs, __ATOMIC_RELAXED);
  __atomic_fetch_add(&counted.frees, frees, __ATOMIC_RELAXED);
  __atomic_fetch_add(&counted.total_bytes, pages_gained << kPageLog2, __ATOMIC_RELAXED);
  __atomic_fetch_add(&counted.live_bytes, (pages_gained - pages_lost) << kPageLog2, __ATOMIC_RELAXED);
}

void set_moved(Span* s, bool moved) {
  if (s->moved == moved) return;
  s->moved = moved;
  __atomic_fetch_add(&moved_blocks, moved ? 1U : ~0U, __ATOMIC_RELAXED);
}

Span* new_large_span(size_t pages, size_t align, bool* zeroed, size_t room_pages = 0) {
  const size_t align_pages = align <= kPageBytes ? 1 : align >> kPageLog2;
  bool ignored = false;
  Span* s = page_heap.allocate(pages, align_pages, zeroed == nullptr ? &ignored : zeroed, room_pages);
  if (s == nullptr) return nullptr;
  s->bin = kBinLarge;
  count(1, 0, pages, 0);
  store_entries(s->start, 1, make_entry(s, kBinLarge));
  return s;
}

/// Releases a span whose entry is 0 already.
void release_large(Span* s, bool clean) {
  count(0, 1, 0, s->pages);
  if (s->moved) {
    // A fresh mapping can merge with its neighbours again; it is clean, too.
    clean = page_heap.renew(s->start, s->pages * kPageBytes);
    set_moved(s, false);
  }
  page_heap.release(s, clean);
}

/// Moves the block to `pages` pages elsewhere.
Span* move_large(Span* from, size_t pages) {
  const size_t bytes = from->pages * kPageBytes;
  // From one multiple of 2 MiB to another the kernel moves whole page tables: 0.7 ns a page instead of 12. So what
  // moves once is placed for the next time: aligned, and before as many free pages.
  Span* to = new_large_span(pages, bytes >= 2 * kHugeBytes ? kHugeBytes : 1, nullptr, pages);
  if (to == nullptr) return nullptr;
  bool clean = false;
  if (bytes >= kMoveBytes && page_heap.is_whole_os_pages(from->start | to->start, bytes) &&
      __atomic_load_n(&moved_blocks, __ATOMIC_RELAXED) < kMaxMovedBlocks &&
      os::move_pages(from->start, to->start, bytes)) {
    set_moved(to, true);
    set_moved(from, false);  // what stays behind is a fresh mapping
    page_heap.advise_again(from->start, bytes);
    clean = true;
  } else {
    __builtin_memcpy(reinterpret_cast<void*>(to->start), reinterpret_cast<void*>(from->start), bytes);
  }
  store_entries(from->start, 1, 0);
  release_large(from, clean);
  return to;
}

}  // namespace

void* allocate_large(size_t size, size_t align, bool* zeroed) noexcept {
  if (size > PTRDIFF_MAX) return nullptr;
  const size_t pages = size == 0 ? 1 : large_pages(size);
  const Span* s = new_large_span(pages, align, zeroed);
  return s == nullptr ? nullptr : reinterpret_cast<void*>(s->start);
}

void deallocate_large(void* block, uint64_t entry) noexcept {
  Span* s = entry_span(entry);
  const auto address = reinterpret_cast<uintptr_t>(block);
  if (address != s->start) fatal_pointer("free of an interior pointer (large block)", block);
  // Exchange: of two threads that free the same block one sees that it is gone. Acq_rel orders it with the reuse of the
  // record.
  if (__atomic_exchange_n(entry_of(address), 0, __ATOMIC_ACQ_REL) != entry) fatal_bad_block(block);
  release_large(s, false);
}

void guard_large(Span* span, size_t bytes) noexcept {
  const size_t os_page = os::page_bytes();
  const uintptr_t from = (span->start + bytes + os_page - 1) & ~(os_page - 1);
  const uintptr_t to = span->end() & ~(os_page - 1);
  if (from >= to || __atomic_load_n(&moved_blocks, __ATOMIC_RELAXED) >= kMaxMovedBlocks) return;
  if (!os::protect(from, to - from)) return;
  set_moved(span, true);
  span->objects = static_cast<uint16_t>((span->end() - from + kPageBytes - 1) >> kPageLog2);
}

bool close_large(Span* span) noexcept {
  if (!span->moved && __atomic_load_n(&moved_blocks, __ATOMIC_RELAXED) >= kMaxMovedBlocks) return false;
  if (!os::close(span->start, span->pages * kPageBytes)) return false;
  set_moved(span, true);
  return true;
}

void renew_and_release_large(Span* span) noexcept {
  const size_t bytes = span->pages * kPageBytes;
  const bool clean = os::renew(span->start, bytes);
  if (!clean) {
    // Maps or memory are short. What cannot be opened again stays where it is for ever.
    if (span->moved && !os::open(span->start, bytes)) return;
    __builtin_memset(reinterpret_cast<void*>(span->start), 0, bytes);
  }
  set_moved(span, false);
  store_entries(span->start, 1, 0);
  release_large(span, clean);
}

void return_large(Span* span, size_t keep) noexcept {
  const size_t pages = large_pages(keep);
  if (pages >= span->pages) return;
  count(0, 0, 0, span->pages - pages);
  // Renewed, not only purged: advice about huge pages must not outlive the block.
  const bool clean = page_heap.renew(span->start + pages * kPageBytes, (span->pages - pages) * kPageBytes);
  page_heap.shrink(span, pages, clean);
}

bool expand_large(Span* span, size_t size, bool* clean) noexcept {
  if (size > PTRDIFF_MAX) return false;
  const size_t pages = large_pages(size);
  const size_t old_pages = span->pages;
  if (pages <= old_pages) return true;
  if (!page_heap.extend(span, pages, clean)) return false;
  count(0, 0, pages - old_pages, 0);
  return true;
}

void advise_huge_large(Span* span, size_t from, size_t to) noexcept {
  if (options.thp != Options::kAuto || os::page_bytes() > kPageBytes) return;
  const uintptr_t begin = (span->start + from + kHugeBytes - 1) & ~(kHugeBytes - 1);
  const uintptr_t end = (span->start + to) & ~(kHugeBytes - 1);
  if (begin >= end) return;
  // The advice splits the map, and must not outlive the block: it is released as one that moved.
  if (!span->moved && __atomic_load_n(&moved_blocks, __ATOMIC_RELAXED) >= kMaxMovedBlocks) return;
  if (os::advise_huge(begin, end - begin, true)) set_moved(span, true);
}

void advise_filling(Span* span, size_t written, size_t certain, bool clean) noexcept {
  const size_t ahead = written < kFillBytes ? written / 20 : kFillBytes / 20;
  if (clean && certain < written + ahead) {
    const size_t os_page = os::page_bytes();
    const uintptr_t from = (span->start + written + os_page - 1) & ~(os_page - 1);
    const uintptr_t to =
        (written + ahead < span->pages * kPageBytes ? span->start + written + ahead : span->end()) & ~(os_page - 1);
    if (written < kFillBytes && from < to) os::populate(from, to - from);
  }
  const size_t bytes = span->pages * kPageBytes;
  if (certain > bytes) certain = bytes;
  if (written >= kFillBytes || certain >= kFillBytes) {
    advise_huge_large(span, written, bytes);
    return;
  }
  if (written < certain) advise_huge_large(span, written, certain);
  if (bytes > kFillBytes) advise_huge_large(span, kFillBytes, bytes);
}

void* reallocate_large(void* block, Span* span, size_t size) noexcept {
  if (size > PTRDIFF_MAX) return nullptr;
  const size_t pages = large_pages(size);
  const size_t old_pages = span->pages;
  if (pages == old_pages) return block;
  if (pages < old_pages) {
    count(0, 0, 0, old_pages - pages);
    // What a moved block leaves must not stay a map of its own.
    const bool clean =
        span->moved && page_heap.renew(span->start + pages * kPageBytes, (old_pages - pages) * kPageBytes);
    page_heap.shrink(span, pages, clean);
  } else if (!expand_large(span, size, nullptr)) {
    span = move_large(span, pages);
    if (span == nullptr) return nullptr;
  }
  return reinterpret_cast<void*>(span->start);
}

LargeStats large_stats() noexcept {
  return {__atomic_load_n(&counted.mallocs, __ATOMIC_RELAXED), __atomic_load_n(&counted.frees, __ATOMIC_RELAXED),
          __atomic_load_n(&counted.total_bytes, __ATOMIC_RELAXED),
          __atomic_load_n(&counted.live_bytes, __ATOMIC_RELAXED)};
}

}  // namespace ashlar
