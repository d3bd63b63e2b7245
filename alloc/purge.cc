// SPDX-License-Identifier: MIT
//
// purge.cc - when free pages go back to the kernel (Go's scavenger).
//
// Owns: the budget of dirty free pages and its enforcement.
//  - The budget is 2 MiB + 1/20 of the pages in use + the reuse credit.
//  - It is enforced where clean pages are about to be touched: peak memory is what people measure, so old free memory
//    goes before new memory comes. And it is enforced where pages are freed: in a program with one thread there and
//    then, down to half of it; in a program with threads by the helper (helper.h), which gives back everything that
//    lay idle for a whole purge_delay.
//  - Hysteresis: pages that come back into use within `purge_delay` of a purge earn a credit, so a program that
//    frees and allocates the same 256 MiB in a loop pays for it once. What then lies idle through a whole
//    delay is taken off the credit again.
//  - No storm: a look of the helper makes at most kRunsPerLook system calls.
//  - The highest addresses go first. The lock is not held while the kernel works: the runs are taken out meanwhile.
#include "alloc/helper.h"
#include "alloc/options.h"
#include "alloc/page_heap.h"
#include "alloc/trace.h"

namespace ashlar {
namespace {

constexpr size_t kBaseBudgetPages = (size_t{2} << 20) >> kPageLog2;
constexpr size_t kInuseShare = 20;
constexpr size_t kRunsPerBatch = 64;
constexpr size_t kRunsPerLook = 512;           // some 1 ms of the kernel's time
constexpr unsigned kRecordCallsPerPurge = 64;  // with the lock held: some 1 us each
constexpr size_t kNotWorthAThread = (size_t{1} << 20) >> kPageLog2;

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
  if (helper_ || now_ms - window_start_ms_ < options.purge_delay_ms) return;
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
  if (dirty_pages_ <= budget) return;
  if (!helper_ && !helper_never_ && want_helper()) {
    helper_ = true;
    low_dirty_ = low_before_ = 0;
  }
  // Well below, so that the next free does not come here again. The credit stays whole: it was earned.
  if (!helper_) purge_to(reuse_credit_ + (budget - reuse_credit_) / 2);
}

/// Where the kernel makes huge pages, clean free pages beside a dirty one may be resident with it: they go together.
void PageHeap::widen_to_huge_page(Run* run) const noexcept {
  const size_t unit = os_page_bytes_ > kPageBytes ? os_page_bytes_ >> kPageLog2 : 1;
  const size_t from = run->first / kHugePages * kHugePages;
  const size_t end = (run->first + run->pages + kHugePages - 1) / kHugePages * kHugePages;
  size_t last = run->first + run->pages;
  while (run->first > from && is_staged_huge(run->first - unit) && all_free(run->first - unit, unit))
    run->first -= unit;
  while (last < end && is_staged_huge(last) && all_free(last, unit)) last += unit;
  run->pages = last - run->first;
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
          runs[n++] = {first, pages, 0};
        } else {
          want_pages = 0;
          break;
        }
        want_pages -= pages;
        m = high + 1 == ones ? 0 : m & ((uint64_t{1} << (high + 1 - ones)) - 1);
      }
    }
  }
  for (size_t i = 0; i < n; ++i) {
    widen_to_huge_page(&runs[i]);
    if (is_staged_huge(runs[i].first + runs[i].pages - 1)) withdraw_huge_pages();
    runs[i].dirty = take(runs[i].first, runs[i].pages);
  }
  return n;
}

/// Gives back the memory of the page map for free pages around [first, first + pages): whole OS pages of it.
void PageHeap::purge_map(size_t first, size_t pages) noexcept {
  const size_t group = os_page_bytes_ >> kEntryLog2;  // pages whose entries share an OS page
  size_t from = first / group;
  size_t to = (first + pages + group - 1) / group;
  if (!all_free(from * group, group)) ++from;
  if (from < to && !all_free((to - 1) * group, group)) --to;
  if (from < to) os::purge(window_.base - to * os_page_bytes_, (to - from) * os_page_bytes_);
}

