#!/bin/bash
# SPDX-License-Identifier: MIT
#
# seccomp.sh - programs under a filter that allows what glibc's malloc calls (test/programs/sandbox.c has the list): all else
# is refused, or kills. And what the one call costs that we make beyond it: membarrier, by malloc_trim, where there have
# been more threads than twice the CPUs.
# A program with many threads that trims, in the mode without rseq, makes no such call.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# sandboxed ANSWER MODE PROGRAM... - with the library preloaded into the program alone; traced.
sandboxed() {
  local answer=$1 mode=$2 conf=(stats:exit)
  shift 2
  # The helper thread names itself, by prctl, which glibc's malloc has no use for: whose filter kills, forbids it.
  [[ $answer == kill* ]] && conf+=(purge_thread:off)
  ASHLAR_CONF=$(conf_of "$mode" "${conf[@]}") ASHLAR_DEBUG=inittrace=1 SANDBOX_PRELOAD=$library \
    timeout 100 "$programs/sandbox" "$answer" "$@"
}

programs_run=("operators" "crowd births 2000" "cancel 20" "forks ways 16 2" "forks storm 16 20" "signals fork 30")

# run NAME ANSWER MODE PROGRAM... - three results.
run() {
  local name="$1, $2, $3" answer=$2 mode=$3 at=$TMPDIR/at
  shift 3
  check "$name" into "$at" sandboxed "$answer" "$mode" "$@"
  check "$name: made its checks" grep -Eqx '[0-9]{2,} checks passed' "$at.out"
  check "$name: on Ashlar" ran_on_ashlar "$mode" "$at.err" 20
}

# The filter is not so lax that it shows nothing.
check "the filter kills" exits_with 159 "$programs/sandbox" kill /bin/ls -l /
for mode in "${modes[@]}"; do
  for answer in kill eperm enosys,no-getaffinity; do
    for program in "${programs_run[@]}"; do
      # shellcheck disable=SC2086 # words
      run "$program" "$answer" "$mode" "$programs/"$program
    done
  done
  # 200 threads alive, more than there are leases, and a malloc_trim.
  for answer in kill,membarrier eperm enosys,no-getaffinity; do
    run "a trim with many threads" "$answer" "$mode" "$programs/crowd" alive 200
  done
done
check "a trim with many threads is killed for membarrier" exits_with 159 sandboxed kill default "$programs/crowd" alive 200
run "a trim with many threads" kill fallback "$programs/crowd" alive 200
finish
