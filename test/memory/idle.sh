#!/bin/bash
# SPDX-License-Identifier: MIT
# TIMEOUT: 300
#
# idle.sh - after a burst is freed and the program only sleeps, its memory is back in 2 s: test/programs/idle.cc, in
# both P modes. A program with one thread stays one; with threads a helper does it, and ends; purge_thread:off forbids it.
source "$ROOT/test/support/lib.sh"

# idle MODE CONF ARGUMENTS... - one run of the program.
idle() {
  local mode=$1 conf=$2
  shift 2
  check "idle $* ($mode${conf:+, $conf})" env ASHLAR_CONF="$(conf_of "$mode" ${conf:+"$conf"})" LD_PRELOAD="$library" \
    "$programs/idle" "$@"
}

for mode in "${modes[@]}"; do
  # THREADS BLOCK_BYTES BURST_MIB ORDER BASE_MIB LIMIT_PERCENT
  idle "$mode" "" 0 65536 1024 in 64 10
  idle "$mode" "" 0 200 1024 in 64 10
  idle "$mode" "" 0 200 1024 random 64 10
  idle "$mode" "" 4 65536 1024 in 0 10
  idle "$mode" "" 4 200 1024 random 16 10
  idle "$mode" "" 4 200 1024 other 0 10
  # What the budget allows stays (2 MiB and 1/20 of what is in use), and the caches of four threads.
  idle "$mode" purge_thread:off 4 65536 1024 in 64 15
done

# The negative control: without any purge the burst stays.
if ASHLAR_CONF=purge:off LD_PRELOAD=$library "$programs/idle" 4 65536 256 in 0 100 >/dev/null 2>&1; then
  not_ok "purge:off keeps the burst, and the program sees it"
else
  ok "purge:off keeps the burst, and the program sees it"
fi
finish
