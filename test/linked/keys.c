/* SPDX-License-Identifier: MIT
 *
 * keys.c - all PTHREAD_KEYS_MAX keys are taken, after the first malloc or, with KEYS_EARLY, by a constructor: in a
 * static program that is before it. Threads allocate, end, and leave nothing behind. test/linked/keys.sh runs it.
 */
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "test/programs/check.h"

static unsigned taken_early;

static unsigned take_all_keys(void) {
  unsigned n = 0;
  pthread_key_t key;
  while (pthread_key_create(&key, NULL) == 0) ++n;
  return n;
}

__attribute__((constructor(101))) static void before_the_first_malloc(void) {
  if (getenv("KEYS_EARLY") != NULL) taken_early = take_all_keys();
}

static void* live(void* number) {
  for (size_t i = 0; i < 300; ++i) {
    const size_t size = 1 + (i * 7919 + (size_t)number) % 50000;
    char* block = malloc(size);
    CHECK(block != NULL);
    block[0] = block[size - 1] = 1;
    free(block);
  }
  return malloc(40);
}

int main(void) {
  if (getenv("KEYS_EARLY") != NULL) {
    CHECK(taken_early >= PTHREAD_KEYS_MAX - 8 && taken_early <= PTHREAD_KEYS_MAX);
  } else {
    free(malloc(1));
    CHECK(take_all_keys() > PTHREAD_KEYS_MAX / 2);
  }
  CHECK(take_all_keys() == 0);
  for (int round = 0; round < 100; ++round) {
    pthread_t threads[10];
    for (size_t i = 0; i < 10; ++i) CHECK(pthread_create(&threads[i], NULL, live, (void*)i) == 0);
    for (size_t i = 0; i < 10; ++i) {
      void* left = NULL;
      CHECK(pthread_join(threads[i], &left) == 0 && left != NULL);
      free(left);
    }
  }
  printf("keys taken before main: %u\n", taken_early);
  report_checks();
  return 0;
}
