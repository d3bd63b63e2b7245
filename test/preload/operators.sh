#!/bin/bash
# SPDX-License-Identifier: MIT
#
# operators.sh - every form of operator new and delete, called in a program that runs preloaded.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

for mode in "${modes[@]}"; do
  check "operators, $mode" into "$TMPDIR/$mode" traced "$mode" "$programs/operators"
  check "operators, $mode: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$TMPDIR/$mode.out"
  check "operators, $mode: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/$mode.err" 10000
done
finish
