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
#include "alloc/span_records.h"

namespace ashlar {

inline constexpr size_t kHugeBytes = size_t{2} << 20;
inline constexpr size_t kHugePages = kHugeBytes >> kPageLog2;

inline constexpr size_t kSuperWords = 64;
inline constexpr size_t kSuperPages = kSuperWords * 64;
inline constexpr size_t kMaxSupers = (size_t{1} << os::kMaxWindowLog2) / (kSuperPages * kPageBytes);

struct Superblock {
  uint64_t free[kSuperWords];   ///< 1 = page is free
  uint64_t dirty[kSuperWords];  ///< 1 = page may hold memory that is not zero; of meaning where it is free
  uint64_t any_free;            ///< bit w: free[w] != 0
  uint16_t huge;                ///< bit i: the kernel was asked for a huge page in the i-th 2 MiB
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
  /// zero. Its page map entries are still 0. `room_pages`: the place is chosen so that as many free pages are behind
  /// it, for a block that will grow, if there is such a place.
  Span* allocate(size_t pages, size_t align_pages, bool* zeroed, size_t room_pages = 0) noexcept;

  /// Takes the span's pages (and its record) back. Its page map entries are 0 already. `clean`: the pages read as zero.
  void release(Span* span, bool clean) noexcept;

  /// Grows the span to `pages` pages where the pages behind it are free, or the window can grow there. `*clean` (may be
  /// null): none of the new pages holds memory yet.
  bool extend(Span* span, size_t pages, bool* clean = nullptr) noexcept;

  /// Gives the pages behind the first `pages` back. `clean`: these read as zero.
  void shrink(Span* span, size_t pages, bool clean) noexcept;

  /// Replaces [start, start + bytes) of a span by a fresh, clean mapping that merges with its neighbours: os::renew,
  /// and the advice about huge pages that these have. False: the memory is as it was.
  bool renew(uintptr_t start, size_t bytes) noexcept;
  /// The second half of it, for what is mapped afresh already.
  void advise_again(uintptr_t start, size_t bytes) noexcept;

  /// Gives memory back until at most `keep_bytes` of free pages are dirty; returns the bytes given back.
  size_t purge(size_t keep_bytes) noexcept;

  /// One look of the helper thread (helper.h): gives back what lay idle for a whole purge_delay.
  /// `freed_pages`: of the dirty pages, those that the helper itself has just freed: they count as idle.
  /// `kDone`: nothing is left to come back for; the helper ends, and the heap knows.
  enum class Look : uint8_t { kDone, kWait, kMore };
  Look look_for_idle(size_t freed_pages) noexcept;

  /// The helper that was asked for could not be started; false: nor will it ever.
  void helper_failed(bool for_good) noexcept;

  /// Zeroed memory for metadata, never given back; 64-byte aligned. Null when memory is out.
  void* metadata(size_t bytes) noexcept;

  /// Dirty free pages; racy, for policies.
  size_t was_dirty_pages() const noexcept { return __atomic_load_n(&dirty_pages_, __ATOMIC_RELAXED); }
  /// Whether [start, start + bytes) is made of whole OS pages, so that the kernel can be asked to replace it: a length
  /// that is not it would round up, over the neighbour's memory.
  bool is_whole_os_pages(uintptr_t start, size_t bytes) const noexcept {
    return ((start | bytes) & (os_page_bytes_ - 1)) == 0;
  }

  /// Bytes of pages in use; racy, for policies.
  size_t was_inuse_bytes() const noexcept { return __atomic_load_n(&inuse_pages_, __ATOMIC_RELAXED) << kPageLog2; }

  PageHeapStats stats() noexcept;
  /// For fork: no purge of another thread is under way while it is held, since the child could not finish it. See
  /// Mutex::lock_for_fork for the result.
  bool is_mine() const noexcept { return mutex_.is_mine(); }
  [[nodiscard]] bool lock_for_fork(bool interrupted) noexcept;
  void unlock() noexcept { mutex_.unlock(); }
  /// With the lock held. In the child the pages that another thread was purging are lost, but purges go on.
  void after_fork(bool child) noexcept;

