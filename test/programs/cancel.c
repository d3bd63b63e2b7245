/* SPDX-License-Identifier: MIT
 *
 * cancel.c - threads cancelled in the middle of allocation-heavy code: at cancellation points between calls of malloc,
 * and at any instruction of what they compute in between (malloc itself is not async-cancel-safe, glibc's neither, so
 * it is called with that switched off). C, since C++ code cannot be unwound from any instruction. test/preload/crowd.sh
 * runs it with the number of rounds.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "test/programs/check.h"

enum { kBlocks = 32, kThreads = 4 };

typedef struct Bag {
  void* blocks[kBlocks];
} Bag;

static unsigned long cleaned;
static unsigned long entered;

static void clean(void* argument) {
  Bag* bag = argument;
  for (int i = 0; i < kBlocks; ++i) free(bag->blocks[i]);
  __atomic_add_fetch(&cleaned, 1, __ATOMIC_RELAXED);
}

static void exchange(Bag* bag, uintptr_t n) {
  void** slot = &bag->blocks[(n >> 33) % kBlocks];
  free(*slot);
  *slot = malloc(1 + (n >> 40) % 60000);
  CHECK(*slot != NULL);
  memset(*slot, 1, 1);
}

static void* cancelled_deferred(void* seed) {
  Bag bag = {{NULL}};
  pthread_cleanup_push(clean, &bag);
  __atomic_add_fetch(&entered, 1, __ATOMIC_RELAXED);
  for (uintptr_t n = (uintptr_t)seed;; n = n * 6364136223846793005U + 1) {
    exchange(&bag, n);
    pthread_testcancel();
  }
  pthread_cleanup_pop(1);
  return NULL;
}

static void* cancelled_asynchronously(void* seed) {
  Bag bag = {{NULL}};
  pthread_cleanup_push(clean, &bag);
  __atomic_add_fetch(&entered, 1, __ATOMIC_RELAXED);
  for (uintptr_t n = (uintptr_t)seed;;) {
    int old = 0;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    for (int i = 0; i < 2000; ++i) n = opaque(n * 6364136223846793005U + 1);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
    exchange(&bag, n);
  }
  pthread_cleanup_pop(1);
  return NULL;
}

int main(int argc, char** argv) {
  CHECK(argc == 2);
  const unsigned long rounds = strtoul(argv[1], NULL, 0);
  for (unsigned long i = 0; i < rounds; ++i) {
    pthread_t threads[kThreads];
    for (unsigned k = 0; k < kThreads; ++k) {
      CHECK(pthread_create(&threads[k], NULL, k % 2 == 0 ? cancelled_deferred : cancelled_asynchronously,
                           (void*)(uintptr_t)(i * kThreads + k)) == 0);
    }
    /* Most are at work by then; one that is cancelled before it has a handler has no block either. */
    usleep((useconds_t)(i % 7) * 200);
    for (unsigned k = 0; k < kThreads; ++k) CHECK(pthread_cancel(threads[k]) == 0);
    for (unsigned k = 0; k < kThreads; ++k) {
      void* result = NULL;
      CHECK(pthread_join(threads[k], &result) == 0 && result == PTHREAD_CANCELED);
    }
  }
  CHECK(cleaned == entered && cleaned >= rounds);
  void* after = malloc(100);
  CHECK(after != NULL);
  free(after);
  report_checks();
  return 0;
}
