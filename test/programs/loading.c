/* SPDX-License-Identifier: MIT
 *
 * loading.c - malloc before everything else in a program, and libraries that come and go. test/loading/loading.sh runs
 * it: loading early           .preinit_array, and an IFUNC resolver loading close LIBRARY   a library that uses Ashlar
 * is closed while threads have used it loading bound LIBRARY   opened by RTLD_DEEPBIND, a library keeps to itself what
 * it allocates loading bound-ours LIBRARY, bound-theirs LIBRARY   ours, its: who frees what the other one allocated
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "test/programs/check.h"

static char* first_block;

static void before_all(int argc, char** argv, char** environment) {
  (void)argc, (void)argv, (void)environment;
  first_block = malloc(100);
  if (first_block != NULL) memset(first_block, 0x33, 100);
}
__attribute__((section(".preinit_array"), used)) static void (*const kBeforeAll)(int, char**, char**) = before_all;

typedef void* (*Allocate)(size_t);
typedef void (*Free)(void*);
static Allocate plugin_allocate;
static Free plugin_free;

static void* open_plugin(const char* path, int flags) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | flags);
  if (handle == NULL) dprintf(2, "%s\n", dlerror());
  CHECK(handle != NULL);
  *(void**)&plugin_allocate = dlsym(handle, "plugin_allocate");
  *(void**)&plugin_free = dlsym(handle, "plugin_free");
  CHECK(plugin_allocate != NULL && plugin_free != NULL);
  return handle;
}

static pthread_barrier_t used, closed;

/* Has a lease when the library that brought Ashlar is closed, and ends afterwards. */
static void* outlives(void* unused) {
  (void)unused;
  char* block = plugin_allocate(500);
  CHECK(block != NULL);
  memset(block, 0x44, 500);
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&closed);
  CHECK(block[499] == 0x44);
  return block;
}

static void close_while_used(const char* path) {
  pthread_t threads[8];
  for (int round = 0; round < 5; ++round) {
    void* handle = open_plugin(path, 0);
    pthread_barrier_init(&used, NULL, 9);
    pthread_barrier_init(&closed, NULL, 9);
    for (int i = 0; i < 8; ++i) CHECK(pthread_create(&threads[i], NULL, outlives, NULL) == 0);
    pthread_barrier_wait(&used);
    char* mine = plugin_allocate(3000);
    CHECK(mine != NULL);
    memset(mine, 0x55, 3000);
    CHECK(dlclose(handle) == 0);
    pthread_barrier_wait(&closed);
    void* blocks[8];
    for (int i = 0; i < 8; ++i) CHECK(pthread_join(threads[i], &blocks[i]) == 0);
    CHECK(mine[2999] == 0x55);
    handle = open_plugin(path, 0);
    for (int i = 0; i < 8; ++i) plugin_free(blocks[i]);
    plugin_free(mine);
    CHECK(dlclose(handle) == 0);
  }
}

int main(int argc, char** argv) {
  CHECK(argc >= 2);
  if (strcmp(argv[1], "early") == 0) {
    CHECK(first_block != NULL && first_block[99] == 0x33);
    free(first_block);
  } else if (strcmp(argv[1], "close") == 0) {
    close_while_used(argv[2]);
  } else {
    void* handle = open_plugin(argv[2], RTLD_DEEPBIND);
    char* theirs = plugin_allocate(1000);
    char* ours = malloc(1000);
    CHECK(theirs != NULL && ours != NULL);
    memset(theirs, 1, 1000);
    memset(ours, 2, 1000);
    if (strcmp(argv[1], "bound-ours") == 0) free(theirs);
    if (strcmp(argv[1], "bound-theirs") == 0) plugin_free(ours);
    plugin_free(theirs);
    free(ours);
    CHECK(dlclose(handle) == 0);
  }
  report_checks();
  return 0;
}