 private:
  static constexpr size_t kNoPage = ~size_t{0};

  struct Run {
    size_t first, pages;
    size_t dirty;  ///< of the pages
  };

  uintptr_t address(size_t page) const { return window_.base + (page << kPageLog2); }
  size_t page_of(uintptr_t a) const { return (a - window_.base) >> kPageLog2; }

  // page_heap.cc, all with the lock held
  size_t find_run(size_t pages) noexcept;
  size_t find_run_or_grow(size_t pages) noexcept;
  bool grow(size_t pages) noexcept;
  bool grow_by(size_t more, size_t pages) noexcept;
  void stage_huge_pages(size_t pages) noexcept;
  bool open_map(size_t pages) noexcept;
  size_t take(size_t first, size_t pages) noexcept;
  void put(size_t first, size_t pages, bool clean) noexcept;
  void mark_free(size_t first, size_t pages) noexcept;
  bool all_free(size_t first, size_t pages) const noexcept;
  size_t free_tail() const noexcept;
  void* map_metadata(size_t bytes) noexcept;
  void* metadata_locked(size_t bytes) noexcept;
  Span* new_span() noexcept;
  void delete_span(Span* s) noexcept;

  // purge.cc, all with the lock held; purge_to drops it while it calls the kernel
  size_t budget_pages() const noexcept;
  void note_clean_use(size_t clean_pages) noexcept;
  void roll_window(uint64_t now_ms) noexcept;
  void enforce_budget_after_free() noexcept;
  size_t purge_to(size_t keep_pages, size_t max_runs = ~size_t{0}) noexcept;
  void let_purge_end() noexcept;
  void widen_to_huge_page(Run* run) const noexcept;
  bool is_staged_huge(size_t page) const noexcept;
  bool is_advised_huge(size_t page) const noexcept;
  void withdraw_huge_pages() noexcept;
  void purge_map(size_t first, size_t pages) noexcept;
  size_t collect_dirty(Run* runs, size_t max_runs, size_t want_pages) noexcept;

  Mutex mutex_;
  os::Window window_;
  size_t pages_ = 0;          ///< pages of the window that are open
  size_t map_bytes_ = 0;      ///< bytes of the page map that are open
  size_t advised_bytes_ = 0;  ///< of the window, from its base: the part that the kernel was told about huge pages
  size_t no_huge_pages_ = 0;  ///< pages from the base on for which the advice was withdrawn
  size_t os_page_bytes_ = 4096;
  size_t first_super_ = 0;  ///< no superblock below has a free page
  size_t free_pages_ = 0;
  size_t dirty_pages_ = 0;  ///< of free_pages_
  size_t inuse_pages_ = 0;  ///< pages_ - free_pages_
  SpanRecords records_;
  char* meta_next_ = nullptr;
  size_t meta_left_ = 0;
  uint64_t meta_bytes_ = 0;
  unsigned meta_maps_ = 0;  ///< maps for metadata

  // purge.cc
  uintptr_t purging_ = 0;       ///< the thread that purges, by this_thread()
  size_t reuse_credit_ = 0;     ///< pages that came back into use soon after a purge: do not purge these
  size_t low_dirty_ = 0;        ///< least dirty_pages_ since window_start_ms_: memory that was idle all that time
  size_t low_before_ = 0;       ///< the same for the window before (kept by the helper)
  size_t recently_purged_ = 0;  ///< pages purged since window_start_ms_, less those in use again
  uint64_t window_start_ms_ = 0;
  uint64_t purge_cycles_ = 0, purged_pages_ = 0;
  bool fork_waits_ = false;    ///< atomic: a purge shall end with the batch that it is at
  bool helper_ = false;        ///< the helper runs, or was asked for: frees leave the purge to it
  bool helper_never_ = false;  ///< it cannot be had in this process
};

[[gnu::visibility("hidden")]] extern PageHeap page_heap;

}  // namespace ashlar
