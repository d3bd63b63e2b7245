# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# servers.sh - what the scripts of test/applications/ share: servers that run on Ashlar in the background. Source it
# first: `source "$ROOT/test/support/servers.sh"`; it brings lib.sh.
#
# Owns: the servers that a script started; they are stopped when the script ends, however it ends. Their output is in
# $TMPDIR/NAME.out and NAME.err.
# Invariants: a server listens on a socket below $TMPDIR, or on a free port of the loopback; waiting has limits of
# minutes, so that only what never happens fails.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
server_pid=0
started=()

stop_all() {
  local pid
  for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${started[@]}"; do
    wait_until 20 gone "$pid" || kill -KILL "$pid" 2>/dev/null
  done
}
trap stop_all EXIT
trap 'exit 1' INT TERM HUP

# free_port - a port of the loopback that nobody listens on.
free_port() {
  /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_until SECONDS COMMAND... - repeats it until it succeeds.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.05
  done
}

# gone PID - no such process, or nothing but its exit status is left.
gone() { [[ ! -e /proc/$1/stat || $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) == Z ]]; }

# start MODE NAME COMMAND... - a server on Ashlar; it is server_pid. COMMAND must not be a shell function: the process is
# to be the server's own.
start() {
  local mode=$1 name=$2
  shift 2
  (
    export ASHLAR_DEBUG=inittrace=1 ASHLAR_CONF LD_PRELOAD=$library
    ASHLAR_CONF=$(LD_PRELOAD='' conf_of "$mode" stats:exit)
    exec "$@"
  ) >"$TMPDIR/$name.out" 2>"$TMPDIR/$name.err" &
  server_pid=$!
  started+=("$server_pid")
}

# stop PID [SIGNAL] - ends a server and returns its exit status; 124 where it does not end within two minutes.
stop() {
  kill "-${2:-TERM}" "$1"
  ended "$1"
}

# ended PID - waits until a server that was asked to end has ended; returns its exit status.
ended() {
  wait_until 120 gone "$1" || return 124
  wait "$1"
}

# has_ashlar PID... - whether these processes, at least one, have the library mapped.
has_ashlar() {
  local pid
  [[ $# -gt 0 ]] || {
    echo "no process"
    return 1
  }
  for pid in "$@"; do
    grep -q "/libashlar\.so$" "/proc/$pid/maps" || {
      echo "no libashlar.so in process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
      return 1
    }
  done
}

# children_of PID - its children.
children_of() { ps -o pid= --ppid "$1"; }

# server_log NAME - for a failed script: what the server wrote.
server_log() { grep -hv '^ashlar: [A-Z]' "$TMPDIR/$1.out" "$TMPDIR/$1.err" | sed 's/^/# /' | tail -n 30; }
