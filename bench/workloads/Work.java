// SPDX-License-Identifier: MIT
//
// Work.java - the JVM: its heap is not malloc's, but class loading, the compilers' arenas, direct buffers, zip streams
// and threads are. Prints a checksum of each part.
import java.nio.ByteBuffer;
import java.util.*;
import java.util.zip.*;

public class Work {
    private static long state = 42;

    private static int next(int bound) {
        state = state * 6364136223846793005L + 1442695040888963407L;
        return (int) ((state >>> 33) % bound);
    }

    private static long buffers() {
        ByteBuffer[] live = new ByteBuffer[256];
        long sum = 0;
        for (int i = 0; i < 20000; i++) {
            int at = next(live.length);
            if (live[at] != null) sum = sum * 31 + live[at].get(live[at].capacity() - 1);
            live[at] = ByteBuffer.allocateDirect(1 + next(8000));
            live[at].put(live[at].capacity() - 1, (byte) i);
        }
        return sum;
    }

    private static long streams() throws DataFormatException {
        CRC32 crc = new CRC32();
        byte[] text = new byte[4000];
        byte[] packed = new byte[6000];
        byte[] back = new byte[4000];
        for (int i = 0; i < 600; i++) {
            for (int k = 0; k < text.length; k++) text[k] = (byte) ('a' + next(4));
            Deflater deflater = new Deflater(1);
            deflater.setInput(text);
            deflater.finish();
            int size = deflater.deflate(packed);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(packed, 0, size);
            inflater.inflate(back);
            inflater.end();
            crc.update(back);
        }
        return crc.getValue();
    }

    private static long maps() {
        Map<String, List<Integer>> map = new TreeMap<>();
        for (int i = 0; i < 60000; i++) map.computeIfAbsent("key" + next(5000), k -> new ArrayList<>()).add(i);
        return map.entrySet().stream().mapToLong(e -> e.getKey().hashCode() * 31L + e.getValue().size()).sum();
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println("buffers " + buffers());
        System.out.println("streams " + streams());
        System.out.println("maps " + maps());
        long[] born = new long[1];
        for (int i = 0; i < 200; i++) {
            Thread thread = new Thread(() -> born[0]++);
            thread.start();
            thread.join();
        }
        System.out.println("threads " + born[0]);
    }
}
