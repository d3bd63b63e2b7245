// SPDX-License-Identifier: MIT
//
// slow_path.cc - what malloc and free do when no cache serves them at once; calloc, realloc, aligned blocks.
//
// Owns: the way between caches (percpu.h), central lists (central.h) and the page heap (large.h), and errno = ENOMEM.
#include <errno.h>

#include "alloc/base/check.h"
#include "alloc/central.h"
#include "alloc/diagnose.h"
#include "alloc/fast_path.h"
#include "alloc/guard.h"
#include "alloc/helper.h"
#include "alloc/init.h"
#include "alloc/large.h"
#include "alloc/page_heap.h"
#include "alloc/percpu.h"
#include "sizeclass/rounding.h"

namespace ashlar {
namespace {

// With rseq another thread may take what a refill brought, or fill what a flush emptied, before this one runs again.
// After so many tries the thread bypasses the cache.
constexpr int kAttempts = 4;

void* no_memory() {
  errno = ENOMEM;
  return nullptr;
}

void* allocate_direct(ClassIndex c) {
  void* object = nullptr;
  const Bin bin = bin_of_class(c, 0);
  if (central_take(bin, &object, 1) == 0) return no_memory();
  central_count_direct(bin);
  return object;
}

[[gnu::noinline]] void* allocate_class_slow(ClassIndex c) {
  if (!ensure_init()) return no_memory();
  for (int i = 0; i < kAttempts; ++i) {
    const Cache cache = current_cache();
    if (!cache) break;
    uintptr_t object = cache.pop(c);
    if ((object & kTag) != 0) {
      if (!cache.refill(c)) break;
      object = cache.pop(c);
    }
    if ((object & kTag) == 0) return reinterpret_cast<void*>(object);
  }
  return allocate_direct(c);
}

/// Pops from the cache that is at hand without the slow path: the leased slab's, or, for a guest, its P's. Tagged:
/// none.
inline uintptr_t pop_quickly(ClassIndex c) {
  if (tls_guest) return rseq_pop(guest_site(), c);
  Slab* slab = tls_slab;
  uint64_t* header = &slab->header[slab->cache_bin[c]];
  const uint64_t h = __atomic_load_n(header, __ATOMIC_RELAXED);
  const uintptr_t object = *slab->word((h & kTopMask) - 1);
  if ((object & kTag) == 0) __atomic_store_n(header, h + kPopDelta, __ATOMIC_RELAXED);
  return object;
}

/// An object of class c.
inline void* allocate_class(ClassIndex c) {
  const uintptr_t object = pop_quickly(c);
  return (object & kTag) == 0 ? reinterpret_cast<void*>(object) : allocate_class_slow(c);
}

/// Puts an object of page map bin `bin` into a cache, flushing where it is full.
void deallocate_small(void* block, Bin bin) {
  const ClassIndex c = class_of_bin(bin);
  for (int i = 0; i < kAttempts; ++i) {
    const Cache cache = current_cache();
    if (!cache) break;
    if (cache.push(bin, block)) return;
    CacheIndex k = c;
    if (is_home_bin(bin) && bin != bin_of_class(c, cache.home())) {
      k = kFirstForeignCache + c;
      if (cache.push(kBinFirstForeign + c, block)) return;
    }
    cache.flush(k);
  }
  central_give(c, &block, 1);
}

/// The entry of the block's page; aborts where `p` is not in a block of ours.
inline uint64_t entry_of_block(const void* p) {
  if (!in_heap(p)) fatal_not_ours(p);
  const uint64_t entry = load_entry(reinterpret_cast<uintptr_t>(p));
  if (entry_bin(entry) == kBinNone) fatal_bad_block(p);
  return entry;
}

size_t usable_of(const void* p, uint64_t entry) {
  const Span* s = entry_span(entry);
  const Bin bin = entry_bin(entry);
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (bin == kBinLarge) {
    if (address != s->start) fatal_pointer("interior pointer (large block)", p);
    return s->pages * kPageBytes;
  }
  const ClassIndex c = class_of_bin(bin);
  const size_t offset = address - s->start;
  const unsigned index = object_index(c, offset);
  if (index * class_bytes(c) != offset || index >= s->objects) fatal_pointer("interior pointer", p);
  return class_bytes(c);
}

void deallocate_block(void* block, uint64_t entry) {
  if (entry_bin(entry) == kBinLarge) {
    deallocate_large(block, entry);
  } else {
    deallocate_small(block, entry_bin(entry));
  }
}

/// Not by deallocate(), whose slow path takes its caller for the program.
void* reallocate_by_copy(void* block, uint64_t entry, size_t old_bytes, size_t size) {
  void* to = allocate(size);
  if (to == nullptr) return nullptr;
  __builtin_memcpy(to, block, old_bytes < size ? old_bytes : size);
  deallocate_block(block, entry);
  return to;
}

/// malloc where blocks are sampled: every one comes here.
[[gnu::noinline]] void* allocate_sampling(size_t alignment, size_t size) {
  if (!ensure_init()) return no_memory();
  if (guard_mean_now() != 0 && guard_sample_due()) {
    Trace trace;
    take_trace(&trace, __builtin_frame_address(0));
    if (void* p = guard_allocate(alignment, size, trace)) return p;
  }
  return plain_aligned(alignment, size);
}

/// A pointer outside of the heap: null, a guarded block, or not ours.
[[gnu::noinline]] void deallocate_outside(void* block) {
  if (block == nullptr) return;
  if (!in_guard_pool(block)) fatal_not_ours(block);
  Trace trace;
  take_trace(&trace, __builtin_frame_address(0));
  const int saved_errno = errno;
  guard_deallocate(block, kAnySize, trace);
  errno = saved_errno;
}

void* plain_allocate(size_t size) {
  if (size <= kMaxSmallBytes) [[likely]]
    return allocate_class(class_of_size(size));
  if (!ensure_init()) return no_memory();
  void* p = allocate_large(size, 1, nullptr);
  return p == nullptr ? no_memory() : p;
}

}  // namespace

void* allocate_slow(size_t size) noexcept {
  if (!kHardened && guard_mean_now() != 0) [[unlikely]]
    return allocate_sampling(kMinAlign, size);
  return plain_allocate(size);
}

void deallocate_slow(void* block) noexcept {
  if (!in_heap(block)) [[unlikely]]
    return deallocate_outside(block);
  const uint64_t entry = entry_of_block(block);
  if (tls_guest && rseq_push(guest_site(), entry_bin(entry), block)) return;
  const int saved_errno = errno;
  deallocate_block(block, entry);
  serve_helper(__builtin_return_address(0));
  errno = saved_errno;
}

void* allocate(size_t size) noexcept {
  return fast_allocate(size);
}

void deallocate(void* block) noexcept {
  fast_deallocate(block);
}

void* allocate_zeroed(size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return no_memory();
  if constexpr (kHardened) return hardened_allocate(kMinAlign, bytes);  // all free memory reads as zero there
  if (bytes <= kMaxSmallBytes) {
    void* p = allocate(bytes);
    if (p != nullptr) __builtin_memset(p, 0, bytes);
    return p;
  }
  if (!ensure_init()) return no_memory();
  bool zeroed = false;
  void* p = allocate_large(bytes, 1, &zeroed);
  if (p == nullptr) return no_memory();
  if (!zeroed) __builtin_memset(p, 0, bytes);
  return p;
}

void* allocate_aligned(size_t alignment, size_t size) noexcept {
  if constexpr (kHardened) return hardened_allocate(alignment, size);
  if (guard_mean_now() != 0) [[unlikely]]
    return allocate_sampling(alignment, size);
  return plain_aligned(alignment, size);
}

void* plain_aligned(size_t alignment, size_t size) noexcept {
  if (alignment <= kMinAlign) return plain_allocate(size);
  if (size <= kMaxSmallBytes && alignment <= kPageBytes) {
    // Spans start at a page, so every object of a class whose size is a multiple of the alignment is aligned.
    const size_t rounded = size == 0 ? alignment : (size + alignment - 1) & ~(alignment - 1);
    for (ClassIndex c = rounded <= kMaxSmallBytes ? class_of_size(rounded) : kNumClasses; c < kNumClasses; ++c) {
      if (class_bytes(c) % alignment == 0) return allocate_class(c);
    }
  }
  if (!ensure_init()) return no_memory();
  void* p = allocate_large(size, alignment, nullptr);
  return p == nullptr ? no_memory() : p;
}

void* allocate_padded(size_t size) noexcept {
  if (size > PTRDIFF_MAX) return no_memory();
  const size_t lines = (size + kPaddedAlign - 1) & ~(kPaddedAlign - 1);
  return allocate_aligned(kPaddedAlign, lines == 0 ? kPaddedAlign : lines);
}

void* reallocate(void* block, size_t size) noexcept {
  if (block == nullptr) return allocate(size);
  if (size == 0) {
    deallocate(block);
    return nullptr;
  }
  if constexpr (kHardened) return hardened_reallocate(block, size);
  if (in_guard_pool(block)) [[unlikely]] {
    const size_t old_bytes = guard_usable(block);
    void* to = allocate(size);
    if (to == nullptr) return nullptr;
    __builtin_memcpy(to, block, old_bytes < size ? old_bytes : size);
    deallocate(block);
    return to;
  }
  const uint64_t entry = entry_of_block(block);
  const size_t usable = usable_of(block, entry);
  if (entry_bin(entry) == kBinLarge) {
    if (size > kMaxSmallBytes) {
      void* p = reallocate_large(block, entry_span(entry), size);
      serve_helper(__builtin_return_address(0));
      return p == nullptr ? no_memory() : p;
    }
  } else if (size <= usable && size * 2 > usable) {
    return block;  // moving to a smaller class pays only where it saves half
  }
  void* moved = reallocate_by_copy(block, entry, usable, size);
  serve_helper(__builtin_return_address(0));
  return moved == nullptr && size <= usable ? block : moved;
}

size_t expand(void* block, size_t size, bool* clean) noexcept {
  if (clean != nullptr) *clean = false;
  if (block == nullptr) return 0;
  if (in_guard_pool(block)) [[unlikely]] {
    const size_t bytes = guard_usable(block);
    return size <= bytes ? bytes : 0;
  }
  if constexpr (kHardened) return hardened_expand(block, size);
  const uint64_t entry = entry_of_block(block);
  const size_t usable = usable_of(block, entry);
  if (size <= usable) return usable;
  if (entry_bin(entry) != kBinLarge || !expand_large(entry_span(entry), size, clean)) return 0;
  return entry_span(entry)->pages * kPageBytes;
}

void will_fill(void* block, size_t written, size_t certain, bool clean) noexcept {
  if (kHardened || !in_heap(block)) return;  // hardened: the guard page behind it makes it a map of its own anyway
  const uint64_t entry = load_entry(reinterpret_cast<uintptr_t>(block));
  if (entry_bin(entry) == kBinLarge) {
    const int saved_errno = errno;
    advise_filling(entry_span(entry), written, certain, clean);
    errno = saved_errno;
  }
}

size_t usable_size(const void* block) noexcept {
  if (block == nullptr) return 0;
  if (in_guard_pool(block)) [[unlikely]]
    return guard_usable(block);
  if constexpr (kHardened) return hardened_usable_size(block);
  return usable_of(block, entry_of_block(block));
}

size_t good_size(size_t size) noexcept {
  if constexpr (kHardened) return size > PTRDIFF_MAX ? 0 : size;
  return rounded_bytes(size);
}

size_t purge(size_t keep_bytes) noexcept {
  if (!ensure_init()) return 0;
  const int saved_errno = errno;
  if constexpr (kHardened) empty_quarantine();
  drain_caches();
  central_release_empty();
  const size_t purged = page_heap.purge(keep_bytes);
  errno = saved_errno;
  return purged;
}

}  // namespace ashlar
