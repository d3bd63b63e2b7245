#!/bin/bash
# SPDX-License-Identifier: MIT
#
# maps.sh - a fragmented heap of 4 GiB takes a few hundred maps, of the 65,530 that the kernel allows.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# thp:off takes less memory, and is as hard on the maps: two advices are in use in both.
for conf in percpu:on,thp:auto percpu:off,thp:off; do
  at=$TMPDIR/maps
  check "4 GiB, $conf" into "$at" env ASHLAR_CONF="$conf" LD_PRELOAD="$library" timeout 250 "$programs/maps" 4 500
  check "4 GiB, $conf: made its checks" grep -Eqx '[0-9]{5,} checks passed' "$at.out"
  check "4 GiB, $conf: moved blocks" grep -Eqx 'most maps: [0-9]+, moves of large blocks: [0-9]{4,}' "$at.out"
  check "4 GiB, $conf: nothing to say" test ! -s "$at.err"
  grep 'most maps' "$at.out" | sed 's/^/# /'
done
finish
