#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""runner_test.py - bench/ab and scripts/ab, ashlar from the outside: what fails is reported and the rest goes on, what is
missing is named with its package, a journal that was cut off goes on, the page holds its plots. No time is judged."""
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

sys.dont_write_bytecode = True
ROOT, BUILD, TMP = os.environ["ROOT"], os.environ["BUILD"], os.environ["TMPDIR"]
sys.path.insert(0, os.path.join(ROOT, "bench"))
from runner import journal, measure, results, table, workloads  # noqa: E402

AB = os.path.join(ROOT, "bench", "ab")
ASHLAR = os.path.join(BUILD, "libashlar.so")
failed = 0


def check(name, condition, detail=""):
    global failed
    print(f"{'ok' if condition else 'not ok'} {name}" + (f" ({str(detail)[-1500:]})" if not condition else ""))
    failed += not condition


def ab(*arguments, script=AB, env=None):
    ran = subprocess.run([script, *arguments], capture_output=True, text=True, cwd=TMP, env=dict(os.environ, **(env or {})), check=False)
    return ran.returncode, ran.stdout + ran.stderr


def script(name, text):
    path = os.path.join(TMP, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, stat.S_IRWXU)
    return path


TWO = f"glibc,ashlar={ASHLAR}"
MANY = ("--least", "2", "--most", "2")

# ---- what fails -----------------------------------------------------------------------------------------------------
crash = script("crash", "#!/bin/sh\ncase $LD_PRELOAD in *libashlar*) echo it breaks >&2; kill -SEGV $$;; esac\nexit 0\n")
status, said = ab("--libs", TWO, "--base", "glibc", *MANY, "--json", "crash.json", "--", crash)
check("crash_is_reported_for_its_allocator", status == 1 and re.search(r"failed: crash under ashlar: signal 11; output in (\S+)", said), said)
kept = re.search(r"output in (\S+)", said)
check("crash_keeps_the_output", kept and b"it breaks" in measure.read(os.path.join(ROOT, kept[1])), said)
with open(os.path.join(TMP, "crash.json"), encoding="utf-8") as file:
    data = json.load(file)
check("the_rest_goes_on_after_a_crash", len(data["samples"]["crash"]["glibc"]["time"]) == 2 and "ashlar" not in data["samples"]["crash"], data["samples"])

status, said = ab("--libs", TWO, "--base", "glibc", *MANY, "--", script("refuses", "#!/bin/sh\nexit 7\n"))
check("a_program_that_always_fails_is_left_out", "fails without any preloaded library (status 7)" in said, said)
loses = script("loses", "#!/bin/sh\ncase $LD_PRELOAD in *libashlar*) exit 3;; esac\n")
status, said = ab("--libs", TWO, "--base", "glibc", *MANY, "--", loses)
check("an_exit_code_is_a_failure", status == 1 and "under ashlar: exit code 3" in said, said)

# The engine itself, with a workload whose output is compared, and one that does not end.
from runner import allocators, engine  # noqa: E402

log = journal.Journal(None, {})
chosen = [allocators.Allocator("glibc", ""), allocators.Allocator("ashlar", ASHLAR)]
differs = script("differs", "#!/bin/sh\necho \"${LD_PRELOAD:+other }words\"\n")
hangs = script("hangs", "#!/bin/sh\n[ -z \"$LD_PRELOAD\" ] || sleep 100\n")
found = [workloads.Workload("differs", [differs], workloads.OURS), workloads.Workload("hangs", [hangs], workloads.OURS)]
begun = time.monotonic()
SCRATCH = os.path.join(TMP, "scratch")
engine.Engine(found, chosen, log, SCRATCH, 1, engine.Progress(sys.stderr), 2, 2).prepare()
for known in log.workloads.values():
    known["seconds"] = 0.1
work = engine.Engine(found, chosen, log, SCRATCH, 1, engine.Progress(sys.stderr), 2, 2)
work.prepare()
work.work()
check("other_output_than_under_glibc_is_a_failure", "differs from that under glibc" in log.failures.get(("differs", "ashlar"), ""), log.failures)
check("what_does_not_end_is_stopped", "not ended after 10 s" in log.failures.get(("hangs", "ashlar"), ""), log.failures)
check("both_have_their_samples_under_glibc", log.count("differs", "glibc") == 2 and log.count("hangs", "glibc") == 2)
check("a_failed_pair_is_not_tried_again", log.count("differs", "ashlar") == 0 and time.monotonic() - begun < 60)

# ---- what is missing ------------------------------------------------------------------------------------------------
status, said = ab("--libs", f"glibc,gone={TMP}/nothing.so", "--base", "glibc", *MANY, "--", "/bin/true")
check("a_missing_library_is_named", f"left out: gone: {TMP}/nothing.so does not exist" in said and status == 0, said)
with open(os.path.join(TMP, "text.so"), "w", encoding="utf-8") as file:
    file.write("no library\n")
status, said = ab("--libs", f"glibc,text={TMP}/text.so", "--base", "glibc", *MANY, "--", "/bin/true")
check("what_cannot_be_preloaded_is_named", "left out: text:" in said and "cannot be preloaded" in said, said)
allocators.KNOWN["nowhere"] = ("libnowhere.so.9", "apt-get install libnowhere9")
check("a_missing_library_names_its_package", "apt-get install libnowhere9" in allocators.find("nowhere").problem)
skipped = {}
workloads.present([workloads.Workload("w", ["no-such-program"], workloads.REAL, "its-package")], skipped.__setitem__)
check("a_missing_program_names_its_package", "apt-get install its-package" in skipped.get("w", ""), skipped)
check("every_real_program_names_a_package", all(w.package for w in workloads.real_programs() + workloads.servers()))
status, said = ab("--libs", "glibc,sideways")
check("an_unknown_name_is_refused", status != 0 and "neither NAME=PATH nor one of" in said, said)
status, said = ab("--", "no-such-program-anywhere")
check("an_unknown_program_is_refused", status != 0 and "no such program" in said, said)

# ---- a journal ------------------------------------------------------------------------------------------------------
book = os.path.join(TMP, "journal.jsonl")
resumed = ["--suite", "micro", "--only", "pair/48/threads:1|pair/16/threads:1", "--libs", TWO, "--base", "glibc", "--least", "6", "--most", "6", "--journal", book]
running = subprocess.Popen([AB, *resumed], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=TMP)
while measure.read(book).count(b'"metrics"') < 5 and running.poll() is None:
    time.sleep(0.002)
running.send_signal(signal.SIGKILL)
running.wait()
before = measure.read(book)
with open(book, "ab") as file:
    file.write(b'{"workload":"pair/48/thr')  # as a kill in the middle of a write leaves it
status, said = ab(*resumed)
after = measure.read(book)
log = journal.Journal(None, None)
log.path = book
log.load(None)
check("a_killed_run_goes_on", status == 0 and after.startswith(before) and 5 <= before.count(b'"metrics"') < 24, said)
check("no_sample_is_lost_or_taken_twice", sorted(map(len, log.samples.values())) == [6, 6, 6, 6], {k: len(v) for k, v in log.samples.items()})
status, said = ab(*resumed)
check("a_complete_journal_runs_nothing", status == 0 and measure.read(book).count(b'"metrics"') == 24, said)
status, said = ab(*[f"glibc,ashlar={BUILD}/libashlar-hardened.so" if a == TWO else a for a in resumed])
check("samples_of_other_libraries_are_not_mixed", status != 0 and "other libraries" in said and measure.read(book).count(b'"metrics"') == 24, said)
status, said = ab(*[a if a != "6" else "8" for a in resumed], "--budget", "0.2")
check("a_budget_that_ends_says_how_to_go_on", status == 75 and "goes on from here" in said, said)

# ---- memory, the table, the page ------------------------------------------------------------------------------------
sample = measure.run("", ["/usr/bin/python3", "-c", "x = bytearray(64 << 20); import time; time.sleep(0.3)"], TMP, series_s=0.02)
top = max(kib for _, kib in sample.series) / 1024
check("memory_over_time_sees_64_mib", 64 <= top <= 100 and 64 * 1024 <= sample.metrics["peak_kib"] <= 100 * 1024, f"{top} {sample.metrics}")
check("counts_of_the_kernel", sample.metrics["minor_faults"] > 16000 / 512 and sample.metrics["voluntary"] >= 1, sample.metrics)

status, said = ab("--suite", "micro", "--only", "footprint/40", "--libs", TWO, "--base", "glibc", *MANY)
check("bytes_per_object", re.search(r"footprint/40\s+48\.\d\s+\d\d\.\d", said), said)
report = os.path.join(ROOT, "bench", "report")
done = subprocess.run([report, book, "--out", os.path.join(TMP, "page"), "--base", "glibc"], capture_output=True, text=True, check=False)
text = measure.read(os.path.join(TMP, "page", "report.html")).decode()
check("the_page_is_made", done.returncode == 0 and "pair/48/threads:1" in text and "sha256" in text, done.stdout + done.stderr)
check("the_page_is_self_contained", not re.search(r"""(src|href)=["'](?!#)|url\((?!#)|<script|<link""", text), re.findall(r"(?:src|href)=\S{1,40}", text)[:5])

