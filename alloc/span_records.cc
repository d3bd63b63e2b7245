// SPDX-License-Identifier: MIT
//
// span_records.cc - see span_records.h.
#include "alloc/span_records.h"

#include "alloc/os/os.h"

namespace ashlar {

struct RecordChunk {
  RecordChunk* next;
  uint32_t page_count;  ///< the header's page included
  uint32_t page_records;
  RecordPage page[];  ///< [0] is the header's, and stays unused
};

namespace {

constexpr size_t kMinPageBytes = 4096;
constexpr size_t kMaxChunkPages = (size_t{128} << 10) / kMinPageBytes;
static_assert(sizeof(RecordChunk) + kMaxChunkPages * sizeof(RecordPage) <= kMinPageBytes);

RecordChunk* chunk_of(Span* record) {
  return reinterpret_cast<RecordChunk*>(record - record->record_index);
}

bool is_idle(const RecordPage& p) {
  return p.used == 0 && p.bump != 0 && p.purgeable;
}

}  // namespace

void SpanRecords::link_front(RecordPage* p) noexcept {
  p->listed = true;
  p->prev = nullptr;
  p->next = first_;
  (first_ != nullptr ? first_->prev : last_) = p;
  first_ = p;
}

void SpanRecords::link_back(RecordPage* p) noexcept {
  p->listed = true;
  p->next = nullptr;
  p->prev = last_;
  (last_ != nullptr ? last_->next : first_) = p;
  last_ = p;
}

void SpanRecords::unlink(RecordPage* p) noexcept {
  p->listed = false;
  (p->prev != nullptr ? p->prev->next : first_) = p->next;
  (p->next != nullptr ? p->next->prev : last_) = p->prev;
}

void SpanRecords::add(void* memory, size_t bytes, size_t page_bytes, bool purgeable) noexcept {
  auto* c = static_cast<RecordChunk*>(memory);
  c->next = chunks_;
  c->page_count = static_cast<uint32_t>(bytes / page_bytes);
  c->page_records = static_cast<uint32_t>(page_bytes / sizeof(Span));
  chunks_ = c;
  for (uint32_t i = 1; i < c->page_count; ++i) {
    c->page[i].records = static_cast<Span*>(memory) + i * c->page_records;
    c->page[i].first_index = static_cast<uint16_t>(i * c->page_records);
    c->page[i].purgeable = purgeable;
    link_back(&c->page[i]);
  }
}

Span* SpanRecords::take() noexcept {
  RecordPage* p = first_;
  if (p == nullptr) return nullptr;
  if (is_idle(*p)) --idle_pages_;
  Span* s = p->free;
  if (s != nullptr) {
    p->free = s->next;
  } else {
    s = p->records + p->bump++;
    ++total_;
    s->record_index = static_cast<uint16_t>(p->first_index + p->bump - 1U);
  }
  ++p->used;
  ++in_use_;
  if (p->used == chunk_of(s)->page_records) unlink(p);
  return s;
}

void SpanRecords::give(Span* s) noexcept {
  RecordChunk* c = chunk_of(s);
  RecordPage* p = &c->page[s->record_index / c->page_records];
  s->next = p->free;
  p->free = s;
  --p->used;
  --in_use_;
  if (p->used != 0) {
    if (!p->listed) link_front(p);
    return;
  }
  if (p->listed) unlink(p);
  link_back(p);
  if (is_idle(*p)) ++idle_pages_;
}

bool SpanRecords::purge(unsigned max_calls) noexcept {
  for (RecordChunk* c = cursor_ != nullptr ? cursor_ : chunks_; c != nullptr; c = c->next) {
    cursor_ = c;
    for (uint32_t i = 1; i < c->page_count; ++i) {
      if (!is_idle(c->page[i])) continue;
      if (max_calls == 0) return true;
      --max_calls;
      uint32_t end = i + 1;
      while (end < c->page_count && is_idle(c->page[end])) ++end;
      Span* from = c->page[i].records;
      if (!os::purge(reinterpret_cast<uintptr_t>(from), (end - i) * c->page_records * sizeof(Span))) return false;
      for (; i < end; ++i) {
        total_ -= c->page[i].bump;
        c->page[i].bump = 0;
        c->page[i].free = nullptr;
        --idle_pages_;
      }
    }
  }
  cursor_ = nullptr;
  return false;
}

}  // namespace ashlar
