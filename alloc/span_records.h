// SPDX-License-Identifier: MIT
//
// span_records.h - the memory of span records.
//
// Owns: chunks of records, and which of them are in use. A heap of small spans needs one record per 8 KiB, 1.6 % of it:
// after a burst that is gone, the memory of its records goes back to the kernel, too. Chunks are never unmapped, so a
// stale pointer to a record still points to a record, of which all fields may be 0.
//
// A chunk; a page is an OS page, or 4 KiB in the first chunk, which lies in the library:
//
//     | header: what is used of each page | page 1: records | page 2: records | ... |
//
// Records of a page from its `bump` on are zero: never used, or purged. Not thread-safe: the page heap's lock guards
// it.
#pragma once

#include "alloc/span.h"

namespace ashlar {

struct RecordPage {
  RecordPage* next;  ///< in the list of pages with room
  RecordPage* prev;
  Span* free;            ///< records that were given back, a list through Span::next
  Span* records;         ///< its first record
  uint16_t used;         ///< records in use
  uint16_t bump;         ///< records from here on are zero
  uint16_t first_index;  ///< of its first record in the chunk
  bool listed;
  bool purgeable;
};

struct RecordChunk;

class SpanRecords {
 public:
  /// Makes `bytes` of zeroed memory, some pages of `page_bytes`, a chunk. `purgeable`: it is a private mapping of its
  /// own, and its pages are the kernel's, so that they may be given back. 4096 <= page_bytes <= bytes / 2 <= 64 KiB.
  void add(void* memory, size_t bytes, size_t page_bytes, bool purgeable) noexcept;

  /// A record; null: no chunk has room, add one.
  Span* take() noexcept;
  void give(Span* record) noexcept;

  /// Gives pages without a record in use back to the kernel, by up to `max_calls` system calls; true: there may be
  /// more.
  bool purge(unsigned max_calls) noexcept;

  /// Pages that purge would give back.
  size_t idle_pages() const noexcept { return idle_pages_; }
  uint64_t in_use() const noexcept { return in_use_; }
  uint64_t total() const noexcept { return total_; }

 private:
  void link_front(RecordPage* p) noexcept;
  void link_back(RecordPage* p) noexcept;
  void unlink(RecordPage* p) noexcept;

  RecordPage* first_ = nullptr;  ///< pages with room; those without any record in use last
  RecordPage* last_ = nullptr;
  RecordChunk* chunks_ = nullptr;
  RecordChunk* cursor_ = nullptr;  ///< where the next purge goes on
  uint64_t in_use_ = 0, total_ = 0;
  size_t idle_pages_ = 0;
};

}  // namespace ashlar
