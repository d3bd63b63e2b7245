// SPDX-License-Identifier: MIT
//
// fast_path.h - malloc and free, as long as a cache serves them. The rest is in slow_path.cc.
//
// Owns: the two functions. A thread that leases a P finds its slab in tls_slab and works on it with plain loads and
// stores: nobody else does. Any other thread, before initialisation too, finds the shared empty slab there, whose
// caches are all empty and full, and so leaves for the slow path without a test of its own. Null, foreign pointers and
// large blocks leave the same way. Budget: 17 and 22 instructions on x86-64 (test/golden holds the count of a pair).
#pragma once

#include "alloc/alloc.h"
#include "alloc/hardened.h"
#include "alloc/page_map.h"
#include "alloc/slab.h"

namespace ashlar {

/// The slab that this thread leases, or the empty one. 8 bytes of static TLS: more would break dlopen of the library.
extern __thread Slab* tls_slab __attribute__((tls_model("initial-exec"), visibility("hidden")));

[[gnu::noinline]] void* allocate_slow(size_t size) noexcept;
[[gnu::noinline]] void deallocate_slow(void* block) noexcept;

/// An object from the cache, without what the hardened library does around it.
inline void* cache_allocate(size_t size) noexcept {
  if (size <= kTableMaxBytes) [[likely]] {
    Slab* slab = tls_slab;
    uint64_t* header = &slab->header[slab->small_bin[(size + kMinAlign - 1) >> kMinAlignLog2]];
    // Relaxed atomics throughout: the slab is this thread's; statistics alone read it from outside.
    const uint64_t h = __atomic_load_n(header, __ATOMIC_RELAXED);
    const uintptr_t object = *slab->word((h & kTopMask) - 1);
    if ((object & kTag) == 0) [[likely]] {
      __atomic_store_n(header, h + kPopDelta, __ATOMIC_RELAXED);
      return reinterpret_cast<void*>(object);
    }
  }
  return allocate_slow(size);
}

inline void cache_deallocate(void* block) noexcept {
  const uintptr_t base_m1 = heap_view.base_m1;
  const uintptr_t complement = base_m1 - reinterpret_cast<uintptr_t>(block);
  if (complement >= __atomic_load_n(&heap_view.limit, __ATOMIC_RELAXED)) [[likely]] {
    const auto* entry =
        reinterpret_cast<const uint8_t*>((page_index(complement) << kEntryLog2) + static_cast<intptr_t>(base_m1 + 1));
    Slab* slab = tls_slab;
    uint64_t* header = &slab->header[__atomic_load_n(entry, __ATOMIC_RELAXED)];
    const uint64_t h = __atomic_load_n(header, __ATOMIC_RELAXED);
    uintptr_t* slot = slab->word(h & kTopMask);
    // The block on top of the cache, once more: the double free that happens most, seen at once for two instructions.
    if ((*slot & kTag) == 0 && slot[-1] != reinterpret_cast<uintptr_t>(block)) [[likely]] {
      // First the slot, then the header: a handler that interrupts us and does not return leaves no stale pointer under
      // `top`. The same store again, last, lets the next malloc's load find it: 2.2 ns a pair instead of 3.6 (README).
      __atomic_store_n(slot, reinterpret_cast<uintptr_t>(block), __ATOMIC_RELAXED);
      keep_order();
      __atomic_store_n(header, h + 1, __ATOMIC_RELAXED);
      keep_order();
      __atomic_store_n(slot, reinterpret_cast<uintptr_t>(block), __ATOMIC_RELAXED);
      return;
    }
  }
  deallocate_slow(block);
}

inline void* fast_allocate(size_t size) noexcept {
  if constexpr (kHardened) return hardened_allocate(kMinAlign, size);
  return cache_allocate(size);
}

inline void fast_deallocate(void* block) noexcept {
  if constexpr (kHardened) return hardened_deallocate(block, kAnySize);
  cache_deallocate(block);
}

/// The caller says how large the block was. The page map knows better, and only the hardened library compares.
inline void sized_deallocate(void* block, size_t size) noexcept {
  if constexpr (kHardened) return hardened_deallocate(block, size);
  cache_deallocate(block);
}

}  // namespace ashlar
