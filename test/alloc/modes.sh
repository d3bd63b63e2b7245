#!/bin/bash
# SPDX-License-Identifier: MIT
#
# modes.sh - the tests and stress tests of test/alloc once more, in the P modes that scripts/run-tests does not run
# them in: forced fallback, and glibc without rseq. Each binary is one result, and so is each failed case in it.
# TIMEOUT: 600
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

# The way into each mode, as environment, and the word by which inittrace names the mode. "default" is here to show
# that the plain runs are in another one.
declare -A environment=(
  [default]="ASHLAR_CONF=percpu:on"
  [fallback]="ASHLAR_CONF=percpu:off"
  [no_rseq]="GLIBC_TUNABLES=glibc.pthread.rseq=0"
)
declare -A word=([default]=rseq [fallback]=fallback [no_rseq]=fallback)

for way in default fallback no_rseq; do
  check "$way: the tests are in mode ${word[$way]}" into "$TMPDIR/$way" \
    env "${environment[$way]}" ASHLAR_DEBUG=inittrace=1 "$BUILD/test/alloc/api_limits_test"
  check "$way: they say so" grep -q "^ashlar: init Ps: .* mode ${word[$way]}\$" "$TMPDIR/$way.err"
done

# run WAY BINARY - prints what failed, with the seeds, and the tests before.
run() {
  local way=$1 binary=$2
  env "${environment[$way]}" "$binary" >"$TMPDIR/run.log" 2>&1 && return 0
  grep -vE '^\[       OK|^$' "$TMPDIR/run.log" | tail -n 40
  return 1
}

count=0
for source in "$ROOT"/test/alloc/*_test.cc "$ROOT"/test/alloc/*_stress.cc; do
  name=$(basename "$source" .cc)
  count=$((count + 1))
  for way in fallback no_rseq; do
    # The second way differs from the first only in how the mode is found: the stress tests need not run twice.
    [[ $way == no_rseq && $name == *_stress && $name != fork_stress ]] && continue
    check "$name, $way" run "$way" "$BUILD/test/alloc/$name"
  done
done
check "there are binaries" test "$count" -ge 9
finish
