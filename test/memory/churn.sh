#!/bin/bash
# SPDX-License-Identifier: MIT
# TIMEOUT: 300
#
# churn.sh - memory that comes and goes (test/programs/churn.cc): no faults for what is used again at once, nothing kept by
# sleeping pools, bounded memory where one thread allocates and another frees and where sizes drift; and what
# purge, purge_delay and malloc_trim say.
source "$ROOT/test/support/lib.sh"

# churn MODE CONF ARGUMENTS...
churn() {
  local mode=$1 conf=$2
  shift 2
  check "churn $* ($mode${conf:+, $conf})" env ASHLAR_CONF="$(conf_of "$mode" ${conf:+"$conf"})" LD_PRELOAD="$library" \
    "$programs/churn" "$@"
}

mimalloc=$(ldconfig -p | awk '/libmimalloc\.so/ { print $NF; exit }')
held_kib() { sed -n 's/.*at worst \([0-9]*\) KiB held/\1/p' "$1"; }
# drift_like_mimalloc MODE - a heap that cannot move blocks keeps what a new size cannot use; how much is a matter of comparison.
drift_like_mimalloc() {
  local seed=$RANDOM ours theirs
  ASHLAR_TEST_SEED=$seed LD_PRELOAD=$mimalloc "$programs/churn" drift >"$TMPDIR/theirs" || return 1
  ASHLAR_TEST_SEED=$seed on_ashlar "$1" "$programs/churn" drift >"$TMPDIR/ours" || return 1
  ours=$(held_kib "$TMPDIR/ours") theirs=$(held_kib "$TMPDIR/theirs")
  echo "seed $seed: $ours KiB, mimalloc $theirs KiB"
  [[ $((ours * 10)) -le $((theirs * 11)) ]]
}

for mode in "${modes[@]}"; do
  churn "$mode" "" again 1
  churn "$mode" "" again 2
  churn "$mode" "" pool 16
  churn "$mode" "" handoff
  check "drift, $mode: at most 1.1 of what mimalloc holds" drift_like_mimalloc "$mode"
  churn "$mode" purge:off trim
  churn "$mode" purge_delay:300ms delay
done

# Negative controls: what the programs look for is there to be found.
fails() { ! env ASHLAR_CONF="$1" LD_PRELOAD="$library" "$programs/churn" "${@:2}"; }
check "a pool without purge keeps its memory, and the program sees it" fails purge:off pool 16
check "a delay of a minute is not over in 2 s, and the program sees it" fails purge_delay:60000 delay-soon
finish
