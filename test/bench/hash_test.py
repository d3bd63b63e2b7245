#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""hash_test.py - bench/hash/run from the outside, on the two maps that need no other package: every section runs and its
programs find no lost key; what fails, and what maps find differently, is reported; goals hold and miss. No time is judged."""
import json
import os
import stat
import subprocess
import sys

ROOT, BUILD, TMP = os.environ["ROOT"], os.environ["BUILD"], os.environ["TMPDIR"]
OWN = os.path.join(BUILD, "bench", "hash-own")
failed = 0


def check(name, condition, detail=""):
    global failed
    print(f"{'ok' if condition else 'not ok'} {name}" + (f" ({str(detail)[-1500:]})" if not condition else ""))
    failed += not condition


def path(name):
    return os.path.join(TMP, name)


def run(*arguments, programs=OWN):
    command = [os.path.join(ROOT, "bench", "hash", "run"), "--programs", programs, "--streams", path("streams"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=TMP, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def write(name, text, executable=False):
    with open(path(name), "w", encoding="utf-8") as file:
        file.write(text)
    if executable:
        os.chmod(path(name), stat.S_IRWXU)
    return path(name)


def lines(*samples):
    return "".join(json.dumps(s) + "\n" for s in samples)


# ---- every section, small -------------------------------------------------------------------------------------------
SMALL = ("--rounds", "1", "--keys", "2000", "--threads", "1,2", "--ms", "2", "--log2", "10", "--maps", "1000")
status, said = run(*SMALL, "--raw", path("all.jsonl"), "--csv", path("all.csv"), "--plot", path("all.svg"))
check("every_section_runs", status == 0 and "failed" not in said, said)
check("sides_that_are_not_built_are_named", "left out: parlayhash, boost, tbb, libcuckoo, go" in said, said)
with open(path("all.jsonl"), encoding="utf-8") as file:
    samples = [json.loads(line) for line in file]
sections = ("cells", "branch", "strings", "mixes", "ycsb", "grow", "latency", "memory", "churn", "tiny")
seen = {(s["section"], s["side"]) for s in samples}
check("every_section_has_both_sides", all((section, side) in seen for section in sections for side in ("ashlar", "mutex+std")), seen)
check("padding_is_measured_on_and_off", {s["padding"] for s in samples if s["section"] == "padding"} == {"on", "off", "hash_map"})
digests = {(s["section"], s.get("mix"), s.get("threads"), s["digest"]) for s in samples if "digest" in s}
check("both_found_the_same", len(digests) == 3 + 4 * 2, digests)
check("half_of_the_finds_hit", all(0.4 < s["hits"] / s["finds"] < 0.65 for s in samples if s.get("updates") == 0 and s["finds"] > 10_000),
      [s for s in samples if "hits" in s])
check("a_find_locks_nothing", "| atomic read-modify-writes in a find | 0 | <= 0 | holds |" in said, said)
check("the_plot_is_drawn", os.path.getsize(path("all.svg")) > 10_000)
check("invalidations_are_counted_or_not_said_to_be", ("l1_misses an insert" in said) != ("not counted on this machine" in said), said)
again = run("--summary", path("all.csv"))
first = run("--summary", path("all.jsonl"))
check("the_csv_tells_the_same_as_the_raw_samples", first[0] == again[0] == 0 and first[1].count("\n| ") == again[1].count("\n| ") > 60,
      first[1] + again[1])

# ---- slices add up ----------------------------------------------------------------------------------------------------
status, _ = run("--only", "tiny", "--maps", "100", "--rounds", "2", "--sides", "ashlar", "--raw", path("slice.jsonl"))
status, said = run("--only", "tiny", "--maps", "100", "--rounds", "1", "--sides", "ashlar", "--raw", path("slice.jsonl"))
check("slices_add_up", status == 0 and "up to 3 rounds" in said, said)
status, said = run("--only", "cells,nonsense")
check("an_unknown_section_is_refused", status == 2 and "no section nonsense" in said, said)

# ---- what is wrong is reported ----------------------------------------------------------------------------------------
os.mkdir(path("broken"))
write("broken/cells", "#!/bin/sh\necho ashlar mutex+std\n", True)
write("broken/growth", '#!/bin/sh\ncase "$*" in *mutex*) echo it is lost >&2; exit 3;; esac\necho \'{"n": 7, "threads": 1, "reserve": 0, "mops": 2}\'\n', True)
status, said = run("--only", "grow", "--rounds", "1", "--threads", "1", "--raw", path("broken.jsonl"), programs=path("broken"))
check("a_failure_is_reported_and_the_rest_goes_on", status == 1 and "failed: grow, mutex+std: status 3: it is lost" in said and "| 7 |" in said.replace("| 1 | 7 |", "| 7 |"), said)
cell = {"section": "cells", "keys": 10000, "dist": "zipf", "updates": 0, "threads": 1}
status, said = run("--summary", write("digests.jsonl", lines({"section": "cells", "side": "ashlar", "keys": 1, "digest": "1"},
                                                             {"section": "cells", "side": "tbb", "keys": 1, "digest": "2"})))
check("different_digests_are_a_failure", status == 1 and "the sides disagree: cells 1: digests of ashlar / tbb" in said, said)
status, said = run("--summary", write("hits.jsonl", lines({**cell, "side": "ashlar", "finds": 10 ** 6, "hits": 500_000}, {**cell, "side": "tbb", "finds": 10 ** 6, "hits": 600_000})))
check("different_hits_are_a_failure", status == 1 and "the sides disagree: cells 10000 zipf 0 1: hits" in said, said)

# ---- goals --------------------------------------------------------------------------------------------------------------
for ours, verdict in ((150, "holds"), (130, "**missed**")):
    good = [{**cell, "side": side, "mops": mops} for side, mops in (("ashlar", ours), ("boost", 100), ("parlayhash", 50))]
    status, said = run("--summary", write("goals.jsonl", lines(*good)))
    check(f"a_geometric_mean_of_{ours / 100}_{verdict.strip('*')}",
          f"| geometric mean of 1 of 36 cells, of boost's | {ours / 100:.3g} | >= 1.4 | {verdict} |" in said, said)
check("what_was_not_measured_is_no_success", "| bytes an entry at 10M |  | <= 28 | not measured |" in said, said)
sys.exit(1 if failed else 0)
