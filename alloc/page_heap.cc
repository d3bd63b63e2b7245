// SPDX-License-Identifier: MIT
//
// page_heap.cc - see page_heap.h. The purge is in purge.cc.
#include "alloc/page_heap.h"

#include "alloc/options.h"

namespace ashlar {

// Before initialisation no pointer is in the heap, null included: the one that would be is not an address.
constinit HeapView heap_view = {uintptr_t{1} << 63, ~uintptr_t{0}};
constinit PageHeap page_heap;
constinit Superblock* superblocks[kMaxSupers] = {};

namespace {

// The first mapping: 64 KiB of page map (for 64 MiB of heap) and 1 MiB of heap, so short of an aligned 2 MiB that a
// kernel with THP=always never makes a huge page for a small process.
constexpr size_t kFirstMapBytes = size_t{64} << 10;
constexpr size_t kFirstHeapBytes = size_t{1} << 20;
// Growth by a quarter of the heap keeps the number of system calls logarithmic; what is opened and not touched costs
// nothing.
constexpr size_t kMinGrowPages = (size_t{1} << 20) >> kPageLog2;
constexpr size_t kMaxGrowPages = (size_t{64} << 20) >> kPageLog2;
// Measured on node (a heap of some 60 MiB): asked for from 16 MiB on, huge pages cost 20 MiB more memory and doubled
// its system time.
constexpr size_t kSmallHeapBytes = size_t{256} << 20;
// Spans of small objects have at most so many pages.
constexpr size_t kDensePages = 16;
constexpr size_t kMapStepBytes = size_t{64} << 10;
// Steps grow with what there is: what is not touched costs nothing, and a map with its guard pages is three maps.
constexpr size_t kMetaStepBytes = size_t{128} << 10;
constexpr size_t kRecordChunkBytes = size_t{128} << 10;  // records of 8 MiB of small spans
constexpr size_t kIdleRecordBytes = size_t{1} << 20;     // records that no span uses: purged beyond, by some
constexpr unsigned kIdleRecordCalls = 64;                // system calls of 1 us each
constexpr size_t kFirstRecordBytes = size_t{12} << 10;   // of first_metadata
constexpr unsigned kMaxGuardedMaps = 64;

// Metadata of a small process lives in the library's own zero pages: no mapping of its own.
constinit Superblock first_super = {};
alignas(64) constinit char first_metadata[16 << 10] = {};

constexpr uint64_t word_mask(size_t first, size_t n) {  // n in 1..64
  return (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1) << first;
}

/// Calls f(super index, word index, mask) for every word that [first, first + pages) touches.
template <typename F>
void for_words(size_t first, size_t pages, F f) {
  while (pages > 0) {
    const size_t bit = first % 64;
    const size_t n = pages < 64 - bit ? pages : 64 - bit;
    f(first / kSuperPages, first / 64 % kSuperWords, word_mask(bit, n));
    first += n;
    pages -= n;
  }
}

/// Lowest start of a run of n ones in x, or 64. 1 <= n <= 64.
unsigned find_in_word(uint64_t x, size_t n) {
  for (size_t have = 1; have < n && x != 0;) {
    const size_t step = have < n - have ? have : n - have;
    x &= x >> step;
    have += step;
  }
  return x == 0 ? 64 : static_cast<unsigned>(__builtin_ctzll(x));
}

unsigned low_ones(uint64_t x) {
  return x == ~uint64_t{0} ? 64 : static_cast<unsigned>(__builtin_ctzll(~x));
}
unsigned high_ones(uint64_t x) {
  return x == ~uint64_t{0} ? 64 : static_cast<unsigned>(__builtin_clzll(~x));
}

size_t free_prefix(const Superblock& b) {
  size_t n = 0;
  for (const uint64_t w : b.free) {
    const unsigned ones = low_ones(w);
    n += ones;
    if (ones < 64) break;
  }
  return n;
}

size_t free_suffix(const Superblock& b) {
  size_t n = 0;
  for (size_t i = kSuperWords; i-- > 0;) {
    const unsigned ones = high_ones(b.free[i]);
    n += ones;
    if (ones < 64) break;
  }
  return n;
}

}  // namespace

bool PageHeap::init() noexcept {
  os_page_bytes_ = os::page_bytes();
  constexpr unsigned kRatioLog2 = kPageLog2 - kEntryLog2;
  if (!os::place_window(&window_, kFirstMapBytes, kFirstHeapBytes, kRatioLog2)) return false;
  map_bytes_ = kFirstMapBytes;
  meta_next_ = first_metadata;
  meta_left_ = sizeof first_metadata;
  records_.add(metadata_locked(kFirstRecordBytes), kFirstRecordBytes, 4096, false);
  superblocks[0] = &first_super;
  pages_ = kFirstHeapBytes >> kPageLog2;
  // The first page of the heap is never used: it keeps writes below the first block off the page map.
  const size_t guard = os_page_bytes_ > kPageBytes ? os_page_bytes_ >> kPageLog2 : 1;
  os::protect(window_.base, guard << kPageLog2);
  mark_free(guard, pages_ - guard);
  heap_view.base_m1 = window_.base - 1;
  __atomic_store_n(&heap_view.limit, ~(kFirstHeapBytes - 1), __ATOMIC_RELEASE);
  return true;
}

/// A mapping for metadata, between inaccessible pages as long as there are few.
void* PageHeap::map_metadata(size_t bytes) noexcept {
  const size_t whole = (bytes + os_page_bytes_ - 1) & ~(os_page_bytes_ - 1);
  void* fresh = meta_maps_ < kMaxGuardedMaps ? os::map_guarded(whole) : os::map(whole);
  if (fresh == nullptr) return nullptr;
  ++meta_maps_;
  meta_bytes_ += bytes;
  return fresh;
}

void* PageHeap::metadata_locked(size_t bytes) noexcept {
  bytes = (bytes + 63) & ~size_t{63};
  if (bytes >= kMetaStepBytes) return map_metadata(bytes);  // whole OS pages of its own
  if (bytes > meta_left_) {
    size_t step = meta_bytes_ / 4 & ~(kMetaStepBytes - 1);
    if (step < kMetaStepBytes) step = kMetaStepBytes;
    void* fresh = map_metadata(step);
    if (fresh == nullptr) return nullptr;
    meta_next_ = static_cast<char*>(fresh);
    meta_left_ = step;
  }
  void* p = meta_next_;
  meta_next_ += bytes;
  meta_left_ -= bytes;
  return p;
}

void* PageHeap::metadata(size_t bytes) noexcept {
  MutexGuard guard(mutex_);
  return metadata_locked(bytes);
}

Span* PageHeap::new_span() noexcept {
  if (Span* s = records_.take()) return s;
  void* chunk = metadata_locked(kRecordChunkBytes);
  if (chunk == nullptr) return nullptr;
  records_.add(chunk, kRecordChunkBytes, os_page_bytes_, true);
  return records_.take();
}

void PageHeap::delete_span(Span* s) noexcept {
  records_.give(s);
  if (records_.idle_pages() * os_page_bytes_ > kIdleRecordBytes) records_.purge(kIdleRecordCalls);
}

/// Sets the bits of pages that were not free.
void PageHeap::mark_free(size_t first, size_t pages) noexcept {
  for_words(first, pages, [](size_t s, size_t w, uint64_t mask) {
    Superblock& b = *superblocks[s];
    b.free[w] |= mask;
    b.any_free |= uint64_t{1} << w;
    b.run_bound = kSuperPages;  // unknown again
  });
  free_pages_ += pages;
  __atomic_store_n(&inuse_pages_, pages_ - free_pages_, __ATOMIC_RELAXED);
  if (first / kSuperPages < first_super_) first_super_ = first / kSuperPages;
}

void PageHeap::put(size_t first, size_t pages, bool clean) noexcept {
  mark_free(first, pages);
  if (clean) return;
  for_words(first, pages, [](size_t s, size_t w, uint64_t mask) { superblocks[s]->dirty[w] |= mask; });
  __atomic_store_n(&dirty_pages_, dirty_pages_ + pages, __ATOMIC_RELAXED);
}

/// Takes free pages; returns how many of them were dirty.
size_t PageHeap::take(size_t first, size_t pages) noexcept {
  size_t dirty = 0;
  for_words(first, pages, [&dirty](size_t s, size_t w, uint64_t mask) {
    Superblock& b = *superblocks[s];
    b.free[w] &= ~mask;
    if (b.free[w] == 0) b.any_free &= ~(uint64_t{1} << w);
    dirty += static_cast<size_t>(__builtin_popcountll(b.dirty[w] & mask));
    b.dirty[w] &= ~mask;
  });
  free_pages_ -= pages;
  __atomic_store_n(&inuse_pages_, pages_ - free_pages_, __ATOMIC_RELAXED);
  __atomic_store_n(&dirty_pages_, dirty_pages_ - dirty, __ATOMIC_RELAXED);
  if (dirty_pages_ < low_dirty_) low_dirty_ = dirty_pages_;
  return dirty;
}

bool PageHeap::all_free(size_t first, size_t pages) const noexcept {
  if (first + pages > pages_) return false;
  bool all = true;
  for_words(first, pages, [&all](size_t s, size_t w, uint64_t mask) {
    if ((superblocks[s]->free[w] & mask) != mask) all = false;
  });
  return all;
}

/// Lowest run of `pages` free pages, or kNoPage. O(superblocks) word operations at worst.
size_t PageHeap::find_run(size_t pages) noexcept {
  size_t run = 0;  // free pages directly before the word under examination
  const size_t supers = (pages_ + kSuperPages - 1) / kSuperPages;
  bool seen_free = false;
  for (size_t s = first_super_; s < supers; ++s) {
    Superblock& b = *superblocks[s];
    const size_t base = s * kSuperPages;
    if (b.any_free == 0) {
      run = 0;
      continue;
    }
    if (!seen_free) {
      seen_free = true;
      first_super_ = s;
    }
    if (b.run_bound < pages) {  // only a run over its edges can fit
      const size_t prefix = free_prefix(b);
      if (run + prefix >= pages) return base - run;
      run = prefix == kSuperPages ? run + prefix : free_suffix(b);
      continue;
    }
    for (size_t w = 0; w < kSuperWords; ++w) {
      const uint64_t later = b.any_free >> w << w;
      if (later == 0) {
        run = 0;
        break;
      }
      const auto next = static_cast<size_t>(__builtin_ctzll(later));
      if (next != w) run = 0;
      w = next;
      const uint64_t x = b.free[w];
      const size_t at = base + w * 64;
      const unsigned low = low_ones(x);
      if (run + low >= pages) return at - run;
      if (low == 64) {
        run += 64;
        continue;
      }
      if (pages < 64) {
        const unsigned bit = find_in_word(x, pages);
        if (bit < 64) return at + bit;
      }
      run = high_ones(x);
    }
    b.run_bound = pages - 1;  // searched in vain; runs over the edges are looked at apart
  }
  return kNoPage;
}

size_t PageHeap::free_tail() const noexcept {
  size_t n = 0;
  for (size_t page = pages_; page > 0;) {
    const size_t last = (page - 1) % 64;
    const uint64_t x = superblocks[(page - 1) / kSuperPages]->free[(page - 1) / 64 % kSuperWords] << (63 - last);
    const size_t ones = high_ones(x);
    if (ones <= last) return n + ones;
    n += last + 1;
    page -= last + 1;
  }
  return n;
}

/// Opens the page map for `pages` pages in all.
bool PageHeap::open_map(size_t pages) noexcept {
  const size_t want = pages << kEntryLog2;
  if (want <= map_bytes_) return true;
  const size_t more = (want - map_bytes_ + kMapStepBytes - 1) & ~(kMapStepBytes - 1);
  if (!os::extend(window_, window_.base - map_bytes_ - more, more)) return false;
  map_bytes_ += more;
  return true;
}

/// Whether the kernel was asked for huge pages there.
bool PageHeap::is_staged_huge(size_t page) const noexcept {
  return page < pages_ && (superblocks[page / kSuperPages]->huge >> (page % kSuperPages / kHugePages) & 1) != 0;
}

/// Whether it is asked for them still.
bool PageHeap::is_advised_huge(size_t page) const noexcept {
  return is_staged_huge(page) && page >= __atomic_load_n(&no_huge_pages_, __ATOMIC_RELAXED);
}

/// A heap that gives memory back is not dense any more: the kernel shall make no more huge pages of what is left in it.
/// Its khugepaged makes one of a single page: 6 MiB came back in 2 s to a program that slept. All of them at once, so
/// that the window does not fall into many maps.
void PageHeap::withdraw_huge_pages() noexcept {
  const size_t advised = advised_bytes_ >> kPageLog2;
  if (options.thp != Options::kAuto || no_huge_pages_ >= advised) return;
  os::advise_huge(address(no_huge_pages_), (advised - no_huge_pages_) << kPageLog2, false);
  __atomic_store_n(&no_huge_pages_, advised, __ATOMIC_RELAXED);
}

/// Tells the kernel about huge pages in what was opened for a run of `pages` pages: none while the heap is small, since
/// one small block must not cost 2 MiB, and none for large blocks, of which a program may touch a little only. All that
/// is opened for small objects, once the heap is large enough that the last, half-used huge page is little of it.
void PageHeap::stage_huge_pages(size_t pages) noexcept {
  const size_t open = (pages_ << kPageLog2) & ~(kHugeBytes - 1);
  if (open <= advised_bytes_) return;
  const bool dense = pages <= kDensePages && open > kSmallHeapBytes;
  const bool huge = options.thp == Options::kOn || (options.thp == Options::kAuto && dense);
  os::advise_huge(window_.base + advised_bytes_, open - advised_bytes_, huge);
  for (; advised_bytes_ < open; advised_bytes_ += kHugeBytes) {
    const size_t page = advised_bytes_ >> kPageLog2;
    if (huge) superblocks[page / kSuperPages]->huge |= static_cast<uint16_t>(1U << (page % kSuperPages / kHugePages));
  }
}

bool PageHeap::renew(uintptr_t start, size_t bytes) noexcept {
  if (!is_whole_os_pages(start, bytes) || !os::renew(start, bytes)) return false;
  advise_again(start, bytes);
  return true;
}

void PageHeap::advise_again(uintptr_t start, size_t bytes) noexcept {
  for (uintptr_t from = start; from < start + bytes;) {
    bool huge = false;
    uintptr_t next = 0;
    uintptr_t open = 0;
    {
      MutexGuard guard(mutex_);  // the heap may be growing, or withdraw its advice; the kernel works without the lock
      const size_t page = page_of(from);
      huge = is_advised_huge(page);
      size_t to = page + 1;
      while (address(to) < start + bytes && is_advised_huge(to) == huge) ++to;
      next = address(to);
      open = window_.base + advised_bytes_;
    }
    const uintptr_t end = next < open ? next : open;
    if (from < end) os::advise_huge(from, end - from, huge);
    from = next;
  }
}

bool PageHeap::grow_by(size_t more, size_t pages) noexcept {
  const size_t total = pages_ + more;
  if (total > window_.max_bytes >> kPageLog2 || !open_map(total)) return false;
  for (size_t s = pages_ / kSuperPages; s * kSuperPages < total; ++s) {
    if (superblocks[s] != nullptr) continue;
    superblocks[s] = static_cast<Superblock*>(metadata_locked(sizeof(Superblock)));
    if (superblocks[s] == nullptr) return false;
  }
  if (!os::extend(window_, address(pages_), more << kPageLog2)) return false;
  const size_t first = pages_;
  pages_ = total;
  stage_huge_pages(pages);
  mark_free(first, more);
  // Release: whoever sees a pointer into the new part got it after this.
  __atomic_store_n(&heap_view.limit, ~((total << kPageLog2) - 1), __ATOMIC_RELEASE);
  return true;
}

/// Opens so much of the window that a run of `pages` free pages is at its end.
bool PageHeap::grow(size_t pages) noexcept {
  const size_t unit = os_page_bytes_ > kPageBytes ? os_page_bytes_ >> kPageLog2 : 1;
  const size_t need = (pages - free_tail() + unit - 1) & ~(unit - 1);
  size_t step = pages_ / 4;
  if (step < kMinGrowPages) step = kMinGrowPages;
  if (step > kMaxGrowPages) step = kMaxGrowPages;
  step &= ~(kMinGrowPages - 1);
  if (step > need && grow_by(step, pages)) return true;
  return grow_by(need, pages);
}

size_t PageHeap::find_run_or_grow(size_t pages) noexcept {
  const size_t first = find_run(pages);
  return first == kNoPage && grow(pages) ? find_run(pages) : first;
}

Span* PageHeap::allocate(size_t pages, size_t align_pages, bool* zeroed, size_t room_pages) noexcept {
  constexpr size_t kMaxPages = size_t{1} << (os::kMaxWindowLog2 - kPageLog2);
  if (pages >= kMaxPages || align_pages >= kMaxPages) return nullptr;
  MutexGuard guard(mutex_);
  Span* s = new_span();
  if (s == nullptr) return nullptr;
  const size_t padded = pages + align_pages - 1;
  size_t first = room_pages < kMaxPages ? find_run_or_grow(padded + room_pages) : kNoPage;
  if (first == kNoPage && room_pages != 0) first = find_run_or_grow(padded);
  if (first == kNoPage) {
    delete_span(s);
    return nullptr;
  }
  const size_t alignment = align_pages << kPageLog2;
  first = page_of((address(first) + alignment - 1) & ~(alignment - 1));
  const size_t dirty = take(first, pages);
  *zeroed = dirty == 0;
  if (dirty < pages) note_clean_use(pages - dirty);
  s->next = s->prev = nullptr;
  s->start = address(first);
  s->pages = static_cast<uint32_t>(pages);
  s->objects = s->next_bucket_at = s->until_bucket = 0;
  s->bin = kBinNone;
  s->bucket = 0;
  s->moved = false;
  return s;
}

void PageHeap::release(Span* span, bool clean) noexcept {
  MutexGuard guard(mutex_);
  const size_t first = page_of(span->start);
  const size_t pages = span->pages;
  delete_span(span);
  put(first, pages, clean);
  if (!clean) enforce_budget_after_free();
}

bool PageHeap::extend(Span* span, size_t pages, bool* clean) noexcept {
  MutexGuard guard(mutex_);
  const size_t first = page_of(span->start);
  const size_t behind = first + span->pages;
  const size_t more = pages - span->pages;
  if (!all_free(behind, more)) {
    // The last block of the heap may grow into what is not open yet.
    if (behind + free_tail() != pages_ || first + pages > window_.max_bytes >> kPageLog2 || !grow(more)) return false;
  }
  const size_t dirty = take(behind, more);
  if (dirty < more) note_clean_use(more - dirty);
  if (clean != nullptr) *clean = dirty == 0;
  span->pages = static_cast<uint32_t>(pages);
  return true;
}

void PageHeap::shrink(Span* span, size_t pages, bool clean) noexcept {
  MutexGuard guard(mutex_);
  const size_t give = span->pages - pages;
  span->pages = static_cast<uint32_t>(pages);
  put(page_of(span->start) + pages, give, clean);
  if (!clean) enforce_budget_after_free();
}

PageHeapStats PageHeap::stats() noexcept {
  MutexGuard guard(mutex_);
  PageHeapStats s{};
  s.heap_bytes = pages_ << kPageLog2;
  s.inuse_bytes = inuse_pages_ << kPageLog2;
  s.dirty_bytes = dirty_pages_ << kPageLog2;
  s.metadata_bytes = meta_bytes_ + sizeof first_metadata;
  s.map_bytes = map_bytes_;
  s.spans_inuse = records_.in_use();
  s.spans_total = records_.total();
  s.purge_cycles = purge_cycles_;
  s.purged_bytes = purged_pages_ << kPageLog2;
  return s;
}

}  // namespace ashlar
