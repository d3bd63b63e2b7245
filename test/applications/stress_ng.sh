#!/bin/bash
# SPDX-License-Identifier: MIT
#
# stress_ng.sh - stress-ng's malloc stressor on Ashlar, which with --verify looks at what it wrote into each block: with
# processes, with threads, and with blocks cleared before they are freed. Operations are counted, not seconds. Blocks of
# 64 MiB, of which it touches little, found that huge pages for large blocks are no good: 60 s instead of 2.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# stress NAME MALLOCS OPTIONS... - it exits with 0 although a stressor found something, so its words count, too. A
# stressor process leaves by _exit: that it was on Ashlar shows by the mode line, and by the work of the main process.
stress() {
  local name=$1 at
  shift
  for mode in "${modes[@]}"; do
    at=$TMPDIR/$name.$mode
    check "stress-ng $name, $mode: succeeds" into "$at" traced "$mode" stress-ng --verify --temp-path "$TMPDIR" --timeout 100 \
      --metrics-brief --no-rand-seed "$@"
    check "stress-ng $name, $mode: passed" grep -qE 'successful run completed' "$at.out" "$at.err"
    check "stress-ng $name, $mode: no mismatch" nothing_bad "$at"
    check "stress-ng $name, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.err" 1
  done
}
nothing_bad() { ! grep -iE 'fail:|\bfailed: [1-9]|error:|corrupt|untrustworthy: [1-9]' "$1.out" "$1.err"; }

stress malloc --malloc 2 --malloc-ops 20000 --malloc-bytes 64M
stress threads --malloc 1 --malloc-pthreads 4 --malloc-ops 20000 --malloc-bytes 1M
stress cleared --malloc 1 --malloc-zerofree --malloc-touch --malloc-ops 2000 --malloc-bytes 256K --malloc-max 2000
finish
