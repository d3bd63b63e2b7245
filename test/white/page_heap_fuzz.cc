// SPDX-License-Identifier: MIT
//
// page_heap_fuzz.cc - the page heap alone against a map of its pages: no page in two spans, the lowest run that fits,
// zeroed pages that are zero, contents that a purge of the neighbours leaves alone, figures that add up.
//
// It works on the process's page heap, which nobody else uses here: no block is ever allocated.
#include "alloc/init.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"
#include "test/white/fuzz_util.h"

namespace ashlar_test {
namespace {

using ashlar::kPageBytes;
using ashlar::page_heap;
using ashlar::Span;

constexpr size_t kSpans = 64;
constexpr size_t kMaxPages = 6000;  // more than a superblock, so that runs over its edges are made
constexpr size_t kMaxLivePages = 12000;
constexpr uint8_t kGuardOwner = 255;  // more than there are spans

class PageModel {
 public:
  PageModel(const uint8_t* data, size_t size) : in_(data, size) {
    const ashlar::PageHeapStats s = page_heap.stats();
    // The guard in front of the first block is all that is in use; an OS page, or one of ours.
    guard_pages_ = s.inuse_bytes / kPageBytes;
    in_.require(guard_pages_ >= 1 && guard_pages_ <= 8, "pages in use at the start", s.inuse_bytes);
    owner_.assign(open_pages(), 0);
    for (size_t i = 0; i < guard_pages_; ++i) owner_[i] = kGuardOwner;
  }

  void run() {
    while (!in_.empty()) {
      seam_ = ashlar::os::failure_seam();
      step();
      check_figures();
    }
    ashlar::os::fail_after(0);
    for (Held& held : spans_) release(held);
    check_figures();
    page_heap.purge(0);
    const ashlar::PageHeapStats s = page_heap.stats();
    in_.require(s.inuse_bytes == guard_pages_ * kPageBytes && s.dirty_bytes == 0 && s.spans_inuse == 0,
                "left at the end", s.inuse_bytes, s.dirty_bytes);
  }

 private:
  /// Whether a call to the kernel was made to fail in this operation: only then may it refuse.
  bool has_failed() const { return ashlar::os::failure_seam().count != seam_.count; }

  struct Held {
    Span* span = nullptr;
    size_t first = 0, pages = 0;
    uint64_t tag = 0;
    bool written = false;
  };

  Held& held() { return spans_[in_.below(kSpans)]; }

  size_t page_count() {
    switch (in_.below(8)) {
      case 0:
      case 1:
        return in_.below(8) + 1;
      case 2:
      case 3:
        return in_.below(130) + 1;
      case 4:
      case 5:
        return in_.below(8) * 64 + in_.below(3) + 1;
      case 6:
        return in_.below(700) + 1;
      default:
        return in_.below(kMaxPages) + 1;
    }
  }

  static size_t open_pages() { return page_heap.stats().heap_bytes / kPageBytes; }
  static uintptr_t base() { return ashlar::heap_view.base_m1 + 1; }
  static size_t page_of(const Span* span) { return (span->start - base()) / kPageBytes; }
  static uint64_t* word_of(size_t page) { return reinterpret_cast<uint64_t*>(base() + page * kPageBytes); }

  /// The lowest run of `pages` free pages in the model, or the end of what is open.
  size_t lowest_run(size_t pages) {
    owner_.resize(open_pages());
    size_t run = 0;
    for (size_t i = 0; i < owner_.size(); ++i) {
      run = owner_[i] == 0 ? run + 1 : 0;
      if (run == pages) return i + 1 - pages;
    }
    return owner_.size() - run;
  }

  void own(size_t first, size_t pages, uint8_t owner) {
    if (owner_.size() < first + pages) owner_.resize(open_pages());
    in_.require(first + pages <= owner_.size(), "pages beyond the heap", first, pages);
    for (size_t i = first; i < first + pages; ++i) {
      in_.require((owner_[i] == 0) == (owner != 0), "a page in two spans", i, owner_[i]);
      owner_[i] = owner;
    }
    live_pages_ = owner != 0 ? live_pages_ + pages : live_pages_ - pages;
  }

  /// Pages that are written and checked: the ends, where neighbours meet, and some between.
  static bool is_marked(size_t page, size_t pages) { return page < 8 || page + 8 >= pages || page % 64 == 0; }

  void write(Held& at) {
    at.written = true;
    for (size_t i = 0; i < at.pages; ++i) {
      if (!is_marked(i, at.pages)) continue;
      uint64_t* word = word_of(at.first + i);
      word[0] = word[kPageBytes / 8 - 1] = mix(at.tag + i);
    }
  }

  void check(const Held& at, size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if (!is_marked(i, at.pages)) continue;
      const uint64_t* word = word_of(at.first + i);
      const uint64_t want = at.written ? mix(at.tag + i) : 0;
      in_.require(word[0] == want && word[kPageBytes / 8 - 1] == want, "contents of a page", at.first + i, i);
    }
  }

