// SPDX-License-Identifier: MIT
//
// page_heap.h - the page heap (Go's mheap): runs of pages, address-ordered first fit over bitmaps, and the return of
// memory.
//
// Owns: which pages are free, which of those hold memory (dirty) and which read as zero without costing any (clean),
// the records of spans, memory for metadata, the growth of the window, and the purge. Bits are kept in superblocks of
// 4096 pages (32 MiB), each with a summary word and an upper bound of its longest run, so that a search skips what
// cannot fit. First fit by address keeps the low end dense; the purge takes from the high end, where reuse is least
// likely (as Go's scavenger does). Lock order: percpu, central, page heap. Every public function takes the lock itself.
#pragma once

#include "alloc/base/futex.h"
#include "alloc/os/os.h"
#include "alloc/page_map.h"

namespace ashlar {

inline constexpr size_t kSuperWords = 64;
inline constexpr size_t kSuperPages = kSuperWords * 64;
inline constexpr size_t kMaxSupers = (size_t{1} << os::kMaxWindowLog2) / (kSuperPages * kPageBytes);

struct Superblock {
  uint64_t free[kSuperWords];   ///< 1 = page is free
  uint64_t dirty[kSuperWords];  ///< 1 = page may hold memory that is not zero; of meaning where it is free
  uint64_t any_free;            ///< bit w: free[w] != 0
  size_t run_bound;             ///< no run of free pages inside is longer
};

/// Superblock by number; null beyond what was ever open. 2 MiB of zero pages, of which one is touched per 16 GiB of
/// heap.
[[gnu::visibility("hidden")]] extern Superblock* superblocks[kMaxSupers];

struct PageHeapStats {
  uint64_t heap_bytes, inuse_bytes, dirty_bytes, metadata_bytes, map_bytes;
  uint64_t spans_inuse, spans_total, purge_cycles, purged_bytes;
};

class PageHeap {
 public:
  /// Places the window. False: no memory at all. Called once, before anything else.
  bool init() noexcept;

  /// A span of `pages` pages at a multiple of `align_pages` pages; null when memory is out. `*zeroed`: it reads as
  /// zero. Its page map entries are still 0.
  Span* allocate(size_t pages, size_t align_pages, bool* zeroed) noexcept;

  /// Takes the span's pages (and its record) back. Its page map entries are 0 already. `clean`: the pages read as zero.
  void release(Span* span, bool clean) noexcept;

  /// Grows the span to `pages` pages where the pages behind it are free, or the window can grow there.
  bool extend(Span* span, size_t pages) noexcept;

  /// Gives the pages behind the first `pages` back.
  void shrink(Span* span, size_t pages) noexcept;

  /// Gives memory back until at most `keep_bytes` of free pages are dirty; returns the bytes given back.
  size_t purge(size_t keep_bytes) noexcept;

  /// Zeroed memory for metadata, never given back; 64-byte aligned. Null when memory is out.
  void* metadata(size_t bytes) noexcept;

  /// Bytes of pages in use; racy, for policies.
  size_t was_inuse_bytes() const noexcept { return __atomic_load_n(&inuse_pages_, __ATOMIC_RELAXED) << kPageLog2; }

  PageHeapStats stats() noexcept;
  /// For fork: no purge is under way while it is held, since the child could not finish it.
  void lock_for_fork() noexcept;
  void unlock() noexcept { mutex_.unlock(); }

 private:
  static constexpr size_t kNoPage = ~size_t{0};

  struct Run {
    size_t first, pages;
  };

  uintptr_t address(size_t page) const { return window_.base + (page << kPageLog2); }
  size_t page_of(uintptr_t a) const { return (a - window_.base) >> kPageLog2; }

  // page_heap.cc, all with the lock held
  size_t find_run(size_t pages) noexcept;
  bool grow(size_t pages) noexcept;
  bool grow_by(size_t more) noexcept;
  void stage_huge_pages() noexcept;
  bool open_map(size_t pages) noexcept;
  size_t take(size_t first, size_t pages) noexcept;
  void put(size_t first, size_t pages, bool clean) noexcept;
  void mark_free(size_t first, size_t pages) noexcept;
  bool all_free(size_t first, size_t pages) const noexcept;
  size_t free_tail() const noexcept;
  void* metadata_locked(size_t bytes) noexcept;
  Span* new_span() noexcept;
  void delete_span(Span* s) noexcept;

  // purge.cc, all with the lock held; purge_to drops it while it calls the kernel
  size_t budget_pages() const noexcept;
  void note_clean_use(size_t clean_pages) noexcept;
  void roll_window(uint64_t now_ms) noexcept;
  void enforce_budget_after_free() noexcept;
  size_t purge_to(size_t keep_pages) noexcept;
  size_t collect_dirty(Run* runs, size_t max_runs, size_t want_pages) noexcept;

  Mutex mutex_;
  os::Window window_;
  size_t pages_ = 0;          ///< pages of the window that are open
  size_t map_bytes_ = 0;      ///< bytes of the page map that are open
  size_t advised_bytes_ = 0;  ///< of the window, from its base: the part that the kernel was told about huge pages
  size_t os_page_bytes_ = 4096;
  size_t first_super_ = 0;  ///< no superblock below has a free page
  size_t free_pages_ = 0;
  size_t dirty_pages_ = 0;  ///< of free_pages_
  size_t inuse_pages_ = 0;  ///< pages_ - free_pages_
  Span* free_spans_ = nullptr;
  char* meta_next_ = nullptr;
  size_t meta_left_ = 0;
  uint64_t meta_bytes_ = 0;
  unsigned meta_maps_ = 0;  ///< maps for metadata
  uint64_t spans_inuse_ = 0, spans_total_ = 0;

  // purge.cc
  bool purging_ = false;
  size_t reuse_credit_ = 0;     ///< pages that came back into use soon after a purge: do not purge these
  size_t low_dirty_ = 0;        ///< least dirty_pages_ since window_start_ms_: memory that was idle all that time
  size_t recently_purged_ = 0;  ///< pages purged since window_start_ms_, less those in use again
  uint64_t window_start_ms_ = 0;
  uint64_t purge_cycles_ = 0, purged_pages_ = 0;
};

[[gnu::visibility("hidden")]] extern PageHeap page_heap;

}  // namespace ashlar
