#!/bin/bash
# SPDX-License-Identifier: MIT
#
# redis.sh - redis-server on Ashlar: data of every type under redis-benchmark, BGSAVE (a fork while clients write), and
# a second server that reads the dump. Debian's redis takes malloc from libjemalloc.so, which Ashlar goes before; its
# mallctl still answers, and does not matter.
# shellcheck source=test/support/servers.sh
source "$ROOT/test/support/servers.sh"

cli() { redis-cli -s "$socket" "$@"; }
answers() { [[ $(cli PING) == PONG ]]; }
is() { local expected=$1 && shift && [[ $("$@") == "$expected" ]]; }
saved() { cli INFO persistence | grep -q '^rdb_bgsave_in_progress:0' && cli INFO persistence | grep -q '^rdb_last_bgsave_status:ok'; }

serve() {
  start "$mode" "redis-$1-$mode" redis-server --port 0 --unixsocket "$socket" --dir "$dir" --save "" \
    --dbfilename dump.rdb --daemonize no --hz 100
}

# Values are made from their keys, so that whoever has the key can check the value.
cat >"$TMPDIR/fill.lua" <<'LUA'
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local v = string.rep(redis.sha1hex(i), 1 + i % 60)
  redis.call('SET', 'own:' .. i, v)
  redis.call('HSET', 'hash:' .. i % 50, 'f' .. i, v)
  redis.call('RPUSH', 'list:' .. i % 50, v)
  redis.call('ZADD', 'zset:' .. i % 50, i, v .. i)
  if i % 3 == 0 then redis.call('APPEND', 'own:' .. i, 'tail') end
end
return 'filled'
LUA
cat >"$TMPDIR/verify.lua" <<'LUA'
for i = 1, tonumber(ARGV[1]) do
  local v = string.rep(redis.sha1hex(i), 1 + i % 60)
  local own = i % 3 == 0 and v .. 'tail' or v
  if redis.call('GET', 'own:' .. i) ~= own then return 'wrong: own:' .. i end
  if redis.call('HGET', 'hash:' .. i % 50, 'f' .. i) ~= v then return 'wrong: hash of ' .. i end
  if redis.call('ZSCORE', 'zset:' .. i % 50, v .. i) ~= tostring(i) then return 'wrong: zset of ' .. i end
end
local n = 0
for l = 0, 49 do
  for k, v in ipairs(redis.call('LRANGE', 'list:' .. l, 0, -1)) do
    local i = l == 0 and k * 50 or l + (k - 1) * 50
    if v ~= string.rep(redis.sha1hex(i), 1 + i % 60) then return 'wrong: list:' .. l .. ' at ' .. k end
    n = n + 1
  end
end
return 'verified ' .. n
LUA
count=20000

fill() { is filled cli --eval "$TMPDIR/fill.lua" , 1 "$count"; }
verify() { cli --eval "$TMPDIR/verify.lua" , "$count"; }

# Requests per second are of no interest; an error reply, or one that is missing, is.
benchmark() {
  redis-benchmark -s "$socket" -n 20000 -c 50 -r 5000 -d 300 -P 8 -q -t set,get,incr,lpush,rpop,sadd,hset,zadd,mset \
    >"$TMPDIR/benchmark.$mode" 2>&1 &&
    [[ $(tr '\r' '\n' <"$TMPDIR/benchmark.$mode" | grep -cE '^(SET|GET|INCR|LPUSH|RPOP|SADD|HSET|ZADD|MSET .*): [0-9.]+ requests per second') -eq 9 ]] &&
    ! grep -i error "$TMPDIR/benchmark.$mode"
}

save_under_load() {
  redis-benchmark -s "$socket" -n 60000 -c 20 -r 5000 -d 500 -P 8 -q -t set,lpush >/dev/null 2>&1 &
  local load=$! first
  first=$(cli LASTSAVE)
  cli BGSAVE && wait_until 120 saved && wait "$load" && sleep 1.1 && cli BGSAVE && wait_until 120 saved &&
    [[ $(cli LASTSAVE) -ge $first && -s $dir/dump.rdb ]]
}

for mode in "${modes[@]}"; do
  dir=$TMPDIR/$mode
  mkdir "$dir"
  socket=$dir/socket
  serve first
  first=$server_pid
  check "redis, $mode: answers" wait_until 120 answers
  check "redis, $mode: server has libashlar" has_ashlar "$first"
  check "redis, $mode: filled" fill
  check "redis, $mode: benchmark without an error" benchmark
  check "redis, $mode: BGSAVE under load" save_under_load
  check "redis, $mode: data after the load" is "verified $count" verify
  check "redis, $mode: deletes half" is "" cli --raw EVAL "for i = 1, 5000 do redis.call('DEL', 'key:' .. string.format('%012d', i)) end" 0
  check "redis, $mode: the rest is unharmed" is "verified $count" verify
  size=$(cli DBSIZE)
  check "redis, $mode: has keys" test "$size" -gt "$count"
  cli SHUTDOWN SAVE
  check "redis, $mode: exits" ended "$first"
  check "redis, $mode: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/redis-first-$mode.err" 100000

  serve second
  second=$server_pid
  check "redis, $mode: answers after the restart" wait_until 120 answers
  check "redis, $mode: as many keys" is "$size" cli DBSIZE
  check "redis, $mode: data from the dump" is "verified $count" verify
  cli SHUTDOWN NOSAVE
  check "redis, $mode: exits again" ended "$second"
  check "redis, $mode: on Ashlar again" ran_on_ashlar "$mode" "$TMPDIR/redis-second-$mode.err" 50000
  [[ $failures -eq 0 ]] || server_log "redis-first-$mode"
done
finish
