// SPDX-License-Identifier: MIT
//
// modules.h - which file an address of code belongs to.
//
// Owns: reading /proc/self/maps. Async-signal-safe: system calls alone, no allocation, no lock, unlike dl_iterate_phdr.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar::os {

struct Module {
  uintptr_t base;  ///< where the file's first byte is mapped; 0: not found
  char name[48];   ///< the file's name without folders, cut off where it is longer
};

/// Fills out[i] for address at[i], for n addresses.
void find_modules(const uintptr_t* at, size_t n, Module* out) noexcept;

}  // namespace ashlar::os
