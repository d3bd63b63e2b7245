# SPDX-License-Identifier: MIT
"""The micro suite's cases as workloads, and their instructions by callgrind."""
import glob
import json
import os
import re
import shutil
import subprocess

from runner import measure, placement, workloads

# Of `make test` and of the proofs: the loops that everybody knows.
CORE = ("pair/48", "pair/2048", "lifo/64", "fifo/mixed", "random/narrow", "lifo/1024", "realloc/doubling", "sized_delete/48")
# callgrind runs some 50 times slower.
CALLGRIND_SCALE = "0.02"
NAME = re.compile(r"^(.*?)/iterations:(\d+)/manual_time/threads:(\d+)$")


def is_core(name):
    return name.endswith("/threads:1") and name.removesuffix("/threads:1") in CORE


def parse(stdout, _):
    """The time of one operation, and what else the case counts."""
    result = json.loads(stdout)["benchmarks"][0]
    if result.get("error_occurred"):
        raise ValueError(result.get("error_message", "failed"))
    metrics = {"time": result["elapsed_ns"] * 1e-9 / result["iterations"] / result["ops"]}
    if "bytes_per_object" in result:
        metrics["bytes_per_object"] = round(result["bytes_per_object"], 2)
    return metrics


def list_cases(scale="1"):
    """(name in Google Benchmark, case, threads). The name holds the iterations, so it depends on the scale."""
    done = subprocess.run([measure.built("micro"), "--benchmark_list_tests"], env=dict(os.environ, BENCH_SCALE=scale), capture_output=True,
                          text=True, check=True)
    found = []
    for line in done.stdout.split():
        match = NAME.match(line)
        if match:
            found.append((line, match[1], int(match[3])))
    return found


def suite():
    """One workload for each case and number of threads. Threads are pinned, one a CPU, while there are CPUs enough: those
    that were born on one CPU stay there for the first milliseconds, and would measure the scheduler."""
    cpus = sorted(os.sched_getaffinity(0))
    plans = {}
    found = []
    for full, case, threads in list_cases():
        if threads not in plans:
            planned = placement.plan("spread", threads)[0] if 1 < threads <= len(cpus) else None
            plans[threads] = {"BENCH_CPUS": planned} if planned else {}
        found.append(workloads.Workload(
            f"{case}/threads:{threads}", [measure.built("micro"), f"--benchmark_filter=^{full}$", "--benchmark_format=json"],
            workloads.MICRO, env=plans[threads], parse=parse, compare=False, warm=False))
    return found


def totals(prefix):
    """Instructions by case, from callgrind's dumps at its end."""
    counted = {}
    for path in glob.glob(prefix + ".*"):
        text = measure.read(path).decode(errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (\S+)", text, re.M)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
        if name and total:
            counted[name[1]] = int(total[1])
    return counted


def instructions(library, scratch):
    """{case: instructions of one operation, loop included} of the cases with one thread, by one run under callgrind.
    Library and program are stripped of debugging information, since valgrind 3.19 gives up on clang's DWARF 5."""
    folder = os.path.join(scratch, "callgrind")
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    program = os.path.join(folder, "micro")
    subprocess.run(["strip", "-g", "-o", program, measure.built("micro")], check=True)
    preload = ""
    if library:
        preload = os.path.join(folder, os.path.basename(library))
        subprocess.run(["strip", "-g", "-o", preload, library], check=True)
    env = dict(measure.environment(scratch), BENCH_SCALE=CALLGRIND_SCALE, LD_PRELOAD=preload)
    prefix = os.path.join(folder, "out")
    cases = {case: full for full, case, threads in list_cases(CALLGRIND_SCALE) if threads == 1 and not case.startswith("startup")}
    # Google Benchmark runs a case once where its iterations are given, so each name has one dump.
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={prefix}", program,
                           "--benchmark_filter=^(" + "|".join(cases.values()) + ")$", "--benchmark_format=json"],
                          env=env, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "cannot be preloaded" in done.stderr:
        raise ValueError((done.stderr.strip().splitlines() or ["callgrind failed"])[-1])
    operations = {}
    for result in json.loads(done.stdout)["benchmarks"]:
        operations[NAME.match(result["name"])[1]] = result["iterations"] * result["ops"]
    counted = {case: total / operations[case] for case, total in totals(prefix).items() if operations.get(case)}
    if not counted:
        raise ValueError("the micro suite was built without valgrind's headers: apt-get install valgrind, and build again")
    return counted