made = {"base": "a", "names": ["a", "b", "c"], "failures": [{"workload": "w", "allocator": "c", "why": "signal 6"}], "skipped": [], "instructions": {},
        "memory_over_time": {"w": {"a": [[0, 9000], [1, 10000]], "b": [[0, 9000], [1, 20000]]}},
        "slices": [{"machine": dict(cpus=1, cpu="x", memory_mib=1, virtual="none", kernel="1", libc="2", thp="[never]", governor="g", address_randomisation="2", load=0.0,
                                    commit="c", settings={}, libraries={n: {"path": "", "sha256": "", "version": "1"} for n in "abc"}), "seed": 1}],
        "workloads": {"w": {"group": workloads.OURS}, "same": {"group": workloads.OURS}},
        "samples": {"w": {"a": {"time": [1.0, 1.01, 1.02, 0.99, 1.0], "peak_kib": [100] * 5, "p50_us": [1] * 5, "p90_us": [2] * 5, "p99_us": [3] * 5, "p99.9_us": [4] * 5},
                          "b": {"time": [2.0, 2.01, 2.02, 1.99, 2.0], "peak_kib": [50] * 5}},
                    "same": {n: {"time": [1.0, 1.1, 0.9, 1.0, 1.05], "peak_kib": [100, 101, 99, 100, 100]} for n in "abc"}}}
