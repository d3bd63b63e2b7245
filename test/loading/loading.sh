#!/bin/bash
# SPDX-License-Identifier: MIT
#
# loading.sh - what the dynamic linker does to us: an auditing library that allocates before all others, a program's own
# first initialisation, libraries that use Ashlar and are closed, and RTLD_DEEPBIND, which mixes allocators.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
program=$programs/loading
cc=${CXX/clang++/clang}
cc=${cc/g++/gcc}

check "the libraries compile" "$cc" -shared -fPIC -fno-builtin -o "$TMPDIR/audit.so" "$ROOT/test/loading/audit.c"
check "the plugin compiles" "$cc" -shared -fPIC -fno-builtin -o "$TMPDIR/plugin.so" "$ROOT/test/loading/plugin.c"
check "the plugin that links with Ashlar compiles" "$cc" -shared -fPIC -fno-builtin -DUSE_ASHLAR -I"$ROOT" \
  -o "$TMPDIR/user.so" "$ROOT/test/loading/plugin.c" -L"$BUILD" -lashlar -Wl,-rpath,"$BUILD"

# dies_with STATUS PATTERN COMMAND... - how it ends, and one line of its stderr.
dies_with() {
  local expected=$1 pattern=$2 status=0
  shift 2
  into "$TMPDIR/dies" "$@" || status=$?
  cat "$TMPDIR/dies.err"
  [[ $status -eq $expected ]] && grep -Eq "$pattern" "$TMPDIR/dies.err"
}

for mode in "${modes[@]}"; do
  conf=$(conf_of "$mode")
  at=$TMPDIR/$mode
  check "LD_AUDIT with malloc, $mode" into "$at.audit" traced "$mode" env LD_AUDIT="$TMPDIR/audit.so" "$programs/life"
  check "LD_AUDIT with malloc, $mode: it audited" grep -qx audited "$at.audit.out"
  check "LD_AUDIT with malloc, $mode: the program made its checks" grep -Eqx '[0-9]{3,} checks passed' "$at.audit.out"
  check "LD_AUDIT with malloc, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.audit.err" 300

  check "preinit_array, $mode" into "$at.early" traced "$mode" "$program" early
  check "preinit_array, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.early.err" 2

  # Not preloaded: the library brings Ashlar along, and leaves while threads have leases.
  check "dlclose of a user, $mode" into "$at.close" \
    env ASHLAR_CONF="$conf" ASHLAR_DEBUG=inittrace=1 "$program" close "$TMPDIR/user.so"
  check "dlclose of a user, $mode: made its checks" grep -Eqx '[0-9]{2,} checks passed' "$at.close.out"
  check "dlclose of a user, $mode: one Ashlar throughout" test "$(grep -c '^ashlar: init Ps: ' "$at.close.err")" -eq 1

  check "RTLD_DEEPBIND, $mode: each frees its own" into "$at.bound" on_ashlar "$mode" "$program" bound "$TMPDIR/plugin.so"
  check "RTLD_DEEPBIND, $mode: we free a block of libc's" dies_with 134 \
    '^ashlar: invalid pointer: not allocated by Ashlar, perhaps by another malloc \(RTLD_DEEPBIND\?\): 0x' \
    on_ashlar "$mode" "$program" bound-ours "$TMPDIR/plugin.so"
  # The other direction is out of our sight: libc's own free gets a block of ours, and its checks end the process.
  check "RTLD_DEEPBIND, $mode: libc frees a block of ours" dies_with 134 'invalid pointer|invalid size' \
    on_ashlar "$mode" "$program" bound-theirs "$TMPDIR/plugin.so"
done
finish
