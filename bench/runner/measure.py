# SPDX-License-Identifier: MIT
"""One run of one program under one allocator, measured by build/bench/launch (its head says why it is a program of
its own, and what it measures). Every process of a benchmark is started here."""
import dataclasses
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(ROOT, "build"))
BENCH = os.path.join(BUILD, "bench")

# Settings of the allocators that a user may want to try; all other variables are left out.
PASSED_ON = ("ASHLAR_", "MIMALLOC_", "MALLOC_", "TCMALLOC_", "GLIBC_TUNABLES")


@dataclasses.dataclass
class Sample:
    """What launch.c reports, in seconds and KiB, and what the program said."""

    status: int
    wall: float
    user: float
    system: float
    peak_kib: int
    minor_faults: int
    major_faults: int
    voluntary: int
    involuntary: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def cpu(self):
        return self.user + self.system

    def numbers(self):
        """For JSON: all but the output."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("stdout", "stderr")}


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
        raise SystemExit(f"{path} is missing: run 'make bench-programs'")
    return path


def run(preload, argv, scratch, env=None, repeat=1, timeout=60):
    """Runs argv `repeat` times in a row under the library `preload` ("" for none). Returns a Sample."""
    full = environment(scratch)
    full.update(env or {})
    read_end, write_end = os.pipe()
    try:
        with open(os.path.join(scratch, "stdout"), "w+b") as out, open(os.path.join(scratch, "stderr"), "w+b") as err:
            # To files and not through pipes, so that this process sleeps while the program is measured.
            command = [built("launch"), str(write_end), str(timeout), str(repeat), preload, *argv]
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=full, cwd=scratch,
                                   pass_fds=[write_end], check=False)
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
    if ended.returncode != 0 or len(report) != 9:
        raise SystemExit(f"{command[0]} failed ({ended.returncode}): {stderr.decode(errors='replace')}")
    return Sample(int(report[0]), *map(float, report[1:4]), *map(int, report[4:]), stdout, stderr)
