#!/bin/bash
# SPDX-License-Identifier: MIT
#
# exhaust.sh - address space runs out: ENOMEM, never an abort, and the program goes on. And small limits, under which
# the allocator must find a smaller window and programs must work as ever.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# limited KIB COMMAND... - with so much address space.
limited() (
  ulimit -v "$1" || exit 99
  shift
  "$@"
)

cat >"$TMPDIR/work.pl" <<'SCRIPT'
my %h = map { $_ => "x$_" } 1 .. 20000;
print scalar(keys %h), "\n";
SCRIPT

for mode in "${modes[@]}"; do
  for size in 48 3000 32768 100000 5000000; do
    at=$TMPDIR/$mode.$size
    check "memory runs out in blocks of $size, $mode" \
      into "$at" limited 409600 on_ashlar "$mode" "$programs/exhaust" "$size" $((400 << 20))
    check "memory runs out in blocks of $size, $mode: made its checks" grep -Eqx '[0-9]+ checks passed' "$at.out"
    check "memory runs out in blocks of $size, $mode: nothing to say" test ! -s "$at.err"
  done
  for kib in 65536 131072 1048576; do
    check "perl within $((kib / 1024)) MiB, $mode" \
      into "$TMPDIR/limited" limited "$kib" on_ashlar "$mode" perl "$TMPDIR/work.pl"
    check "perl within $((kib / 1024)) MiB, $mode: its output" grep -qx 20000 "$TMPDIR/limited.out"
  done
done
finish
