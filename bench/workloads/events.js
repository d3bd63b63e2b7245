// SPDX-License-Identifier: MIT
//
// events.js - node: buffers, compression, JSON, maps, promises. V8 has a heap of its own; what reaches malloc is
// buffers, zlib, strings that leave the heap, and the compiler's zones. Prints counts and a checksum.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');

let state = 12345;
const random = (bound) => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) % bound;
};

async function main() {
  const hash = crypto.createHash('sha256');
  const users = new Map();
  let bytes = 0;
  const pending = [];
  for (let i = 0; i < 3000; ++i) {
    const event = { id: i, user: 'user' + random(500), tags: [], body: '' };
    for (let t = random(8); t >= 0; --t) event.tags.push('tag-' + random(64));
    event.body = 'x'.repeat(random(2000)) + i;
    const text = JSON.stringify(event);
    const packed = zlib.deflateRawSync(Buffer.from(text), { level: 1 });
    const back = JSON.parse(zlib.inflateRawSync(packed).toString());
    const buffer = Buffer.allocUnsafeSlow(64 + random(20000));
    buffer.fill(back.id & 255);
    hash.update(buffer.subarray(0, 256));
    bytes += buffer.length + text.length;
    const list = users.get(back.user) || [];
    list.push(buffer);
    if (list.length > 4) list.shift();
    users.set(back.user, list);
    if (i % 10 === 0) pending.push(new Promise((done) => zlib.gzip(text.repeat(8), (error, data) => done(data.length > 0))));
  }
  const all = await Promise.all(pending);
  console.log(users.size, bytes, all.filter(Boolean).length, hash.digest('hex'));
}

main();
