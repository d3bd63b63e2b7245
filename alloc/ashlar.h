/* SPDX-License-Identifier: MIT
 *
 * ashlar.h - the public C interface of the Ashlar allocator.
 *
 * Owns: the names with the prefix `ashlar_`. They exist in libashlar.so, in libashlar.a and in
 * libashlar-core.a; the last one leaves libc's malloc alone, so that both can live in one program.
 * A block from an `ashlar_` function goes back through an `ashlar_` function (through libc's names
 * as well only where Ashlar has taken those over).
 *
 * Every function is MT-Safe and AS-Unsafe (not to be called from a signal handler that interrupted
 * an allocator call), and usable in the child of a fork.
 */
#ifndef ASHLAR_ASHLAR_H_
#define ASHLAR_ASHLAR_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define ASHLAR_NOEXCEPT_ noexcept
#else
#define ASHLAR_NOEXCEPT_
#endif

#define ASHLAR_API_ __attribute__((visibility("default")))

/** Version of this header, as major * 10000 + minor * 100 + patch. */
#define ASHLAR_VERSION 100

/** Alignment in bytes of every block (the size of C's max_align_t on the supported machines). */
#define ASHLAR_MIN_ALIGN 16

/** Entries of ashlar_memstats::by_size that can be in use; `by_size_count` says how many are. */
#define ASHLAR_MAX_SIZE_CLASSES 96

/**
 * Allocates `size` bytes aligned to ASHLAR_MIN_ALIGN.
 * Units: bytes. Zero: a unique non-null pointer.
 * Errors: null and errno = ENOMEM (also for more than PTRDIFF_MAX).
 * Cost: O(1) amortised; may map memory. Source: C17 7.22.3.4, POSIX malloc.
 */
ASHLAR_API_ void* ashlar_malloc(size_t size) ASHLAR_NOEXCEPT_;

/**
 * Returns a block to the allocator; null does nothing. Preserves errno.
 * Errors: a pointer that is not the start of a live block aborts with one line on stderr, at once
 * or, for blocks up to 32 KiB, at the latest when the cache that holds it is flushed.
 * Cost: O(1) amortised. Source: C17 7.22.3.3; errno: POSIX.1-2024.
 */
ASHLAR_API_ void ashlar_free(void* block) ASHLAR_NOEXCEPT_;

/** Allocates `count * size` zeroed bytes. Errors: null and ENOMEM, on overflow too. C17 7.22.3.2. */
ASHLAR_API_ void* ashlar_calloc(size_t count, size_t size) ASHLAR_NOEXCEPT_;

/**
 * Changes the size of a block; the contents up to the smaller size stay.
 * Null `block`: as ashlar_malloc. `size` 0: frees `block` and returns null (as glibc does).
 * Errors: null and ENOMEM, and `block` is untouched.
 * Cost: O(1) where the block can stay; large blocks move by page tables (mremap), not by copy.
 */
ASHLAR_API_ void* ashlar_realloc(void* block, size_t size) ASHLAR_NOEXCEPT_;

/** ashlar_realloc of `count * size` bytes; an overflow gives null and ENOMEM. Source: POSIX.1-2024. */
ASHLAR_API_ void* ashlar_reallocarray(void* block, size_t count, size_t size) ASHLAR_NOEXCEPT_;

/**
 * Allocates `size` bytes at a multiple of `alignment`.
 * Errors: null and EINVAL where `alignment` is not a power of two; null and ENOMEM.
 * Source: C17 7.22.3.1, as C23 without the demand that size be a multiple.
 */
ASHLAR_API_ void* ashlar_aligned_alloc(size_t alignment, size_t size) ASHLAR_NOEXCEPT_;

/**
 * Returns 0 and stores the block in `*out`, or returns EINVAL (`alignment` is not a power of two
 * multiple of sizeof(void*)) or ENOMEM and leaves `*out` alone. errno is not touched.
 * Source: POSIX posix_memalign.
 */
ASHLAR_API_ int ashlar_posix_memalign(void** out, size_t alignment, size_t size) ASHLAR_NOEXCEPT_;

/**
 * Allocates at least `size` bytes that share no cache line with any other block: aligned to a
 * line (128 bytes on x86-64, whose prefetcher fetches lines in pairs, and on aarch64, where lines of
 * 128 exist) and a multiple of it long. Free it with ashlar_free. Errors: null and ENOMEM.
 */
