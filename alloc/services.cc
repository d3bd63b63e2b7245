// SPDX-License-Identifier: MIT
//
// services.cc - what alloc.h offers to hash/ and chan/ beside memory: options, and answers of the kernel.
#include <errno.h>

#include "alloc/alloc.h"
#include "alloc/init.h"
#include "alloc/large.h"
#include "alloc/options.h"
#include "alloc/os/os.h"
#include "alloc/page_heap.h"

namespace ashlar {

void* allocate_pages_zeroed(size_t bytes) noexcept {
  bool zeroed = false;
  void* p = ensure_init() ? allocate_large(bytes, 1, &zeroed) : nullptr;
  if (p == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  // One used page among a table's would cost the clearing of all. The kernel's zeroes come piece by piece, as they are
  // touched.
  const size_t whole = bytes & ~(os::page_bytes() - 1);
  if (!zeroed && os::purge(reinterpret_cast<uintptr_t>(p), whole))
    __builtin_memset(static_cast<char*>(p) + whole, 0, bytes - whole);
  else if (!zeroed)
    __builtin_memset(p, 0, bytes);
  return p;
}

void return_pages(void* block, size_t keep) noexcept {
  const int saved_errno = errno;
  return_large(entry_span(load_entry(reinterpret_cast<uintptr_t>(block))), keep);
  errno = saved_errno;
}

void want_huge_pages(void* block, size_t bytes) noexcept {
  // Where every access goes to another page, the TLB decides: 4 MiB are more than it covers with small pages.
  if (bytes < 2 * kHugeBytes || options.thp == Options::kOff) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(block) + kHugeBytes - 1) & ~(kHugeBytes - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(block) + bytes) & ~(kHugeBytes - 1);
  if (end > begin) os::advise_huge(begin, end - begin, true);
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
