// SPDX-License-Identifier: MIT
//
// span.h - a run of pages (Go's mspan): cut into objects of one class, or holding one large block.
//
// Owns: the record, out of line: nothing of it lies among the blocks, so that an overflow cannot reach it.
// Records lie in blocks that are never unmapped (span_records.h), so that a stale pointer to one still points to a
// record.
#pragma once

#include "alloc/base/hardened.h"
#include "alloc/bins.h"

namespace ashlar {

/// Hardened: one bit an object, 1 = with the program. Atomic; a large block has bit 0.
template <bool Hardened>
struct LiveBits {
  uint64_t word[kMaxSpanObjects / 64];
  uint64_t* at(size_t i) { return &word[i]; }
};
template <>
struct LiveBits<false> {
  uint64_t* at(size_t /*i*/) { return nullptr; }
};

struct alignas(kHardened ? 256 : 64) Span {
  Span* next;  ///< in a bucket of its central list, or in the free list of records
  Span* prev;
  uintptr_t start;  ///< address of the first page
  uint32_t pages;
  uint16_t objects;         ///< small: objects in the span. Large: pages at its end that are a guard (hardened)
  uint16_t next_bucket_at;  ///< small: free_count() from which it belongs into a higher bucket
  uint16_t until_bucket;    ///< small: so many less are free; what counts in a give is one decrement
  uint8_t bin;
  uint8_t bucket;                            ///< small: occupancy bucket that it is listed in; kNotListed otherwise
  bool moved;                                ///< large: its mapping came by mremap, so that it is a map of its own
  uint16_t record_index;                     ///< of this record in its block (span_records.h); never changes
  uint64_t free_bits[kMaxSpanObjects / 64];  ///< small: one bit an object, 1 = free; and 1 beyond the last object.
                                             ///< Guarded by the central lock
  [[no_unique_address]] LiveBits<kHardened> live;

  /// Small: objects that are neither with the program nor in a cache.
  unsigned free_count() const { return static_cast<uint16_t>(next_bucket_at - until_bucket); }
  uintptr_t end() const { return start + pages * kPageBytes; }
};
static_assert(sizeof(Span) == (kHardened ? 256 : 128));
static_assert(__builtin_offsetof(Span, free_bits) ==
              40);  // the first words share the line of the counts: most classes need no more

}  // namespace ashlar
