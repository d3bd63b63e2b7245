#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tools.sh - what developers start programs under: valgrind and gdb, with Ashlar preloaded.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

cat >"$TMPDIR/small.c" <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void* work(void* seed) {
  unsigned state = *(unsigned*)seed;
  unsigned long sum = 0;
  unsigned char* live[64] = {0};
  size_t sizes[64];
  for (int i = 0; i < 20000; i++) {
    state = state * 1103515245U + 12345U;
    unsigned at = (state >> 8) % 64;
    if (live[at] != NULL) {
      for (size_t k = 0; k < sizes[at]; k += 97) {
        if (live[at][k] != (unsigned char)at) abort();
      }
      sum += sizes[at];
    }
    if (i % 5 == 0) {
      free(live[at]);
      live[at] = NULL;
    }
    sizes[at] = 1 + (state >> 16) % (i % 100 == 0 ? 60000 : 600);
    live[at] = realloc(live[at], sizes[at]);
    memset(live[at], (int)at, sizes[at]);
  }
  for (int i = 0; i < 64; i++) free(live[i]);
  unsigned long* result = malloc(sizeof *result);
  *result = sum;
  return result;
}

int checked_sum(int threads) {
  unsigned long sum = 0;
  for (int t = 0; t < threads; t++) {
    unsigned seeds[2] = {(unsigned)t, (unsigned)t + 100};
    pthread_t id;
    void *there, *here;
    pthread_create(&id, NULL, work, &seeds[0]);
    here = work(&seeds[1]);
    pthread_join(id, &there);
    sum += *(unsigned long*)here + *(unsigned long*)there;
    free(here);
    free(there);
  }
  printf("sum %lu\n", sum);
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "wrong") == 0) {
    // A read behind the end, a leak: what valgrind has to find.
    volatile char* block = malloc(100);
    int beyond = block[100];
    block = malloc(200);
    printf("%d\n", block == NULL ? beyond : 0);
    return beyond == 0x7fff;
  }
  return checked_sum(3);
}
C
cc=${CXX/clang++/clang}
"${cc/g++/gcc}" -g -O0 -fno-builtin -pthread -o "$TMPDIR/small" "$TMPDIR/small.c" || exit 1
small=$TMPDIR/small
same_on_ashlar small 10000 "$small"

# valgrind takes malloc from every object that defines one, so that Ashlar is loaded but idle, and memcheck finds what it
# finds without it. With nouserintercepts it leaves Ashlar's malloc alone and runs it on its own CPU, which has no rseq:
# there, the mode is always the fallback.
check "valgrind: mode without Ashlar's" into "$TMPDIR/vg.libc" valgrind -q --error-exitcode=9 "$small"
for mode in "${modes[@]}"; do
  at=$TMPDIR/vg.$mode
  check "valgrind, $mode: succeeds" into "$at" traced "$mode" valgrind -v --leak-check=full --error-exitcode=9 "$small"
  check "valgrind, $mode: same output" same_text "$TMPDIR/small.libc.out" "$at.out"
  check "valgrind, $mode: no error, no leak" grep -q 'ERROR SUMMARY: 0 errors' "$at.err"
  check "valgrind, $mode: has the library" grep -q "Reading syms from $library" "$at.err"
  check "valgrind, $mode: takes over its malloc" grep -q 'REDIR: .*libashlar.so:malloc.* redirected to .*(malloc)' "$at.err"
  check "valgrind, $mode: finds what is wrong" exits_with 9 into "$at-wrong" traced "$mode" valgrind --leak-check=full --error-exitcode=9 "$small" wrong
  check "valgrind, $mode: names the read" grep -q 'Invalid read of size 1' "$at-wrong.err"
  check "valgrind, $mode: names the leak" grep -q 'definitely lost: [1-9]' "$at-wrong.err"
  at=$TMPDIR/vg-own.$mode
  check "valgrind, Ashlar's malloc, $mode: succeeds" into "$at" traced "$mode" valgrind --soname-synonyms=somalloc=nouserintercepts \
    --error-exitcode=9 "$small"
  check "valgrind, Ashlar's malloc, $mode: same output" same_text "$TMPDIR/small.libc.out" "$at.out"
  # Valgrind's launcher is preloaded, too, and outside of valgrind's CPU; the program comes last.
  tac "$at.err" | awk '{ print } /^ashlar: init Ps:/ { exit }' >"$at.last"
  check "valgrind, Ashlar's malloc, $mode: on Ashlar" ran_on_ashlar fallback "$at.last" 10000
done

for mode in "${modes[@]}"; do
  at=$TMPDIR/gdb.$mode
  check "gdb, $mode: succeeds" into "$at" gdb -nx -batch -iex "set debuginfod enabled off" \
    -ex "set exec-wrapper env LD_PRELOAD=$library ASHLAR_DEBUG=inittrace=1 ASHLAR_CONF=$(conf_of "$mode" stats:exit)" \
    -ex "break main" -ex "run" -ex "backtrace" -ex "break checked_sum" -ex "continue" -ex "print threads" -ex "info sharedlibrary" -ex "continue" "$small"
  check "gdb, $mode: stops in main" grep -qE '^Breakpoint 1, main ' "$at.out"
  check "gdb, $mode: shows where it is" grep -qE '^#0 +main ' "$at.out"
  check "gdb, $mode: shows a variable" grep -qxF "\$1 = 3" "$at.out"
  check "gdb, $mode: has the library" grep -q "libashlar\.so" "$at.out"
  check "gdb, $mode: runs to the end" grep -q 'exited normally' "$at.out"
  check "gdb, $mode: right output" grep -qx "$(cat "$TMPDIR/small.libc.out")" "$at.out"
  check "gdb, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.err" 10000
done
finish
