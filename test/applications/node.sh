#!/bin/bash
# SPDX-License-Identifier: MIT
#
# node.sh - node on Ashlar for longer than test/preload/node.sh: workers that come and go, buffers handed between them,
# zlib and brotli streams, an HTTP server with its clients, children.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

cat >"$TMPDIR/work.js" <<'SCRIPT'
'use strict';
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');
const zlib = require('zlib');
const crypto = require('crypto');
const http = require('http');
const {promisify} = require('util');
const {execFile} = require('child_process');
const sha = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);

function generator(seed) {
  let state = seed;
  return () => (state = (state * 1103515245 + 12345) % 2147483648);
}

// Buffers from malloc that live on and die at random; each is checked before it dies.
function buffers(seed, rounds) {
  const draw = generator(seed);
  const live = new Array(200);
  let sum = 0;
  for (let i = 0; i < rounds; i++) {
    const at = (draw() >> 8) % live.length;
    const b = live[at];
    if (b) {
      if (b.compare(Buffer.alloc(b.length, b[0])) !== 0) throw new Error('a buffer changed');
      sum = (sum * 31 + b.length + b[0]) % 1000000007;
    }
    live[at] = Buffer.alloc(1 + (draw() >> 4) % 30000, i & 255);
  }
  return sum;
}

if (!isMainThread) {
  parentPort.on('message', (array) => {
    if (Buffer.compare(array, new Uint8Array(array.length).fill(workerData)) !== 0) throw new Error('handed over wrongly');
    const packed = zlib.brotliCompressSync(array, {params: {[zlib.constants.BROTLI_PARAM_QUALITY]: 4}});
    if (sha(zlib.brotliDecompressSync(packed)) !== sha(array)) throw new Error('brotli');
    array.fill(workerData + 1);
    parentPort.postMessage({sum: buffers(workerData, 1500), array}, [array.buffer]);
    parentPort.close();
  });
} else {
  (async () => {
    for (let round = 0; round < 3; round++) {
      const results = await Promise.all([1, 2, 3, 4].map((n) => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, {workerData: 4 * round + n});
        const array = new Uint8Array(3000000).fill(4 * round + n);
        worker.on('error', reject);
        worker.on('message', (m) => {
          if (Buffer.compare(m.array, new Uint8Array(m.array.length).fill(4 * round + n + 1)) !== 0) reject(new Error('came back wrongly'));
          worker.on('exit', () => resolve(m.sum));
        });
        worker.postMessage(array, [array.buffer]);
      })));
      console.log('round', round, ...results);
    }
    console.log('main', buffers(99, 8000));

    const draw = generator(5);
    const texts = Array.from({length: 60}, () => Buffer.from(Array.from({length: 4000 + draw() % 30000}, () => 97 + (draw() >> 6) % 5)));
    const packed = await Promise.all(texts.map((t, i) => promisify(i % 2 ? zlib.gzip : zlib.deflate)(t, {level: 1 + i % 9})));
    const back = await Promise.all(packed.map((p) => promisify(zlib.unzip)(p)));
    console.log('zlib', back.every((b, i) => b.equals(texts[i])), sha(Buffer.concat(back)));

    const server = http.createServer((request, response) => {
      const body = [];
      request.on('data', (d) => body.push(d));
      request.on('end', () => response.end(zlib.gzipSync(Buffer.concat(body))));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const ask = (data) => new Promise((resolve, reject) => {
      const request = http.request({port: server.address().port, host: '127.0.0.1', method: 'POST'}, (response) => {
        const body = [];
        response.on('data', (d) => body.push(d));
        response.on('end', () => resolve(zlib.gunzipSync(Buffer.concat(body)).equals(data)));
      });
      request.on('error', reject);
      request.end(data);
    });
    let right = 0;
    for (let i = 0; i < 3; i++) right += (await Promise.all(texts.map(ask))).filter((x) => x).length;
    server.close();
    console.log('http', right);

    const run = promisify(execFile);
    const children = await Promise.all([1, 2, 3, 4].map((n) => run(process.execPath, ['-p', `Buffer.alloc(1e6, ${n}).reduce((a, b) => a + b)`])));
    console.log('children', children.map((c) => c.stdout.trim()).join());
  })();
}
SCRIPT

same_on_ashlar node-long 20000 node "$TMPDIR/work.js"
check "node-long: rounds" test "$(grep -cE '^round [0-2]( [0-9]+){4}$' "$TMPDIR/node-long.default.out")" -eq 3
check "node-long: zlib" grep -qE '^zlib true [0-9a-f]{16}$' "$TMPDIR/node-long.default.out"
check "node-long: http" grep -qx 'http 180' "$TMPDIR/node-long.default.out"
check "node-long: children" grep -qx 'children 1000000,2000000,3000000,4000000' "$TMPDIR/node-long.default.out"
finish
