// SPDX-License-Identifier: MIT
//
// rseq.cc - picks the architecture's sequences. Each is one function, so that a test can disassemble it by name.
#include "alloc/base/rseq.h"

#if defined(__x86_64__)
#include "alloc/base/rseq_x86_64.h"
#elif defined(__aarch64__)
#include "alloc/base/rseq_aarch64.h"
#else
#error "Ashlar runs on x86-64 and AArch64"
#endif
