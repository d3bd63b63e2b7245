// SPDX-License-Identifier: MIT
//
// rounding.h - what a request really gets: the object size of its class, or whole pages.
//
// Owns: the two functions; `ashlar_good_size` is the first one at run time. Pure.
#pragma once

#include "sizeclass/sizeclass.h"

namespace ashlar {

/// Usable bytes of a block of `bytes`; 0 where no block can have so many (more than PTRDIFF_MAX).
constexpr size_t rounded_bytes(size_t bytes) {
  if (bytes <= kMaxSmallBytes) return class_bytes(class_of_size(bytes));
  return bytes > PTRDIFF_MAX ? 0 : (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
}

/// The capacity, in elements of `element_bytes` (not 0), that a slice gets which wants `capacity`; 0: it cannot.
constexpr size_t rounded_capacity(size_t capacity, size_t element_bytes) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(capacity, element_bytes, &bytes)) return 0;
  return rounded_bytes(bytes) / element_bytes;
}

static_assert(rounded_bytes(1) == 16 && rounded_bytes(kMaxSmallBytes + 1) == kMaxSmallBytes + kPageBytes);
static_assert(rounded_bytes(size_t{PTRDIFF_MAX} + 1) == 0);
static_assert(rounded_capacity(1, 4) == 4 && rounded_capacity(5, 8) == 6 && rounded_capacity(SIZE_MAX, 2) == 0);

}  // namespace ashlar
