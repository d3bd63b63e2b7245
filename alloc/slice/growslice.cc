// SPDX-License-Identifier: MIT
//
// growslice.cc - see growslice.h.
//
// Owns: the way a block grows. Up to 32 KiB a slice has all that its object has, so there is nothing to try: a new
// object, a copy, and the old one goes back. Above, the page heap is asked for the pages behind it first; where these
// are taken, reallocate() moves page tables or copies.
#include "alloc/slice/growslice.h"

#include <errno.h>

#include "alloc/alloc.h"
#include "alloc/base/hardened.h"
#include "sizeclass/growth.h"
#include "sizeclass/rounding.h"

namespace ashlar {
namespace {

constexpr ashlar_block kNoBlock = {nullptr, 0};
constexpr ashlar_slice_header kNoSlice = {nullptr, 0, 0};

// Below, a tenth of a block is too little to be worth a call of the kernel.
constexpr size_t kFillHintBytes = size_t{1} << 20;

// What elements of no size lie at.
constinit char no_bytes[kMinAlign] = {};

ashlar_slice_header fail(int error) {
  errno = error;
  return kNoSlice;
}

void* new_block(size_t alignment, size_t bytes) {
  return alignment <= kMinAlign ? allocate(bytes) : allocate_aligned(alignment, bytes);
}

/// Of an aligned block the class may be larger than the size says, or, at the page heap, the same. All of it is ours
/// either way; but asking costs a look at the page map, so only where it can make a difference.
size_t usable_bytes(const void* block, size_t alignment, size_t bytes) {
  return alignment <= kMinAlign ? bytes : usable_size(block);
}

/// Blocks are whole multiples of 16 bytes, so up to a few lines these are moved without a call of memcpy. Not where a
/// block ends at a canary.
void copy(void* to, const void* from, size_t bytes) {
  struct alignas(kMinAlign) Unit {
    unsigned char byte[kMinAlign];
  };
  if (kHardened || bytes > 16 * sizeof(Unit)) {
    __builtin_memcpy(to, from, bytes);
    return;
  }
  auto* out = static_cast<Unit*>(to);
  const auto* in = static_cast<const Unit*>(from);
  for (size_t left = (bytes + sizeof(Unit) - 1) / sizeof(Unit); left != 0; --left) *out++ = *in++;
}

/// A new block of `bytes` with the first `used` bytes of the old one, which goes back.
ashlar_block replace(const ashlar_block_growth& g, size_t bytes) {
  void* to = new_block(g.alignment, bytes);
  if (to == nullptr) return kNoBlock;
  if (g.block != nullptr) {
    __builtin_memcpy(to, g.block, g.used);
    deallocate(g.block);
  }
  return {to, usable_bytes(to, g.alignment, bytes)};
}

/// From here on a block ends where a huge page does, so that the next step finds none that is half small pages.
constexpr size_t kHugeSteps = size_t{16} << 20;
constexpr size_t kHugeBytes = size_t{2} << 20;

/// Blocks that are runs of pages, before and after.
ashlar_block grow_pages(const ashlar_block_growth& g, size_t bytes, size_t least, bool* clean) {
  const auto start = reinterpret_cast<uintptr_t>(g.block);
  size_t have = 0;
  if (bytes >= kHugeSteps)
    have = expand(g.block, ((start + bytes + kHugeBytes - 1) & ~(kHugeBytes - 1)) - start, clean);
  if (have == 0) have = expand(g.block, bytes, clean);
  if (have == 0 && least < bytes) have = expand(g.block, least, clean);
  if (have != 0) return {g.block, have};
  if (kHardened && bytes < 2 * g.capacity) bytes = good_size(2 * g.capacity);  // every step would copy
  // A run of pages begins at a page wherever it lies.
  if (g.alignment > kPageBytes) return replace(g, bytes);
  void* moved = reallocate(g.block, bytes);
  return {moved, moved == nullptr ? 0 : bytes};
}

/// `bytes` and `least` are rounded to what a block of that size really has: so all of what was asked for is there, in a
/// hardened library or between guard pages as well.
ashlar_block grow_to(const ashlar_block_growth& g, size_t bytes, size_t least) {
  const bool pages = g.block != nullptr && g.capacity > kMaxSmallBytes && bytes > kMaxSmallBytes;
  bool clean = false;
  const ashlar_block grown = pages ? grow_pages(g, bytes, least, &clean) : replace(g, bytes);
  if (grown.data != nullptr && grown.bytes >= kFillHintBytes) will_fill(grown.data, g.used, g.filled, clean);
  return grown;
}

}  // namespace
}  // namespace ashlar

