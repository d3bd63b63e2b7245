// SPDX-License-Identifier: MIT
//
// compat.h - what libc's malloc tells about itself, told from Ashlar's figures.
//
// Owns: the meaning of mallinfo, malloc_info, malloc_stats and mallopt here. override_libc.cc gives them their names.
// All of it reads read_memstats once and never allocates.
#pragma once

#include <malloc.h>
#include <stdio.h>

namespace ashlar {

/// One line "ashlar: <Name> = <figure>" for every field of ashlar_memstats, in Go's names, and one per size class
/// that has been used. For malloc_stats and ASHLAR_CONF=stats:exit.
void print_memstats(int fd) noexcept;

/// The figures as glibc's names mean them; blocks above the largest size class count as "mmapped".
struct mallinfo2 mallinfo_of_heap() noexcept;

/// Writes the XML of malloc_info. Returns 0; EINVAL where `flags` is not 0; -1 where the stream fails.
int write_malloc_info(int flags, FILE* stream) noexcept;

/// 1 if `parameter` may be set to `value`, 0 if not; see the table in compat.cc.
int accept_mallopt(int parameter, int value) noexcept;

}  // namespace ashlar