  void step() {
    switch (in_.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        allocate(held());
        break;
      case 4:
      case 5:
        release(held());
        break;
      case 6:
      case 7:
        extend(held());
        break;
      case 8:
        shrink(held());
        break;
      case 9:
        purge();
        break;
      case 10: {
        const size_t choice = in_.byte();
        const bool fail = choice % 4 != 0;
        ashlar::os::fail_after(fail ? static_cast<unsigned>(choice / 4 % 8 + 1) : 0,
                               choice >= 128 ? ~0U : static_cast<unsigned>(choice / 32 + 1));
        break;
      }
      default: {
        const size_t step = in_.below(4) + 1;
        for (size_t i = in_.below(kSpans); i < kSpans; i += step) release(spans_[i]);
      }
    }
  }

  void allocate(Held& into) {
    release(into);
    const size_t pages = page_count();
    const size_t align = in_.below(4) == 0 ? size_t{1} << in_.below(9) : 1;
    if (live_pages_ + pages > kMaxLivePages) return;
    const size_t lowest = lowest_run(pages + align - 1);
    bool zeroed = false;
    Span* span = page_heap.allocate(pages, align, &zeroed);
    if (span == nullptr) {
      in_.require(has_failed(), "no pages without a cause", pages, align);
      return;
    }
    into = {span, page_of(span), pages, ++tags_, !zeroed};
    in_.require(span->pages == pages, "pages of the span", span->pages, pages);
    in_.require(span->start % (align * kPageBytes) == 0, "alignment", span->start, align);
    in_.require(into.first >= lowest && into.first < lowest + align, "not the lowest run", into.first, lowest);
    own(into.first, pages, number(into));
    if (zeroed) {
      for (size_t i = 0; i < pages; ++i) in_.require(*word_of(into.first + i) == 0, "a zeroed page", into.first + i, i);
    }
    if (!zeroed || in_.below(4) != 0) write(into);
  }

  uint8_t number(const Held& at) const { return static_cast<uint8_t>(&at - spans_ + 1); }

  void release(Held& from) {
    if (from.span == nullptr) return;
    check(from, 0, from.pages);
    own(from.first, from.pages, 0);
    page_heap.release(from.span, !from.written);
    from = {};
  }

  void extend(Held& at) {
    const size_t more = page_count();
    if (at.span == nullptr || live_pages_ + more > kMaxLivePages) return;
    owner_.resize(open_pages());
    const size_t end = at.first + at.pages;
    size_t room = 0;
    while (room < more && end + room < owner_.size() && owner_[end + room] == 0) ++room;
    const bool may_open = end + room == owner_.size();
    const bool extended = page_heap.extend(at.span, at.pages + more);
    if (extended != (room == more || may_open))
      in_.require(!extended && may_open && has_failed(), "extend", room, more);
    if (!extended) {
      in_.require(at.span->pages == at.pages, "pages after an extend that failed", at.span->pages, at.pages);
      return;
    }
    in_.require(at.span->pages == at.pages + more && page_of(at.span) == at.first, "span after extend");
    own(end, more, number(at));
    check(at, 0, at.pages);
    at.pages += more;
    write(at);
  }

  void shrink(Held& at) {
    if (at.span == nullptr || at.pages < 2) return;
    const size_t keep = in_.below(at.pages - 1) + 1;
    own(at.first + keep, at.pages - keep, 0);
    page_heap.shrink(at.span, keep, false);
    in_.require(at.span->pages == keep, "pages after shrink", at.span->pages, keep);
    check(at, 0, keep);
    at.pages = keep;
    write(at);
  }

  void purge() {
    const size_t keep = in_.below(4) * in_.below(4096) * kPageBytes;
    const size_t dirty_before = page_heap.stats().dirty_bytes;
    const size_t purged = page_heap.purge(keep);
    const size_t dirty = page_heap.stats().dirty_bytes;
    in_.require(dirty_before - dirty == purged, "purged bytes", dirty_before - dirty, purged);
    in_.require(has_failed() || dirty <= keep, "purge kept more", dirty, keep);
  }

  void check_figures() {
    const ashlar::PageHeapStats s = page_heap.stats();
    in_.require(s.inuse_bytes == (guard_pages_ + live_pages_) * kPageBytes, "inuse_bytes", s.inuse_bytes, live_pages_);
    in_.require(s.inuse_bytes + s.dirty_bytes <= s.heap_bytes, "dirty_bytes", s.dirty_bytes, s.heap_bytes);
    size_t live = 0;
    for (const Held& one : spans_) live += one.span != nullptr ? 1 : 0;
    in_.require(s.spans_inuse == live && s.spans_inuse <= s.spans_total, "spans", s.spans_inuse, live);
  }

  Input in_;
  Held spans_[kSpans];
  size_t guard_pages_ = 0;
  std::vector<uint8_t> owner_;  ///< of each page: number of its span, 0 = free
  size_t live_pages_ = 0;
  uint64_t tags_ = 0;
  ashlar::os::FailureSeam seam_ = {};  // as the operation began
};

}  // namespace
}  // namespace ashlar_test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (!ashlar::ensure_init()) abort();
  ashlar_test::PageModel(data, size).run();
  return 0;
}

FUZZ_TESTS(PageHeapFuzz, "page_heap", 150, 1024)
