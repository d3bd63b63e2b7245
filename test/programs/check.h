/* SPDX-License-Identifier: MIT
 *
 * check.h - self-checks of the programs in test/programs and test/linked: a failed check says where and ends the
 * process with status 1; report_checks() prints how many there were, so that the caller sees that they ran.
 */
#ifndef TEST_PROGRAMS_CHECK_H_
#define TEST_PROGRAMS_CHECK_H_

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static unsigned long checks_done;

#define CHECK(condition)                                                       \
  do {                                                                         \
    __atomic_add_fetch(&checks_done, 1, __ATOMIC_RELAXED);                     \
    if (!(condition)) {                                                        \
      dprintf(2, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                \
    }                                                                          \
  } while (0)

static inline void report_checks(void) {
  printf("%lu checks passed\n", checks_done);
  fflush(stdout);
}

static inline int is_multiple(const void* pointer, uintptr_t alignment) {
  return ((uintptr_t)pointer & (alignment - 1)) == 0;
}

/* Keeps the compiler from knowing a value, and from reasoning about what malloc returns for it. */
static inline uintptr_t opaque(uintptr_t value) {
  __asm__ volatile("" : "+r"(value));
  return value;
}

#endif
