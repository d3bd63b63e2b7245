#!/bin/bash
# SPDX-License-Identifier: MIT
#
# signals.sh - signals that interrupt malloc: handlers that jump out of it, that fork, and that allocate.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# reentered MODE - whether the program that allocates in a handler ended with the one line that says so, and no hang.
reentered() {
  local status=0
  into "$TMPDIR/reenter" on_ashlar "$1" timeout 60 "$programs/signals" reenter || status=$?
  cat "$TMPDIR/reenter.err"
  [[ $status -eq 134 ]] && grep -qx 'ashlar: malloc called from a signal handler that interrupted malloc' "$TMPDIR/reenter.err"
}

for mode in "${modes[@]}"; do
  for what in jump fork; do
    at=$TMPDIR/$mode.$what
    check "$what out of handlers, $mode" into "$at" traced "$mode" timeout 120 "$programs/signals" "$what" 300
    check "$what out of handlers, $mode: made its checks" grep -Eqx '[0-9]{2,} checks passed' "$at.out"
    check "$what out of handlers, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.err" 100
  done
  check "fork out of handlers, $mode: most had interrupted malloc" grep -Eq 'forked inside: [0-9]{3,}' "$TMPDIR/$mode.fork.out"
  check "malloc in a handler that interrupted malloc, $mode: one line and abort" reentered "$mode"
done
finish
