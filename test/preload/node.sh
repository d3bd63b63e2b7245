#!/bin/bash
# SPDX-License-Identifier: MIT
#
# node.sh - node on Ashlar: JSON, Map, Buffer, zlib, crypto, promises, worker_threads, a child process.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

cat >"$TMPDIR/work.js" <<'SCRIPT'
'use strict';
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');
const zlib = require('zlib');
const crypto = require('crypto');
const {execFileSync} = require('child_process');

function work(seed, count) {
  let state = seed;
  const draw = () => (state = (state * 1103515245 + 12345) % 2147483648);
  const map = new Map();
  for (let i = 0; i < count; i++) map.set('key' + (draw() % 5000), {i, list: [i, i + 1], text: 'x'.repeat(i % 40)});
  const json = JSON.stringify([...map.entries()].sort((a, b) => (a[0] < b[0] ? -1 : 1)));
  const back = JSON.parse(json);
  const buffers = [];
  for (let i = 0; i < 300; i++) buffers.push(Buffer.alloc(1 + (draw() % 100000), i & 255));
  const joined = Buffer.concat(buffers);
  const packed = zlib.deflateSync(joined);
  if (!zlib.inflateSync(packed).equals(joined)) throw new Error('zlib');
  const hash = crypto.createHash('sha256').update(json).update(joined).digest('hex');
  return `${back.length} ${json.length} ${joined.length} ${packed.length} ${hash}`;
}

if (!isMainThread) {
  parentPort.postMessage(work(workerData, 20000));
} else {
  (async () => {
    console.log('main', work(1, 60000));
    const results = await Promise.all([2, 3, 4, 5].map((seed) => new Promise((resolve, reject) => {
      const worker = new Worker(__filename, {workerData: seed});
      worker.on('message', resolve);
      worker.on('error', reject);
    })));
    results.forEach((r, i) => console.log('worker', i, r));
    const gzipped = await new Promise((resolve, reject) => zlib.gzip('text '.repeat(100000), (e, b) => (e ? reject(e) : resolve(b))));
    console.log('gzip', zlib.gunzipSync(gzipped).length);
    const pieces = await Promise.all(Array.from({length: 2000}, (_, i) => Promise.resolve('p' + i)));
    console.log('promises', pieces.join('').length);
    console.log('child', execFileSync(process.execPath, ['-e', 'console.log([1, 2, 3].map((x) => x * x).join())']).toString().trim());
  })();
}
SCRIPT

same_on_ashlar node 5000 node "$TMPDIR/work.js"
check "node: four workers" test "$(grep -c '^worker [0-3] [0-9]* [0-9]* [0-9]* [0-9]* [0-9a-f]*$' "$TMPDIR/node.default.out")" -eq 4
check "node: a child" grep -qx "child 1,4,9" "$TMPDIR/node.default.out"
finish
