// SPDX-License-Identifier: MIT
//
// alloc.h - the allocator as the rest of the tree sees it, in C++.
//
// Owns: the declarations. api.cc (the `ashlar_` names), override_libc.cc and override_cxx.cc (libc's
// names), and later hash/ and chan/ call these and nothing deeper. Every function may be called before any constructor
// has run.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/epoch.h"

struct ashlar_memstats;

namespace ashlar {

/// As C's malloc: null and errno = ENOMEM on failure; `size` 0 gives a unique block.
/// Wait-free on a cache hit. (Inline twin for the entry points: fast_path.h.)
void* allocate(size_t size) noexcept;

/// As C's free. Preserves errno; aborts with one line on stderr on a pointer that is not ours.
void deallocate(void* block) noexcept;

/// As C's calloc, overflow included.
void* allocate_zeroed(size_t count, size_t size) noexcept;

/// `alignment` must be a power of two (the caller checked it), any up to half the address space. Null and ENOMEM on
/// failure.
void* allocate_aligned(size_t alignment, size_t size) noexcept;

/// As glibc's realloc: realloc(p, 0) frees and returns null. Null and ENOMEM leave the block as it was.
void* reallocate(void* block, size_t size) noexcept;

/// Makes room for `size` bytes where the block lies; returns its usable bytes then, or 0: it cannot, and is as it was.
/// Keeps errno. Null: 0. `*clean` (may be null) is set to whether something was added that holds no memory yet.
size_t expand(void* block, size_t size, bool* clean = nullptr) noexcept;

/// Advice about a live block above 32 KiB, of which the first `written` bytes are in use: the program will write the
/// rest in order, up to `certain` bytes for sure, further perhaps. `clean`: what expand() said. Asks the kernel for
/// huge pages, or for many pages at a time, as far as that costs no more than a tenth of memory above what is written;
/// see advise_filling in large.h. Anything else is ignored. Keeps errno.
void will_fill(void* block, size_t written, size_t certain, bool clean) noexcept;

/// `size` rounded up so that the block shares no line with another one, and line-aligned.
void* allocate_padded(size_t size) noexcept;

/// Usable bytes of a live block; 0 for null; aborts on a pointer that is not ours.
size_t usable_size(const void* block) noexcept;

/// Usable bytes that allocate(size) would give; 0 where it would fail.
size_t good_size(size_t size) noexcept;

/// Purges free pages down to `keep_bytes` of them; returns bytes given back.
size_t purge(size_t keep_bytes) noexcept;

/// Fills `*out`; see ashlar_read_memstats.
void read_memstats(ashlar_memstats* out) noexcept;

// ---- what hash/ and chan/ need of options and the kernel ----

/// Zeroed pages for `bytes` (above 32 KiB) of table, without touching them; null and ENOMEM on failure. Goes back
/// through deallocate.
void* allocate_pages_zeroed(size_t bytes) noexcept;

/// Gives the pages behind the first `keep` > 0 bytes of such a block back to the kernel, at once. (The hardened library
/// keeps them until the block is freed.) Keeps errno.
void return_pages(void* block, size_t keep) noexcept;

/// Asks for huge pages where they fit into bytes [from, to) of a live block above 32 KiB, unless options say otherwise.
/// Keeps errno.
void want_huge_pages(void* block, size_t from, size_t to) noexcept;

/// Finds out how pins are made (epoch.h), where nobody has: the system call for it takes 0.2 us while the process has
/// one thread, some 10 ms later (it waits for all CPUs). So by who makes something that will be pinned.
void prepare_pins() noexcept;

/// False: ASHLAR_CONF=membarrier:off was given.
bool may_use_membarrier() noexcept;

/// Whether ASHLAR_DEBUG=maptrace=1 was given.
bool maps_are_traced() noexcept;

/// Random bits, the same in every call of a process.
uint64_t process_random() noexcept;

/// CPUs that the process may run on.
unsigned usable_cpus() noexcept;

}  // namespace ashlar
