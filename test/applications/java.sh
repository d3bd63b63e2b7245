#!/bin/bash
# SPDX-License-Identifier: MIT
#
# java.sh - the JVM on Ashlar: javac, then a program of ours that keeps the collector busy (its heap is not malloc's)
# and malloc as well (direct buffers, zip streams, class loading, threads), with each of three collectors.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

mkdir "$TMPDIR/classes"
cat >"$TMPDIR/Work.java" <<'JAVA'
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.*;
import java.util.zip.*;

public class Work {
    static final class Node {
        final Node left, right;
        final int[] payload;
        Node(int depth, Random random) {
            left = depth == 0 ? null : new Node(depth - 1, random);
            right = depth == 0 ? null : new Node(depth - 1, random);
            payload = new int[random.nextInt(8)];
            Arrays.fill(payload, depth + 1);
        }
        long sum() {
            long s = 0;
            for (int p : payload) s += p;
            return s + (left == null ? 0 : left.sum() + right.sum());
        }
    }

    static long trees(int seed) {
        Random random = new Random(seed);
        ArrayDeque<Node> live = new ArrayDeque<>();
        long sum = 0;
        for (int i = 0; i < 60; i++) {
            live.add(new Node(12, random));
            if (live.size() > 8) sum = sum * 31 + live.poll().sum();
        }
        for (Node n : live) sum = sum * 31 + n.sum();
        return sum;
    }

    static long maps(int seed) {
        Random random = new Random(seed);
        HashMap<String, byte[]> map = new HashMap<>();
        for (int i = 0; i < 60000; i++) {
            String key = "key" + random.nextInt(5000);
            byte[] value = new byte[random.nextInt(400)];
            Arrays.fill(value, (byte) key.hashCode());
            map.put(key, value);
        }
        long sum = 0;
        for (String key : new TreeSet<>(map.keySet())) {
            for (byte b : map.get(key)) {
                if (b != (byte) key.hashCode()) throw new AssertionError(key);
                sum = sum * 31 + b;
            }
        }
        return sum;
    }

    // Outside of the collected heap: a direct buffer is a malloc, and the collector frees it.
    static long buffers(int seed) {
        Random random = new Random(seed);
        ByteBuffer[] live = new ByteBuffer[64];
        long sum = 0;
        for (int i = 0; i < 3000; i++) {
            int at = random.nextInt(live.length);
            if (live[at] != null) {
                byte expected = live[at].get(0);
                for (int k = 0; k < live[at].capacity(); k++) {
                    if (live[at].get(k) != expected) throw new AssertionError("buffer");
                }
                sum = sum * 31 + expected + live[at].capacity();
            }
            live[at] = ByteBuffer.allocateDirect(1 + random.nextInt(20000));
            for (int k = 0; k < live[at].capacity(); k++) live[at].put(k, (byte) i);
        }
        return sum;
    }

    static long zip(int seed) throws DataFormatException {
        Random random = new Random(seed);
        CRC32 crc = new CRC32();
        for (int i = 0; i < 200; i++) {
            byte[] text = new byte[1 + random.nextInt(20000)];
            for (int k = 0; k < text.length; k++) text[k] = (byte) ('a' + random.nextInt(4));
            byte[] packed = new byte[text.length + 100], back = new byte[text.length];
            Deflater deflater = new Deflater(1 + i % 9);
            deflater.setInput(text);
            deflater.finish();
            int n = deflater.deflate(packed);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(packed, 0, n);
            if (inflater.inflate(back) != text.length || !Arrays.equals(text, back)) throw new AssertionError("zip");
            inflater.end();
            crc.update(back);
        }
        return crc.getValue();
    }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(6);
        List<Callable<Long>> tasks = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            int seed = i;
            tasks.add(() -> trees(seed));
            tasks.add(() -> maps(seed));
            tasks.add(() -> buffers(seed));
            tasks.add(() -> zip(seed));
        }
        for (Future<Long> f : pool.invokeAll(tasks)) System.out.println("task " + f.get());
        pool.shutdown();
        long born = 0;
        for (int i = 0; i < 500; i++) {
            long[] result = new long[1];
            int n = i;
            Thread t = new Thread(() -> result[0] = new String(new char[n]).hashCode() + n);
            t.start();
            t.join();
            born += result[0];
        }
        System.out.println("threads " + born);
    }
}
JAVA

# javac writes to classes-*, which must not depend on whose malloc it had.
compile() { javac -J-Xshare:auto -d "$1" "$TMPDIR/Work.java"; }
compile "$TMPDIR/classes" || exit 1
for mode in "${modes[@]}"; do
  mkdir "$TMPDIR/classes-$mode"
  check "javac, $mode: succeeds" into "$TMPDIR/javac.$mode" traced "$mode" javac -d "$TMPDIR/classes-$mode" "$TMPDIR/Work.java"
  check "javac, $mode: same classes" diff -r "$TMPDIR/classes" "$TMPDIR/classes-$mode"
  check "javac, $mode: on Ashlar" ran_on_ashlar "$mode" "$TMPDIR/javac.$mode.err" 10000
done
for collector in UseG1GC UseParallelGC UseSerialGC; do
  same_on_ashlar "java-$collector" 10000 java "-XX:+$collector" -Xmx192m -XX:MaxDirectMemorySize=64m -cp "$TMPDIR/classes" Work
  check "java-$collector: all tasks" test "$(grep -cE '^task -?[0-9]+$' "$TMPDIR/java-$collector.default.out")" -eq 12
done
check "java: one result whatever collects" cmp "$TMPDIR/java-UseG1GC.default.out" "$TMPDIR/java-UseSerialGC.default.out"
finish
