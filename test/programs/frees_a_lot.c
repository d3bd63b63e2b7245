/* SPDX-License-Identifier: MIT
 *
 * frees_a_lot.c - allocates and touches 128 MiB and frees it, four times, then asks for a trim; what purge cycles there
 * were it prints from the figures. test/options/options.sh compares them with what scavtrace said.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/ashlar.h"
#include "test/programs/check.h"

int main(void) {
  void (*read_memstats)(ashlar_memstats*) = (void (*)(ashlar_memstats*))dlsym(RTLD_DEFAULT, "ashlar_read_memstats");
  CHECK(read_memstats != NULL);
  enum { kCount = 1024, kSize = 128 * 1024 };
  static void* blocks[kCount];
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < kCount; ++i) {
      blocks[i] = malloc(kSize);
      CHECK(blocks[i] != NULL);
      memset(blocks[i], 1, kSize);
    }
    for (int i = 0; i < kCount; ++i) free(blocks[i]);
  }
  malloc_trim(0);
  static ashlar_memstats stats;
  read_memstats(&stats);
  printf("cycles %llu bytes %llu\n", (unsigned long long)stats.num_purge, (unsigned long long)stats.purged_bytes);
  return 0;
}
