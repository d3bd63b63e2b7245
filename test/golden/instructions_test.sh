#!/bin/bash
# SPDX-License-Identifier: MIT
#
# instructions_test.sh - the fast paths cost as many instructions as the golden file says, and no more than the limits.
#
# Counts, not times: the same on every run and machine. A change in either direction fails: faster code deserves a new
# golden file (test/golden/update), too. Needs BUILD with libashlar.so and bench/pairs, and valgrind.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=test/golden/lib.sh
. "$here/lib.sh"
BUILD=${BUILD:-$here/../../build}
TMPDIR=${TMPDIR:-/tmp}

# Refills behind the fast path may fall differently by a few; one instruction more in malloc or free may not pass.
tolerance=0.5
declare -A limit=([pair]=50 [random]=64 [lifo]=70 [fifo]=75)
modes="pair random lifo fifo"

library=$(realpath "$BUILD/libashlar.so")
golden=$(golden_file "$library")
measured=$TMPDIR/instructions.txt
"$here/count" "$BUILD/bench/pairs" "$library" >"$measured"

failed=0
# check NAME CONDITION TEXT - CONDITION is an expression of awk.
check() {
  if awk "BEGIN { exit !($2) }"; then
    echo "ok $1 ($3)"
  else
    echo "not ok $1 ($3)"
    failed=1
  fi
}

for mode in $modes; do
  count=$(awk -v mode="$mode" '$1 == mode { print $2 }' "$measured")
  expected=$(awk -v mode="$mode" '$1 == mode { print $2 }' "$golden")
  if [[ -z $count || -z $expected ]]; then
    echo "not ok $mode (no count: measured '${count}', in $(basename "$golden") '${expected}')"
    failed=1
    continue
  fi
  check "${mode}_instructions_as_in_$(basename "$golden" .txt)" \
    "$count - $expected <= $tolerance && $expected - $count <= $tolerance" "$count, golden $expected"
  check "${mode}_instructions_within_limit" "$count <= ${limit[$mode]}" "$count, limit ${limit[$mode]}"
done
exit $failed
