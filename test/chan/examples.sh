#!/bin/bash
# SPDX-License-Identifier: MIT
#
# examples.sh - the example programs in C and C++, dynamic and static; the trace; the dump of a deadlock.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

says() { # TEXT COMMAND...: stdout is this
  local text=$1
  shift
  [[ $("$@") == "$text" ]]
}
traced() { ASHLAR_DEBUG=chantrace=1 "$1" 2>&1 >"$TMPDIR/out" | tee "$TMPDIR/trace"; }

for kind in dyn static; do
  c=$BUILD/test/linked/chan_example-$kind
  cxx=$BUILD/test/linked/chan_example_cxx-$kind
  check "c $kind" says 'sum 332833500' timeout 100 "$c"
  check "c++ $kind" says '100 words' timeout 100 "$cxx"
  check "c aarch64 $kind" says 'sum 332833500' timeout 200 qemu-aarch64 -L /usr/aarch64-linux-gnu "$BUILD/aarch64/test/linked/chan_example-$kind"
  traced "$c" >/dev/null
  check "trace of newchan $kind" grep -Eqx \
    "ashlar: newchan 0x[0-9a-f]+ ring, element 16 bytes, cap 10, header 512 bytes, buffer 160 bytes, from chan_example-$kind\\+0x[0-9a-f]+" "$TMPDIR/trace"
  check "trace of three $kind" says 3 grep -c '^ashlar: newchan ' "$TMPDIR/trace"
  check "trace of close $kind" grep -Eqx \
    "ashlar: close 0x[0-9a-f]+ ring, element 16 bytes, cap 10, len [0-9]+, from chan_example-$kind\\+0x[0-9a-f]+" "$TMPDIR/trace"

  # Two channels, two threads, each parked in a receive: that is the deadlock, and where to look.
  timeout 100 "$cxx" deadlock >"$TMPDIR/dump"
  check "dump lists the channels $kind" says 2 grep -Ec '^ashlar: chan 0x[0-9a-f]+ rendezvous, element 4 bytes, cap 0, len 0, open, made at ' "$TMPDIR/dump"
  check "dump lists the threads $kind" says 2 grep -Ec \
    "^ashlar:   thread [0-9]+ parked in recv for 0\\.[0-9]{3} s, from chan_example_cxx-$kind\\+0x[0-9a-f]+\$" "$TMPDIR/dump"
done
sed 's/^/# /' "$TMPDIR/dump"
finish
