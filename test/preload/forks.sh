#!/bin/bash
# SPDX-License-Identifier: MIT
#
# forks.sh - new processes from a program whose 16 threads all allocate: in every way, and as a storm of 8,000 forks
# (bench/fork_storm has the large one).
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

for mode in "${modes[@]}"; do
  for what in "ways 16 20" "storm 16 500"; do
    at="$TMPDIR/$mode.${what%% *}"
    # shellcheck disable=SC2086 # words
    check "forks: $what, $mode" into "$at" traced "$mode" timeout 140 "$programs/forks" $what
    check "forks: $what, $mode: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$at.out"
    check "forks: $what, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.err" 1000
  done
  check "forks: storm, $mode: 8,000" grep -qx '8000 forks' "$TMPDIR/$mode.storm.out"
done
finish
