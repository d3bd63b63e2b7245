/* SPDX-License-Identifier: MIT
 *
 * c_program.c - a C program that takes over malloc by linking libashlar.a. test/linked/linked.sh runs it, dynamic and
 * static. It checks that both libc's names and libc's own calls reach Ashlar, with threads and fork.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "alloc/ashlar.h"
#include "test/programs/check.h"

static uint64_t mallocs(void) {
  ashlar_memstats stats;
  ashlar_read_memstats(&stats);
  CHECK(stats.heap_sys == stats.heap_idle + stats.heap_inuse);
  CHECK(stats.mallocs - stats.frees == stats.heap_objects);
  return stats.mallocs;
}

static void check_malloc_is_ashlar(void) {
  CHECK(ashlar_version() == ASHLAR_VERSION);
  const uint64_t before = mallocs();
  void* blocks[1000];
  for (int i = 0; i < 1000; ++i) blocks[i] = malloc(100);
  CHECK(mallocs() == before + 1000);
  for (int i = 0; i < 1000; ++i) {
    CHECK(ashlar_usable_size(blocks[i]) == ashlar_good_size(100));
    CHECK(malloc_usable_size(blocks[i]) == ashlar_good_size(100));
    if (i % 2 == 0) {
      free(blocks[i]);
    } else {
      ashlar_free(blocks[i]);
    }
  }
  free(ashlar_malloc(100));
  ashlar_free(ashlar_realloc(calloc(1, 10), 5000));
  ashlar_free(aligned_alloc(64, 100));
}

static void check_libc_uses_it(void) {
  const uint64_t before = mallocs();
  char* copy = strdup("libc allocates this");
  CHECK(mallocs() == before + 1);
  CHECK(ashlar_usable_size(copy) == ashlar_good_size(20));
  free(copy);
  char* text = NULL;
  size_t length = 0;
  FILE* stream = open_memstream(&text, &length);
  CHECK(stream != NULL);
  for (int i = 0; i < 10000; ++i) fprintf(stream, "%d,", i);
  CHECK(fclose(stream) == 0 && length == 48890 && strncmp(text, "0,1,2,", 6) == 0);
  CHECK(ashlar_usable_size(text) >= length);
  free(text);
}

static int compare(const void* a, const void* b) {
  const int x = *(const int*)a;
  const int y = *(const int*)b;
  return (x > y) - (x < y);
}

static void check_qsort(void) {
  enum { kCount = 300000 }; /* more than qsort sorts on the stack */
  int* numbers = malloc(kCount * sizeof *numbers);
  CHECK(numbers != NULL);
  for (int i = 0; i < kCount; ++i) numbers[i] = (int)((i * 7919L) % kCount);
  qsort(numbers, kCount, sizeof *numbers, compare);
  for (int i = 0; i < kCount; ++i) CHECK(numbers[i] == i);
  free(numbers);
}

static void* slots[64];

static void* churn(void* argument) {
  uintptr_t state = (uintptr_t)argument;
  for (int i = 0; i < 100000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    size_t* block = malloc(sizeof(size_t) + (state >> 40) % (i % 100 == 0 ? 100000 : 1000));
    if (block == NULL) abort();
    *block = 0x5ca1ab1e;
    size_t* old = __atomic_exchange_n(&slots[(state >> 33) % 64], block, __ATOMIC_ACQ_REL);
    if (old != NULL && *old != 0x5ca1ab1e) abort();
    free(old);
  }
  return NULL;
}

static void check_threads(void) {
  pthread_t threads[8];
  for (uintptr_t i = 0; i < 8; ++i) CHECK(pthread_create(&threads[i], NULL, churn, (void*)(i + 1)) == 0);
  for (int i = 0; i < 8; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
  for (int i = 0; i < 64; ++i) free(slots[i]);
}

static void check_fork(void) {
  fflush(stdout);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(60);
      for (size_t size = 1; size < 200000; size *= 3) free(realloc(malloc(size), size * 2));
      _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

static void check_failure(void) {
  errno = 0;
  CHECK(malloc(opaque(PTRDIFF_MAX)) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(calloc(opaque(SIZE_MAX), 2) == NULL && errno == ENOMEM);
  CHECK(realloc(malloc(5), 0) == NULL);
}

int main(void) {
  alarm(120);
  check_malloc_is_ashlar();
  check_libc_uses_it();
  check_qsort();
  check_threads();
  check_fork();
  check_failure();
  report_checks();
  return 0;
}
