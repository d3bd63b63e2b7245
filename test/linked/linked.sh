#!/bin/bash
# SPDX-License-Identifier: MIT
#
# linked.sh - programs that take over malloc by linking libashlar.a, dynamic and with -static, in both P modes, and in
# the mode that a machine without rseq has; for AArch64, under qemu.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# linked MODE PROGRAM... - runs it with nothing preloaded: the program has Ashlar in it.
linked() {
  local mode=$1
  shift
  ASHLAR_CONF=$(conf_of "$mode" stats:exit) ASHLAR_DEBUG=inittrace=1 "$@"
}

for program in c_program cxx_program; do
  for kind in dyn static; do
    binary=$BUILD/test/linked/$program-$kind
    for mode in "${modes[@]}"; do
      name="$program-$kind, $mode"
      check "$name" into "$TMPDIR/$mode" linked "$mode" "$binary"
      check "$name: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$TMPDIR/$mode.out"
      check "$name: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/$mode.err" 1000
      if [[ $program == cxx_program ]]; then
        check "$name: destructors ran" grep -qx 'destroyed at exit' "$TMPDIR/$mode.out"
      fi
    done
    # glibc leaves rseq alone: the fallback must be found without being asked for.
    check "$program-$kind, without glibc's rseq" into "$TMPDIR/tuned" \
      env GLIBC_TUNABLES=glibc.pthread.rseq=0 ASHLAR_DEBUG=inittrace=1 "$binary"
    check "$program-$kind, without glibc's rseq: in fallback" grep -q '^ashlar: init Ps: .* mode fallback$' "$TMPDIR/tuned.err"
    emulated=$BUILD/aarch64/test/linked/$program-$kind
    check "$program-$kind, aarch64" into "$TMPDIR/emulated" \
      env ASHLAR_DEBUG=inittrace=1 qemu-aarch64 -L /usr/aarch64-linux-gnu "$emulated"
    check "$program-$kind, aarch64: made its checks" grep -Eqx '[0-9]{3,} checks passed' "$TMPDIR/emulated.out"
    check "$program-$kind, aarch64: in fallback" grep -q '^ashlar: init Ps: .* mode fallback$' "$TMPDIR/emulated.err"
  done
  check "$program-static needs no loader" exits_with 1 grep -q . <(readelf -lW "$BUILD/test/linked/$program-static" | grep INTERP)
done
finish
