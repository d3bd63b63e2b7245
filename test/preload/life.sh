#!/bin/bash
# SPDX-License-Identifier: MIT
#
# life.sh - malloc at the odd moments of a process: before main, after main, in destructors, around fork.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

for mode in "${modes[@]}"; do
  check "life, $mode" into "$TMPDIR/$mode" traced "$mode" "$programs/life"
  check "life, $mode: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$TMPDIR/$mode.out"
  check "life, $mode: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/$mode.err" 300
  check "life, $mode: freed after main" grep -qx 'freed after main' "$TMPDIR/$mode.out"
done
finish
