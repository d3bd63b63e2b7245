# SPDX-License-Identifier: MIT
"""One run of one program under one allocator, measured by build/bench/launch (its head says why it is a program of
its own, and what it measures). Every process of a benchmark is started here."""
import dataclasses
import json
import os
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(ROOT, "build"))
BENCH = os.path.join(BUILD, "bench")

# Settings of the allocators that a user may want to try; all other variables are left out.
PASSED_ON = ("ASHLAR_", "MIMALLOC_", "MALLOC_", "TCMALLOC_", "GLIBC_TUNABLES")
# A driver (a workload that starts a server) finds the library here, and leaves its own figures and the server's
# process number in these files of its folder.
DRIVER_PRELOAD, DRIVER_METRICS, DRIVER_PID = "BENCH_PRELOAD", "metrics.json", "server.pid"
FIELDS = ("minor_faults", "major_faults", "voluntary", "involuntary")


@dataclasses.dataclass
class Sample:
    """status as in launch.c; metrics: time, user, system, cpu in seconds, peak_kib, FIELDS, and what a driver adds;
    series: [[seconds, KiB], ...] if asked for."""

    status: int
    metrics: dict
    stdout: bytes = b""
    stderr: bytes = b""
    series: list = dataclasses.field(default_factory=list)


def allocator_settings():
    """The variables of the caller that reach the measured programs."""
    return {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}


def environment(scratch):
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": scratch, "TMPDIR": scratch, "LC_ALL": "C"}
    env.update(allocator_settings())
    return env


def built(name):
    """The path of a program in build/bench. Ends the script, with the command that builds it, where it is missing."""
    path = os.path.join(BENCH, name)
    if not os.path.exists(path):
        raise SystemExit(f"{path} is missing: run 'make bench-all'")
    return path


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def family(pid):
    """The process and all that descend from it."""
    found = [pid]
    for one in found:
        found += [int(child) for child in read(f"/proc/{one}/task/{one}/children").split()]
    return found


def resident_kib(pids):
    """Proportional set size of all of them together: pages that they share count once."""
    total = 0
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                total += int(line.split()[1])
    return total


def watch(process, scratch, driver, every_s):
    """Samples the memory of what `process` (launch) has started until it ends. Of a driver, of its server alone."""
    series, start = [], time.monotonic()
    while process.poll() is None:
        if driver:
            server = read(os.path.join(scratch, DRIVER_PID))
            pids = family(int(server)) if server.strip() else []
        else:
            pids = family(process.pid)[1:]
        kib = resident_kib(pids)
        if kib:
            series.append([round(time.monotonic() - start, 4), kib])
        time.sleep(every_s)
    return series


def run(preload, argv, scratch, env=None, repeat=1, timeout=60, driver=False, series_s=0, cwd=None):
    """Runs argv `repeat` times in a row under the library `preload` ("" for none). `env` is added to a plain
    environment. Where `series_s` is not 0, memory is sampled so often, which costs the program time."""
    full = environment(scratch)
    full.update(env or {})
    if driver:
        full[DRIVER_PRELOAD] = preload
        for name in (DRIVER_METRICS, DRIVER_PID):
            if os.path.exists(os.path.join(scratch, name)):
                os.unlink(os.path.join(scratch, name))
    read_end, write_end = os.pipe()
    try:
        with open(os.path.join(scratch, "stdout"), "w+b") as out, open(os.path.join(scratch, "stderr"), "w+b") as err:
            # To files and not through pipes, so that this process sleeps while the program is measured.
            command = [built("launch"), str(write_end), str(timeout), str(repeat), "" if driver else preload, *argv]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=full,
                                  cwd=cwd or scratch, pass_fds=[write_end]) as process:
                try:
                    series = watch(process, scratch, driver, series_s) if series_s else []
                    process.wait()
                except BaseException:
                    process.terminate()
                    raise
            os.close(write_end)
            write_end = -1
            report = os.read(read_end, 4096).split()
            out.seek(0)
            err.seek(0)
            stdout, stderr = out.read(), err.read()
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if process.returncode != 0 or len(report) != 9:
        raise SystemExit(f"{command[0]} failed ({process.returncode}): {stderr.decode(errors='replace')}")
    wall, user, system = map(float, report[1:4])
    metrics = {"time": wall, "user": user, "system": system, "cpu": round(user + system, 6), "peak_kib": int(report[4])}
    metrics.update(zip(FIELDS, map(int, report[5:])))
    status = int(report[0])
    if driver and status == 0:
        metrics.update(json.loads(read(os.path.join(scratch, DRIVER_METRICS)) or b"{}"))
    return Sample(status, metrics, stdout, stderr, series)
