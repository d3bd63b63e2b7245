/* SPDX-License-Identifier: MIT
 *
 * misuse.c - one misuse of malloc per process, named by the first argument. test/misuse/misuse_test.py runs it.
 *
 * It prints the pointer that the diagnosis must name, then commits the misuse. Where the diagnosis may wait for a
 * flush, it then churns blocks of the same class until every cache has been flushed. It exits 0 where nobody
 * noticed: that is the failure.
 * `list` prints a line per case: name, and `now` or `flush` for when the diagnosis is due.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { kSmall = 48, kSpan = 3000, kBigSmall = 32768, kLarge = 100 * 1024, kHuge = 8 << 20 };

static void announce(const void* pointer) {
  printf("0x%lx\n", (unsigned long)(uintptr_t)pointer);
  fflush(stdout);
}

/* Keeps the compiler from knowing where a pointer came from. */
static void* hidden(const void* pointer) {
  void* p = (void*)(uintptr_t)pointer;
  __asm__ volatile("" : "+r"(p));
  return p;
}

static void* fresh(size_t size) {
  void* p = malloc(size);
  if (p == NULL) exit(3);
  memset(p, 1, size);
  return p;
}

/* Allocates and frees far more of a class than all caches hold, twice, then asks for a trim. */
static void churn(size_t size) {
  const size_t count = (64u << 20) / (size + 256);
  void** blocks = calloc(count, sizeof *blocks);
  if (blocks == NULL) exit(3);
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < count; ++i) blocks[i] = malloc(size);
    for (size_t i = 0; i < count; ++i) free(blocks[i]);
  }
  free(blocks);
  malloc_trim(0);
}

static void free_announced(const void* pointer) {
  announce(pointer);
  free(hidden(pointer));
}

/* ---- double free ---- */

static void double_free(size_t size) {
  void* p = fresh(size);
  free(p);
  free_announced(p);
}

static void double_free_tiny(void) {
  double_free(1), churn(1);
}
static void double_free_small(void) {
  double_free(kSmall), churn(kSmall);
}
static void double_free_span(void) {
  double_free(kSpan), churn(kSpan);
}
static void double_free_big_small(void) {
  double_free(kBigSmall), churn(kBigSmall);
}
static void double_free_large(void) {
  double_free(kLarge);
}
static void double_free_huge(void) {
  double_free(kHuge);
}

static void double_free_separated(void) {
  /* Other frees lie between the two, so that comparing with the last freed block would not do. */
  void* p = fresh(kSmall);
  void* others[10];
  for (int i = 0; i < 10; ++i) others[i] = fresh(kSmall);
  free(p);
  for (int i = 0; i < 10; ++i) free(others[i]);
  free_announced(p);
  churn(kSmall);
}

static void double_free_after_flush(void) {
  /* The first free has long reached the span when the second comes. */
  void* p = fresh(kSmall);
  void* q = fresh(kSmall); /* keeps the span in use */
  free(p);
  malloc_trim(0);
  free_announced(p);
  churn(kSmall);
  free(q);
}

static void double_free_of_given_back(void) {
  /* All of the class is free and its pages are given back when the second free comes. */
  enum { kCount = 20000 };
  static void* blocks[kCount];
  for (int i = 0; i < kCount; ++i) blocks[i] = fresh(1024);
  for (int i = 0; i < kCount; ++i) free(blocks[i]);
  malloc_trim(0);
  free_announced(blocks[kCount / 2]);
  churn(1024);
}

static void* free_in_thread(void* block) {
  free(block);
  return NULL;
}

static void double_free_by_two_threads(void) {
  void* p = fresh(kSmall);
  announce(p);
  pthread_t thread;
  if (pthread_create(&thread, NULL, free_in_thread, hidden(p)) != 0) exit(3);
  pthread_join(thread, NULL);
  free(hidden(p));
  churn(kSmall);
}

static void double_free_large_merged(void) {
  /* Its neighbours are free too, so that its pages are the middle of a longer run. */
  void* a = fresh(kLarge);
  void* b = fresh(kLarge);
  void* c = fresh(kLarge);
  free(a);
  free(b);
  free(c);
  free_announced(b);
}

static void double_free_aligned(void) {
  void* p = NULL;
  if (posix_memalign(&p, 1 << 16, 1 << 17) != 0) exit(3);
  free(p);
  free_announced(p);
}

static void double_free_shrunk(void) {
  void* p = realloc(fresh(kHuge), kLarge);
  if (p == NULL) exit(3);
  free(p);
  free_announced(p);
}

/* ---- pointers from elsewhere ---- */

static int static_data[100];

static void free_stack(void) {
  int local[100] = {0};
  free_announced(&local[50]);
}
static void free_static(void) {
  free_announced(&static_data[10]);
}
static void free_constant(void) {
  free_announced("a string in read-only data");
}
static void free_code(void) {
  free_announced((void*)(uintptr_t)&free_static);
}
static void free_one(void) {
  free_announced((void*)1);
}
static void free_sixteen(void) {
  free_announced((void*)16);
}
static void free_wild(void) {
  free_announced((void*)0x123456789a0);
}
static void free_non_canonical(void) {
  free_announced((void*)0xdead000000000000);
}
static void free_top(void) {
  free_announced((void*)UINTPTR_MAX);
}
static void free_top_aligned(void) {
  free_announced((void*)(UINTPTR_MAX - 15));
}
static void free_mapped(void) {
  char* page = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) exit(3);
  free_announced(page + 4096);
}
static void free_beyond_heap(void) {
  /* In the allocator's address space, if it has one behind its blocks, but never part of a block. */
  free_announced((char*)fresh(kHuge) + ((size_t)1 << 30));
}
static void realloc_stack(void) {
  int local[100] = {0};
  announce(local);
  if (realloc(hidden(local), 1000) == NULL) exit(4);
}
static void realloc_static(void) {
  announce(static_data);
  if (realloc(hidden(static_data), 10) == NULL) exit(4);
}
static void realloc_to_zero_static(void) {
  announce(static_data);
  if (realloc(hidden(static_data), 0) != NULL) exit(4);
}
static void realloc_wild(void) {
  announce((void*)0x123456789a0);
  if (realloc(hidden((void*)0x123456789a0), 1000) == NULL) exit(4);
}
static void reallocarray_static(void) {
  announce(static_data);
  if (reallocarray(hidden(static_data), 10, 10) == NULL) exit(4);
}
static void usable_size_stack(void) {
  int local[100] = {0};
  announce(local);
  if (malloc_usable_size(hidden(local)) == 0) exit(4);
}
static void usable_size_static(void) {
  announce(static_data);
  if (malloc_usable_size(hidden(static_data)) == 0) exit(4);
}

