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
  const unsigned free4 = s->free_count() * 4U;
  const unsigned all = s->objects;
  return (free4 >= all) + (free4 >= 3 * all) + (free4 >= 4 * all);
}

/// The least free count of each bucket, in quarters of the objects; one more, never reached.
constexpr unsigned kBucketQuarters[kBuckets + 1] = {0, 1, 3, 4, 8};

void set_next_bucket(Span* s, size_t at) {
  const unsigned free_count = s->free_count();
  s->next_bucket_at = static_cast<uint16_t>(at);
  s->until_bucket = static_cast<uint16_t>(at - free_count);
}

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
  set_next_bucket(s, (s->objects * kBucketQuarters[bucket + 1] + 3) / 4);
}

/// Puts the span where its free count says.
[[gnu::noinline]] void relist(Central& c, Span* s) {
  const unsigned want = s->free_count() == 0 ? kNotListed : bucket_of(s);
  if (want == s->bucket) return;
  if (s->bucket != kNotListed) unlist(c, s);
  if (want != kNotListed) {
    list(c, s, want);
  } else {
    set_next_bucket(s, 1);  // full: the first object that comes back lists it
  }
}

Span* fresh_span(Bin bin) {
  const ClassIndex k = class_of_bin(bin);
  const ClassInfo& info = class_info(k);
  bool zeroed = false;
  Span* s = page_heap.allocate(info.span_pages, 1, &zeroed);
  if (s == nullptr) return nullptr;
  s->objects = info.span_objects;
  s->bin = static_cast<uint8_t>(bin);
  s->bucket = kNotListed;
  s->next_bucket_at = 1;  // as for a full one, should one refill take all
  s->until_bucket = static_cast<uint16_t>(1U - info.span_objects);
  // Ones behind the last object, too: a pointer to there is then found free already. Refills take no more than
  // free_count(), and so never get there.
  for (size_t w = 0; w * 64 <= info.span_objects && w < kMaxSpanObjects / 64; ++w) s->free_bits[w] = ~uint64_t{0};
  store_entries(s->start, s->pages, make_entry(s, bin));
  return s;
}

void release_span(Span* s) {
  store_entries(s->start, s->pages, 0);
  page_heap.release(s, false);
}

/// Takes the free object of the span that has `rank` free ones below it out, and says which it is.
[[maybe_unused]] size_t take_ranked(Span* s, unsigned rank) {
  uint64_t* word = s->free_bits;
  for (;; ++word) {
    const auto ones = static_cast<unsigned>(__builtin_popcountll(*word));
    if (rank < ones) break;
    rank -= ones;
  }
  uint64_t bits = *word;
  for (; rank != 0; --rank) bits &= bits - 1;
  const auto bit = static_cast<unsigned>(__builtin_ctzll(bits));
  *word &= ~(uint64_t{1} << bit);
  return static_cast<size_t>(word - s->free_bits) * 64 + bit;
}

/// Takes up to n free objects of the span, lowest first (hardened: in random order), into out[-1], out[-2], ...
size_t take_from(Span* s, void** out, size_t n) {
  const size_t bytes = class_bytes(class_of_bin(s->bin));
  if (n > s->free_count()) n = s->free_count();
  if constexpr (kHardened) {
    // The ones behind the last object are never reached: they rank above all.
    for (unsigned left = s->free_count(), i = 0; i < n; ++i, --left) {
      *--out = reinterpret_cast<void*>(s->start + take_ranked(s, random_index(left)) * bytes);
    }
  }
  s->until_bucket = static_cast<uint16_t>(s->until_bucket + n);
  if constexpr (kHardened) return n;
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
  if (s->free_count() != s->objects) return;
  if (s->pages <= kKeepEmptyPages && s->next == nullptr) return;  // the only empty one: new ones are listed first
  unlist(c, s);
  store_entries(s->start, s->pages, 0);
  s->next = *emptied;
  *emptied = s;
}

/// Where an object lies; the lock of its bin is held.
struct Place {
  Span* span;
  uint64_t* word;  ///< of free_bits
  unsigned bit;
};

/// The place of `object`, or no span where it is of another bin. The caller has the heap's base and the class's
/// reciprocal at hand, since this is the inner loop of every batch that comes back.
inline Place place_of(void* object, Bin bin, uintptr_t base_m1, uint32_t reciprocal) {
  const auto address = reinterpret_cast<uintptr_t>(object);
  const uint64_t entry = reinterpret_cast<uint64_t*>(base_m1 + 1)[page_index(base_m1 - address)];
  if (entry_bin(entry) != bin) return {};
  Span* s = entry_span(entry);
  const uint64_t product = (address - s->start) * reciprocal;
  if (!is_object_start(product, reciprocal)) fatal_pointer("free of an interior pointer", object);
  return {s, &s->free_bits[product >> 38], static_cast<unsigned>(product >> 32) % 64};
}

