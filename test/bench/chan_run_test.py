#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""chan_run_test.py - bench/chan/run from the outside: each scenario runs on Ashlar's channels, ratios and goals are computed as
stated, a journal goes on, what fails is named. No time is judged: where figures matter, the sides are scripts that print them."""
import json
import os
import re
import stat
import subprocess

ROOT, BUILD, TMP = os.environ["ROOT"], os.environ["BUILD"], os.environ["TMPDIR"]
RUN = os.path.join(ROOT, "bench", "chan", "run")
failed = 0


def check(name, condition, detail=""):
    global failed
    print(f"{'ok' if condition else 'not ok'} {name}" + (f" ({str(detail)[-1500:]})" if not condition else ""))
    failed += not condition


def run(build, *arguments):
    done = subprocess.run([RUN, *arguments], capture_output=True, text=True, env=dict(os.environ, BUILD=build), check=False)
    return done.returncode, done.stdout, done.stderr


def fake(name, text):
    path = os.path.join(TMP, "bench", "chan", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, stat.S_IRWXU)


def row(out, name):
    """The cells of a row of the table."""
    line = [line for line in out.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line[0].strip("|").split("|")] if line else []


# ---- the scenarios, for real, with few messages ---------------------------------------------------------------------
alone = os.path.join(TMP, "alone")
os.makedirs(os.path.join(alone, "bench", "chan"))
os.symlink(os.path.join(BUILD, "bench", "chan", "ours"), os.path.join(alone, "bench", "chan", "ours"))
status, names, _ = run(alone, "--list")
names = names.splitlines()
check("the_rows_are_listed", status == 0 and len(names) > 40, names)
journal = os.path.join(TMP, "alone.jsonl")
status, out, err = run(alone, "--quick", "--rounds", "1", "--journal", journal)
check("every_scenario_runs", status == 0 and all(row(out, name) for name in names), out + err)
check("missing_peers_are_named", "not built, so left out: others, peer_crossbeam, peer_go" in err, err)
burnt = row(out, "idle, 10 threads, us of CPU a second")
check("idle_is_measured", burnt and re.match(r"[\d.,]+ \(", burnt[1]), burnt)

# ---- figures ----------------------------------------------------------------------------------------------------------
# Ours takes 30, 10, 20 in three rounds; of a single operation 100, so that goals within our own side can be looked at.
fake("ours", f'''case "$1 $2" in "shape 1024"|"uncontended 1024") echo 100; exit;; esac
count={TMP}/count-$1-$2-$3
n=$(cat $count 2>/dev/null || echo 0); echo $((n + 1)) > $count
case $((n % 3)) in 0) echo 30;; 1) echo 10;; 2) echo 20;; esac
''')
fake("peer_go", 'if [ "$PEER_LOCK" = 1 ]; then echo 80; else echo 40; fi\n')
fake("peer_crossbeam", "echo 16\n")
fake("others", "exit 3\n")
status, out, err = run(TMP, "--rounds", "3", "--only", "all fit, 1:1")
cells = row(out, "all fit, 1:1")
check("a_cell_is_a_median", cells[1:4] == ["20.0 (10.0 to 30.0)", "40.0", "16.0"], cells)
check("a_goal_that_is_missed_is_bold", cells[4:6] == ["0.50 **(> 0.4)**", "1.25 **(> 1)**"] and "2 of 2 goals missed" in out, out)
check("go_with_threads_stands_beside", cells[6] == "go, a thread each 80.0 0.25", cells)
check("a_queue_that_was_not_built_in_is_no_failure", status == 0 and "failed" not in err, err)
status, out, _ = run(TMP, "--rounds", "3", "--only", "cap 1, 1:1", "--only", "16, 1:1")
check("a_goal_that_holds_is_plain", row(out, "cap 1, 1:1")[4] == "0.50 (≤ 2)", out)
check("a_goal_within_one_side", row(out, "batches of 16, 1:1")[6] == "single 100.0 0.20 (≤ 0.25)", out)
check("goals_missed_are_counted", "1 of 3 goals missed" in out, out)  # cap 1 against crossbeam

# ---- failures ---------------------------------------------------------------------------------------------------------
fake("peer_go", "echo it breaks >&2; exit 7\n")
status, out, err = run(TMP, "--rounds", "1", "--only", "cap 1, 1:1")
check("a_side_that_fails_is_named", status == 1 and "failed: cap 1, 1:1: go: status 7 it breaks" in err, err)
check("the_other_sides_go_on", row(out, "cap 1, 1:1")[2:4] == ["", "16.0"], out)
status, out, err = run(TMP, "--only", "no such row")
check("no_row_is_an_error", status == 1 and "no row's name contains no such row" in err, err)

# ---- the journal ------------------------------------------------------------------------------------------------------
fake("peer_go", "echo 40\n")
journal = os.path.join(TMP, "journal.jsonl")
slice_of = ("--rounds", "3", "--only", "create", "--journal", journal)
status, out, err = run(TMP, *slice_of, "--seconds", "0")
check("a_slice_ends_when_its_time_is_over", "the same command goes on" in err and not row(out, "create, cap 0"), out + err)
status, out, err = run(TMP, *slice_of)
with open(journal, encoding="utf-8") as file:
    entries = [json.loads(line) for line in file]
count = len([e for e in entries if e.get("row") == "create, cap 0" and e["side"] == "go"])
check("the_next_slice_does_the_rest", row(out, "create, cap 0") and count == 3 and "3 to 3 rounds" in out, out + err)
with open(journal, "a", encoding="utf-8") as file:
    file.write('{"row": "create, cap 0", "si')  # killed in the middle of a line
status, again, err = run(TMP, *slice_of)
check("a_finished_journal_is_only_shown", status == 0 and row(again, "create, cap 0") == row(out, "create, cap 0"), again + err)
fake("peer_go", "echo 41\n")
status, out, err = run(TMP, *slice_of)
check("samples_of_another_build_are_refused", status == 1 and "another build" in err, err)
raise SystemExit(1 if failed else 0)
