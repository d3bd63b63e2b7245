#!/bin/bash
# SPDX-License-Identifier: MIT
#
# threads.sh - threads are cheap (test/programs/many_threads.cc): 64 of them with 64 KiB live each take at most 0.6 of what they take
# under mimalloc, in the same run; 10,000 that called malloc once, less than 1 KiB each. Memory, not time.
source "$ROOT/test/support/lib.sh"
mimalloc=$(ldconfig -p | awk '/libmimalloc\.so/ { print $NF; exit }')
many=$programs/many_threads

# at_most A B PERCENT - A is at most PERCENT of B.
at_most() {
  echo "$1 KiB, $2 KiB"
  [[ $1 -gt 0 && $(($1 * 100)) -le $(($2 * $3)) ]]
}

for rounds in 0 20; do
  theirs=$(LD_PRELOAD=$mimalloc "$many" 64 65536 "$rounds")
  for mode in "${modes[@]}"; do
    check "64 threads of 64 KiB, $rounds rounds, $mode: 0.6 of mimalloc" \
      at_most "$(on_ashlar "$mode" "$many" 64 65536 "$rounds")" "$theirs" 60
  done
done
for mode in "${modes[@]}"; do
  check "10,000 threads, $mode: below 1 KiB each" at_most "$(on_ashlar "$mode" "$many" 10000 1 0)" 10000 100
done
finish