seen = results.Results(made)
text = table.text(seen)
check("a_difference_is_called_significant", re.search(r"^w .* 2\.00  +0\.50 ", text, re.M), text)
check("what_does_not_differ_is_marked_so", re.search(r"^same .* 1\.00~ 1\.00~ +1\.00~ 1\.00~", text, re.M), text)
check("a_failure_is_in_the_table", re.search(r"^w .*failed", text, re.M) and "failed: w under c: signal 6" in text, text)
from runner import page, plots  # noqa: E402

text = page.page(seen)
check("every_plot_is_in_the_page", text.count("<svg") == 5 and "failed" in text, text.count("<svg"))
check("pareto_front", plots.front([(1, 1, "a"), (0.5, 2, "b"), (2, 2, "c"), (0.7, 0.9, "d")]) == [(0.5, 2, "b"), (0.7, 0.9, "d")])

# ---- scripts --------------------------------------------------------------------------------------------------------
compare = os.path.join(ROOT, "scripts", "ab")
status, said = ab("--vs", f"again={ASHLAR}", "-n", "4", "--json", "own.json", "--", "perl", "-e", "print -e 'own.txt' ? 'here' : exit 9", script=compare)
check("scripts_ab_runs_in_the_folder_of_the_user", "status 9" in said, said)
with open(os.path.join(TMP, "own.txt"), "w", encoding="utf-8") as file:
    file.write("x")
status, said = ab("--vs", f"again={ASHLAR}", "-n", "4", "--json", "own.json", "--", "perl", "-e", "print -e 'own.txt' ? 'here' : exit 9", script=compare)
row = re.search(r"^perl .* MiB  +[0-9.]+[~ ] [0-9.]+[~ ] +[0-9.]+[~ ] [0-9.]+", said, re.M)
check("scripts_ab_prints_the_table", status == 0 and row and "glibc's median time" in said, said)
seen = results.load(os.path.join(TMP, "own.json")) if status == 0 else None
check("scripts_ab_keeps_raw_samples", seen and seen.names == ["glibc", "ashlar", "again"] and seen.passes() == (4, 4))
ashlar = os.path.join(ROOT, "scripts", "ashlar")
status, said = ab("cat", "/proc/self/maps", script=ashlar)
check("scripts_ashlar_preloads", status == 0 and "/libashlar.so" in said, said)
status, said = ab("--hardened", "cat", "/proc/self/maps", script=ashlar)
check("scripts_ashlar_hardened", status == 0 and "/libashlar-hardened.so" in said, said)
status, said = ab("--stats", "--conf", "purge:off", "--debug=inittrace=on", "perl", "-e", "exit 9", script=ashlar)
check("scripts_ashlar_options_and_exit_status", status == 9 and "ashlar: Alloc = " in said and "ashlar: init" in said and "unknown" not in said, said)
status, said = ab("--sideways", "true", script=ashlar)
check("scripts_ashlar_refuses_nonsense", status == 125 and "usage:" in said, said)
status, said = ab("true", script=ashlar, env={"BUILD": "/nowhere"})
check("scripts_ashlar_says_what_is_missing", status in (0, 125) and (status == 0 or "run make" in said), said)
sys.exit(1 if failed else 0)
