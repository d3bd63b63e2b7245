/* SPDX-License-Identifier: MIT
 *
 * hardening.c - one misuse per process: writes and reads outside of blocks and after their end, frees that come twice,
 * sizes that do not match. test/misuse/hardening_test.py runs it, named by the first argument, and holds what the
 * process says against a table.
 *
 * It prints the address that a report should name. Where a misuse may be found at the free of the block, it frees it;
 * where it may be found when memory is used again, it churns. It exits 0 where nobody noticed. `valid` does the same
 * work without any misuse: the control. A second argument: so many blocks are allocated before.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 64 bytes are a whole class in the normal library: no slack. */
enum { kSize = 64, kLarge = 100000, kFew = 10, kMany = 3000 };

/* The sized delete of C++, and C23's free with a size: both libraries define them. */
void delete_sized(void* block, size_t size) __asm__("_ZdlPvm") __attribute__((weak));
void free_sized(void* block, size_t size) __attribute__((weak));

static void announce(const volatile void* pointer) {
  printf("0x%lx\n", (unsigned long)(uintptr_t)pointer);
  fflush(stdout);
}

static void* hidden(const volatile void* pointer) {
  void* p = (void*)(uintptr_t)pointer;
  __asm__ volatile("" : "+r"(p));
  return p;
}

static volatile char* fresh(size_t size) {
  char* p = malloc(size);
  if (p == NULL) exit(3);
  memset(p, 1, size);
  return p;
}

/* Allocates and frees so much of a size that every cache and the quarantine turn over, writing it all. */
static void churn(size_t size) {
  static void* blocks[kMany];
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < kMany; ++i) memset(blocks[i] = malloc(size), 2, size);
    for (int i = 0; i < kMany; ++i) free(blocks[i]);
  }
}

static void double_free(size_t size, int between) {
  void* others[1000];
  volatile char* p = fresh(size);
  for (int i = 0; i < between; ++i) others[i] = (void*)(uintptr_t)fresh(size);
  free(hidden(p));
  for (int i = 0; i < between; ++i) free(others[i]);
  announce(p);
  free(hidden(p));
}
static void double_free_at_once(void) {
  double_free(kSize, 0);
}
static void double_free_delayed(void) {
  double_free(kSize, kFew);
}
static void double_free_long_delayed(void) {
  double_free(kSize, 40);
}
static void double_free_large(void) {
  double_free(kLarge, 0);
}

static void free_at(volatile char* p) {
  announce(p);
  free(hidden(p));
}
static void invalid_free_near(void) {
  free_at(fresh(kSize) + kSize * 2 + 8);
}
static void invalid_free_far(void) {
  free_at(fresh(kSize) + ((size_t)1 << 34));
}
static void invalid_free_interior(void) {
  free_at(fresh(kSize) + 16);
}
static void invalid_free_interior_large(void) {
  free_at(fresh(kLarge) + 16);
}
static void invalid_free_stack(void) {
  char local[100];
  free_at(local + 32);
}
static void invalid_free_static(void) {
  static char data[100];
  free_at(data + 32);
}

/* Writes `bytes` bytes from `offset` on; the first one that is outside is the one to be named. */
static void write_outside_of(volatile char* p, size_t size, long offset, long bytes) {
  announce(p + offset);
  if (offset < 0) {
    for (long i = -1; i >= offset; --i) p[i] = 65;
  } else {
    for (long i = 0; i < bytes; ++i) p[offset + i] = 65;
  }
  free(hidden(p));
  churn(size);
}
/* What is behind a block is filled with one byte, of 128 that are drawn by the block's address: where no more is
 * written than that, one process of 128 would notice nothing. So eight blocks at addresses of their own. */
static void write_outside(size_t size, long offset, long bytes) {
  enum { kMost = 8 };
  volatile char* blocks[kMost];
  const int count = bytes <= 8 ? kMost : 1;
  for (int i = 0; i < count; ++i) blocks[i] = fresh(size);
  for (int i = 0; i < count; ++i) write_outside_of(blocks[i], size, offset, bytes);
}
static void overflow_1(void) {
  write_outside(kSize, kSize, 1);
}
static void overflow_8(void) {
  write_outside(kSize, kSize, 8);
}
static void overflow_32(void) {
  write_outside(kSize, kSize, 32);
}
static void overflow_4096(void) {
  write_outside(kSize, kSize, 4096);
}
static void overflow_1_into_slack(void) {
  write_outside(kSize - 3, kSize - 3, 1);
}
static void overflow_1_large(void) {
  write_outside(kLarge, kLarge, 1);
}
static void overflow_8192_large(void) {
  write_outside(kLarge, kLarge, 8192);
}
static void underflow_1(void) {
  write_outside(kSize, -1, 1);
}
static void underflow_8(void) {
  write_outside(kSize, -8, 8);
}
static void underflow_32(void) {
  write_outside(kSize, -32, 32);
}
static void underflow_4096(void) {
  write_outside(kSize, -4096, 4096);
}

