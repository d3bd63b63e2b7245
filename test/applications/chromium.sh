#!/bin/bash
# SPDX-License-Identifier: MIT
#
# chromium.sh - a headless chromium with Ashlar preloaded renders a page: the DOM after its script, and a picture whose
# colours are counted. Chromium's executable defines malloc itself (PartitionAlloc), and what an executable defines goes
# before every library: its blocks are not Ashlar's, and no figure is asked for. What shows is that Ashlar, loaded into
# the browser and its renderers, disturbs neither.
# shellcheck source=test/support/servers.sh
source "$ROOT/test/support/servers.sh"

cat >"$TMPDIR/page.html" <<'HTML'
<!DOCTYPE html><title>page</title><body style="margin:0;background:#ff0000"><div id="at" style="width:400px;height:300px;background:#0000ff"></div>
<p id="result">none</p><script>
let state = 1;
const map = new Map();
for (let i = 0; i < 200000; i++) { state = (state * 48271) % 2147483647; map.set(state % 5000, 'x'.repeat(i % 100)); }
let text = '';
for (let i = 0; i < 2000; i++) { const p = document.createElement('i'); p.textContent = i; document.body.append(p); text += p.textContent; }
document.getElementById('result').textContent = 'keys ' + map.size + ' digits ' + text.length + ' sum ' + [...Array(1000).keys()].reduce((a, b) => a + b);
</script>
HTML
cat >"$TMPDIR/colours.py" <<'SCRIPT'
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
at, packed = 8, b""
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + size]
    assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0], "damaged"
    if kind == b"IHDR": width, height, depth, colour = struct.unpack(">IIBB", body[:10])
    if kind == b"IDAT": packed += body
    at += 12 + size
step = {2: 3, 6: 4}[colour]
assert depth == 8 and (width, height) == (800, 600), (depth, width, height)
raw, before, counts = zlib.decompress(packed), bytearray(width * step), {}
for y in range(height):
    start = y * (width * step + 1)
    line = bytearray(raw[start + 1:start + 1 + width * step])
    for x in range(len(line)):
        a, b, c = line[x - step] if x >= step else 0, before[x], before[x - step] if x >= step else 0
        p = a + b - c
        paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        line[x] = (line[x] + (0, a, b, (a + b) // 2, paeth)[raw[start]]) & 255
    for x in range(0, len(line), step):
        key = bytes(line[x:x + 3])
        counts[key] = counts.get(key, 0) + 1
    before = line
assert counts.get(b"\0\0\xff", 0) == 400 * 300, counts.get(b"\0\0\xff")
assert counts.get(b"\xff\0\0", 0) > 800 * 600 // 4, counts.get(b"\xff\0\0")
SCRIPT

options=(--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars)
export XDG_CONFIG_HOME=$TMPDIR XDG_CACHE_HOME=$TMPDIR HOME=$TMPDIR
render() { into "$TMPDIR/$1" traced "$mode" timeout 120 chromium "${options[@]}" --window-size=800,600 --user-data-dir="$TMPDIR/$1.profile" "${@:2}" "file://$TMPDIR/page.html"; }
renderers() { pgrep -f -- "--type=renderer.*$TMPDIR/live-$mode|$TMPDIR/live-$mode.*--type=renderer"; }

for mode in "${modes[@]}"; do
  check "chromium, $mode: DOM" render "dom-$mode" --dump-dom
  check "chromium, $mode: its script ran" grep -q '<p id="result">keys 5000 digits 6890 sum 499500</p>' "$TMPDIR/dom-$mode.out"
  check "chromium, $mode: picture" render "shot-$mode" --screenshot="$TMPDIR/$mode.png"
  check "chromium, $mode: its colours" /usr/bin/python3 "$TMPDIR/colours.py" "$TMPDIR/$mode.png"
  # One that stays, to look at its processes.
  start "$mode" "live-$mode" chromium "${options[@]}" --user-data-dir="$TMPDIR/live-$mode" --remote-debugging-port=0 "file://$TMPDIR/page.html"
  browser=$server_pid
  check "chromium, $mode: has a renderer" wait_until 60 renderers
  check "chromium, $mode: browser has libashlar" has_ashlar "$browser"
  # shellcheck disable=SC2046 # a list
  check "chromium, $mode: renderers have libashlar" has_ashlar $(renderers)
  stop "$browser" >/dev/null 2>&1
  check "chromium, $mode: ends" gone "$browser"
done
finish