/// Purges until at most `keep_pages` are dirty, or `max_runs` runs are. Drops the lock around the kernel. Returns the
/// pages given back.
size_t PageHeap::purge_to(size_t keep_pages, size_t max_runs) noexcept {
  if (purging_ || dirty_pages_ <= keep_pages) return 0;
  purging_ = this_thread();
  const uint64_t start_us = options.scavtrace ? os::now_us() : 0;
  const size_t dirty_before = dirty_pages_;
  size_t purged = 0;
  Run runs[kRunsPerBatch];
  // Relaxed: a fork that waits sees `purging_` with the lock held.
  while (dirty_pages_ > keep_pages && max_runs != 0 && !__atomic_load_n(&fork_waits_, __ATOMIC_RELAXED)) {
    const size_t n = collect_dirty(runs, smaller(kRunsPerBatch, max_runs), dirty_pages_ - keep_pages);
    if (n == 0) break;
    max_runs -= n;
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
      if (!ok[i]) continue;
      purged += runs[i].dirty;
      purge_map(runs[i].first, runs[i].pages);
    }
    if (!progress) break;
  }
  records_.purge(kRecordCallsPerPurge);
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
  // A purge works without the lock, on pages that it took out of the heap: its batch is let finish, in some 100 us.
  // Not the one that a signal handler which forks has interrupted: that goes on when the handler returns, in the child,
  // too. And where this thread holds the lock the purge could not finish.
  __atomic_store_n(&fork_waits_, true, __ATOMIC_RELAXED);
  for (;;) {
    if (!mutex_.lock_for_fork(interrupted)) return false;
    if (purging_ == 0 || purging_ == this_thread()) return true;
    mutex_.unlock();
    nap();
  }
}

void PageHeap::after_fork(bool child) noexcept {
  __atomic_store_n(&fork_waits_, false, __ATOMIC_RELAXED);
  if (!child) return;
  if (purging_ != this_thread()) purging_ = 0;
  // It is not in the child, which asks for its own when it needs one; what another thread asked for is void.
  helper_ = false;
  __atomic_store_n(&helper_wanted, false, __ATOMIC_RELAXED);
}

/// Waits until no other thread purges.
void PageHeap::let_purge_end() noexcept {
  while (purging_ != 0) {
    mutex_.unlock();
    nap();
    mutex_.lock();
  }
}

PageHeap::Look PageHeap::look_for_idle(size_t freed_pages) noexcept {
  MutexGuard guard(mutex_);
  const size_t freed = smaller(freed_pages, dirty_pages_);
  const size_t idle = smaller(smaller(low_dirty_, low_before_) + freed, dirty_pages_);
  const size_t target = dirty_pages_ - idle;
  reuse_credit_ -= smaller(reuse_credit_, idle);
  if (idle != 0) purge_to(target, kRunsPerLook);
  const bool records_left = records_.purge(kRecordCallsPerPurge);
  if (records_left || (idle != 0 && dirty_pages_ > target && low_dirty_ > target)) {
    return Look::kMore;
  }
  low_before_ = low_dirty_;
  low_dirty_ = dirty_pages_;
  if (idle <= kNotWorthAThread && dirty_pages_ <= kNotWorthAThread) {
    helper_ = false;
    return Look::kDone;
  }
  if (idle == 0) recently_purged_ = 0;  // what comes back later than a delay is no sign of a budget too small
  return Look::kWait;
}

void PageHeap::helper_failed(bool for_good) noexcept {
  MutexGuard guard(mutex_);
  helper_ = false;
  helper_never_ = for_good;
  const size_t budget = budget_pages();
  if (dirty_pages_ > budget) purge_to(reuse_credit_ + (budget - reuse_credit_) / 2);
}

size_t PageHeap::purge(size_t keep_bytes) noexcept {
  MutexGuard guard(mutex_);
  let_purge_end();  // what is on its way counts as given, and the caller sees it gone
  const size_t purged = purge_to(keep_bytes >> kPageLog2);
  recently_purged_ = 0;  // asked for, so not a sign that the budget is too small
  return purged << kPageLog2;
}

}  // namespace ashlar