static void after_free(size_t size, int write) {
  volatile char* p = fresh(size);
  free(hidden(p));
  announce(p + 8);
  p = hidden(p);
  if (write) {
    p[8] = 65;
  } else if (p[8] == 66) {
    exit(4);
  }
  churn(size);
}
static void write_after_free(void) {
  after_free(kSize, 1);
}
static void read_after_free(void) {
  after_free(kSize, 0);
}
static void write_after_free_large(void) {
  after_free(kLarge, 1);
}
static void read_after_free_large(void) {
  after_free(kLarge, 0);
}

static void mismatched_delete(void) {
  volatile char* p = fresh(kSize);
  announce(p);
  if (delete_sized == NULL) exit(5);
  delete_sized(hidden(p), 40);
}
static void mismatched_free_sized(void) {
  volatile char* p = fresh(kSize);
  announce(p);
  if (free_sized == NULL) exit(5);
  free_sized(hidden(p), 40);
}
static void realloc_of_freed(void) {
  volatile char* p = fresh(kSize);
  free(hidden(p));
  announce(p);
  if (realloc(hidden(p), 10 * kSize) == NULL) exit(4);
}
static void usable_size_of_freed(void) {
  volatile char* p = fresh(kSize);
  free(hidden(p));
  announce(p);
  if (malloc_usable_size(hidden(p)) == 0) exit(4);
}

static void valid(void) {
  static const size_t kSizes[] = {0, 1, 15, 16, 17, kSize, kSize - 3, 1000, 4096, 8000, 8192, 40000, kLarge};
  announce(kSizes);
  for (int round = 0; round < 100; ++round) {
    for (size_t i = 0; i < sizeof kSizes / sizeof kSizes[0]; ++i) {
      char* p = malloc(kSizes[i]);
      if (p == NULL || malloc_usable_size(p) < kSizes[i] || ((uintptr_t)p & 15) != 0) exit(4);
      memset(p, 65, kSizes[i]);
      p = realloc(p, kSizes[i] * 2 + 1);
      for (size_t k = 0; k < kSizes[i]; ++k) {
        if (p[k] != 65) exit(4);
      }
      p[kSizes[i] * 2] = 66;
      free(p);
      char* zero = calloc(1, kSizes[i] + 1);
      for (size_t k = 0; k <= kSizes[i]; ++k) {
        if (zero[k] != 0) exit(4);
      }
      delete_sized(zero, kSizes[i] + 1);
      for (size_t alignment = 16; alignment <= 65536; alignment *= 4) {
        void* q = NULL;
        if (posix_memalign(&q, alignment, kSizes[i]) != 0 || (uintptr_t)q % alignment != 0) exit(4);
        memset(q, 67, kSizes[i]);
        free(q);
      }
    }
  }
  churn(kSize);
  churn(40000 / 8);
  malloc_trim(0);
}

static const struct {
  const char* name;
  void (*run)(void);
} kCases[] = {
#define CASE(name) \
  { #name, name }
    CASE(double_free_at_once),
    CASE(double_free_delayed),
    CASE(double_free_long_delayed),
    CASE(double_free_large),
    CASE(invalid_free_near),
    CASE(invalid_free_far),
    CASE(invalid_free_interior),
    CASE(invalid_free_interior_large),
    CASE(invalid_free_stack),
    CASE(invalid_free_static),
    CASE(overflow_1),
    CASE(overflow_8),
    CASE(overflow_32),
    CASE(overflow_4096),
    CASE(overflow_1_into_slack),
    CASE(overflow_1_large),
    CASE(overflow_8192_large),
    CASE(underflow_1),
    CASE(underflow_8),
    CASE(underflow_32),
    CASE(underflow_4096),
    CASE(write_after_free),
    CASE(read_after_free),
    CASE(write_after_free_large),
    CASE(read_after_free_large),
    CASE(mismatched_delete),
    CASE(mismatched_free_sized),
    CASE(realloc_of_freed),
    CASE(usable_size_of_freed),
    CASE(valid),
};

int main(int argc, char** argv) {
  const size_t count = sizeof kCases / sizeof kCases[0];
  static char buffer[256]; /* stdio's own would come from malloc, and could be where a freed block was */
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  if (argc >= 2) {
    /* Blocks before the first of interest: every second guarded block begins at its guard instead of ending there. */
    for (int skip = argc == 3 ? atoi(argv[2]) : 0; skip > 0; --skip) fresh(kSize);
    for (size_t i = 0; i < count; ++i) {
      if (strcmp(argv[1], "list") == 0) puts(kCases[i].name);
      if (strcmp(argv[1], kCases[i].name) == 0) kCases[i].run();
    }
  }
  return 0;
}
