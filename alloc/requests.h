// SPDX-License-Identifier: MIT
//
// requests.h - the argument checks of malloc's relatives, once for both families of names.
//
// Owns: what each of them does with bad arguments, and errno there. api.cc and override_libc.cc include it; nobody
// else.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/alloc.h"
#include "alloc/fast_path.h"

namespace ashlar {

constexpr bool is_power_of_two(size_t n) {
  return n != 0 && (n & (n - 1)) == 0;
}

inline void* fail_with(int error) noexcept {
  errno = error;
  return nullptr;
}

/// `alignment` is a power of two.
inline void* allocate_at(size_t alignment, size_t size) noexcept {
  return alignment <= kMinAlign ? fast_allocate(size) : allocate_aligned(alignment, size);
}

inline void* request_reallocarray(void* block, size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return fail_with(ENOMEM);
  return reallocate(block, bytes);
}

inline void* request_aligned_alloc(size_t alignment, size_t size) noexcept {
  if (!is_power_of_two(alignment)) return fail_with(EINVAL);
  return allocate_at(alignment, size);
}

inline int request_posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (!is_power_of_two(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  const int saved_errno = errno;
  void* block = allocate_at(alignment, size);
  if (block == nullptr) {
    errno = saved_errno;
    return ENOMEM;
  }
  *out = block;
  return 0;
}

/// As glibc's memalign: an alignment that is no power of two is rounded up to one, 0 included.
inline void* request_memalign(size_t alignment, size_t size) noexcept {
  if (alignment <= kMinAlign) return fast_allocate(size);
  if (alignment > SIZE_MAX / 2 + 1) return fail_with(EINVAL);
  if (!is_power_of_two(alignment)) alignment = size_t{1} << (64 - __builtin_clzl(alignment));
  return allocate_aligned(alignment, size);
}

}  // namespace ashlar
