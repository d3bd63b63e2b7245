// SPDX-License-Identifier: MIT
//
// registry.h - every channel of the process, for the dump and the trace.
//
// Owns: the list of channels and its lock. Order of locks: the list's, then a channel's.
#pragma once

#include "chan/blocking.h"

namespace ashlar::chan_core {

using SystemChannel = Channel<System>;

/// Puts a channel on the list and gives it its number; takes it off.
void enlist(SystemChannel& c) noexcept;
void delist(SystemChannel& c) noexcept;

/// Sleeps until the deadline, listed as waiting for the null channel.
void wait_for_nothing(Waits what, uint64_t deadline_ns, const void* caller) noexcept;

/// chantrace=1: one line.
void trace_newchan(const SystemChannel& c) noexcept;
void trace_close(SystemChannel& c, const void* caller) noexcept;
/// chantrace=1: why there is none.
void trace_refusal(const char* why, const void* caller) noexcept;

}  // namespace ashlar::chan_core
