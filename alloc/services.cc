// SPDX-License-Identifier: MIT
//
// services.cc - what alloc.h offers to hash/ and chan/ beside memory: options, and answers of the kernel.
#include "alloc/alloc.h"
#include "alloc/init.h"
#include "alloc/options.h"
#include "alloc/os/os.h"

namespace ashlar {

void* allocate_pages_zeroed(size_t bytes) noexcept {
  void* p = allocate_zeroed(1, bytes);
  // Where every access goes to another page, the TLB decides: 4 MiB are more than it covers with small pages.
  constexpr size_t kHugeBytes = size_t{2} << 20;
  if (p != nullptr && bytes >= 2 * kHugeBytes && options.thp != Options::kOff) {
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(p) + kHugeBytes - 1) & ~(kHugeBytes - 1);
    const uintptr_t end = (reinterpret_cast<uintptr_t>(p) + bytes) & ~(kHugeBytes - 1);
    if (end > begin) os::advise_huge(begin, end - begin, true);
  }
  return p;
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
