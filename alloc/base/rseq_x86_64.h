// SPDX-License-Identifier: MIT
//
// rseq_x86_64.h - see rseq.h. Included by rseq.cc alone.
// Labels: 70 start (arms), 71 first instruction of the section, 72 behind the commit, 74 abort, 79 descriptor.
#pragma once

#include "alloc/base/rseq.h"

// 0x53053053 in front of the abort handler is the signature that glibc registered with; the three bytes before it make
// the whole a valid `ud1` for disassemblers.
#define ASHLAR_RSEQ_BEGIN                          \
  ".pushsection __rseq_cs, \"aw\", @progbits\n"    \
  ".balign 32\n"                                   \
  "79: .long 0, 0\n"                               \
  ".quad 71f, 72f - 71f, 74f\n"                    \
  ".popsection\n"                                  \
  ".pushsection __rseq_abort, \"ax\", @progbits\n" \
  ".byte 0x0f, 0xb9, 0x3d\n"                       \
  ".long 0x53053053\n"                             \
  "74: jmp 70f\n"                                  \
  ".popsection\n"                                  \
  "70: lea 79b(%%rip), %[slab]\n"                  \
  "mov %[slab], 8(%[area])\n"                      \
  "71: mov (%[area], %[p]), %k[slab]\n"            \
  "mov (%[tab], %[slab], 8), %[slab]\n"

#define ASHLAR_RSEQ_SITE [area] "r"(site.area), [p] "r"(site.p_offset), [tab] "r"(site.slabtab)

namespace ashlar {

uintptr_t rseq_pop(const RseqSite& site, uintptr_t k) noexcept {
  uintptr_t slab, bin, header, object;
  asm volatile(ASHLAR_RSEQ_BEGIN
               "movzbl %c[table](%[slab], %[k]), %k[bin]\n"
               "mov (%[slab], %[bin], 8), %[header]\n"
               "movzwl %w[header], %k[object]\n"
               "mov -8(%[slab], %[object], 8), %[object]\n"
               "test $1, %b[object]\n"
               "jnz 73f\n"
               "add %[delta], %[header]\n"
               "mov %[header], (%[slab], %[bin], 8)\n"
               "72:\n"
               "73:\n"
               : [slab] "=&r"(slab), [bin] "=&r"(bin), [header] "=&r"(header), [object] "=&r"(object)
               : ASHLAR_RSEQ_SITE, [k] "r"(k), [table] "i"(kRseqBinTable), [delta] "i"(kPopDelta)
               : "memory", "cc");
  return object;
}

bool rseq_push(const RseqSite& site, uintptr_t bin, void* object) noexcept {
  uintptr_t slab, header, top;
  uint32_t pushed;
  asm volatile(ASHLAR_RSEQ_BEGIN
               "mov (%[slab], %[bin], 8), %[header]\n"
               "movzwl %w[header], %k[top]\n"
               "xor %k[pushed], %k[pushed]\n"
               "testb $1, (%[slab], %[top], 8)\n"
               "jnz 73f\n"
               "mov %[object], (%[slab], %[top], 8)\n"
               "inc %[header]\n"
               "mov $1, %k[pushed]\n"
               "mov %[header], (%[slab], %[bin], 8)\n"
               "72:\n"
               "73:\n"
               : [slab] "=&r"(slab), [header] "=&r"(header), [top] "=&r"(top), [pushed] "=&r"(pushed)
               : ASHLAR_RSEQ_SITE, [bin] "r"(bin), [object] "r"(object)
               : "memory", "cc");
  return pushed != 0;
}

size_t rseq_push_batch(const RseqSite& site, uintptr_t k, void* const* objects, size_t n) noexcept {
  uintptr_t slab, bin, slot, object;
  size_t done;
  asm volatile(ASHLAR_RSEQ_BEGIN
               "movzbl %c[table](%[slab], %[k]), %k[bin]\n"
               "lea (%[slab], %[bin], 8), %[bin]\n"
               "movzwl (%[bin]), %k[slot]\n"
               "lea (%[slab], %[slot], 8), %[slot]\n"
               "xor %k[done], %k[done]\n"
               "75: cmp %[n], %[done]\n"
               "jae 76f\n"
               "testb $1, (%[slot])\n"
               "jnz 76f\n"
               "mov (%[objects], %[done], 8), %[object]\n"
               "mov %[object], (%[slot])\n"
               "add $8, %[slot]\n"
               "inc %[done]\n"
               "jmp 75b\n"
               "76: test %[done], %[done]\n"  // nothing to commit; the empty slab must not even be written
               "jz 73f\n"
               "mov (%[bin]), %[object]\n"
               "add %[done], %[object]\n"
               "mov %[object], (%[bin])\n"
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
  asm volatile(ASHLAR_RSEQ_BEGIN
               "movzbl %c[table](%[slab], %[k]), %k[bin]\n"
               "lea (%[slab], %[bin], 8), %[bin]\n"
               "movzwl (%[bin]), %k[slot]\n"
               "lea (%[slab], %[slot], 8), %[slot]\n"
               "xor %k[done], %k[done]\n"
               "75: cmp %[n], %[done]\n"
               "jae 76f\n"
               "sub $8, %[slot]\n"
               "mov (%[slot]), %[object]\n"
               "test $1, %b[object]\n"
               "jnz 76f\n"
               "mov %[object], (%[out], %[done], 8)\n"
               "inc %[done]\n"
               "jmp 75b\n"
               "76: test %[done], %[done]\n"  // nothing to commit; the empty slab must not even be written
               "jz 73f\n"
               "mov (%[bin]), %[object]\n"
               "sub %[done], %[object]\n"
               "mov %[object], (%[bin])\n"
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
