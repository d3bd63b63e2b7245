#!/bin/bash
# SPDX-License-Identifier: MIT
#
# python.sh - python3 on Ashlar, with every object from malloc: pools of threads that fork and start programs while the
# others allocate, and pools of processes.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
export PYTHONMALLOC=malloc PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1

cat >"$TMPDIR/work.py" <<'SCRIPT'
import concurrent.futures, hashlib, json, multiprocessing, os, queue, random, subprocess, sys, threading, zlib

def churn(seed, rounds=30000):
    """Objects that live on and die at random, each checked before it dies."""
    draw = random.Random(seed)
    live = [None] * 500
    total = hashlib.sha256()
    for i in range(rounds):
        at = draw.randrange(len(live))
        if live[at]:
            n, fill, data = live[at]
            assert data == bytes([fill]) * n, "an object changed"
            total.update(b"%d %d" % (n, fill))
        n = draw.randrange(20) if i % 4 else draw.randrange(5000)
        live[at] = (n, i & 255, bytes([i & 255]) * n)
    return total.hexdigest()[:16]

def spawn(n):
    code = f"print(sum(len(str(i) * {n}) for i in range(20000)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return f"{n} {result}"

def forked(n):
    """The child allocates after a fork of a process with many threads, and reports by a pipe."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writer, churn(n, 3000).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"
    return text

def squeeze(n):
    data = json.dumps([[i * n, str(i)] for i in range(20000)]).encode()
    assert zlib.decompress(zlib.compress(data, 1)) == data
    return f"{zlib.crc32(data):08x}"

def main():
    jobs = [(f, n) for n in range(12) for f in (churn, spawn, forked, squeeze)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for (f, n), future in [(job, pool.submit(*job)) for job in jobs]:
            print(f.__name__, n, future.result())
    # Blocks that one thread allocates and another frees.
    handed = queue.Queue(100)
    counts = []
    def consume():
        mine = 0
        while (item := handed.get()) is not None:
            assert item[1] == bytes([item[0] & 255]) * len(item[1])
            mine += len(item[1])
        counts.append(mine)
    threads = [threading.Thread(target=consume) for _ in range(4)]
    for t in threads: t.start()
    for i in range(20000): handed.put((i, bytes([i & 255]) * (i % 3000)))
    for t in threads: handed.put(None)
    for t in threads: t.join()
    print("handed", sum(counts))
    for i in range(1000):
        t = threading.Thread(target=churn, args=(i, 5))
        t.start()
        t.join()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        print("processes", pool.map(churn, range(8)))

main()
SCRIPT
same_on_ashlar python-threads 300000 /usr/bin/python3 "$TMPDIR/work.py"
check "python-threads: all jobs" test "$(grep -cE '^(churn|spawn|forked|squeeze) ' "$TMPDIR/python-threads.default.out")" -eq 48
check "python-threads: all that was handed on" grep -qx "handed $(seq 0 19999 | awk '{ s += $1 % 3000 } END { print s }')" "$TMPDIR/python-threads.default.out"
finish