ASHLAR_API_ void* ashlar_malloc_padded(size_t size) ASHLAR_NOEXCEPT_;

/**
 * Makes room for at least `size` bytes without moving the block: in what the block has already, or in free pages behind
 * a block above 32 KiB. Never shrinks it.
 * Returns the bytes that the block now has, or 0 where it cannot stay (`block` is as it was; errno is not touched).
 * Null `block`: 0. Errors: as ashlar_free for a pointer that is not the start of a live block.
 * Cost: O(1), and O(pages / 64) for blocks above 32 KiB.
 */
ASHLAR_API_ size_t ashlar_expand(void* block, size_t size) ASHLAR_NOEXCEPT_;

/** Bytes that the block really has (>= what was asked); 0 for null. The program may use them all. */
ASHLAR_API_ size_t ashlar_usable_size(const void* block) ASHLAR_NOEXCEPT_;

/** The usable size that ashlar_malloc(size) would give; 0 where it would fail. Pure, O(1). */
ASHLAR_API_ size_t ashlar_good_size(size_t size) ASHLAR_NOEXCEPT_;

/** Version of the library, as ASHLAR_VERSION. */
ASHLAR_API_ int ashlar_version(void) ASHLAR_NOEXCEPT_;

/**
 * Gives free pages back to the kernel now, down to `keep_bytes` of them, and drains what it can of the caches first.
 * Returns the bytes given back.
 */
ASHLAR_API_ size_t ashlar_purge(size_t keep_bytes) ASHLAR_NOEXCEPT_;

/** One row of ashlar_memstats::by_size: a size class. */
typedef struct ashlar_size_class_stats {
  uint64_t size;    /**< bytes of an object of this class */
  uint64_t mallocs; /**< objects allocated since the start */
  uint64_t frees;   /**< objects freed since the start */
} ashlar_size_class_stats;

/**
 * The allocator's figures, with the meaning of the fields of Go's runtime.MemStats.
 * heap_sys = heap_idle + heap_inuse; mallocs - frees = heap_objects; sizes are rounded up to what
 * the size class gives.
 */
typedef struct ashlar_memstats {
  uint64_t alloc;         /**< bytes of live objects (= heap_alloc) */
  uint64_t total_alloc;   /**< bytes allocated since the start; never falls */
  uint64_t sys;           /**< bytes of address space obtained from the kernel, metadata included */
  uint64_t mallocs;       /**< objects allocated since the start */
  uint64_t frees;         /**< objects freed since the start */
  uint64_t heap_alloc;    /**< bytes of live objects */
  uint64_t heap_sys;      /**< bytes of address space of the page heap */
  uint64_t heap_idle;     /**< of these: in free page runs */
  uint64_t heap_inuse;    /**< of these: in spans */
  uint64_t heap_released; /**< of heap_idle: given back to the kernel, or never touched */
  uint64_t heap_objects;  /**< live objects */
  uint64_t mspan_inuse;   /**< bytes of metadata of spans in use */
  uint64_t mspan_sys;     /**< bytes obtained for metadata of spans */
  uint64_t mcache_inuse;  /**< bytes of per-P caches in use (the caches, not the objects in them) */
  uint64_t mcache_sys;    /**< bytes obtained for per-P caches */
  uint64_t cached_bytes;  /**< bytes of free objects that sit in per-P caches */
  uint64_t large_objects; /**< live objects above the largest size class */
  uint64_t num_purge;     /**< purge cycles since the start */
  uint64_t purged_bytes;  /**< bytes given back by purge cycles since the start */
  uint64_t num_ps;        /**< per-P caches created */
  uint64_t by_size_count; /**< rows of by_size in use */
  ashlar_size_class_stats by_size[ASHLAR_MAX_SIZE_CLASSES];
} ashlar_memstats;

/**
 * Fills `*out`. Cost: O(size classes x Ps) under the central locks, no allocation. A figure that
 * moves while it is read is read once, so the identities above always hold; after a program has freed all that
 * it allocated, and no thread allocates meanwhile, mallocs == frees. `frees` is derived (mallocs - live): while
 * other threads allocate it can be a little off, and even fall between two readings; `mallocs` and `total_alloc` never
 * fall.
 */
ASHLAR_API_ void ashlar_read_memstats(ashlar_memstats* out) ASHLAR_NOEXCEPT_;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ASHLAR_ASHLAR_H_ */
