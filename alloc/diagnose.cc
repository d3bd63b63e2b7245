// SPDX-License-Identifier: MIT
//
// diagnose.cc - see diagnose.h.
#include "alloc/diagnose.h"

#include <stdlib.h>

#include "alloc/base/check.h"
#include "alloc/base/print.h"
#include "alloc/page_map.h"

namespace ashlar {

namespace {

/// The large block whose pages contain the address; null: none. It has an entry for its first page alone, so this looks
/// for the nearest entry below.
Span* large_block_around(uintptr_t address) {
  for (uintptr_t page = address & ~(kPageBytes - 1); page > heap_view.base_m1; page -= kPageBytes) {
    const uint64_t entry = load_entry(page);
    if (entry == 0) continue;
    Span* s = entry_span(entry);
    return entry_bin(entry) == kBinLarge && address < s->end() ? s : nullptr;
  }
  return nullptr;
}

bool is_live(Span* s) {
  if constexpr (kHardened) return (__atomic_load_n(s->live.at(0), __ATOMIC_RELAXED) & 1) != 0;
  return true;
}

}  // namespace

void fatal_object(const char* cause, const void* p, size_t bytes, size_t object_bytes) noexcept {
  LineWriter line("ashlar: ");
  line.text(cause).text(": ").pointer(p).text(" (");
  if (bytes != kUnknownBytes) line.text("block of ").dec(bytes).text(" bytes, ");
  line.text("class ").dec(object_bytes).text(")").flush(kStderr);
  abort();
}

bool report_heap_fault(const void* p) noexcept {
  Span* s = large_block_around(reinterpret_cast<uintptr_t>(p));
  if (s == nullptr) {
    // The heap's first page is a guard.
    if (reinterpret_cast<uintptr_t>(p) - (heap_view.base_m1 + 1) >= kPageBytes) return false;
    LineWriter("ashlar: underflow: ").pointer(p).text(" (below the first block of the heap)").flush(kStderr);
    return true;
  }
  LineWriter line("ashlar: ");
  line.text(is_live(s) ? "overflow" : "use after free").text(": ").pointer(p).text(" (large block of ");
  line.dec((s->pages - s->objects) * kPageBytes).text(" bytes at ").hex(s->start).text(")").flush(kStderr);
  return true;
}

void fatal_not_ours(const void* p) noexcept {
  fatal_pointer("invalid pointer: not allocated by Ashlar, perhaps by another malloc (RTLD_DEEPBIND?)", p);
}

void fatal_bad_block(const void* p) noexcept {
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (const Span* s = large_block_around(address); s != nullptr && s->start != address) {
    fatal_pointer("free of an interior pointer (large block)", p);
  }
  fatal_pointer("double free or invalid pointer", p);
}

}  // namespace ashlar
