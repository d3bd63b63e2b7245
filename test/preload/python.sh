#!/bin/bash
# SPDX-License-Identifier: MIT
#
# python.sh - Debian's python3 on Ashlar, with every object from malloc: work of our own, and a part of Python's own
# test suite (Debian's libpython3.11-testsuite).
# TIMEOUT: 300
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
python=/usr/bin/python3
export PYTHONMALLOC=malloc PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1

cat >"$TMPDIR/work.py" <<'SCRIPT'
import hashlib, json, re, threading, zlib, collections, subprocess, sys
state = 42
def draw():
    global state
    state = (state * 1103515245 + 12345) % 2147483648
    return state
table = {f"key{draw() % 30000}": [i, str(i), (i, i + 1)] for i in range(100000)}
print("table", len(table), sum(v[0] for v in table.values()))
for key in list(table)[::2]:
    del table[key]
text = json.dumps(table, sort_keys=True)
print("json", len(text), json.loads(text) == {k: [v[0], v[1], list(v[2])] for k, v in table.items()})
print("regex", len(re.findall(r'"key\d+7"', text)), hashlib.sha256(text.encode()).hexdigest())
blob = b"".join(bytes([i & 255]) * (draw() % 3000) for i in range(2000))
print("zlib", len(blob), zlib.decompress(zlib.compress(blob)) == blob)
results = collections.Counter()
lock = threading.Lock()
def work(n):
    local = collections.Counter(str(i * n % 97) for i in range(20000))
    with lock:
        results.update(local)
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
for t in threads: t.start()
for t in threads: t.join()
print("threads", sum(results.values()), sorted(results.items())[:3])
big = bytearray()
for i in range(300): big += bytes(10007)
print("bytearray", len(big), sum(big))
print("child", subprocess.run([sys.executable, "-c", "print(sum(range(1000)))"], capture_output=True, text=True).stdout.strip())
SCRIPT
same_on_ashlar python 300000 "$python" "$TMPDIR/work.py"
check "python: threads counted everything" grep -q '^threads 160000 ' "$TMPDIR/python.default.out"

# The suite's processes cannot be traced: its tests read what their children write to stderr. So the very process that
# runs the tests says first whose malloc it has.
cat >"$TMPDIR/suite.py" <<'SCRIPT'
import ctypes, sys, unittest
libc_names = ctypes.CDLL(None)
libc_names.malloc.restype = ctypes.c_void_p
block = libc_names.malloc(1000)
libc_names.ashlar_usable_size.argtypes = [ctypes.c_void_p]
libc_names.ashlar_good_size.argtypes = [ctypes.c_size_t]
assert libc_names.ashlar_usable_size(block) == libc_names.ashlar_good_size(1000), "malloc is not Ashlar's"
print("malloc is Ashlar's", flush=True)
unittest.main(module=None, argv=["unittest", "-q"] + sys.argv[1:])
SCRIPT
suite=(test.test_dict test.test_list test.test_set test.test_json test.test_re test.test_bytes test.test_memoryview
  test.test_threading.ThreadTests test.test_threading.ThreadJoinOnShutdown test.test_threading.SubinterpThreadingTests
  test.test_subprocess.POSIXProcessTestCase test.test_subprocess.RunFuncTestCase)

run_suite() { on_ashlar "$1" "$python" "$TMPDIR/suite.py" "${suite[@]}" >"$TMPDIR/suite.$1.log" 2>&1; }

# Most of its time the suite sleeps, so the two modes run side by side.
cd "$TMPDIR" || exit 1
pids=()
for mode in "${modes[@]}"; do
  run_suite "$mode" &
  pids+=($!)
done
for i in "${!modes[@]}"; do
  mode=${modes[i]}
  status=0
  wait "${pids[i]}" || status=$?
  check "python's test suite, $mode: passes" test "$status" -eq 0
  check "python's test suite, $mode: on Ashlar" grep -qx "malloc is Ashlar's" "$TMPDIR/suite.$mode.log"
  ran=$(sed -n 's/^Ran \([0-9]*\) tests in .*/\1/p' "$TMPDIR/suite.$mode.log")
  check "python's test suite, $mode: more than 1000 tests ran" test "${ran:-0}" -gt 1000
  [[ $status -eq 0 ]] || sed 's/^/# /' "$TMPDIR/suite.$mode.log" | tail -n 30
done
finish
