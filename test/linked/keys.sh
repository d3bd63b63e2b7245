#!/bin/bash
# SPDX-License-Identifier: MIT
#
# keys.sh - programs that take every pthread key: before our first malloc, which then learns of no thread's end, and after.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

few_left() {
  local left
  left=$(sed -n 's/^ashlar: HeapObjects = //p' "$1")
  echo "$left blocks are left"
  [[ $left -ge 0 && $left -le 50 ]]
}

for kind in dyn static; do
  for mode in "${modes[@]}"; do
    for early in "" 1; do
      name="keys-$kind, $mode, ${early:+taken by a constructor}"
      at=$TMPDIR/$kind.$mode.$early
      [[ -n $early ]] && export KEYS_EARLY=1
      check "$name" into "$at" env ASHLAR_CONF="$(conf_of "$mode" stats:exit)" ASHLAR_DEBUG=inittrace=1 \
        timeout 100 "$BUILD/test/linked/keys-$kind"
      unset KEYS_EARLY
      check "$name: made its checks" grep -Eqx '[0-9]{6,} checks passed' "$at.out"
      check "$name: on Ashlar" ran_on_ashlar "$mode" "$at.err" 300000
      check "$name: nothing is left" few_left "$at.err"
    done
  done
done
finish
