// SPDX-License-Identifier: MIT
//
// rseq.h - the four operations on the cache of the P that the thread is running on, as restartable sequences.
//
// Owns: the sequences' contract and what they must know of a slab's layout. The instructions are in rseq_x86_64.h and
// rseq_aarch64.h.
//
// How a sequence works: it stores the address of its descriptor into the thread's struct rseq (which glibc registered;
// we never register one, and write no field but rseq_cs), reads the P number, finds the P's slab, and ends with ONE
// store, the commit. If the kernel preempts or migrates the thread, or delivers a signal, before the commit, it resumes
// at the abort handler, which starts again. So between the first instruction and the commit no other thread ran on this
// P.
//
// A slab, as the sequences see it:
//   word i            header of bin i: bits 0..15 `top` (index of the word behind the last cached object), bits 16..63
//                     count of pops
//   kRseqBinTable + k the bin (a byte) of cache k on this slab
//   word top - 1      the object to pop, or a word with bit 0 set: the cache is empty
//   word top          where to push, or a word with bit 0 set: the cache is full
// slabtab[P] is never null: a P without a slab has the shared empty one, on which every pop finds nothing and every
// push no room. Source: Linux Documentation/userspace-api/rseq.rst; the tagged words stand in for the begin/end fields
// that TCMalloc has.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar {

struct Slab;

inline constexpr size_t kRseqBinTable = 976;   ///< asserted against the real layout in alloc/slab.h
inline constexpr uint64_t kPopDelta = 0xffff;  ///< count + 1, top - 1

/// Where the sequences find the thread's P.
struct RseqSite {
  char* area;            ///< the thread's struct rseq
  uintptr_t p_offset;    ///< offset of the P number in it: mm_cid or cpu_id
  Slab* const* slabtab;  ///< P -> slab
};

/// Pops an object from cache k of this P. A result with bit 0 set: empty.
uintptr_t rseq_pop(const RseqSite& site, uintptr_t k) noexcept;

/// Pushes through header `bin` of this P. False: full, or not a cache of this P.
bool rseq_push(const RseqSite& site, uintptr_t bin, void* object) noexcept;

/// Pushes objects[0..n) to cache k until it is full; returns how many went in.
size_t rseq_push_batch(const RseqSite& site, uintptr_t k, void* const* objects, size_t n) noexcept;

/// Pops up to n objects of cache k into out, the last pushed first; returns how many.
size_t rseq_pop_batch(const RseqSite& site, uintptr_t k, void** out, size_t n) noexcept;

}  // namespace ashlar
