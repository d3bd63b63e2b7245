// SPDX-License-Identifier: MIT
//
// services.cc - what alloc.h offers to hash/ and chan/ beside memory: options, and answers of the kernel.
#include <errno.h>

#include "alloc/alloc.h"
#include "alloc/base/hardened.h"
#include "alloc/init.h"
#include "alloc/large.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"

namespace ashlar {

void* allocate_pages_zeroed(size_t bytes) noexcept {
  // The hardened layer keeps more than pages for a block, and its guards.
  if constexpr (kHardened) return allocate_zeroed(1, bytes);
  bool zeroed = false;
  void* p = ensure_init() ? allocate_large(bytes, 1, &zeroed) : nullptr;
  if (p == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  // One used page among a table's would cost the clearing of all. The kernel's zeroes come piece by piece, as they are
  // touched.
  const size_t whole = bytes & ~(os::page_bytes() - 1);
  if (!zeroed && whole != 0 && page_heap.is_whole_os_pages(reinterpret_cast<uintptr_t>(p), whole) &&
      os::purge(reinterpret_cast<uintptr_t>(p), whole))
    __builtin_memset(static_cast<char*>(p) + whole, 0, bytes - whole);
  else if (!zeroed)
    __builtin_memset(p, 0, bytes);
  return p;
}

void return_pages(void* block, size_t keep) noexcept {
  if constexpr (kHardened) return;
  const int saved_errno = errno;
  return_large(entry_span(load_entry(reinterpret_cast<uintptr_t>(block))), keep);
  errno = saved_errno;
}

void want_huge_pages(void* block, size_t from, size_t to) noexcept {
  if constexpr (kHardened) return;
  const int saved_errno = errno;
  advise_huge_large(entry_span(load_entry(reinterpret_cast<uintptr_t>(block))), from, to);
  errno = saved_errno;
}

bool may_use_membarrier() noexcept {
  return ensure_init() && options.membarrier;
}

bool maps_are_traced() noexcept {
  return ensure_init() && options.maptrace;
}

uint64_t process_random() noexcept {
  return os::random_bits();
}

unsigned usable_cpus() noexcept {
  return os::cpu_count().usable;
}

}  // namespace ashlar
