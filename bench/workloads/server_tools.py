# SPDX-License-Identifier: MIT
"""What redis_load and postgres_load share: a server under the allocator to be measured, watched while it is loaded.

A driver runs in its scratch folder and finds the library in BENCH_PRELOAD ("" for glibc); only the server has it. It
writes metrics.json (time in seconds, peak_kib, rate, latencies in microseconds), which the runner takes in place of the
driver's own figures, and server.pid, so that the server's memory can be watched. stdout must not vary."""
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time

PERCENTILES = (50, 90, 99, 99.9)
WATCH_S = 0.05


def fail(text):
    sys.stderr.write(f"FAILED: {text}\n")
    sys.exit(3)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def family(pid):
    found = [pid]
    for one in found:
        found += [int(child) for child in read(f"/proc/{one}/task/{one}/children").split()]
    return found


class Server:
    """A process, with what descends from it. Its output goes to server.log."""

    def __init__(self, argv, preload, env=None):
        self.preload = preload
        self.peak_kib = 0
        self.loading = False
        full = dict(os.environ, **(env or {}))
        full.pop("LD_PRELOAD", None)
        if preload:
            full["LD_PRELOAD"] = preload
        with open("server.log", "wb") as log:
            self.process = subprocess.Popen(argv, env=full, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)

    def usage(self):
        """(user + system seconds of the server and its children so far, minor faults)."""
        seconds = faults = 0
        for pid in family(self.process.pid):
            fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if len(fields) > 15:
                seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
                faults += int(fields[7]) + int(fields[8])
        return seconds, faults

    def wait_until(self, answers, seconds=30):
        end = time.monotonic() + seconds
        while not answers():
            if self.process.poll() is not None or time.monotonic() > end:
                fail("the server does not answer: " + read("server.log")[-2000:])
            time.sleep(0.01)
        with open("server.pid", "w", encoding="utf-8") as file:
            file.write(str(self.process.pid))
        if self.preload and os.path.basename(self.preload) not in read(f"/proc/{self.process.pid}/maps"):
            fail(f"cannot be preloaded: {self.preload} is not in the server's memory map")

    def watch(self):
        """Memory of all processes together, shared pages once, every WATCH_S: the same for every allocator."""
        while self.loading:
            total = 0
            for pid in family(self.process.pid):
                for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            self.peak_kib = max(self.peak_kib, total)
            time.sleep(WATCH_S)

    def load(self, work):
        """Runs work(), the load; returns (its result, metrics)."""
        self.loading = True
        watcher = threading.Thread(target=self.watch)
        watcher.start()
        cpu, faults = self.usage()
        start = time.monotonic()
        try:
            result = work()
        finally:
            seconds = time.monotonic() - start
            self.loading = False
            watcher.join()
        cpu_after, faults_after = self.usage()
        if self.process.poll() is not None:
            fail(f"the server ended ({self.process.returncode}) under load: " + read("server.log")[-2000:])
        return result, {"time": round(seconds, 6), "peak_kib": self.peak_kib, "cpu": round(cpu_after - cpu, 3),
                        "minor_faults": faults_after - faults}

    def stop(self, how):
        self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            fail("the server does not end")


def percentile_names():
    return [f"p{p:g}_us" for p in PERCENTILES]


def report(metrics):
    with open("metrics.json", "w", encoding="utf-8") as file:
        json.dump(metrics, file)
