/* SPDX-License-Identifier: MIT
 *
 * hash.h - ashlar_map, the concurrent hash map, for C programs. C++ programs have hash_map.h as well.
 *
 * Owns: the names with the prefix `ashlar_map` and the two makemaps.
 *
 * Threads: every function but ashlar_map_destroy may be called by any number of threads at once. Each operation on one
 * key is linearizable: it takes effect at one moment between its call and its return. ashlar_map_get takes no lock,
 * waits for nobody, and makes no atomic read-modify-write; the others are lock-free, also while the map grows or
 * shrinks. Callbacks (hash, eq, upsert, each) run without a lock and may call any function of the map. Values and keys
 * are copied in and out: no pointer into the map ever leaves it, but to a callback for its duration. Errors: where
 * memory is out a function that had to allocate returns -1 and sets errno to ENOMEM, and nothing has happened. Signals:
 * AS-Unsafe. Fork: usable in the child, whatever the other threads were at.
 */
#ifndef ASHLAR_HASH_H_
#define ASHLAR_HASH_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define ASHLAR_MAP_NOEXCEPT_ noexcept
#else
#define ASHLAR_MAP_NOEXCEPT_
#endif

#define ASHLAR_MAP_API_ __attribute__((visibility("default")))

typedef struct ashlar_map ashlar_map;
typedef struct ashlar_map_iter ashlar_map_iter;

/** What a map holds. Keys and values of at most 8 bytes lie in the table itself, others in a block for each entry. */
typedef struct ashlar_map_type {
  size_t key_size;   /**< bytes of a key, at most 2^31 */
  size_t value_size; /**< bytes of a value, at most 2^31; 0: a set. Callbacks get keys and values at multiples of 8, of
                        16 where one of them has 16 bytes or more */
  /** A hash of the key; null: of its bytes. Equal keys have equal hashes. What it returns is mixed with the map's seed.
   */
  uint64_t (*hash)(const void* key);
  /** Not 0 where the keys are equal; null: where their bytes are. A key that equals nothing, not even itself, can only
   * be iterated over. */
  int (*eq)(const void* a, const void* b);
} ashlar_map_type;

/**
 * Makes a map for `hint` entries to come; it grows as it has to. Nothing but its header of 128 bytes is allocated
 * before the first entry. Errors: null and errno = ERANGE ("makemap: size out of range") where hint < 0, or beyond what
 * any memory could hold; EINVAL for sizes above 2^31; ENOMEM. Source: Go's runtime.makemap.
 */
ASHLAR_MAP_API_ ashlar_map* ashlar_makemap(const ashlar_map_type* type, int hint) ASHLAR_MAP_NOEXCEPT_;

/** The same with a hint of 64 bits. Source: Go's runtime.makemap64. */
ASHLAR_MAP_API_ ashlar_map* ashlar_makemap64(const ashlar_map_type* type, int64_t hint) ASHLAR_MAP_NOEXCEPT_;

/** Frees the map and its entries. No other thread may use it any more. Null does nothing. O(buckets). */
ASHLAR_MAP_API_ void ashlar_map_destroy(ashlar_map* map) ASHLAR_MAP_NOEXCEPT_;

/** 1, and the value in `*value` (if not null); or 0. Never allocates. O(1). */
ASHLAR_MAP_API_ int ashlar_map_get(const ashlar_map* map, const void* key, void* value) ASHLAR_MAP_NOEXCEPT_;

/**
 * Sets the value of the key. 1: the key is new; 0: it had another value; -1. O(1). Of keys that `eq` calls equal, and
 * whose bytes differ, the last one is stored: so with an upsert that stores.
 */
ASHLAR_MAP_API_ int ashlar_map_put(ashlar_map* map, const void* key, const void* value) ASHLAR_MAP_NOEXCEPT_;

/** Adds the entry if the key is not there. 1: added; 0: it was there; -1. O(1). */
ASHLAR_MAP_API_ int ashlar_map_insert(ashlar_map* map, const void* key, const void* value) ASHLAR_MAP_NOEXCEPT_;

