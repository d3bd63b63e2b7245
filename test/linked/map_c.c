/* SPDX-License-Identifier: MIT
 *
 * map_c.c - an example: words counted by several threads in one ashlar_map, from C.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "alloc/ashlar.h"
#include "hash/hash.h"

enum { kThreads = 4, kRounds = 10000 };

static ashlar_map* counts;

static int add_one(void* context, const void* old, void* fresh) {
  long n = 0;
  (void)context;
  if (old != NULL) memcpy(&n, old, sizeof n);
  ++n;
  memcpy(fresh, &n, sizeof n);
  return ASHLAR_MAP_STORE;
}

static void* count(void* argument) {
  static const char words[4][16] = {"map", "slice", "channel", "map"};
  for (int i = 0; i < kRounds; ++i) {
    if (ashlar_map_upsert(counts, words[i % 4], add_one, NULL) != 1) return NULL;
  }
  return argument;
}

int main(void) {
  const ashlar_map_type type = {16, sizeof(long), NULL, NULL};
  pthread_t threads[kThreads];
  char word[16];
  long n = 0, sum = 0;
  ashlar_map_iter* iter;
  void* ok = NULL;
  int words_of[1] = {0};

  if (ashlar_makemap(&type, -1) != NULL) return 1;
  counts = ashlar_makemap(&type, 0);
  for (int i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, count, words_of);
  for (int i = 0; i < kThreads; ++i) {
    pthread_join(threads[i], &ok);
    if (ok == NULL) return 1;
  }
  iter = ashlar_map_iter_begin(counts);
  while (ashlar_map_iter_next(iter, word, &n) == 1) {
    printf("%s %ld\n", word, n);
    sum += n;
  }
  ashlar_map_iter_end(iter);
  if (sum != (long)kThreads * kRounds || ashlar_map_len(counts) != 3) return 1;
  ashlar_map_destroy(counts);
  return 0;
}