ashlar_block ashlar_move_block(void* block, size_t used, size_t bytes) noexcept {
  using namespace ashlar;
  const size_t rounded = kHardened || bytes > kMaxSmallBytes ? good_size(bytes) : rounded_bytes(bytes);
  void* to = rounded == 0 ? nullptr : allocate(rounded);
  if (to == nullptr) {
    errno = ENOMEM;
    return kNoBlock;
  }
  if (block != nullptr) {
    copy(to, block, used);
    deallocate(block);
  }
  return {to, rounded};
}

ashlar_block ashlar_grow_block(const ashlar_block_growth* growth) noexcept {
  using namespace ashlar;
  const size_t least = good_size(growth->least);
  const size_t wanted = growth->wanted > growth->least ? good_size(growth->wanted) : least;
  if (least == 0) {
    errno = ENOMEM;
    return kNoBlock;
  }
  if (wanted > least) {
    const int saved_errno = errno;
    const ashlar_block grown = grow_to(*growth, wanted, least);
    if (grown.data != nullptr) return grown;
    errno = saved_errno;  // more than is needed is no error
  }
  return grow_to(*growth, least, least);
}

ashlar_slice_header ashlar_growslice_by(ashlar_growth policy, void* ptr, size_t new_len, size_t cap, size_t num,
                                        size_t elem_size) noexcept {
  using namespace ashlar;
  if (new_len < num) return fail(EOVERFLOW);
  const size_t len = new_len - num;
  if (ptr == nullptr ? (len | cap) != 0 : (cap != 0 && len > cap)) return fail(EINVAL);
  if (new_len > max_elements(elem_size)) return fail(EOVERFLOW);
  if (elem_size == 0) return {ptr == nullptr ? no_bytes : ptr, new_len, 0};
  if (cap > max_elements(elem_size)) return fail(EINVAL);
  if (new_len <= cap || new_len == 0) return {ptr, new_len, cap};

  const bool is_view = cap == 0;
  const size_t wanted =
      next_capacity(policy == nullptr ? kDefaultGrowth : policy, is_view ? len : cap, new_len, elem_size);
  ashlar_block_growth g = {};
  g.block = is_view ? nullptr : ptr;
  g.capacity = cap * elem_size;
  g.used = len * elem_size;
  g.least = new_len * elem_size;
  g.wanted = (wanted < new_len ? new_len : wanted) * elem_size;
  g.filled = g.least;
  // A caller that counts less than its object has (a block of malloc's, a cap of its own) gets the rest first.
  if (!is_view && good_size(g.capacity) >= g.least) {
    const size_t bytes = expand(ptr, g.least);
    if (bytes != 0) return {ptr, new_len, bytes / elem_size};
  }
  const ashlar_block grown = ashlar_grow_block(&g);
  if (grown.data == nullptr) return kNoSlice;
  if (is_view && len != 0) __builtin_memcpy(grown.data, ptr, g.used);
  return {grown.data, new_len, grown.bytes / elem_size};
}

ashlar_slice_header ashlar_growslice(void* ptr, size_t new_len, size_t cap, size_t num, size_t elem_size) noexcept {
  return ashlar_growslice_by(nullptr, ptr, new_len, cap, num, elem_size);
}

ashlar_slice_header ashlar_slice(void* ptr, ptrdiff_t len, size_t elem_size) noexcept {
  using namespace ashlar;
  if (len < 0) return fail(EINVAL);
  if (ptr == nullptr) return len == 0 ? kNoSlice : fail(EINVAL);
  const auto count = static_cast<size_t>(len);
  if (count > max_elements(elem_size)) return fail(EOVERFLOW);
  if (count * elem_size > UINTPTR_MAX - reinterpret_cast<uintptr_t>(ptr)) return fail(EOVERFLOW);
  return {ptr, count, 0};
}

size_t ashlar_growth_step(size_t cap, size_t needed, size_t elem_size) noexcept {
  return ashlar::grow_by_step(cap, needed, elem_size);
}

size_t ashlar_growth_smooth(size_t cap, size_t needed, size_t elem_size) noexcept {
  return ashlar::grow_smoothly(cap, needed, elem_size);
}

size_t ashlar_growth_double(size_t cap, size_t needed, size_t elem_size) noexcept {
  return ashlar::grow_twice(cap, needed, elem_size);
}

size_t ashlar_growth_pages(size_t cap, size_t needed, size_t elem_size) noexcept {
  return ashlar::grow_by_pages(cap, needed, elem_size);
}
