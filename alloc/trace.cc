// SPDX-License-Identifier: MIT
//
// trace.cc - see trace.h.
#include "alloc/trace.h"

#include "alloc/base/print.h"
#include "alloc/percpu.h"

namespace ashlar {
namespace {

constinit uint64_t process_start_us = 0;  // of the first trace: initialisation's

void trace_phase(const char* name, uint64_t from_us, uint64_t to_us) {
  LineWriter line("ashlar: init ");
  line.text(name).text(": ").dec(to_us - from_us).text(" us").flush(kStderr);
}

}  // namespace

void trace_purge(const PurgeTrace& t) noexcept {
  if (process_start_us == 0) process_start_us = t.start_us;
  LineWriter line("ashlar: scav ");
  line.dec(t.cycle).text(" @").fixed((t.start_us - process_start_us) / 1000, 3).text("s: ");
  line.megabytes(t.inuse_bytes + t.dirty_before_bytes).text("->").megabytes(t.inuse_bytes + t.dirty_after_bytes);
  line.text(" MB, ").megabytes(t.dirty_after_bytes).text(" MB dirty, ").dec(t.purged_pages).text(" pages, ");
  line.dec(t.spent_us).text(" us").flush(kStderr);
}

void trace_init(const InitTrace& t) noexcept {
  process_start_us = t.begin_us;
  trace_phase("options", t.begin_us, t.options_us);
  trace_phase("size classes (computed at compile time)", t.options_us, t.classes_us);
  trace_phase("page map", t.classes_us, t.map_us);
  LineWriter line("ashlar: init Ps: ");
  line.dec(t.ps_us - t.map_us).text(" us, mode ").text(p_mode()).flush(kStderr);
}

}  // namespace ashlar
