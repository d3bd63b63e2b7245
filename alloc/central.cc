// SPDX-License-Identifier: MIT
//
// central.cc - see central.h.
#include "alloc/central.h"

#include "alloc/base/check.h"
#include "alloc/diagnose.h"
#include "alloc/hardened.h"
#include "alloc/page_heap.h"

namespace ashlar {
namespace {

constexpr unsigned kNumBins = kBinFirstForeign;
constinit Central centrals[kNumBins] = {};

// A span with all objects free is kept for the next refill where it is small: classes that alternate around a span's
// edge would otherwise fetch and return it all the time. At most one a bin.
constexpr size_t kKeepEmptyPages = 2;

/// The bucket for a free count.
unsigned bucket_of(const Span* s) {
  const unsigned free4 = s->free_count * 4U;
  const unsigned all = s->objects;
  return (free4 >= all) + (free4 >= 3 * all) + (free4 >= 4 * all);
}

/// The least free count of each bucket, in quarters of the objects; one more, never reached.
constexpr unsigned kBucketQuarters[kBuckets + 1] = {0, 1, 3, 4, 8};

/// Relaxed: central_release_empty looks at it without the lock, and again with it.
void set_nonempty(Central& c, uint32_t buckets) {
  __atomic_store_n(&c.nonempty, buckets, __ATOMIC_RELAXED);
}

void unlist(Central& c, Span* s) {
  if (s->prev != nullptr) {
    s->prev->next = s->next;
  } else {
    c.bucket[s->bucket] = s->next;
    if (s->next == nullptr) set_nonempty(c, c.nonempty & ~(1U << s->bucket));
  }
  if (s->next != nullptr) s->next->prev = s->prev;
  s->bucket = kNotListed;
}

void list(Central& c, Span* s, unsigned bucket) {
  Span* head = c.bucket[bucket];
  s->prev = nullptr;
  s->next = head;
  if (head != nullptr) head->prev = s;
  c.bucket[bucket] = s;
  set_nonempty(c, c.nonempty | 1U << bucket);
  s->bucket = static_cast<uint8_t>(bucket);
  s->next_bucket_at = static_cast<uint16_t>((s->objects * kBucketQuarters[bucket + 1] + 3) / 4);
}

/// Puts the span where its free count says.
[[gnu::noinline]] void relist(Central& c, Span* s) {
  const unsigned want = s->free_count == 0 ? kNotListed : bucket_of(s);
  if (want == s->bucket) return;
  if (s->bucket != kNotListed) unlist(c, s);
  if (want != kNotListed) {
    list(c, s, want);
  } else {
    s->next_bucket_at = 1;  // full: the first object that comes back lists it
  }
}

Span* fresh_span(Bin bin) {
  const ClassIndex k = class_of_bin(bin);
  const ClassInfo& info = class_info(k);
  bool zeroed = false;
  Span* s = page_heap.allocate(info.span_pages, 1, &zeroed);
  if (s == nullptr) return nullptr;
  s->objects = s->free_count = info.span_objects;
  s->bin = static_cast<uint8_t>(bin);
  s->bucket = kNotListed;
  s->next_bucket_at = 0;
  // Ones behind the last object, too: a pointer to there is then found free already. Refills take no more than
  // free_count, lowest first, and so never get there.
  for (size_t w = 0; w * 64 <= info.span_objects && w < kMaxSpanObjects / 64; ++w) s->free_bits[w] = ~uint64_t{0};
  store_entries(s->start, s->pages, make_entry(s, bin));
  return s;
}

void release_span(Span* s) {
  store_entries(s->start, s->pages, 0);
  page_heap.release(s, false);
}

/// Takes up to n free objects of the span, lowest first, into out[-1], out[-2], ...
size_t take_from(Span* s, void** out, size_t n) {
  const size_t bytes = class_bytes(class_of_bin(s->bin));
  if (n > s->free_count) n = s->free_count;
  s->free_count = static_cast<uint16_t>(s->free_count - n);
  void** const end = out - n;
  uintptr_t base = s->start;
  for (uint64_t* word = s->free_bits; out != end; ++word, base += 64 * bytes) {
    uint64_t bits = *word;
    if (bits == 0) continue;
    const auto low = static_cast<unsigned>(__builtin_ctzll(bits));
    const uint64_t run = bits >> low;
    uintptr_t object = base + low * bytes;
    if ((run & (run + 1)) == 0) {  // one run of free objects: no search between them
      size_t k = run == ~uint64_t{0} ? 64 : static_cast<size_t>(__builtin_ctzll(~run));
      if (k > static_cast<size_t>(out - end)) k = static_cast<size_t>(out - end);
      *word = k == 64 ? 0 : bits & (~uint64_t{0} << (low + k - 1) << 1);
      for (; k != 0; --k, object += bytes) *--out = reinterpret_cast<void*>(object);
      continue;
    }
    do {
      *--out = reinterpret_cast<void*>(base + static_cast<unsigned>(__builtin_ctzll(bits)) * bytes);
      bits &= bits - 1;
    } while (bits != 0 && out != end);
    *word = bits;
  }
  return n;
}

/// The bin of an object that is being given back; aborts where it is not in a span of class c.
Bin checked_bin(void* object, ClassIndex c) {
  if (!in_heap(object)) fatal_not_ours(object);
  const Bin bin = entry_bin(load_entry(reinterpret_cast<uintptr_t>(object)));
  if (!is_small_bin(bin) || class_of_bin(bin) != c) fatal_bad_block(object);
  return bin;
}

/// What happens seldom when an object comes back: the span changes its bucket, or is free as a whole and leaves.
[[gnu::noinline]] void span_grew_freer(Central& c, Span* s, Span** emptied) {
  relist(c, s);
  if (s->free_count != s->objects) return;
  if (s->pages <= kKeepEmptyPages && s->next == nullptr) return;  // the only empty one: new ones are listed first
  unlist(c, s);
  store_entries(s->start, s->pages, 0);
  s->next = *emptied;
  *emptied = s;
}

}  // namespace

size_t central_take(Bin bin, void** out, size_t n) noexcept {
  Central& c = centrals[bin];
  MutexGuard guard(c.mutex);
  size_t taken = 0;
  while (taken < n) {
    Span* s;
    if (c.nonempty != 0) {
      s = c.bucket[__builtin_ctz(c.nonempty)];
    } else {
      s = fresh_span(bin);
      if (s == nullptr) break;
    }
    taken += take_from(s, out + (n - taken), n - taken);
    relist(c, s);
  }
  c.out += taken;
  if constexpr (kHardened) shuffle(out + (n - taken), taken);
  if (taken < n) {
    for (size_t i = 0; i < taken; ++i) out[i] = out[n - taken + i];
  }
  return taken;
}

void central_give(ClassIndex c, void* const* objects, size_t n) noexcept {
  const size_t bytes = class_bytes(c);
  const uint64_t reciprocal = class_info(c).reciprocal;
  const uintptr_t base_m1 =
      heap_view.base_m1;  // a local: the stores below could not change it, but the compiler cannot know
  Span* emptied = nullptr;
  for (size_t i = 0; i < n;) {
    const Bin bin = checked_bin(objects[i], c);
    Central& central = centrals[bin];
    MutexGuard guard(central.mutex);
    const size_t first = i;
    do {
      const auto address = reinterpret_cast<uintptr_t>(objects[i]);
      const uint64_t entry = *(reinterpret_cast<uint64_t*>(base_m1 + 1) + page_index(base_m1 - address));
      if (entry_bin(entry) != bin) {
        checked_bin(objects[i], c);
        break;  // of another home
      }
      Span* s = entry_span(entry);
      const size_t offset = address - s->start;
      const size_t index = (offset * reciprocal) >> 32;
      if (index * bytes != offset) fatal_pointer("free of an interior pointer", objects[i]);
      uint64_t& word = s->free_bits[index / 64];
      const uint64_t bit = uint64_t{1} << (index % 64);
      if ((word & bit) != 0) fatal_pointer("double free", objects[i]);
      word |= bit;
      const unsigned free_count = s->free_count + 1U;
      s->free_count = static_cast<uint16_t>(free_count);
      if (free_count >= s->next_bucket_at) span_grew_freer(central, s, &emptied);
    } while (++i < n);
    central.out -= i - first;
  }
  while (emptied != nullptr) {
    Span* s = emptied;
    emptied = s->next;
    page_heap.release(s, false);
  }
}

void central_release_empty() noexcept {
  for (Bin bin = kBinFirstClass; bin < kNumBins; ++bin) {
    Central& c = centrals[bin];
    // Relaxed look first: most bins are never used, and need not be brought into the cache for writing.
    if ((__atomic_load_n(&c.nonempty, __ATOMIC_RELAXED) & (1U << kEmptyBucket)) == 0) continue;
    MutexGuard guard(c.mutex);
    while (c.bucket[kEmptyBucket] != nullptr) {
      Span* s = c.bucket[kEmptyBucket];
      unlist(c, s);
      release_span(s);
    }
  }
}

bool central_is_mine() noexcept {
  for (Bin bin = kBinFirstClass; bin < kNumBins; ++bin) {
    if (centrals[bin].mutex.is_mine()) return true;
  }
  return false;
}

void central_lock_for_fork(CentralSet* taken, bool interrupted) noexcept {
  *taken = {};
  for (Bin bin = kBinFirstClass; bin < kNumBins; ++bin) {
    if (centrals[bin].mutex.lock_for_fork(interrupted)) taken->bits[bin / 64] |= uint64_t{1} << (bin % 64);
  }
}

void central_unlock(const CentralSet& taken) noexcept {
  for (Bin bin = kBinFirstClass; bin < kNumBins; ++bin) {
    if ((taken.bits[bin / 64] >> (bin % 64) & 1) != 0) centrals[bin].mutex.unlock();
  }
}

void central_count_direct(Bin bin) noexcept {
  __atomic_fetch_add(&centrals[bin].direct_mallocs, 1, __ATOMIC_RELAXED);
}

CentralStats central_stats(Bin bin) noexcept {
  Central& c = centrals[bin];
  MutexGuard guard(c.mutex);
  return {c.out, __atomic_load_n(&c.direct_mallocs, __ATOMIC_RELAXED)};
}

}  // namespace ashlar
