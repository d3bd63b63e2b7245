#!/bin/bash
# SPDX-License-Identifier: MIT
#
# postgres.sh - PostgreSQL on Ashlar: initdb, pgbench with its invariant (all four sums agree), big sorts and hash
# joins with a known result, a crash and its recovery. It refuses root, so it runs as the user that its package makes.
# shellcheck source=test/support/servers.sh
source "$ROOT/test/support/servers.sh"

bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
home=$TMPDIR/home
mkdir "$home"
as=()
if [[ $(id -u) -eq 0 ]]; then
  as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  # The tree may lie where that user may not look.
  chmod 711 "$TMPDIR"
  cp "$library" "$home"
  library=$home/libashlar.so
  chown -R postgres: "$home"
fi
cd "$home" || exit 1
export HOME=$home PGUSER=tester PGDATABASE=postgres

client() { into "$home/$mode.client" traced "$mode" "$bin/$1" -h "$home" "${@:2}"; }
sql() { client psql -X -A -t -q -v ON_ERROR_STOP=1 -c "$1" && cat "$home/$mode.client.out"; }
is() { local expected=$1 result && shift && result=$("$@") && { [[ $result == "$expected" ]] || { echo "$result"; return 1; }; }; }

initialise() {
  into "$home/$mode.initdb" traced "$mode" "${as[@]}" "$bin/initdb" -D "$data" -U "$PGUSER" -A trust -E UTF8 --no-locale -N ||
    { grep -v '^ashlar: ' "$home/$mode.initdb.err" && return 1; }
  ran_on_ashlar "$mode" "$home/$mode.initdb.err" 1000
}

serve() {
  start "$mode" "postgres-$1-$mode" "${as[@]}" "$bin/postgres" -D "$data" -k "$home" -c listen_addresses= \
    -c max_parallel_workers_per_gather=2 -c work_mem=16MB -c fsync=off
}

bench() {
  client pgbench -i -s 3 --foreign-keys && client pgbench -c 8 -j 2 -t 400 &&
    grep -q '^number of transactions actually processed: 3200/3200' "$home/$mode.client.out" &&
    grep -q '^number of failed transactions: 0 ' "$home/$mode.client.out" &&
    ran_on_ashlar "$mode" "$home/$mode.client.err" 1000
}

sums="select (select count(*) from pgbench_history) = 3200
  and (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts)
  and (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)
  and (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers)"

# 300,000 rows sorted and joined by hash; every number follows from n alone.
work="set enable_mergejoin = off; create table numbers as select n, md5(n::text) as text from generate_series(1, 300000) n;
  select count(*), sum(a.n) from numbers a join numbers b on a.text = b.text;
  select count(distinct text), length(string_agg(text, '' order by text desc)) from numbers;
  select length(xs::text) from (select jsonb_agg(n order by n) as xs from numbers where n <= 100000) t"
work_result=$'300000|45000150000\n300000|9600000\n688895'

for mode in "${modes[@]}"; do
  data=$home/$mode
  check "postgres, $mode: initdb" initialise
  serve first
  check "postgres, $mode: answers" wait_until 120 sql "select 1"
  # The process was setpriv's, and became postgres.
  check "postgres, $mode: server has libashlar" has_ashlar "$server_pid" "$(pgrep -P "$server_pid" -f checkpointer)"
  check "postgres, $mode: its backend has libashlar" is t sql "select pg_read_file('/proc/self/maps') like '%/libashlar.so%'"
  check "postgres, $mode: pgbench" bench
  check "postgres, $mode: sums agree" is t sql "$sums"
  check "postgres, $mode: sorts and joins" is "$work_result" sql "$work"
  stop "$server_pid" QUIT
  serve second
  check "postgres, $mode: recovers" wait_until 120 sql "select 1"
  check "postgres, $mode: it was a crash" grep -q "was not properly shut down" "$TMPDIR/postgres-second-$mode.err"
  check "postgres, $mode: sums agree after it" is t sql "$sums"
  check "postgres, $mode: exits" stop "$server_pid" INT
  for run in first second; do
    check "postgres, $mode: on Ashlar, $run run" ran_on_ashlar "$mode" "$TMPDIR/postgres-$run-$mode.err" 1000
    check "postgres, $mode: no crash of its own, $run run" test -z "$(grep -E 'PANIC|terminated by signal|ERROR' "$TMPDIR/postgres-$run-$mode.err")"
  done
  [[ $failures -eq 0 ]] || server_log "postgres-first-$mode"
done
finish
