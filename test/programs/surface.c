/* SPDX-License-Identifier: MIT
 *
 * surface.c - every name of libc's malloc, called in a program that runs preloaded. test/preload/surface.sh runs it.
 *
 * Names that this libc's headers or link libraries lack are looked up at run time, as an old program would have them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "test/programs/check.h"

static void* lookup(const char* name) {
  void* function = dlsym(RTLD_DEFAULT, name);
  if (function == NULL) dprintf(2, "no symbol %s\n", name);
  CHECK(function != NULL);
  return function;
}

/* The names that a preloaded allocator must own, or blocks of one heap are freed into another. */
static const char* const kOwned[] = {
    "malloc",        "free",           "calloc",           "realloc",
    "reallocarray",  "aligned_alloc",  "posix_memalign",   "memalign",
    "valloc",        "pvalloc",        "free_sized",       "free_aligned_sized",
    "cfree",         "mallinfo",       "mallinfo2",        "malloc_info",
    "malloc_stats",  "malloc_trim",    "mallopt",          "__libc_malloc",
    "__libc_free",   "__libc_calloc",  "__libc_realloc",   "__libc_memalign",
    "__libc_valloc", "__libc_pvalloc", "__posix_memalign", "malloc_usable_size",
};

static void check_ownership(void) {
  for (size_t i = 0; i < sizeof kOwned / sizeof *kOwned; ++i) {
    Dl_info info;
    CHECK(dladdr(lookup(kOwned[i]), &info) != 0);
    if (strstr(info.dli_fname, "/libashlar") == NULL) dprintf(2, "%s is in %s\n", kOwned[i], info.dli_fname);
    CHECK(strstr(info.dli_fname, "/libashlar") != NULL);
  }
}

static void check_plain(void) {
  for (size_t size = 0; size < 5000; size += 7) {
    char* p = malloc(size);
    CHECK(p != NULL && is_multiple(p, 16) && malloc_usable_size(p) >= size);
    memset(p, 0x5a, malloc_usable_size(p));
    p = realloc(p, size * 2 + 1);
    CHECK(p != NULL && (size == 0 || (p[0] == 0x5a && p[size - 1] == 0x5a)));
    p = reallocarray(p, size + 1, 3);
    CHECK(p != NULL && (size == 0 || p[size - 1] == 0x5a));
    free(p);
    char* zeroed = calloc(size, 3);
    CHECK(zeroed != NULL);
    for (size_t i = 0; i < size * 3; ++i) {
      if (zeroed[i] != 0) CHECK(!"calloc gave a dirty byte");
    }
    free(zeroed);
  }
  CHECK(malloc_usable_size(NULL) == 0);
  CHECK(realloc(malloc(10), 0) == NULL);
  errno = 77;
  free(malloc(100));
  free(NULL);
  CHECK(errno == 77);
}

