// SPDX-License-Identifier: MIT
//
// override_libc.cc - libc's names for memory. With override_cxx.cc the only file that defines names of others.
//
// Owns: malloc and all its relatives, glibc's own aliases of them (the __libc_ names, which some programs call to get
// past an interposer, and __posix_memalign), and what libc tells about its heap. Each is complete: a libc in
// which one of them were left would free our blocks. In a static program nothing else of glibc's malloc.o is needed
// (fork and thread exit name parts of it weakly), so the linker leaves it out. Semantics on bad input are glibc's,
// where POSIX and C leave them open.
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>

#include "alloc/alloc.h"
#include "alloc/base/print.h"
#include "alloc/compat.h"
#include "alloc/fast_path.h"
#include "alloc/os/os.h"
#include "alloc/requests.h"

#pragma GCC visibility push(default)

extern "C" {

// ---- C and POSIX ------------------------------------------------------------------------------------

void* malloc(size_t size) noexcept {
  return ashlar::fast_allocate(size);
}

void free(void* block) noexcept {
  ashlar::fast_deallocate(block);
}

void* calloc(size_t count, size_t size) noexcept {
  return ashlar::allocate_zeroed(count, size);
}

void* realloc(void* block, size_t size) noexcept {
  return ashlar::reallocate(block, size);
}

void* reallocarray(void* block, size_t count, size_t size) noexcept {
  return ashlar::request_reallocarray(block, count, size);
}

void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return ashlar::request_aligned_alloc(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  return ashlar::request_posix_memalign(out, alignment, size);
}

// C23. The size is the caller's claim.
void free_sized(void* block, size_t size) noexcept;
void free_sized(void* block, size_t size) noexcept {
  ashlar::sized_deallocate(block, size);
}

void free_aligned_sized(void* block, size_t alignment, size_t size) noexcept;
void free_aligned_sized(void* block, size_t, size_t size) noexcept {
  ashlar::sized_deallocate(block, size);
}

// ---- older names ------------------------------------------------------------------------------------

void cfree(void* block) noexcept;
void cfree(void* block) noexcept {
  ashlar::fast_deallocate(block);
}

void* memalign(size_t alignment, size_t size) noexcept {
  return ashlar::request_memalign(alignment, size);
}

void* valloc(size_t size) noexcept {
  return ashlar::allocate_aligned(ashlar::os::page_bytes(), size);
}

void* pvalloc(size_t size) noexcept {
  const size_t page = ashlar::os::page_bytes();
  size_t padded = 0;
  if (__builtin_add_overflow(size, page - 1, &padded)) return ashlar::fail_with(ENOMEM);
  return ashlar::allocate_aligned(page, padded & ~(page - 1));
}

size_t malloc_usable_size(void* block) noexcept {
  return ashlar::usable_size(block);
}

// ---- figures and knobs ------------------------------------------------------------------------------

struct mallinfo2 mallinfo2() noexcept {
  return ashlar::mallinfo_of_heap();
}

// Its fields are ints: what is larger says so by INT_MAX, where glibc wraps around.
struct mallinfo mallinfo() noexcept {
  const auto clamp = [](size_t n) { return n > INT_MAX ? INT_MAX : static_cast<int>(n); };
  const struct mallinfo2 wide = ashlar::mallinfo_of_heap();
  struct mallinfo narrow = {};
  narrow.arena = clamp(wide.arena);
  narrow.hblks = clamp(wide.hblks);
  narrow.hblkhd = clamp(wide.hblkhd);
  narrow.fsmblks = clamp(wide.fsmblks);
  narrow.uordblks = clamp(wide.uordblks);
  narrow.fordblks = clamp(wide.fordblks);
  narrow.keepcost = clamp(wide.keepcost);
  return narrow;
}

int malloc_info(int flags, FILE* stream) noexcept {
  return ashlar::write_malloc_info(flags, stream);
}

void malloc_stats() noexcept {
  ashlar::print_memstats(ashlar::kStderr);
}

int malloc_trim(size_t pad) noexcept {
  return ashlar::purge(pad) != 0 ? 1 : 0;
}

int mallopt(int parameter, int value) noexcept {
  return ashlar::accept_mallopt(parameter, value);
}

// ---- glibc's aliases --------------------------------------------------------------------------------

// g++ wants an alias to repeat the attributes that libc's headers give to its target.

void* __libc_malloc(size_t size) noexcept __attribute__((alias("malloc"), malloc, alloc_size(1)));
void __libc_free(void* block) noexcept __attribute__((alias("free")));
void* __libc_calloc(size_t count, size_t size) noexcept __attribute__((alias("calloc"), malloc, alloc_size(1, 2)));
void* __libc_realloc(void* block, size_t size) noexcept __attribute__((alias("realloc"), alloc_size(2)));
void* __libc_reallocarray(void* block, size_t count, size_t size) noexcept
    __attribute__((alias("reallocarray"), malloc, alloc_size(2, 3)));
void* __libc_memalign(size_t alignment, size_t size) noexcept
    __attribute__((alias("memalign"), malloc, alloc_align(1), alloc_size(2)));
void* __libc_valloc(size_t size) noexcept __attribute__((alias("valloc"), malloc, alloc_size(1)));
void* __libc_pvalloc(size_t size) noexcept __attribute__((alias("pvalloc"), malloc));
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's.
int __posix_memalign(void** out, size_t alignment, size_t size) noexcept
    __attribute__((alias("posix_memalign"), nonnull(1)));
struct mallinfo2 __libc_mallinfo2() noexcept __attribute__((alias("mallinfo2")));
struct mallinfo __libc_mallinfo() noexcept __attribute__((alias("mallinfo")));
int __libc_mallopt(int parameter, int value) noexcept __attribute__((alias("mallopt")));

}  // extern "C"

#pragma GCC visibility pop
