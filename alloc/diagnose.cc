// SPDX-License-Identifier: MIT
//
// diagnose.cc - see diagnose.h.
#include "alloc/diagnose.h"

#include "alloc/base/check.h"
#include "alloc/page_map.h"

namespace ashlar {

void fatal_not_ours(const void* p) noexcept {
  fatal_pointer("invalid pointer: not allocated by Ashlar, perhaps by another malloc (RTLD_DEEPBIND?)", p);
}

void fatal_bad_block(const void* p) noexcept {
  // A large block has an entry for its first page alone: look for the nearest one below.
  const auto address = reinterpret_cast<uintptr_t>(p);
  for (uintptr_t page = address & ~(kPageBytes - 1); page > heap_view.base_m1; page -= kPageBytes) {
    const uint64_t entry = load_entry(page);
    if (entry == 0) continue;
    if (entry_bin(entry) == kBinLarge && address < entry_span(entry)->end()) {
      fatal_pointer("free of an interior pointer (large block)", p);
    }
    break;
  }
  fatal_pointer("double free or invalid pointer", p);
}

}  // namespace ashlar
