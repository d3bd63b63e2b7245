// SPDX-License-Identifier: MIT
//
// rseq_aarch64.h - see rseq.h. Included by rseq.cc alone.
// Labels: 70 start (arms), 71 first instruction of the section, 72 behind the commit, 74 abort, 79 descriptor.
#pragma once

#include "alloc/base/rseq.h"

// 0xd428bc00 (`brk #0x45e0`) in front of the abort handler is the signature that glibc registered with.
#define ASHLAR_RSEQ_BEGIN                           \
  ".pushsection __rseq_cs, \"aw\", %%progbits\n"    \
  ".balign 32\n"                                    \
  "79: .long 0, 0\n"                                \
  ".quad 71f, 72f - 71f, 74f\n"                     \
  ".popsection\n"                                   \
  ".pushsection __rseq_abort, \"ax\", %%progbits\n" \
  ".inst 0xd428bc00\n"                              \
  "74: b 70f\n"                                     \
  ".popsection\n"                                   \
  "70: adrp %[slab], 79b\n"                         \
  "add %[slab], %[slab], :lo12:79b\n"               \
  "str %[slab], [%[area], #8]\n"                    \
  "71: ldr %w[slab], [%[area], %[p]]\n"             \
  "ldr %[slab], [%[tab], %[slab], lsl #3]\n"

#define ASHLAR_RSEQ_SITE [area] "r"(site.area), [p] "r"(site.p_offset), [tab] "r"(site.slabtab)

// Leaves the address of cache k's header in `bin` and that of the slot at `top` in `slot`.
#define ASHLAR_RSEQ_FIND                  \
  "add %[bin], %[slab], %[table]\n"       \
  "ldrb %w[bin], [%[bin], %[k]]\n"        \
  "add %[bin], %[slab], %[bin], lsl #3\n" \
  "ldrh %w[slot], [%[bin]]\n"             \
  "add %[slot], %[slab], %[slot], lsl #3\n"

namespace ashlar {

uintptr_t rseq_pop(const RseqSite& site, uintptr_t k) noexcept {
  uintptr_t slab, bin, slot, object;
  asm volatile(ASHLAR_RSEQ_BEGIN ASHLAR_RSEQ_FIND
               "ldr %[object], [%[slot], #-8]\n"
               "tbnz %[object], #0, 73f\n"
               "ldr %[slot], [%[bin]]\n"
               "add %[slot], %[slot], %[delta]\n"
               "str %[slot], [%[bin]]\n"
               "72:\n"
               "73:\n"
               : [slab] "=&r"(slab), [bin] "=&r"(bin), [slot] "=&r"(slot), [object] "=&r"(object)
               : ASHLAR_RSEQ_SITE, [k] "r"(k), [table] "i"(kRseqBinTable), [delta] "r"(kPopDelta)
               : "memory", "cc");
  return object;
}

bool rseq_push(const RseqSite& site, uintptr_t bin, void* object) noexcept {
  uintptr_t slab, header, slot;
  uint32_t pushed;
  asm volatile(ASHLAR_RSEQ_BEGIN
               "ldr %[header], [%[slab], %[bin], lsl #3]\n"
               "and %[slot], %[header], #0xffff\n"
               "add %[slot], %[slab], %[slot], lsl #3\n"
               "ldr %x[pushed], [%[slot]]\n"
               "and %w[pushed], %w[pushed], #1\n"
               "eor %w[pushed], %w[pushed], #1\n"
               "cbz %w[pushed], 73f\n"
               "str %[object], [%[slot]]\n"
               "add %[header], %[header], #1\n"
               "str %[header], [%[slab], %[bin], lsl #3]\n"
               "72:\n"
               "73:\n"
               : [slab] "=&r"(slab), [header] "=&r"(header), [slot] "=&r"(slot), [pushed] "=&r"(pushed)
               : ASHLAR_RSEQ_SITE, [bin] "r"(bin), [object] "r"(object)
               : "memory", "cc");
  return pushed != 0;
}

size_t rseq_push_batch(const RseqSite& site, uintptr_t k, void* const* objects, size_t n) noexcept {
  uintptr_t slab, bin, slot, object;
  size_t done;
  asm volatile(ASHLAR_RSEQ_BEGIN ASHLAR_RSEQ_FIND
               "mov %[done], #0\n"
               "75: cmp %[done], %[n]\n"
               "b.hs 76f\n"
               "ldr %[object], [%[slot]]\n"
               "tbnz %[object], #0, 76f\n"
               "ldr %[object], [%[objects], %[done], lsl #3]\n"
               "str %[object], [%[slot]], #8\n"
               "add %[done], %[done], #1\n"
               "b 75b\n"
               "76: cbz %[done], 73f\n"  // nothing to commit; the empty slab must not even be written
               "ldr %[object], [%[bin]]\n"
               "add %[object], %[object], %[done]\n"
               "str %[object], [%[bin]]\n"
               "72:\n"
               "73:\n"
               : [slab] "=&r"(slab), [bin] "=&r"(bin), [slot] "=&r"(slot), [object] "=&r"(object), [done] "=&r"(done)
               : ASHLAR_RSEQ_SITE, [k] "r"(k), [objects] "r"(objects), [n] "r"(n), [table] "i"(kRseqBinTable)
               : "memory", "cc");
  return done;
}

size_t rseq_pop_batch(const RseqSite& site, uintptr_t k, void** out, size_t n) noexcept {
  uintptr_t slab, bin, slot, object;
  size_t done;
  asm volatile(ASHLAR_RSEQ_BEGIN ASHLAR_RSEQ_FIND
               "mov %[done], #0\n"
               "75: cmp %[done], %[n]\n"
               "b.hs 76f\n"
               "ldr %[object], [%[slot], #-8]!\n"
               "tbnz %[object], #0, 76f\n"
               "str %[object], [%[out], %[done], lsl #3]\n"
               "add %[done], %[done], #1\n"
               "b 75b\n"
               "76: cbz %[done], 73f\n"  // nothing to commit; the empty slab must not even be written
               "ldr %[object], [%[bin]]\n"
               "sub %[object], %[object], %[done]\n"
               "str %[object], [%[bin]]\n"
               "72:\n"
               "73:\n"
               : [slab] "=&r"(slab), [bin] "=&r"(bin), [slot] "=&r"(slot), [object] "=&r"(object), [done] "=&r"(done)
               : ASHLAR_RSEQ_SITE, [k] "r"(k), [out] "r"(out), [n] "r"(n), [table] "i"(kRseqBinTable)
               : "memory", "cc");
  return done;
}

}  // namespace ashlar

#undef ASHLAR_RSEQ_BEGIN
#undef ASHLAR_RSEQ_SITE
#undef ASHLAR_RSEQ_FIND
