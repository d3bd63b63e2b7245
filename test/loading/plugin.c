/* SPDX-License-Identifier: MIT
 *
 * plugin.c - a library for loading.c to open: it allocates by libc's names, or, with USE_ASHLAR, links with
 * libashlar.so.
 */
#include <stddef.h>
#include <stdlib.h>

#ifdef USE_ASHLAR
#include "alloc/ashlar.h"
#define malloc ashlar_malloc
#define free ashlar_free
#endif

void* plugin_allocate(size_t size);
void plugin_free(void* block);

void* plugin_allocate(size_t size) {
  return malloc(size);
}

void plugin_free(void* block) {
  free(block);
}
