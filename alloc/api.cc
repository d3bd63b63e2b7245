// SPDX-License-Identifier: MIT
//
// api.cc - the `ashlar_` names of ashlar.h.
//
// Owns: the names. Contracts are in ashlar.h, argument checks in requests.h, the work in alloc.h.
#include "alloc/alloc.h"
#include "alloc/ashlar.h"
#include "alloc/fast_path.h"
#include "alloc/requests.h"

void* ashlar_malloc(size_t size) noexcept {
  return ashlar::fast_allocate(size);
}

void ashlar_free(void* block) noexcept {
  ashlar::fast_deallocate(block);
}

void* ashlar_calloc(size_t count, size_t size) noexcept {
  return ashlar::allocate_zeroed(count, size);
}

void* ashlar_realloc(void* block, size_t size) noexcept {
  return ashlar::reallocate(block, size);
}

void* ashlar_reallocarray(void* block, size_t count, size_t size) noexcept {
  return ashlar::request_reallocarray(block, count, size);
}

void* ashlar_aligned_alloc(size_t alignment, size_t size) noexcept {
  return ashlar::request_aligned_alloc(alignment, size);
}

int ashlar_posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  return ashlar::request_posix_memalign(out, alignment, size);
}

void* ashlar_malloc_padded(size_t size) noexcept {
  return ashlar::allocate_padded(size);
}

size_t ashlar_expand(void* block, size_t size) noexcept {
  return ashlar::expand(block, size);
}

size_t ashlar_usable_size(const void* block) noexcept {
  return ashlar::usable_size(block);
}

size_t ashlar_good_size(size_t size) noexcept {
  return ashlar::good_size(size);
}

int ashlar_version() noexcept {
  return ASHLAR_VERSION;
}

size_t ashlar_purge(size_t keep_bytes) noexcept {
  return ashlar::purge(keep_bytes);
}

void ashlar_read_memstats(ashlar_memstats* out) noexcept {
  ashlar::read_memstats(out);
}
