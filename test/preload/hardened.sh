#!/bin/bash
# SPDX-License-Identifier: MIT
#
# hardened.sh - real programs of this folder once more on libashlar-hardened.so, in both P modes; and two of them
# on the normal library with every tenth block between guard pages. Each script is one result.
# TIMEOUT: 600
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
scratch=$TMPDIR

# run SCRIPT - the script with a scratch folder of its own, in the environment of the caller.
run() {
  mkdir -p "$scratch/$1"
  TMPDIR=$scratch/$1 "$ROOT/test/preload/$1.sh"
}

# Not python.sh, whose suite of a thousand child processes would take minutes.
for script in life surface operators bash git gxx perl sqlite tools; do
  TEST_LIBRARY=libashlar-hardened.so check "$script, hardened" run "$script"
done
for script in life operators perl; do
  TEST_GUARD_SAMPLE=10 check "$script, every tenth block guarded" run "$script"
done

# That it was the hardened one, and that blocks were sampled: what only they say.
check "TEST_LIBRARY reaches the programs" \
  bash -c "LD_PRELOAD=$BUILD/libashlar-hardened.so ASHLAR_CONF=help $programs/life 2>&1 | grep -q 'guard_sample.*(1000)'"
check "and the normal library does not sample" \
  bash -c "LD_PRELOAD=$BUILD/libashlar.so ASHLAR_CONF=help $programs/life 2>&1 | grep -q 'guard_sample.*(0)'"
finish