/// Gives objects[0..n) back as far as they are of `bin`, and says how many. The first one is.
[[gnu::noinline]] size_t give_each(Central& central, Bin bin, void* const* objects, size_t n, Span** emptied) {
  const uintptr_t base_m1 = heap_view.base_m1;
  const uint32_t reciprocal = class_info(class_of_bin(bin)).reciprocal;
  void* const* const end = objects + n;
  void* const* o = objects;
  do {
    const Place at = place_of(*o, bin, base_m1, reciprocal);
    if (at.span == nullptr) break;
    const uint64_t bit = uint64_t{1} << at.bit;
    if ((*at.word & bit) != 0) fatal_pointer("double free", *o);
    *at.word |= bit;
    if (--at.span->until_bucket == 0) span_grew_freer(central, at.span, emptied);
  } while (++o != end);
  return static_cast<size_t>(o - objects);
}

/// Bytes from one object of the batch to the other.
inline ptrdiff_t gap(void* const* from, void* const* to) {
  return static_cast<const char*>(*to) - static_cast<const char*>(*from);
}

/// Whether the batch seems to be runs of neighbours, up or down, as blocks are that come back in the order of their
/// allocation, or against it. Runs save most of the work; looking for them where there are none costs more than it
/// saves.
bool starts_with_run(void* const* objects, size_t n, ClassIndex c) {
  constexpr size_t kRun = 8;
  if (n < kRun) return false;
  const auto across = static_cast<ptrdiff_t>((kRun - 1) * class_bytes(c));
  const ptrdiff_t first = gap(objects, objects + kRun - 1);
  return first == across || first == -across;
}

/// The same as give_each, a run of neighbours at a time.
[[gnu::noinline]] size_t give_runs(Central& central, Bin bin, void* const* objects, size_t n, Span** emptied) {
  const uintptr_t base_m1 = heap_view.base_m1;
  const ClassInfo& info = class_info(class_of_bin(bin));
  const auto bytes = static_cast<ptrdiff_t>(info.bytes);
  void* const* const end = objects + n;
  void* const* o = objects;
  do {
    const Place at = place_of(*o, bin, base_m1, info.reciprocal);
    if (at.span == nullptr) break;
    // As far as the run stays in its word, and below the span's end.
    const bool up = end - o > 1 && gap(o, o + 1) == bytes;
    const ptrdiff_t step = up ? bytes : -bytes;
    size_t most = static_cast<size_t>(end - o);
    const size_t left = at.span->objects - (static_cast<size_t>(at.word - at.span->free_bits) * 64 + at.bit);
    const size_t room = !up ? at.bit + 1 : left < 64 - at.bit ? left : 64 - at.bit;
    if (most > room) most = room;
    size_t length = 1;
    while (length < most && gap(o + length - 1, o + length) == step) ++length;
    const uint64_t bits = (~uint64_t{0} >> (64 - length)) << (up ? at.bit : at.bit + 1 - length);
    if ((*at.word & bits) != 0) {
      for (unsigned b = at.bit; (*at.word >> b & 1) == 0; b += up ? 1 : -1) ++o;
      fatal_pointer("double free", *o);
    }
    *at.word |= bits;
    o += length;
    const unsigned until = at.span->until_bucket;
    at.span->until_bucket = static_cast<uint16_t>(until - length);
    if (length >= until) span_grew_freer(central, at.span, emptied);
  } while (o != end);
  return static_cast<size_t>(o - objects);
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
  if (taken < n) {
    for (size_t i = 0; i < taken; ++i) out[i] = out[n - taken + i];
  }
  return taken;
}

void central_give(ClassIndex c, void* const* objects, size_t n) noexcept {
  Span* emptied = nullptr;
  const bool runs = starts_with_run(objects, n, c);
  for (size_t i = 0; i < n;) {
    const Bin bin = checked_bin(objects[i], c);
    Central& central = centrals[bin];
    MutexGuard guard(central.mutex);
    const size_t given = runs ? give_runs(central, bin, objects + i, n - i, &emptied)
                              : give_each(central, bin, objects + i, n - i, &emptied);
    central.out -= given;
    i += given;
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
