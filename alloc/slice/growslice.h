/* SPDX-License-Identifier: MIT
 *
 * growslice.h - growable arrays in C, as Go's runtime grows them; and views of memory that is somebody else's.
 *
 * Owns: the C interface of slices, installed as <ashlar/growslice.h>. The memory is ashlar_malloc's, whatever malloc
 * the program has otherwise.
 *
 * A slice is three words. `cap` counts the elements that the slice owns room for:
 *
 *     owned   data -> [ len elements | room ]   cap >= len, cap > 0      ends with ashlar_free(data)
 *     view    data -> foreign memory            cap == 0, len > 0        nothing to free
 *     null    data == NULL                      cap == 0, len == 0
 *
 * So a part of a slice, {data + from, to - from, 0}, is a view that shares its elements; growing it copies.
 *
 * Every function is MT-Safe for different slices, AS-Unsafe, and usable in the child of a fork.
 */
#ifndef ASHLAR_GROWSLICE_H_
#define ASHLAR_GROWSLICE_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#define ASHLAR_SLICE_NOEXCEPT_ noexcept
#else
#define ASHLAR_SLICE_NOEXCEPT_
#endif

#define ASHLAR_SLICE_API_ __attribute__((visibility("default")))

typedef struct ashlar_slice_header {
  void* data;
  size_t len; /**< elements */
  size_t cap; /**< elements that it owns room for; 0: it owns nothing */
} ashlar_slice_header;

/**
 * A policy: elements of room to ask for, when there is room for `cap` and `needed` are wanted
 * (cap < needed <= 2 * cap). Answers below `needed` count as `needed`; too large ones as the maximum.
 */
typedef size_t (*ashlar_growth)(size_t cap, size_t needed, size_t elem_size);

/** The policies of sizeclass/growth.h: doubling below 1024 elements, then steps of 64; */
ASHLAR_SLICE_API_ size_t ashlar_growth_step(size_t cap, size_t needed, size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;
/** Go's: doubling below 256 elements, then a factor that falls to 1.25; */
ASHLAR_SLICE_API_ size_t ashlar_growth_smooth(size_t cap, size_t needed, size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;
/** always doubling; */
ASHLAR_SLICE_API_ size_t ashlar_growth_double(size_t cap, size_t needed, size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;
/** doubling below 1 MiB, then a sixteenth. The default. */
ASHLAR_SLICE_API_ size_t ashlar_growth_pages(size_t cap, size_t needed, size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;

/**
 * Grows a slice by `num` elements to `new_len`, as Go's growslice: `ptr` and `cap` are the slice's data and cap, its
 * length was new_len - num. Returns the slice {data, new_len, cap}; the `num` new elements and the room behind them are
 * indeterminate. Elements move as bytes. Where there is room already, nothing but the length changes; else the
 * block grows where it lies, or moves (large ones by page tables, mremap) and the old memory goes back at once.
 * cap == 0: `ptr` is null or a view's: its elements are copied, and it is left alone.
 * Units: elements of `elem_size` bytes. elem_size 0: the length is counted, `data` is not null and nothing is owned.
 * Errors: {NULL, 0, 0}, and the slice is as it was:
 *   EOVERFLOW  "growslice: len out of range": new_len < num, or new_len elements are more than PTRDIFF_MAX bytes
 *   EINVAL     the old length is above a cap that is not 0, or ptr is null with cap or an old length above 0
 *   ENOMEM     no memory
 * Cost: amortised O(1) an element with the doubling policies.
 * Source: Go, runtime/slice.go, growslice.
 */
ASHLAR_SLICE_API_ ashlar_slice_header ashlar_growslice(void* ptr, size_t new_len, size_t cap, size_t num,
                                                       size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;

/** ashlar_growslice by another policy; null: the default one. */
ASHLAR_SLICE_API_ ashlar_slice_header ashlar_growslice_by(ashlar_growth policy, void* ptr, size_t new_len, size_t cap,
                                                          size_t num, size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;

/**
 * A view of `len` elements at `ptr`, as Go's unsafe.Slice: no allocation, no copy. Null with len 0 is the null slice.
 * Errors: {NULL, 0, 0} and
 *   EINVAL     len < 0 ("len out of range"), or ptr is null and len is not 0
 *   EOVERFLOW  the elements would end beyond the address space, or are more than PTRDIFF_MAX bytes
 * (Set errno to 0 before, where ptr may be null: the null slice leaves it alone.) Signals: AS-Safe. Cost: O(1).
 * Source: Go, runtime/unsafe.go, unsafeslicecheckptr.
 */
ASHLAR_SLICE_API_ ashlar_slice_header ashlar_slice(void* ptr, ptrdiff_t len, size_t elem_size) ASHLAR_SLICE_NOEXCEPT_;

/**
 * A block that shall grow; what slice<T> (slice.h) and ashlar_growslice are made of. Zero a field that does not matter.
 */
typedef struct ashlar_block_growth {
  void* block;      /**< from ashlar_malloc or this function; null: a new one */
  size_t capacity;  /**< bytes that the block is known to have (at most its usable size) */
  size_t used;      /**< of these: bytes to keep */
  size_t least;     /**< bytes that must be there afterwards: more than `capacity` */
  size_t wanted;    /**< bytes that should be there (>= least) */
  size_t filled;    /**< bytes that will certainly be written soon: huge pages are asked for, where they fit */
  size_t alignment; /**< power of two; up to 16 costs nothing */
} ashlar_block_growth;

typedef struct ashlar_block {
  void* data;
  size_t bytes; /**< usable */
} ashlar_block;

/**
 * Grows a block: where it lies to `wanted` or at least `least` bytes, or by a move, after which the old one is freed.
 * Errors: {NULL, 0} and errno = ENOMEM, and the block is as it was.
 */
ASHLAR_SLICE_API_ ashlar_block ashlar_grow_block(const ashlar_block_growth* growth) ASHLAR_SLICE_NOEXCEPT_;

/**
 * The short way for small blocks: a new block of `bytes` (not 0), aligned to 16, with the first `used` bytes of
 * `block`, which is freed; or null. Errors: as ashlar_grow_block.
 */
ASHLAR_SLICE_API_ ashlar_block ashlar_move_block(void* block, size_t used, size_t bytes) ASHLAR_SLICE_NOEXCEPT_;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ASHLAR_GROWSLICE_H_ */
