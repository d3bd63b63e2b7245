// SPDX-License-Identifier: MIT
//
// memstats.cc - ashlar_read_memstats: the allocator's figures with the meaning of Go's runtime.MemStats.
//
// Nothing is counted per malloc or free but the pops in the slabs' headers. All else follows:
//   objects out of their spans (central lists) - objects in caches = live objects;   mallocs - live = frees.
#include "alloc/alloc.h"
#include "alloc/ashlar.h"
#include "alloc/central.h"
#include "alloc/guard.h"
#include "alloc/hardened.h"
#include "alloc/init.h"
#include "alloc/large.h"
#include "alloc/page_heap.h"
#include "alloc/percpu.h"

namespace ashlar {

static_assert(kNumClasses <= ASHLAR_MAX_SIZE_CLASSES);

void read_memstats(ashlar_memstats* out) noexcept {
  __builtin_memset(out, 0, sizeof *out);
  if (!ensure_init()) return;
  CacheCounts caches;
  count_caches(&caches);
  uint64_t in_centrals[kNumClasses] = {};
  for (Bin bin = kBinFirstClass; bin < kBinFirstForeign; ++bin) {
    const CentralStats s = central_stats(bin);
    in_centrals[class_of_bin(bin)] += s.out;
    caches.pops[class_of_bin(bin)] += s.direct_mallocs;
  }
  GuardCounts guarded;
  count_guarded(&guarded);
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    in_centrals[c] += guarded.mallocs[c] - guarded.frees[c];
    caches.pops[c] += guarded.mallocs[c];
  }
  LargeStats large = large_stats();
  if constexpr (kHardened) {
    QuarantineStats quarantined;
    count_quarantined(&quarantined);
    for (ClassIndex c = 0; c < kNumClasses; ++c) caches.cached[c] += quarantined.objects[c];
    large.frees += quarantined.large;
    large.live_bytes -= quarantined.large_bytes;
  }
  out->by_size_count = kNumClasses;
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    // Objects on their way between a cache and a central list while we read make the difference inexact, but never
    // absurd.
    uint64_t live = in_centrals[c] > caches.cached[c] ? in_centrals[c] - caches.cached[c] : 0;
    if (live > caches.pops[c]) live = caches.pops[c];
    const uint64_t bytes = class_bytes(c);
    out->by_size[c] = {bytes, caches.pops[c], caches.pops[c] - live};
    out->mallocs += caches.pops[c];
    out->frees += caches.pops[c] - live;
    out->heap_alloc += live * bytes;
    out->total_alloc += caches.pops[c] * bytes;
    out->cached_bytes += caches.cached[c] * bytes;
  }
  out->large_objects = large.mallocs > large.frees ? large.mallocs - large.frees : 0;
  out->mallocs += large.mallocs;
  out->frees += large.mallocs - out->large_objects;
  out->heap_alloc += large.live_bytes;
  out->total_alloc += large.total_bytes;
  out->alloc = out->heap_alloc;
  out->heap_objects = out->mallocs - out->frees;

  const PageHeapStats heap = page_heap.stats();
  out->heap_sys = heap.heap_bytes;
  out->heap_inuse = heap.inuse_bytes;
  out->heap_idle = heap.heap_bytes - heap.inuse_bytes;
  out->heap_released = out->heap_idle - heap.dirty_bytes;
  out->mspan_inuse = heap.spans_inuse * sizeof(Span);
  out->mspan_sys = heap.spans_total * sizeof(Span);
  out->num_purge = heap.purge_cycles;
  out->purged_bytes = heap.purged_bytes;
  const PercpuStats ps = percpu_stats();
  out->num_ps = ps.slabs;
  out->mcache_inuse = out->mcache_sys = ps.slab_bytes;
  out->sys = heap.heap_bytes + heap.map_bytes + heap.metadata_bytes + sizeof(RealSlab);
}

}  // namespace ashlar
