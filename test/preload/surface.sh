#!/bin/bash
# SPDX-License-Identifier: MIT
#
# surface.sh - every name of libc's malloc, called in a program that runs preloaded.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

for mode in "${modes[@]}"; do
  check "surface, $mode" into "$TMPDIR/$mode" traced "$mode" "$programs/surface"
  check "surface, $mode: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$TMPDIR/$mode.out"
  check "surface, $mode: malloc_stats wrote to stderr" grep -q '^ashlar: Mallocs = ' "$TMPDIR/$mode.err"
  check "surface, $mode: in this mode" grep -q "^ashlar: init Ps: .* mode $(word_of "$mode")\$" "$TMPDIR/$mode.err"
done
finish