/* ---- pointers into blocks ---- */

static void free_interior(size_t size, size_t offset) {
  char* p = fresh(size);
  free_announced(p + offset);
}
static void interior_small_16(void) {
  free_interior(kSmall, 16), churn(kSmall);
}
static void interior_small_odd(void) {
  free_interior(kSmall, 1), churn(kSmall);
}
static void interior_small_8(void) {
  free_interior(kSmall, 8), churn(kSmall);
}
static void interior_span(void) {
  free_interior(kSpan, 1504), churn(kSpan);
}
static void interior_big_small(void) {
  free_interior(kBigSmall, 8192), churn(kBigSmall);
}
static void interior_large_16(void) {
  free_interior(kLarge, 16);
}
static void interior_large_odd(void) {
  free_interior(kLarge, 1);
}
static void interior_large_page(void) {
  free_interior(kLarge, 8192);
}
static void interior_large_last(void) {
  free_interior(kLarge, kLarge - 1);
}
static void interior_huge_page(void) {
  free_interior(kHuge, 4 << 20);
}
static void interior_huge_16(void) {
  free_interior(kHuge, 16);
}

static void realloc_interior_large(void) {
  char* p = fresh(kLarge);
  announce(p + 8192);
  if (realloc(hidden(p + 8192), kHuge) == NULL) exit(4);
}
static void realloc_freed_large(void) {
  void* p = fresh(kLarge);
  free(p);
  announce(p);
  if (realloc(hidden(p), kHuge) == NULL) exit(4);
}
static void realloc_freed_huge(void) {
  void* p = fresh(kHuge);
  free(p);
  announce(p);
  if (realloc(hidden(p), 10) == NULL) exit(4);
}
static void usable_size_freed_large(void) {
  void* p = fresh(kLarge);
  free(p);
  announce(p);
  if (malloc_usable_size(hidden(p)) == 0) exit(4);
}
static void usable_size_interior_large(void) {
  char* p = fresh(kLarge);
  announce(p + 8192);
  if (malloc_usable_size(hidden(p + 8192)) == 0) exit(4);
}

static const struct {
  const char* name;
  const char* due;
  void (*run)(void);
} kCases[] = {
#define NOW(name) \
  { #name, "now", name }
#define FLUSH(name) \
  { #name, "flush", name }
    FLUSH(double_free_tiny),
    FLUSH(double_free_small),
    FLUSH(double_free_span),
    FLUSH(double_free_big_small),
    FLUSH(double_free_separated),
    FLUSH(double_free_after_flush),
    FLUSH(double_free_of_given_back),
    FLUSH(double_free_by_two_threads),
    NOW(double_free_large),
    NOW(double_free_huge),
    NOW(double_free_large_merged),
    NOW(double_free_aligned),
    NOW(double_free_shrunk),
    NOW(free_stack),
    NOW(free_static),
    NOW(free_constant),
    NOW(free_code),
    NOW(free_one),
    NOW(free_sixteen),
    NOW(free_wild),
    NOW(free_non_canonical),
    NOW(free_top),
    NOW(free_top_aligned),
    NOW(free_mapped),
    NOW(free_beyond_heap),
    NOW(realloc_stack),
    NOW(realloc_static),
    NOW(realloc_to_zero_static),
    NOW(realloc_wild),
    NOW(reallocarray_static),
    NOW(usable_size_stack),
    NOW(usable_size_static),
    FLUSH(interior_small_16),
    FLUSH(interior_small_odd),
    FLUSH(interior_small_8),
    FLUSH(interior_span),
    FLUSH(interior_big_small),
    NOW(interior_large_16),
    NOW(interior_large_odd),
    NOW(interior_large_page),
    NOW(interior_large_last),
    NOW(interior_huge_page),
    NOW(interior_huge_16),
    NOW(realloc_interior_large),
    NOW(realloc_freed_large),
    NOW(realloc_freed_huge),
    NOW(usable_size_freed_large),
    NOW(usable_size_interior_large),
};

int main(int argc, char** argv) {
  /* stdio's own buffer would be a block, perhaps where the misused one was. Now each case also meets an allocator that
   * nobody called before. */
  static char buffer[BUFSIZ];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  const char* wanted = argc > 1 ? argv[1] : "list";
  for (size_t i = 0; i < sizeof kCases / sizeof *kCases; ++i) {
    if (strcmp(wanted, "list") == 0) {
      printf("%s %s\n", kCases[i].name, kCases[i].due);
    } else if (strcmp(wanted, kCases[i].name) == 0) {
      kCases[i].run();
      printf("survived\n");
      return 0;
    }
  }
  return strcmp(wanted, "list") == 0 ? 0 : 2;
}