static void check_limits(void) {
  void* p = malloc(10);
  const size_t too_big = opaque(SIZE_MAX / 2 + 1);
  errno = 0;
  CHECK(malloc(too_big) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(calloc(opaque(SIZE_MAX), 2) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(realloc(p, too_big) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(reallocarray(p, opaque(SIZE_MAX), 2) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(memalign(64, too_big) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(valloc(too_big) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(pvalloc(opaque(SIZE_MAX)) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(aligned_alloc(64, too_big) == NULL && errno == ENOMEM);
  free(p);
}

static void check_aligned(void) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (size_t alignment = 1; alignment <= (1u << 20); alignment *= 2) {
    for (size_t size = 0; size < 3 * page; size += 1000) {
      void* p = memalign(alignment, size);
      CHECK(p != NULL && is_multiple(p, alignment) && malloc_usable_size(p) >= size);
      memset(p, 1, size);
      free(p);
      p = aligned_alloc(alignment, size);
      CHECK(p != NULL && is_multiple(p, alignment));
      free(p);
      if (alignment >= sizeof(void*)) {
        CHECK(posix_memalign(&p, alignment, size) == 0 && is_multiple(p, alignment));
        free(p);
      }
    }
  }
  void* untouched = (void*)&page;
  void* out = untouched;
  errno = 77;
  CHECK(posix_memalign(&out, 24, 10) == EINVAL && out == untouched && errno == 77);
  CHECK(posix_memalign(&out, 0, 10) == EINVAL && out == untouched && errno == 77);
  errno = 0;
  CHECK(aligned_alloc(opaque(48), 48) == NULL && errno == EINVAL);
  for (size_t size = 0; size < 3 * page; size += 777) {
    void* p = valloc(size);
    CHECK(p != NULL && is_multiple(p, page));
    free(p);
    p = pvalloc(size);
    CHECK(p != NULL && is_multiple(p, page) && malloc_usable_size(p) >= (size + page - 1) / page * page);
    free(p);
  }
}

static void check_sized_frees(void) {
  void (*sized)(void*, size_t) = (void (*)(void*, size_t))lookup("free_sized");
  void (*aligned_sized)(void*, size_t, size_t) = (void (*)(void*, size_t, size_t))lookup("free_aligned_sized");
  void (*old_free)(void*) = (void (*)(void*))lookup("cfree");
  for (size_t size = 0; size < 200000; size = size * 2 + 1) {
    sized(malloc(size), size);
    sized(calloc(1, size), size);
    aligned_sized(aligned_alloc(256, size), 256, size);
    old_free(malloc(size));
  }
  sized(NULL, 0);
  aligned_sized(NULL, 16, 0);
  old_free(NULL);
  CHECK(malloc_usable_size(malloc(1)) >= 1);
}

static void check_libc_names(void) {
  void* (*libc_malloc)(size_t) = (void* (*)(size_t))lookup("__libc_malloc");
  void (*libc_free)(void*) = (void (*)(void*))lookup("__libc_free");
  void* (*libc_calloc)(size_t, size_t) = (void* (*)(size_t, size_t))lookup("__libc_calloc");
  void* (*libc_realloc)(void*, size_t) = (void* (*)(void*, size_t))lookup("__libc_realloc");
  void* (*libc_memalign)(size_t, size_t) = (void* (*)(size_t, size_t))lookup("__libc_memalign");
  void* (*libc_valloc)(size_t) = (void* (*)(size_t))lookup("__libc_valloc");
  void* (*libc_pvalloc)(size_t) = (void* (*)(size_t))lookup("__libc_pvalloc");
  int (*memalign_posix)(void**, size_t, size_t) = (int (*)(void**, size_t, size_t))lookup("__posix_memalign");
  /* Crosswise: a block of one name is freed by another. */
  free(libc_malloc(100));
  libc_free(malloc(100));
  char* zeroed = libc_calloc(10, 10);
  CHECK(zeroed != NULL && zeroed[99] == 0);
  free(libc_realloc(zeroed, 1000));
  void* p = libc_memalign(512, 10);
  CHECK(is_multiple(p, 512));
  free(p);
  p = libc_valloc(10);
  CHECK(is_multiple(p, 4096));
  free(p);
  p = libc_pvalloc(10);
  CHECK(is_multiple(p, 4096));
  free(p);
  CHECK(memalign_posix(&p, 64, 10) == 0 && is_multiple(p, 64));
  free(p);
}

static void check_figures(void) {
  enum { kCount = 1000, kSize = 10000 };
  static void* blocks[kCount];
  const struct mallinfo2 before = mallinfo2();
  for (int i = 0; i < kCount; ++i) blocks[i] = malloc(kSize);
  const struct mallinfo2 full = mallinfo2();
  CHECK(full.uordblks >= before.uordblks + (size_t)kCount * kSize);
  CHECK(full.uordblks <= before.uordblks + (size_t)kCount * kSize * 9 / 8);
  CHECK(full.arena + full.hblkhd >= full.uordblks);
  struct mallinfo (*old_mallinfo)(void) = (struct mallinfo(*)(void))lookup("mallinfo");
  const struct mallinfo old = old_mallinfo();
  CHECK((size_t)old.uordblks >= (size_t)kCount * kSize);
  for (int i = 0; i < kCount; ++i) free(blocks[i]);
  CHECK(mallinfo2().uordblks < before.uordblks + 100000);

  char* text = NULL;
  size_t length = 0;
  FILE* stream = open_memstream(&text, &length);
  CHECK(stream != NULL);
  CHECK(malloc_info(0, stream) == 0);
  CHECK(fclose(stream) == 0);
  CHECK(strncmp(text, "<malloc version=", 16) == 0 && strstr(text, "</malloc>") != NULL);
  free(text);
  CHECK(malloc_info(1, stdout) != 0);
  malloc_stats();
}

static void check_knobs(void) {
  char* block = malloc(64 << 20);
  CHECK(block != NULL);
  memset(block, 1, 64 << 20);
  free(block);
  const int given = malloc_trim(0);
  CHECK(given == 0 || given == 1);
  CHECK(malloc_trim((size_t)1 << 40) == 0);
  /* Known options are honoured (1) or refused (0); an unknown one is refused. */
  const int options[] = {M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX,
                         M_ARENA_TEST,     M_CHECK_ACTION,   M_MXFAST,  M_PERTURB};
  for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
    const int answer = mallopt(options[i], 128 * 1024);
    CHECK(answer == 0 || answer == 1);
  }
  CHECK(mallopt(-12345, 1) == 0);
  free(malloc(200 << 10));
}

static void check_libc_inside(void) {
  /* Functions of libc that allocate for the caller, or take a block of the caller's. */
  char* copy = strdup("a string");
  CHECK(copy != NULL && strcmp(copy, "a string") == 0);
  free(copy);
  char* line = NULL;
  size_t capacity = 0;
  FILE* stream = fopen("/proc/self/maps", "r");
  CHECK(stream != NULL);
  unsigned lines = 0;
  while (getline(&line, &capacity, stream) > 0) ++lines;
  CHECK(lines > 5 && malloc_usable_size(line) >= capacity);
  fclose(stream);
  free(line);
  char* printed = NULL;
  CHECK(asprintf(&printed, "%0*d", 3000, 7) == 3000 && printed[2999] == '7');
  free(printed);
  char* path = realpath("/proc/self/../self", NULL);
  CHECK(path != NULL && path[0] == '/');
  free(path);
  char* folder = getcwd(NULL, 0);
  CHECK(folder != NULL);
  free(folder);
}

int main(void) {
  check_ownership();
  check_plain();
  check_limits();
  check_aligned();
  check_sized_frees();
  check_libc_names();
  check_figures();
  check_knobs();
  check_libc_inside();
  report_checks();
  return 0;
}
