#!/bin/bash
# SPDX-License-Identifier: MIT
#
# maps.sh - the example programs of the map, from C and from C++, dynamic and static, and what maptrace says of them.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

for kind in dyn static; do
  check "map_c-$kind" into "$TMPDIR/c" env ASHLAR_DEBUG=maptrace=1 "$BUILD/test/linked/map_c-$kind"
  check "map_c-$kind: counted" grep -qx 'map 20000' "$TMPDIR/c.out"
  check "map_c-$kind: maptrace" grep -Eqx \
    'ashlar: makemap caller=0x[0-9a-f]+ header=128 buckets=1 seed=0x[0-9a-f]+' "$TMPDIR/c.err"
  check "map_cxx-$kind" into "$TMPDIR/cxx" env ASHLAR_DEBUG=maptrace=1 "$BUILD/test/linked/map_cxx-$kind"
  check "map_cxx-$kind: all there" grep -qx '500 squares, 40000 lookups' "$TMPDIR/cxx.out"
  check "map_cxx-$kind: maptrace of both" test "$(grep -c '^ashlar: makemap caller=' "$TMPDIR/cxx.err")" = 2
  # Pins without membarrier.
  check "map_cxx-$kind, membarrier:off" into "$TMPDIR/off" env ASHLAR_CONF=membarrier:off "$BUILD/test/linked/map_cxx-$kind"
done
finish
