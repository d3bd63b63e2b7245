# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lib.sh - what the test scripts share. Source it first: `source "$ROOT/test/support/lib.sh"`.
#
# Owns: the two P modes and how a program is run on Ashlar in each; the ok / not ok lines that scripts/run-tests counts.
# Invariants: LD_PRELOAD and ASHLAR_ variables are set for the program under test alone, never for the script; a
# function that runs a program on Ashlar keeps what it wrote in files below $TMPDIR, so that it can be compared.
set -uo pipefail
: "${BUILD:?is the absolute path of the build folder}" "${ROOT:?is the tree}" "${TMPDIR:?is a scratch folder}"
unset LD_PRELOAD ASHLAR_CONF ASHLAR_DEBUG
export LC_ALL=C.UTF-8

library=$BUILD/${TEST_LIBRARY:-libashlar.so} # test/preload/hardened.sh sets it
# shellcheck disable=SC2034 # for the scripts
programs=$BUILD/test/programs
modes=(default fallback)
failures=0

# conf_of MODE [more...] - the value of ASHLAR_CONF that asks for this mode.
conf_of() {
  local conf=percpu:on
  [[ $1 == fallback ]] && conf=percpu:off
  shift
  [[ -n ${TEST_GUARD_SAMPLE:-} ]] && conf+=,guard_sample:$TEST_GUARD_SAMPLE
  local word
  for word in "$@"; do conf+=,$word; done
  echo "$conf"
}

# word_of MODE - the word by which `inittrace` names it.
word_of() { if [[ $1 == fallback ]]; then echo fallback; else echo rseq; fi; }

ok() { echo "ok $*"; }

not_ok() {
  echo "not ok $*"
  failures=$((failures + 1))
}

# check NAME COMMAND... - one result: whether the command succeeds. Its output is shown where it fails.
check() {
  local name=$1
  shift
  if "$@" >"$TMPDIR/check.log" 2>&1; then
    ok "$name"
  else
    not_ok "$name"
    sed 's/^/# /' "$TMPDIR/check.log" | tail -n 30
  fi
}

# finish - to be the last command: the script's exit status.
finish() { [[ $failures -eq 0 ]]; }

# on_ashlar MODE COMMAND... - runs it preloaded.
on_ashlar() {
  local mode=$1
  shift
  ASHLAR_CONF=$(conf_of "$mode") LD_PRELOAD=$library "$@"
}

# traced MODE COMMAND... - the same, and every process of it says on stderr which P mode it is in and, where it exits,
# what it allocated.
traced() {
  local mode=$1
  shift
  ASHLAR_CONF=$(conf_of "$mode" stats:exit) ASHLAR_DEBUG=inittrace=1 LD_PRELOAD=$library "$@"
}

# ran_on_ashlar MODE STDERR MALLOCS - whether the stderr of a traced run shows that it was on Ashlar in this mode alone,
# that a process exited with at least MALLOCS mallocs, and that Ashlar had nothing to complain about. MALLOCS is 0 for
# programs that close their stderr before they exit (all of coreutils), or leave by _exit (dash): they end without figures.
ran_on_ashlar() {
  local mode=$1 stderr=$2 least=$3 most
  grep -q "^ashlar: init Ps: .* mode $(word_of "$mode")\$" "$stderr" || {
    echo "no process was in mode $(word_of "$mode")"
    return 1
  }
  if grep "^ashlar: init Ps:" "$stderr" | grep -qv " mode $(word_of "$mode")\$"; then
    echo "a process was in another mode than $(word_of "$mode")"
    return 1
  fi
  most=$(sed -n 's/^ashlar: Mallocs = //p' "$stderr" | sort -n | tail -n 1)
  [[ ${most:-0} -ge $least ]] || {
    echo "at most ${most:-0} mallocs in a process, expected $least"
    return 1
  }
  if grep '^ashlar: ' "$stderr" | grep -vE '^ashlar: (init |[A-Za-z]+(\[[0-9]+\])? = )'; then
    echo "(unexpected lines of Ashlar)"
    return 1
  fi
}

# exits_with STATUS COMMAND...
exits_with() {
  local expected=$1 status=0
  shift
  "$@" || status=$?
  [[ $status -eq $expected ]]
}

# into FILE COMMAND... - runs it with stdout in FILE.out and stderr in FILE.err.
into() {
  local file=$1
  shift
  "$@" >"$file.out" 2>"$file.err"
}

# same_text FILE FILE - the same, and not empty.
same_text() { [[ -s $1 ]] && diff "$1" "$2"; }

# same_on_ashlar NAME MALLOCS COMMAND... - three results a mode: the command succeeds on Ashlar, its stdout is what it is on
# libc's malloc, and it really was on Ashlar. Leaves the stdout in $TMPDIR/NAME.{libc,default,fallback}.out
same_on_ashlar() {
  local name=$1 least=$2 mode
  shift 2
  local at=$TMPDIR/$name
  check "$name: runs without Ashlar" into "$at.libc" "$@"
  for mode in "${modes[@]}"; do
    if into "$at.$mode" traced "$mode" "$@"; then
      ok "$name, $mode: succeeds"
    else
      not_ok "$name, $mode: succeeds"
      grep -v '^ashlar: [A-Z]' "$at.$mode.err" | sed 's/^/# /' | tail -n 30
    fi
    check "$name, $mode: same output" same_text "$at.libc.out" "$at.$mode.out"
    check "$name, $mode: on Ashlar" ran_on_ashlar "$mode" "$at.$mode.err" "$least"
  done
}
