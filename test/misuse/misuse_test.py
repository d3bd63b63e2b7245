#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""misuse_test.py - one misuse, one process, one line on stderr with the pointer and the cause, then SIGABRT.

Runs every case of test/programs/misuse.c under LD_PRELOAD, in both P modes. A case that is due `now` must die in the
misusing call; one that is due at the `flush` may die in the churn behind it: either way the program must not survive.
"""
import os
import re
import signal
import subprocess
import sys

BUILD = os.environ["BUILD"]
PROGRAM = os.path.join(BUILD, "test/programs/misuse")
LIBRARY = os.path.join(BUILD, "libashlar.so")
MODES = {"default": None, "fallback": "percpu:off"}

# The causes that a message may name, by the beginning of the case's name. A freed block whose pages are part of
# something else by then can honestly be called invalid, or interior of what lies there now.
CAUSES = [
    ("double_free", r"double free|not allocated|invalid pointer"),
    ("interior_", r"interior|misaligned|invalid pointer"),
    ("realloc_interior", r"interior|invalid pointer"),
    ("usable_size_interior", r"interior|invalid pointer"),
    ("realloc_freed", r"freed|double free|invalid pointer"),
    ("usable_size_freed", r"freed|double free|invalid pointer"),
    ("", r"not allocated|misaligned|invalid pointer"),
]


def environment(conf):
    env = {k: v for k, v in os.environ.items() if not k.startswith("ASHLAR_")}
    env["LD_PRELOAD"] = LIBRARY
    if conf:
        env["ASHLAR_CONF"] = conf
    return env


def run(case, conf):
    return subprocess.run([PROGRAM, case], env=environment(conf), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)


def fault_of(case, result):
    """What is wrong with the outcome, or an empty string."""
    if result.returncode != -signal.SIGABRT:
        return f"exit status {result.returncode}, expected SIGABRT"
    lines = result.stderr.splitlines()
    if len(lines) != 1 or not result.stderr.endswith("\n"):
        return f"{len(lines)} lines on stderr, expected one"
    if not lines[0].startswith("ashlar: "):
        return "the line does not start with 'ashlar: '"
    pointers = result.stdout.split()
    if len(pointers) != 1:
        return f"the program printed {result.stdout!r}"
    if not re.search(rf"\b{pointers[0]}\b", lines[0]):
        return f"the line does not name {pointers[0]}"
    cause = next(pattern for prefix, pattern in CAUSES if case.startswith(prefix))
    if not re.search(cause, lines[0], re.I):
        return f"the line does not name a cause ({cause})"
    return ""


def main():
    listing = subprocess.run([PROGRAM, "list"], capture_output=True, text=True, check=True).stdout
    cases = [line.split()[0] for line in listing.splitlines()]
    print(f"1..{len(cases) * len(MODES)}")
    failed = False
    for mode, conf in MODES.items():
        for case in cases:
            try:
                result = run(case, conf)
                fault = fault_of(case, result)
                said = result.stderr
            except subprocess.TimeoutExpired as error:
                fault, said = "hung", str(error.stderr)
            print(f"{'not ok' if fault else 'ok'} {case} {mode}")
            if fault:
                failed = True
                print(f"# {fault}; stderr: {said!r}")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
