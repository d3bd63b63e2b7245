#!/bin/bash
# SPDX-License-Identifier: MIT
#
# nginx.sh - nginx on Ashlar under wrk: every answer compared, none missing, a reload between and during the load.
# shellcheck source=test/support/servers.sh
source "$ROOT/test/support/servers.sh"

site=$TMPDIR/site
mkdir "$site"
for i in {1..3000}; do echo "line $i of the page, $((i * 7919 % 10007))"; done >"$site/page.txt"

# check.lua - wrk compares each answer with the file, and says how many were wrong and how many there were.
cat >"$TMPDIR/check.lua" <<'LUA'
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args)
  local f = io.open(args[1], 'rb')
  page = f:read('*a')
  f:close()
  wrong, right = 0, 0
end
function response(status, headers, body)
  if status == 200 and body == page then right = right + 1 else wrong = wrong + 1 end
end
function done(summary)
  local wrong, right, e = 0, 0, summary.errors
  for _, t in ipairs(threads) do wrong, right = wrong + t:get('wrong'), right + t:get('right') end
  print('right ' .. right .. ' wrong ' .. wrong .. ' errors ' .. e.connect + e.read + e.write + e.status + e.timeout)
end
LUA

configure() {
  cat >"$dir/nginx.conf" <<CONF
daemon off;
pid $dir/nginx.pid;
error_log stderr warn;
worker_processes 2;
$([[ $(id -u) -ne 0 ]] || echo 'user root;')
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
  default_type text/plain;
  keepalive_requests 1000000;
  server {
    listen 127.0.0.1:$port;
    root $site;
    add_header X-Generation $1;
    location /zipped/ { alias $site/; gzip on; gzip_types text/plain; gzip_min_length 1; }
    location /proxied/ { proxy_pass http://127.0.0.1:$port/; proxy_buffers 4 8k; }
  }
}
CONF
}

get() {
  /usr/bin/python3 - "http://127.0.0.1:$port/$1" "$2" "$site/page.txt" <<'PYTHON'
import gzip, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})
with urllib.request.urlopen(request, timeout=60) as answer:
    body, headers = answer.read(), answer.headers
if headers.get("Content-Encoding") == "gzip":
    body = gzip.decompress(body)
elif "zipped" in sys.argv[1]:
    sys.exit("not compressed")
if body != open(sys.argv[3], "rb").read():
    sys.exit("another page")
if headers["X-Generation"] != sys.argv[2]:
    sys.exit(f"generation {headers['X-Generation']}")
PYTHON
}

# load PATH [options of wrk...] - zero errors, and at least one right answer a connection.
load() {
  local path=$1
  shift
  wrk -t 2 -c 32 -d 2s --timeout 60s -s "$TMPDIR/check.lua" "$@" "http://127.0.0.1:$port/$path" -- "$site/page.txt" >"$TMPDIR/wrk.log"
  cat "$TMPDIR/wrk.log"
  [[ $(grep '^right ' "$TMPDIR/wrk.log") =~ ^right\ ([0-9]+)\ wrong\ 0\ errors\ 0$ && ${BASH_REMATCH[1]} -ge 32 ]]
}

reload() { on_ashlar "$mode" nginx -e stderr -p "$dir" -c "$dir/nginx.conf" -s reload; }

# The old workers close their idle connections when they leave, so a client that keeps one may see it go: here each
# request has its own, and then not one may be lost.
reload_under_load() {
  local n result=0
  load page.txt -H "Connection: close" &
  for n in 3 4 5; do
    sleep 0.5
    configure "$n"
    reload || result=1
  done
  wait $! && wait_until 120 get page.txt 5 && [[ $result -eq 0 ]]
}

replaced() {
  local pid
  for pid in $workers; do gone "$pid" || return 1; done
}

for mode in "${modes[@]}"; do
  dir=$TMPDIR/$mode
  mkdir "$dir"
  port=$(free_port)
  configure 1
  start "$mode" "nginx-$mode" nginx -e stderr -p "$dir" -c "$dir/nginx.conf"
  master=$server_pid
  check "nginx, $mode: answers" wait_until 120 get page.txt 1
  workers=$(children_of "$master")
  # shellcheck disable=SC2086 # a list
  check "nginx, $mode: master and workers have libashlar" has_ashlar "$master" $workers
  check "nginx, $mode: two workers" test "$(wc -w <<<"$workers")" -eq 2
  check "nginx, $mode: a compressed page" get zipped/page.txt 1
  check "nginx, $mode: wrk" load page.txt
  check "nginx, $mode: wrk, compressed" load zipped/page.txt
  check "nginx, $mode: wrk, through the proxy" load proxied/page.txt
  configure 2
  check "nginx, $mode: reload" reload
  check "nginx, $mode: the new configuration" wait_until 120 get page.txt 2
  check "nginx, $mode: the old workers leave" wait_until 120 replaced
  check "nginx, $mode: wrk after the reload" load page.txt
  check "nginx, $mode: reloads under load" reload_under_load
  check "nginx, $mode: exits" stop "$master" QUIT
  check "nginx, $mode: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/nginx-$mode.err" 1000
  check "nginx, $mode: no complaint" test -z "$(grep -E '\[(alert|emerg|crit)\]' "$TMPDIR/nginx-$mode.err")"
  [[ $failures -eq 0 ]] || server_log "nginx-$mode"
done
finish
