// SPDX-License-Identifier: MIT
//
// page_map.h - address -> page -> {span, bin}: one flat array over the window.
//
// Owns: the array, which grows downwards from the heap's base: the entry of page i is the 8 bytes at base - 8 * (i +
// 1), so that one mapping holds map and heap of a small process. An entry:
//
//     63                      16 15     8 7      0
//     | address of the Span     |  unused  |  bin  |
//
// Small spans: every page has an entry. Large spans: the first page alone (a 1 GiB block must not cost 1 MiB of
// entries). Everything else is 0, bin kBinNone. Entries are written before the block is handed out and after it came
// back; whoever frees a block got the pointer by means that order the accesses, so relaxed accesses are enough.
#pragma once

#include "alloc/span.h"

namespace ashlar {

/// What the fast path of free reads; one cache line, written when the heap grows.
struct alignas(64) HeapView {
  uintptr_t base_m1;  ///< base - 1
  uintptr_t limit;    ///< ~(bytes of heap - 1): base - 1 - p, unsigned, is at least this for p in the heap. All ones
                      ///< before initialisation
};
[[gnu::visibility("hidden")]] extern HeapView heap_view;

inline constexpr unsigned kEntryLog2 = 3;

/// -(page + 1) as a signed number for a pointer in the heap; meaningless otherwise.
inline intptr_t page_index(uintptr_t complement) {
  return static_cast<intptr_t>(complement) >> kPageLog2;
}

inline bool in_heap(const void* p) {
  return heap_view.base_m1 - reinterpret_cast<uintptr_t>(p) >= __atomic_load_n(&heap_view.limit, __ATOMIC_RELAXED);
}

inline uint64_t* entry_of(uintptr_t address) {
  const uintptr_t base_m1 = heap_view.base_m1;
  return reinterpret_cast<uint64_t*>(base_m1 + 1) + page_index(base_m1 - address);
}

inline uint64_t load_entry(uintptr_t address) {
  return __atomic_load_n(entry_of(address), __ATOMIC_RELAXED);
}
inline Bin entry_bin(uint64_t e) {
  return static_cast<Bin>(e & 0xff);
}
inline Span* entry_span(uint64_t e) {
  return reinterpret_cast<Span*>(e >> 16);
}
inline uint64_t make_entry(const Span* s, Bin bin) {
  return (reinterpret_cast<uint64_t>(s) << 16) | bin;
}

/// Sets the entries of `pages` pages from `address` on.
inline void store_entries(uintptr_t address, size_t pages, uint64_t value) {
  uint64_t* e = entry_of(address);
  for (size_t i = 0; i < pages; ++i) __atomic_store_n(e - i, value, __ATOMIC_RELAXED);
}

}  // namespace ashlar
