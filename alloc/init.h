// SPDX-License-Identifier: MIT
//
// init.h - the first slow path of a process, and fork.
#pragma once

namespace ashlar {

[[gnu::visibility("hidden")]] extern bool initialised;

/// Initialises the allocator. False: not even the first page could be had (tried again by the next call).
[[gnu::cold]] bool init_slow() noexcept;

/// Every slow path begins with it.
inline bool ensure_init() noexcept {
  // Acquire pairs with the release at the end of init_slow.
  return __atomic_load_n(&initialised, __ATOMIC_ACQUIRE) || init_slow();
}

}  // namespace ashlar
