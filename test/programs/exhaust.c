/* SPDX-License-Identifier: MIT
 *
 * exhaust.c - allocates blocks of argv[1] bytes until malloc says no, then shows that the program can go on:
 * null and ENOMEM, nothing lost, memory there again after the frees. test/preload/exhaust.sh runs it under `ulimit -v`.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "test/programs/check.h"

typedef struct Link {
  struct Link* next;
  size_t number;
} Link;

int main(int argc, char** argv) {
  CHECK(argc == 3);
  const size_t size = strtoull(argv[1], NULL, 0);
  const size_t limit = strtoull(argv[2], NULL, 0); /* bytes that the limit on the address space cannot hold */
  for (int round = 0; round < 2; ++round) {
    Link* head = NULL;
    size_t count = 0;
    errno = 0;
    for (;;) {
      Link* link = malloc(size);
      if (link == NULL) break;
      memset(link, 0x77, size < 4096 ? size : 4096);
      link->next = head;
      link->number = count++;
      head = link;
      CHECK(count * size <= limit);
    }
    CHECK(errno == ENOMEM);
    /* At least half of the limit was to be had, in both rounds. */
    CHECK(count * size >= limit / 2);
    errno = 0;
    CHECK(calloc(1, limit) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(realloc(head, limit) == NULL && errno == ENOMEM);
    void* aligned = NULL;
    CHECK(posix_memalign(&aligned, 1 << 20, limit) == ENOMEM);
    while (head != NULL) {
      CHECK(head->number == --count);
      Link* next = head->next;
      free(head);
      head = next;
    }
    CHECK(count == 0);
    void* again = malloc(size);
    CHECK(again != NULL);
    free(again);
    malloc_trim(0);
  }
  report_checks();
  return 0;
}
