// SPDX-License-Identifier: MIT
//
// trace.h - the lines that ASHLAR_DEBUG asks for, written with write(2), never allocating.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar {

struct PurgeTrace {
  uint64_t cycle;
  uint64_t start_us;  ///< monotonic clock
  uint64_t spent_us;
  size_t inuse_bytes;
  size_t dirty_before_bytes, dirty_after_bytes;
  size_t purged_pages;
};

/// scavtrace=1: one line per purge cycle, in the manner of Go's gctrace and scavtrace.
void trace_purge(const PurgeTrace& t) noexcept;

/// Moments of initialisation, microseconds of a monotonic clock.
struct InitTrace {
  uint64_t begin_us, options_us, classes_us, map_us, ps_us;
};

/// inittrace=1: one line per phase, and which P mode is active.
void trace_init(const InitTrace& t) noexcept;

}  // namespace ashlar
