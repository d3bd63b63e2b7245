// SPDX-License-Identifier: MIT
//
// purge.cc - when free pages go back to the kernel (Go's scavenger).
//
// Owns: the budget of dirty free pages and its enforcement.
//  - The budget is 8 MiB + 1/8 of the pages in use + the reuse credit.
//  - It is enforced where pages are freed, and where clean pages are about to be touched: peak memory is what
//    people measure, so old free memory goes before new memory comes.
//  - Hysteresis: pages that come back into use within `purge_delay` of a purge earn a credit, so a program that
//    frees and allocates the same 256 MiB in a loop pays for it once. What then lies idle through a whole
//    delay is taken off the credit again.
//  - The highest addresses go first. The lock is not held while the kernel works: the runs are taken out meanwhile.
#include "alloc/options.h"
#include "alloc/page_heap.h"
#include "alloc/trace.h"

namespace ashlar {
namespace {

constexpr size_t kBaseBudgetPages = (size_t{8} << 20) >> kPageLog2;
constexpr size_t kInuseShare = 8;
constexpr size_t kRunsPerBatch = 64;

size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/// The bits of whole OS pages of `unit` pages (a power of two, at most 64) that are free and hold something dirty. The
/// rest of a dirty run cannot be purged: it shares its OS page with a block.
uint64_t purgeable(uint64_t free, uint64_t dirty, size_t unit) {
  uint64_t m = free & dirty;
  if (unit == 1 || m == 0) return m;
  uint64_t all_free = free;
  for (size_t i = 1; i < unit; i *= 2) {
    all_free &= all_free >> i;
    m |= m >> i;
  }
  uint64_t firsts = 1;  // one bit an OS page
  for (size_t i = unit; i < 64; i *= 2) firsts |= firsts << i;
  m &= all_free & firsts;
  for (size_t i = 1; i < unit; i *= 2) m |= m << i;
  return m;
}

}  // namespace

size_t PageHeap::budget_pages() const noexcept {
  return kBaseBudgetPages + inuse_pages_ / kInuseShare + reuse_credit_;
}

/// Starts a new window of observation where the old one is over.
void PageHeap::roll_window(uint64_t now_ms) noexcept {
  if (now_ms - window_start_ms_ < options.purge_delay_ms) return;
  reuse_credit_ -= smaller(reuse_credit_, low_dirty_);  // idle all that time
  low_dirty_ = dirty_pages_;
  recently_purged_ = 0;
  window_start_ms_ = now_ms;
}

void PageHeap::note_clean_use(size_t clean_pages) noexcept {
  if (!options.purge) return;
  if (recently_purged_ != 0) {
    roll_window(os::now_ms_coarse());
    const size_t back = smaller(clean_pages, recently_purged_);
    recently_purged_ -= back;
    reuse_credit_ += back;
  }
  const size_t budget = budget_pages();
  if (dirty_pages_ > budget) purge_to(budget);
}

void PageHeap::enforce_budget_after_free() noexcept {
  if (!options.purge || dirty_pages_ <= budget_pages() - reuse_credit_) return;
  roll_window(os::now_ms_coarse());
  const size_t budget = budget_pages();
  if (dirty_pages_ > budget)
    purge_to(budget - budget / 4);  // a quarter below, so that the next free does not come here again
}

/// Takes up to `want_pages` dirty free pages out of the heap, from its high end, as at most `max_runs` runs of whole OS
/// pages.
size_t PageHeap::collect_dirty(Run* runs, size_t max_runs, size_t want_pages) noexcept {
  size_t n = 0;
  const size_t unit = os_page_bytes_ > kPageBytes ? os_page_bytes_ >> kPageLog2 : 1;
  want_pages = (want_pages + unit - 1) & ~(unit - 1);
  for (size_t s = (pages_ + kSuperPages - 1) / kSuperPages; s-- > 0 && want_pages > 0;) {
    const Superblock& b = *superblocks[s];
    if (b.any_free == 0) continue;
    for (size_t w = kSuperWords; w-- > 0 && want_pages > 0;) {
      uint64_t m = purgeable(b.free[w], b.dirty[w], unit);
      while (m != 0 && want_pages > 0) {
        const unsigned high = 63U - static_cast<unsigned>(__builtin_clzll(m));
        const uint64_t shifted = m << (63 - high);
        const size_t ones = shifted == ~uint64_t{0} ? 64 : static_cast<size_t>(__builtin_clzll(~shifted));
        const size_t pages = smaller(ones, want_pages);
        const size_t first = s * kSuperPages + w * 64 + high + 1 - pages;
        if (n > 0 && runs[n - 1].first == first + pages) {
          runs[n - 1].first = first;
          runs[n - 1].pages += pages;
        } else if (n < max_runs) {
          runs[n++] = {first, pages};
        } else {
          want_pages = 0;
          break;
        }
        want_pages -= pages;
        m = high + 1 == ones ? 0 : m & ((uint64_t{1} << (high + 1 - ones)) - 1);
      }
    }
  }
  for (size_t i = 0; i < n; ++i) take(runs[i].first, runs[i].pages);
  return n;
}

/// Purges until at most `keep_pages` are dirty. Drops the lock around the kernel. Returns the pages given back.
size_t PageHeap::purge_to(size_t keep_pages) noexcept {
  if (purging_ || dirty_pages_ <= keep_pages) return 0;
  purging_ = this_thread();
  const uint64_t start_us = options.scavtrace ? os::now_us() : 0;
  const size_t dirty_before = dirty_pages_;
  size_t purged = 0;
  Run runs[kRunsPerBatch];
  while (dirty_pages_ > keep_pages) {
    const size_t n = collect_dirty(runs, kRunsPerBatch, dirty_pages_ - keep_pages);
    if (n == 0) break;
    bool ok[kRunsPerBatch];
    mutex_.unlock();
    bool progress = false;
    for (size_t i = 0; i < n; ++i) {
      ok[i] = os::purge(address(runs[i].first), runs[i].pages << kPageLog2);
      progress |= ok[i];
    }
    mutex_.lock();
    for (size_t i = 0; i < n; ++i) {
      put(runs[i].first, runs[i].pages, ok[i]);
      if (ok[i]) purged += runs[i].pages;
    }
    if (!progress) break;
  }
  recently_purged_ += purged;
  purged_pages_ += purged;
  ++purge_cycles_;
  purging_ = 0;
  if (options.scavtrace) {
    trace_purge({purge_cycles_, start_us, os::now_us() - start_us, inuse_pages_ << kPageLog2, dirty_before << kPageLog2,
                 dirty_pages_ << kPageLog2, purged});
  }
  return purged;
}

bool PageHeap::lock_for_fork(bool interrupted) noexcept {
  // A purge works without the lock, on pages that it took out of the heap: it is let finish, which takes milliseconds.
  // Not the one that a signal handler which forks has interrupted: that goes on when the handler returns, in the child,
  // too. And where this thread holds the lock the purge could not finish.
  for (;;) {
    if (!mutex_.lock_for_fork(interrupted)) return false;
    if (purging_ == 0 || purging_ == this_thread()) return true;
    mutex_.unlock();
    nap();
  }
}

void PageHeap::forget_purge() noexcept {
  if (purging_ != this_thread()) purging_ = 0;
}

size_t PageHeap::purge(size_t keep_bytes) noexcept {
  MutexGuard guard(mutex_);
  const size_t purged = purge_to(keep_bytes >> kPageLog2);
  recently_purged_ = 0;  // asked for, so not a sign that the budget is too small
  return purged << kPageLog2;
}

}  // namespace ashlar
