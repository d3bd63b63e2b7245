/* SPDX-License-Identifier: MIT
 *
 * audit.c - an LD_AUDIT library that allocates in every call-back: before any library is relocated, and later.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char* kept[256];
static unsigned objects;

unsigned la_version(unsigned version) {
  for (size_t size = 1; size < 300000; size = size * 3 + 1) {
    char* block = malloc(size);
    if (block == NULL) _exit(90);
    memset(block, 1, size);
    free(block);
  }
  return version;
}

unsigned la_objopen(struct link_map* map, Lmid_t id, uintptr_t* cookie) {
  (void)id;
  *cookie = (uintptr_t)map;
  if (objects < 256) kept[objects++] = strdup(map->l_name);
  return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

unsigned la_objclose(uintptr_t* cookie) {
  (void)cookie;
  free(malloc(1000));
  return 0;
}

uintptr_t la_symbind64(Elf64_Sym* symbol, unsigned index, uintptr_t* from, uintptr_t* to, unsigned* flags,
                       const char* name) {
  (void)index, (void)from, (void)to, (void)flags;
  free(strdup(name));
  return symbol->st_value;
}

__attribute__((destructor)) static void finish(void) {
  unsigned checked = 0;
  for (unsigned i = 0; i < objects; ++i) {
    if (kept[i] != NULL) ++checked;
    free(kept[i]);
  }
  if (checked >= 3) {
    ssize_t ignored = write(1, "audited\n", 8);
    (void)ignored;
  }
}
