#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""hardening_test.py - one misuse, one process, one exact message: the guard slots of the normal library, and the
hardened one.

Runs every case of test/programs/hardening.c. EXPECTED says for each library and placement how the process must end and
what its first line on stderr must be; None: nobody notices, and the program ends well, which is checked just so: a
misuse that is found from now on belongs into the table. `valid` is the negative control: the same calls without misuse.
"""
import os
import re
import signal
import subprocess
import sys

BUILD = os.environ["BUILD"]
PROGRAM = os.path.join(BUILD, "test/programs/hardening")
ABORT, FAULT = -signal.SIGABRT, -signal.SIGSEGV

# Library, ASHLAR_CONF, blocks allocated before. A guarded block ends at its guard page, the next one begins at one.
WAYS = {
    "guard_right": ("libashlar.so", "guard_sample:1", 0),
    "guard_left": ("libashlar.so", "guard_sample:1", 1),
    "guard_right_fallback": ("libashlar.so", "guard_sample:1,percpu:off", 0),
    "hardened": ("libashlar-hardened.so", "guard_sample:0", 0),
    "hardened_fallback": ("libashlar-hardened.so", "guard_sample:0,percpu:off", 0),
    "hardened_guard": ("libashlar-hardened.so", "guard_sample:1", 0),
    "normal": ("libashlar.so", "", 0),
}
# What is expected of a way where it has no entry of its own.
LIKE = {"guard_right_fallback": "guard_right", "hardened_fallback": "hardened", "hardened_guard": "guard_right"}

GUARDED = r" \(guarded block of \d+ bytes( at 0x[0-9a-f]+ [+-]\d+)?, class \d+\)"
LARGE = r" \(large block of \d+ bytes at 0x[0-9a-f]+\)"
SEALED = r" \((block of \d+ bytes, )?class \d+\)"
NOT_OURS = (ABORT, r"invalid pointer: not allocated by Ashlar, perhaps by another malloc \(RTLD_DEEPBIND\?\): {p}")
LARGE_TWICE = {"hardened": (ABORT, r"double free: {p}" + SEALED), "": (ABORT, "double free or invalid pointer: {p}")}
LARGE_INTERIOR = {"hardened": (ABORT, r"free of an interior pointer: {p}" + SEALED),
                  "": (ABORT, r"free of an interior pointer \(large block\): {p}")}
TWICE = {"hardened": (ABORT, r"double free: {p}" + SEALED), "": (ABORT, r"double free: {p}" + GUARDED),
         "normal": None}
OVERFLOW = {"hardened": (ABORT, r"overflow: 0x[0-9a-f]+" + SEALED), "guard_left": (ABORT, r"overflow: {p}" + GUARDED),
            "guard_right": (FAULT, r"overflow: {p}" + GUARDED), "normal": None}
# Downwards from a block that begins at its guard, the first byte faults. In the hardened library it is the canary of the
# neighbour, or free memory, or the guard below the heap.
UNDERFLOW = {"hardened": ({ABORT, FAULT}, r"(write after free|overflow|underflow): 0x[0-9a-f]+ \(.*\)"),
             "guard_left": (FAULT, r"underflow: 0x[0-9a-f]+fff" + GUARDED),
             "guard_right": (ABORT, r"underflow: 0x[0-9a-f]+" + GUARDED),
             # the lowest block of all, below which the heap has its guard
             "normal": (FAULT, None)}
AFTER_FREE_LARGE = {"hardened": (FAULT, r"use after free: {p}" + LARGE), "": None}
OF_FREED = {"hardened": (ABORT, r"(realloc|size) of a freed block: {p}" + SEALED),
            "": (ABORT, r"use of a freed block: {p}" + GUARDED), "normal": None}
MISMATCH = {"hardened": (ABORT, r"mismatched size in delete: {p}" + SEALED),
            "hardened_guard": (ABORT, r"mismatched size in delete: {p}" + GUARDED), "": None}
# Large blocks are not sampled: what the hardened library does does not depend on guard_sample.
EXPECTED = {
    "double_free_at_once": TWICE | {"normal": (ABORT, "double free: {p}")},
    "double_free_delayed": TWICE,
    "double_free_long_delayed": TWICE,
    "double_free_large": LARGE_TWICE,
    "invalid_free_near": {"hardened": (ABORT, r"free of an interior pointer: {p}" + SEALED),
                          "guard_right": (ABORT, r"invalid pointer: between guarded blocks: {p}"),
                          "guard_left": (ABORT, r"interior or misaligned pointer: {p}" + GUARDED), "normal": None},
    "invalid_free_far": {"": NOT_OURS},
    "invalid_free_interior": {"hardened": (ABORT, r"free of an interior pointer: {p}" + SEALED),
                              "": (ABORT, r"interior or misaligned pointer: {p}" + GUARDED), "normal": None},
    "invalid_free_interior_large": LARGE_INTERIOR,
    "invalid_free_stack": {"": NOT_OURS},
    "invalid_free_static": {"": NOT_OURS},
    "overflow_1": OVERFLOW,
    "overflow_8": OVERFLOW,
    "overflow_32": OVERFLOW,
    "overflow_4096": OVERFLOW,
    "overflow_1_into_slack": OVERFLOW | {"guard_right": (ABORT, r"overflow: {p}" + GUARDED)},
    "overflow_1_large": {"hardened": (ABORT, r"overflow: 0x[0-9a-f]+" + SEALED), "": None},
    "overflow_8192_large": {"hardened": (FAULT, r"overflow: 0x[0-9a-f]+" + LARGE), "": None},
    "underflow_1": UNDERFLOW,
    "underflow_8": UNDERFLOW,
    "underflow_32": UNDERFLOW,
    "underflow_4096": UNDERFLOW,
    "write_after_free": {"hardened": (ABORT, r"write after free: {p}" + SEALED),
                         "": (FAULT, r"use after free: {p}" + GUARDED), "normal": None},
    "read_after_free": {"hardened": None, "": (FAULT, r"use after free: {p}" + GUARDED), "normal": None},
    "write_after_free_large": AFTER_FREE_LARGE,
    "read_after_free_large": AFTER_FREE_LARGE,
    "mismatched_delete": MISMATCH,
    "mismatched_free_sized": MISMATCH,
    "realloc_of_freed": OF_FREED | {"normal": (ABORT, "double free: {p}")},
    "usable_size_of_freed": OF_FREED,
    "valid": {"": None},
}


def expected(case, way):
    table = EXPECTED[case]
    hardened = WAYS[way][0] == "libashlar-hardened.so"
    if hardened and "_large" in case:
        return table["hardened"]
    for key in (way, LIKE.get(way), ""):
        if key in table:
            return table[key]
    raise KeyError(f"{case} {way}")


def is_behind_span(case, way, result):
    """Whether an invalid pointer near a block is in no span at all: behind the last block of one (pages of 8 KiB).

    The hardened library hands out the blocks of a span in random order, so one process of about 100 gets the last one.
    """
    near = 2 * 64 + 8  # bytes from the block, see hardening.c
    return (case == "invalid_free_near" and WAYS[way] in (WAYS["hardened"], WAYS["hardened_fallback"])
            and int(result.stdout.split()[0], 16) % 8192 < near)


def run(case, way):
    library, conf, skip = WAYS[way]
    env = {k: v for k, v in os.environ.items() if not k.startswith("ASHLAR_")}
    env |= {"LD_PRELOAD": os.path.join(BUILD, library), "ASHLAR_CONF": conf}
    return subprocess.run([PROGRAM, case, str(skip)], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=100, check=False)


def fault_of(case, way, result):
    """What is wrong with the outcome, or an empty string."""
    want = expected(case, way)
    if is_behind_span(case, way, result):
        want = (ABORT, "double free or invalid pointer: {p}")
    if want is None:
        return "" if result.returncode == 0 and not result.stderr else f"noticed: exit status {result.returncode}"
    status, line = want
    if result.returncode not in (status if isinstance(status, set) else {status}):
        return f"exit status {result.returncode}, expected {status}"
    if line is None:
        return "" if not result.stderr else "lines on stderr, expected none"
    pattern = "ashlar: " + line.replace("{p}", result.stdout.split()[0])
    lines = result.stderr.splitlines()
    if not lines or not re.fullmatch(pattern, lines[0]):
        return f"the first line is not {pattern!r}"
    traces = ["allocated by"]
    if re.search("double free|after free|freed block", lines[0]):
        traces.append("freed by")
    if "guarded block of" not in lines[0]:
        traces = []
    elif result.returncode == ABORT and "freed block" not in lines[0]:
        traces.append("now by")
    # Where: always in the program itself, whose calls they were.
    if len(lines) != 1 + len(traces):
        return f"{len(lines)} lines"
    for trace, said in zip(traces, lines[1:]):
        if not re.fullmatch(rf"ashlar:   {trace} (\S+ < )*hardening\+0x[0-9a-f]+( < \S+)*", said):
            return f"{said!r} is no trace of {trace!r}"
    return ""


def main():
    listing = subprocess.run([PROGRAM, "list"], capture_output=True, text=True, check=True).stdout.split()
    print(f"1..{len(EXPECTED) * len(WAYS) + 1}")
    same = sorted(listing) == sorted(EXPECTED)
    print(f"{'ok' if same else 'not ok'} the table has the cases of the program")
    failed = not same
    for way in WAYS:
        for case in EXPECTED:
            try:
                result = run(case, way)
                fault, said = fault_of(case, way, result), result.stderr
            except subprocess.TimeoutExpired as error:
                fault, said = "hung", str(error.stderr)
            print(f"{'not ok' if fault else 'ok'} {case} {way}")
            if fault:
                failed = True
                print(f"# {fault}; stderr: {said!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
