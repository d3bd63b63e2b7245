#!/bin/bash
# SPDX-License-Identifier: MIT
#
# crowd.sh - threads in numbers: 100,000 births, 10,000 alive at once, thousands cancelled.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

run() {
  local name=$1 mode=$2 at=$TMPDIR/$2.$3.$4
  shift 2
  check "$name, $mode" into "$at" traced "$mode" timeout 250 "$programs/$1" "${@:2}"
  check "$name, $mode: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$at.out"
  check "$name, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.err" 1000
}

# Caches belong to Ps: the number of threads that ever were must not show.
few_caches() {
  local ps
  ps=$(sed -n 's/^ashlar: NumPs = //p' "$TMPDIR/$1.err")
  echo "$ps caches"
  [[ $ps -ge 1 && $ps -le $2 ]]
}

for mode in "${modes[@]}"; do
  run "100,000 threads are born and die" "$mode" crowd births 100000
  check "100,000 threads, $mode: few caches" few_caches "$mode.crowd.births" 16
  run "10,000 threads alive" "$mode" crowd alive 10000
  check "10,000 threads alive, $mode: they were" grep -qx '10000 threads alive' "$TMPDIR/$mode.crowd.alive.out"
  check "10,000 threads alive, $mode: few caches" few_caches "$mode.crowd.alive" 256
  run "threads cancelled between and within calls" "$mode" cancel 500
done
finish
