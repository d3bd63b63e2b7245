#!/bin/bash
# SPDX-License-Identifier: MIT
#
# options.sh - ASHLAR_CONF and ASHLAR_DEBUG as a user meets them: help, errors, statistics at exit, traces.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
out=$TMPDIR/out

# with CONF DEBUG COMMAND... - runs it preloaded with these options, stderr in $out.err
with() {
  local conf=$1 debug=$2
  shift 2
  into "$out" env ASHLAR_CONF="$conf" ASHLAR_DEBUG="$debug" LD_PRELOAD="$library" "$@"
}
work=(perl -e 'print "done\n"')

# lines COUNT PATTERN - that many lines of stderr match.
lines() {
  local found
  found=$(grep -cE -- "$2" "$out.err")
  [[ $found -eq $1 ]] || {
    echo "$found lines of stderr match '$2', expected $1:"
    cat "$out.err"
    return 1
  }
}
works_as_ever() { [[ $(cat "$out.out") == "done" ]]; }

check "no options: runs" with "" "" "${work[@]}"
check "no options: says nothing" test ! -s "$out.err"
check "no options: output" works_as_ever

check "help: runs" with help "" "${work[@]}"
check "help: output" works_as_ever
for key in percpu purge stats help; do
  [[ $key == help ]] || check "help: names $key" lines 1 "^ashlar: +$key:"
done
for key in inittrace scavtrace; do check "help: names $key" lines 1 "^ashlar: +$key="; done
check "help: every line is Ashlar's" lines 0 '^(a[^s]|[^a])'

check "unknown key: runs" with "no_such_key:1,percpu:on,no_such_key:2" "" "${work[@]}"
check "unknown key: output" works_as_ever
check "unknown key: named once" lines 1 '^ashlar: .*no_such_key'
check "unknown key: nothing else is said" lines 1 .
check "unknown debug key: runs" with "" "no_such_trace=1" "${work[@]}"
check "unknown debug key: named once" lines 1 '^ashlar: .*no_such_trace'
check "two unknown keys: runs" with "first_one:1,second_one:2" "" "${work[@]}"
check "two unknown keys: each is named" lines 2 '^ashlar: .*(first_one|second_one)'
check "bad value: runs" with "percpu:perhaps" "" "${work[@]}"
check "bad value: output" works_as_ever
check "bad value: named once" lines 1 '^ashlar: .*perhaps'
check "unknown key beside a known one: the known one counts" with "no_such_key:1,percpu:off" "inittrace=1" "${work[@]}"
check "unknown key beside a known one: its effect" lines 1 '^ashlar: init Ps: .* mode fallback$'
for junk in "," ",,," ":" "::" percpu "percpu:" ":off" "percpu:off:on" "=" "$(printf 'x%.0s' {1..3000})" $'\x01\xff:2' "percpu:99999999999999999999"; do
  check "junk '${junk:0:20}': runs" with "$junk" "$junk" "${work[@]}"
  check "junk '${junk:0:20}': output" works_as_ever
  check "junk '${junk:0:20}': every line is Ashlar's, and printable" lines 0 '^(a[^s]|[^a])|[^ -~]'
done

check "stats:exit: runs" with stats:exit "" "${work[@]}"
check "stats:exit: output" works_as_ever
for figure in Alloc TotalAlloc Sys Mallocs Frees HeapAlloc HeapSys HeapIdle HeapInuse HeapReleased HeapObjects; do
  check "stats:exit: prints $figure" lines 1 "^ashlar: $figure = [0-9]+"
done
check "stats:exit: prints sizes" grep -Eq '^ashlar: BySize\[48\] = [1-9][0-9]* mallocs, [0-9]+ frees' "$out.err"
value_of() { sed -n "s/^ashlar: $1 = \([0-9]*\).*/\1/p" "$out.err"; }
check "stats:exit: HeapSys = HeapIdle + HeapInuse" test "$(value_of HeapSys)" -eq "$(($(value_of HeapIdle) + $(value_of HeapInuse)))"
check "stats:exit: Mallocs - Frees = HeapObjects" test "$(value_of HeapObjects)" -eq "$(($(value_of Mallocs) - $(value_of Frees)))"
check "stats:exit: an exit status passes through" exits_with 7 with stats:exit "" perl -e 'exit 7'

for mode in "${modes[@]}"; do
  check "inittrace, $mode: runs" with "$(conf_of "$mode")" inittrace=1 "${work[@]}"
  check "inittrace, $mode: output" works_as_ever
  for phase in options 'size classes' 'page map' Ps; do
    check "inittrace, $mode: phase $phase" lines 1 "^ashlar: init $phase.*: [0-9]+ us"
  done
  check "inittrace, $mode: the mode" lines 1 "^ashlar: init Ps: .* mode $(word_of "$mode")\$"
  check "inittrace, $mode: once per process" lines 4 .
done
check "without glibc's rseq: runs" \
  into "$out" env GLIBC_TUNABLES=glibc.pthread.rseq=0 ASHLAR_DEBUG=inittrace=1 LD_PRELOAD="$library" "${work[@]}"
check "without glibc's rseq: in fallback" lines 1 '^ashlar: init Ps: .* mode fallback$'

check "scavtrace: runs" with "" scavtrace=1 "$programs/frees_a_lot"
scav='^ashlar: scav [0-9]+ @[0-9]+\.[0-9]{3}s: [0-9]+\.[0-9]->[0-9]+\.[0-9] MB, [0-9]+\.[0-9] MB dirty, [0-9]+ pages, [0-9]+ us$'
cycles=$(sed -n 's/^cycles \([0-9]*\) bytes [0-9]*$/\1/p' "$out.out")
bytes=$(sed -n 's/^cycles [0-9]* bytes \([0-9]*\)$/\1/p' "$out.out")
check "scavtrace: there were cycles" test "${cycles:-0}" -ge 1
check "scavtrace: a line per cycle" lines "${cycles:-0}" "$scav"
check "scavtrace: nothing else is said" lines "${cycles:-0}" .
check "scavtrace: numbered in order" diff <(seq 1 "${cycles:-0}") <(sed -n 's/^ashlar: scav \([0-9]*\) .*/\1/p' "$out.err")
pages=$(sed -n 's/.* MB dirty, \([0-9]*\) pages.*/\1/p' "$out.err" | awk '{ s += $1 } END { print s + 0 }')
check "scavtrace: its pages are the figures' bytes" test "$((pages * 8192))" -eq "${bytes:-0}"
check "scavtrace: 128 MiB went back" test "${bytes:-0}" -ge "$((120 << 20))"

check "purge:off: runs" with purge:off scavtrace=1 "$programs/frees_a_lot"
check "purge:off: only the trim purges" lines 1 "$scav"
finish
