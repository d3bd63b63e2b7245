#!/bin/bash
# SPDX-License-Identifier: MIT
#
# secure.sh - under AT_SECURE the environment belongs to somebody else, so options are ignored. Checked with the flag
# set by ptrace, and, where this user may make one, with a real setuid program.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
program=$BUILD/test/linked/c_program-static
out=$TMPDIR/out

with_options() { ASHLAR_CONF=help,stats:exit,no_such_key:1 ASHLAR_DEBUG=inittrace=1 into "$out" "$@"; }
says_nothing() { [[ ! -s $out.err ]] || { cat "$out.err" && return 1; }; }
ran() { grep -Eqx '[0-9]{3,} checks passed' "$out.out"; }

check "not secure: runs" with_options "$programs/as_secure" 0 "$program"
check "not secure: options count" grep -q '^ashlar: init Ps: ' "$out.err"
check "AT_SECURE: runs" with_options "$programs/as_secure" 1 "$program"
check "AT_SECURE: made its checks" ran
check "AT_SECURE: options are ignored" says_nothing

if [[ $(id -u) -eq 0 ]]; then
  # Root's program, run by somebody else. The folder must be open to that user.
  chmod 755 "$TMPDIR"
  install -m 4755 "$program" "$TMPDIR/setuid"
  install -m 755 "$program" "$TMPDIR/plain"
  as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
  check "somebody else's plain program: options count" with_options as_nobody "$TMPDIR/plain"
  check "somebody else's plain program: says so" grep -q '^ashlar: init Ps: ' "$out.err"
  check "setuid: runs" with_options as_nobody "$TMPDIR/setuid"
  check "setuid: made its checks" ran
  check "setuid: options are ignored" says_nothing
fi
finish
