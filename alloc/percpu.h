// SPDX-License-Identifier: MIT
//
// percpu.h - which cache a thread works on: a P that it leases, the P that it runs on (rseq), or none.
//
// Owns: the slabs, the leases, the P mode, and tls_slab.
//
// A P is the right to use one cache without atomics. There are two ways to hold it:
//  - Lease: as long as threads are no more than twice the CPUs each can own a slab outright, and works on it with plain
//  loads and
//    stores, half the instructions of a restartable sequence. The lease goes back when the thread ends, with the cache
//    warm.
//  - rseq: every further thread uses the slab of the P that it happens to run on (mm_cid, or cpu_id), by base/rseq.h.
// Where rseq is missing (GLIBC_TUNABLES, valgrind, qemu-user, old kernels) or switched off (percpu:off), there are
// leases only, kMaxLeases of them; threads beyond work on the central lists directly.
//
//    thread:  fresh --first slow path--> leased --thread exit--> gone      (tls_slab real)
//               \--no lease left--> guest (rseq, or direct) --a lease is free--> leased
#pragma once

#include "alloc/bins.h"
#include "alloc/slab.h"

namespace ashlar {

inline constexpr unsigned kMaxLeases = 256;

/// The cache that the calling thread works on, for the length of one slow path.
struct Cache {
  Slab* slab = nullptr;  ///< leased slab; or, with rseq, the slab of the P as it was: a hint
  bool rseq = false;
  RseqSite site = {};

  explicit operator bool() const { return slab != nullptr; }
  unsigned home() const { return slab->home; }

  uintptr_t pop(CacheIndex k) const noexcept;
  /// Pushes through a header; false where it is full or belongs to another home.
  bool push(Bin bin, void* object) const noexcept;
  /// Fills cache k from its central list; false: no memory. Another thread may empty an rseq P's cache at once.
  bool refill(CacheIndex k) const noexcept;
  /// Moves a batch of cache k to the central lists.
  void flush(CacheIndex k) const noexcept;
  /// Empties one cache, or all of them, of a leased slab or of one that stands still.
  void drain(CacheIndex k) const noexcept;
  void drain_all() const noexcept;
};

/// Finds the cache of this thread; takes a lease where one is free. An empty Cache: there is none.
/// The allocator must be initialised.
Cache current_cache() noexcept;

/// True in a thread that has no lease and was seen to run on rseq Ps: guest_site() is valid there.
extern __thread bool tls_guest __attribute__((tls_model("initial-exec"), visibility("hidden")));

/// Where a guest finds its P. The P may have no slab yet; then pops find nothing and pushes no room.
RseqSite guest_site() noexcept;

/// Called once by initialisation, single-threaded.
void init_percpu() noexcept;

/// "rseq" (leases and rseq Ps) or "fallback" (leases alone).
const char* p_mode() noexcept;

struct PercpuStats {
  uint64_t slabs, slab_bytes;
};
PercpuStats percpu_stats() noexcept;

/// Free objects in all caches, per bin; foreign caches count for the bins of home 0. `counts` has kBinFirstForeign
/// entries. And pops (mallocs) per class.
struct CacheCounts {
  uint64_t cached[kNumClasses];
  uint64_t pops[kNumClasses];
};
void count_caches(CacheCounts* out) noexcept;

/// Whether a thread came that had no cache, since the process began or, in the child of a fork, since the fork.
/// Relaxed.
extern bool thread_came;

/// True once the calling thread has given its lease back for good: it is about to end.
bool thread_is_ending() noexcept;

/// Empties the free leases that nobody used since the last call. Not the caches of rseq Ps: stopping those takes a
/// system call (membarrier) that some sandboxes kill for, and what they hold is at most 8 KiB a class and CPU.
void drain_idle_leases() noexcept;

/// Empties the caches that can be: the calling thread's, and with rseq those of all Ps.
void drain_caches() noexcept;

/// For fork: takes the lock, unless the calling thread holds it (false; see Mutex::lock_for_fork), and gives it back.
bool percpu_is_mine() noexcept;
[[nodiscard]] bool percpu_lock_for_fork(bool interrupted) noexcept;
void percpu_after_fork(bool child, bool took_lock) noexcept;

}  // namespace ashlar