/** Where the key has the value `expected`, byte for byte, sets `desired`. 1: done; 0: it had not; -1. O(1). */
ASHLAR_MAP_API_ int ashlar_map_cas(ashlar_map* map, const void* key, const void* expected,
                                   const void* desired) ASHLAR_MAP_NOEXCEPT_;

/** Removes the key. 1, and the value that it had in `*value` (if not null); 0: it was not there; -1. O(1). */
ASHLAR_MAP_API_ int ashlar_map_del(ashlar_map* map, const void* key, void* value) ASHLAR_MAP_NOEXCEPT_;

/** What an upsert's callback decides. */
enum { ASHLAR_MAP_KEEP = 0, ASHLAR_MAP_STORE = 1, ASHLAR_MAP_ERASE = 2 }; /* NOLINT(readability-identifier-naming) */

/**
 * Calls `change(context, old, fresh)` with the key's value, or null, and does what it returns, as one step: nothing;
 * store what the callback wrote to `fresh`; or remove the key. It may be called several times, where other threads were
 * faster; the last call counts. Returns 1 where the map has changed, 0 where not, -1. O(1).
 */
ASHLAR_MAP_API_ int ashlar_map_upsert(ashlar_map* map, const void* key,
                                      int (*change)(void* context, const void* old, void* fresh),
                                      void* context) ASHLAR_MAP_NOEXCEPT_;

/** Entries; while others write, a number that was right not long ago. O(CPUs). */
ASHLAR_MAP_API_ size_t ashlar_map_len(const ashlar_map* map) ASHLAR_MAP_NOEXCEPT_;

/**
 * A walk over all entries, while others may write: an entry that stays is met exactly once, one that comes or goes
 * meanwhile at most once, one that was never there never. Null and ENOMEM. The walk belongs to one thread at a time,
 * and holds nothing up.
 */
ASHLAR_MAP_API_ ashlar_map_iter* ashlar_map_iter_begin(const ashlar_map* map) ASHLAR_MAP_NOEXCEPT_;

/** 1: the next key, and its value as it is now, in `*key` and `*value` (if not null); 0: there is none; -1, and it can
 * be called again. */
ASHLAR_MAP_API_ int ashlar_map_iter_next(ashlar_map_iter* iter, void* key, void* value) ASHLAR_MAP_NOEXCEPT_;

/** Ends a walk, at any point of it; before the map is destroyed. Null does nothing. */
ASHLAR_MAP_API_ void ashlar_map_iter_end(ashlar_map_iter* iter) ASHLAR_MAP_NOEXCEPT_;

/** The same as a loop: calls `visit` for each entry until it returns 0. `key` and `value` are there until then. */
ASHLAR_MAP_API_ void ashlar_map_each(const ashlar_map* map,
                                     int (*visit)(void* context, const void* key, const void* value),
                                     void* context) ASHLAR_MAP_NOEXCEPT_;

/** Removes every entry that was there at the call, one at a time, and gives the memory back. 0, or -1. */
ASHLAR_MAP_API_ int ashlar_map_clear(ashlar_map* map) ASHLAR_MAP_NOEXCEPT_;

typedef struct ashlar_map_statistics {
  uint64_t entries, buckets, slots;
  uint64_t tombstones; /**< slots that were written and are free */
  uint64_t busy;       /**< slots that a writer is at */
  uint64_t displaced;  /**< entries that found no slot in their bucket */
  uint64_t longest;    /**< entries of the fullest bucket */
  uint64_t growths, shrinks;
  uint64_t stalls; /**< buckets that another thread filled than the one that began to */
  uint64_t bytes;  /**< header, tables and overflow blocks; not the blocks of entries */
  uint64_t seed;
} ashlar_map_statistics;

/** Fills `*out`; looks at every bucket. O(buckets). */
ASHLAR_MAP_API_ void ashlar_map_stats(const ashlar_map* map, ashlar_map_statistics* out) ASHLAR_MAP_NOEXCEPT_;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ASHLAR_HASH_H_ */
