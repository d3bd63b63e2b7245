#!/bin/bash
# SPDX-License-Identifier: MIT
#
# memcached.sh - memcached on Ashlar: eight clients set, overwrite, delete and get 40,000 values, each checked; then its
# own counts of it.
# shellcheck source=test/support/servers.sh
source "$ROOT/test/support/servers.sh"

cat >"$TMPDIR/client.py" <<'SCRIPT'
import hashlib, socket, sys, threading
path = sys.argv[1]
CLIENTS, KEYS = 8, 5000

class Client:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rwb")
    def ask(self, text):
        self.file.write(text)
        self.file.flush()
        return self.file.readline()
    def get(self, key):
        head = self.ask(b"get %s\r\n" % key)
        if head == b"END\r\n":
            return None
        body = self.file.read(int(head.split()[3]) + 2)
        assert self.file.readline() == b"END\r\n"
        return body[:-2]
    def stats(self):
        self.file.write(b"stats\r\n")
        self.file.flush()
        result = {}
        while (line := self.file.readline()) != b"END\r\n":
            _, key, value = line.decode().split(None, 2)
            result[key] = value.strip()
        return result

def value(key, generation):
    seed = hashlib.sha256(b"%s %d" % (key, generation)).digest()
    return seed * (1 + seed[0] * (40 if seed[1] == 7 else 1))

errors = []
def work(n):
    try:
        client = Client()
        keys = [b"key-%d-%d" % (n, i) for i in range(KEYS)]
        for generation in (1, 2):
            for key in keys:
                data = value(key, generation)
                assert client.ask(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(data), data)) == b"STORED\r\n", key
        for key in keys[::5]:
            assert client.ask(b"delete %s\r\n" % key) == b"DELETED\r\n", key
        for i, key in enumerate(keys):
            assert client.get(key) == (value(key, 2) if i % 5 else None), key
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=work, args=(n,)) for n in range(CLIENTS)]
for t in threads: t.start()
for t in threads: t.join()
assert not errors, errors
stats = Client().stats()
kept = CLIENTS * KEYS * 4 // 5
expected = {"curr_items": kept, "get_hits": kept, "get_misses": CLIENTS * KEYS - kept, "cmd_set": 2 * CLIENTS * KEYS,
            "delete_hits": CLIENTS * KEYS - kept, "evictions": 0}
for key, number in expected.items():
    assert int(stats[key]) == number, (key, stats[key], number)
assert Client().ask(b"flush_all\r\n") == b"OK\r\n"
assert Client().get(b"key-1-1") is None
print("values are right")
SCRIPT

answers() { /usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$socket"; }

user=()
[[ $(id -u) -ne 0 ]] || user=(-u root)
for mode in "${modes[@]}"; do
  socket=$TMPDIR/$mode.socket
  start "$mode" "memcached-$mode" memcached "${user[@]}" -s "$socket" -m 1024 -t 4
  check "memcached, $mode: answers" wait_until 120 answers
  check "memcached, $mode: server has libashlar" has_ashlar "$server_pid"
  check "memcached, $mode: values and counts" /usr/bin/python3 "$TMPDIR/client.py" "$socket"
  check "memcached, $mode: exits" stop "$server_pid"
  check "memcached, $mode: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/memcached-$mode.err" 100
  [[ $failures -eq 0 ]] || server_log "memcached-$mode"
done
finish
