#!/bin/bash
# SPDX-License-Identifier: MIT
#
# narrow.sh - programs on narrow machines: little address space or data, no rseq from glibc, valgrind, another CPU.
# (Memory that runs out is exhaust.sh; filters on system calls are seccomp.sh; OS pages and failing calls test/white.)
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

made_checks() { grep -Eqx '[0-9]{2,} checks passed' "$1.out"; }

# run NAME MODE COMMAND... - traced, and what it says.
run() {
  local name=$1 mode=$2 at=$TMPDIR/at
  shift 2
  check "$name, $mode" into "$at" traced "$mode" timeout 200 "$@"
  check "$name, $mode: made its checks" made_checks "$at"
  check "$name, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.err" 20
}

for mode in "${modes[@]}"; do
  # 64 MiB hold few threads, whose stacks are 8 MiB each: `ulimit -s`, and programs that start eight of them have more.
  for mib in 64 256 1024; do
    run "life within $mib MiB of addresses" "$mode" prlimit --as=$((mib << 20)) --stack=262144 "$programs/life"
    run "operators within $mib MiB of addresses" "$mode" prlimit --as=$((mib << 20)) --stack=262144 "$programs/operators"
  done
  run "cancelled threads within 256 MiB of addresses" "$mode" prlimit --as=$((256 << 20)) "$programs/cancel" 30
  run "births within 256 MiB of addresses" "$mode" prlimit --as=$((256 << 20)) "$programs/crowd" births 2000
  # RLIMIT_DATA counts private writable memory, wherever it lies.
  run "life within 64 MiB of data" "$mode" prlimit --data=$((64 << 20)) --stack=262144 "$programs/life"
  for mib in 64 256 1024; do
    for kind in as data; do
      at=$TMPDIR/at
      check "memory runs out at $mib MiB ($kind), $mode" \
        into "$at" on_ashlar "$mode" timeout 200 prlimit "--$kind=$((mib << 20))" "$programs/exhaust" 20000 $((mib << 20))
      check "memory runs out at $mib MiB ($kind), $mode: made its checks" grep -Eqx '[0-9]+ checks passed' "$at.out"
      check "memory runs out at $mib MiB ($kind), $mode: nothing to say" test ! -s "$at.err"
    done
  done
done

# Without glibc's rseq.
export GLIBC_TUNABLES=glibc.pthread.rseq=0
for program in life operators "crowd births 3000" "forks ways 16 3" "signals fork 50" "cancel 30"; do
  # shellcheck disable=SC2086 # words
  run "without glibc's rseq: $program" fallback "$programs/"$program
done
unset GLIBC_TUNABLES

# valgrind runs one thread at a time, knows no rseq, and has its own malloc unless told otherwise.
copy=$TMPDIR/libashlar.so # valgrind 3.19 gives up on clang's DWARF 5
strip -g -o "$copy" "$library"
for program in operators "crowd births 100" "cancel 3"; do
  at=$TMPDIR/at
  # shellcheck disable=SC2086 # words
  check "valgrind: $program" into "$at" env ASHLAR_CONF=stats:exit ASHLAR_DEBUG=inittrace=1 LD_PRELOAD="$copy" \
    timeout 200 valgrind -q --soname-synonyms=somalloc=nouserintercepts --error-exitcode=77 "$programs/"$program
  check "valgrind: $program: made its checks" made_checks "$at"
  check "valgrind: $program: on Ashlar" grep -q '^ashlar: init Ps: .* mode fallback$' "$at.err"
done

# Another CPU, emulated: the shared library for AArch64, preloaded.
emulated=$BUILD/aarch64
for program in life operators "crowd births 300" "signals fork 30" "cancel 3"; do
  at=$TMPDIR/at
  # shellcheck disable=SC2086 # words
  check "qemu-aarch64: $program" into "$at" timeout 250 qemu-aarch64 -L /usr/aarch64-linux-gnu \
    -E LD_PRELOAD="$emulated/libashlar.so" -E ASHLAR_DEBUG=inittrace=1 "$emulated/test/programs/"$program
  check "qemu-aarch64: $program: made its checks" made_checks "$at"
  check "qemu-aarch64: $program: on Ashlar" grep -q '^ashlar: init Ps: .* mode fallback$' "$at.err"
done
finish
