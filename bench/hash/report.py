# SPDX-License-Identifier: MIT
"""report.py - tables, goals and plots of bench/hash/run.

Owns: what is to be reached (GOALS), and how samples become a figure: the median over the rounds; of ratios, the median of
the rounds' ratios. A row is all samples with the same section and the same ROW fields. Raw samples are JSON lines as the programs print them, or a file of write_csv.
"""
import collections
import csv
import json
import math
import os
import re
import statistics
import subprocess

SIDES = ["ashlar", "parlayhash", "boost", "tbb", "libcuckoo", "mutex+std", "go"]
ROW = ["keys", "dist", "updates", "threads", "mix", "n", "reserve", "entries", "size", "padding"]
MEASURES = ["mops", "cpu_mops", "longest_64_ms", "longest_64_cpu_ms", "machine_stop_ms", "p50_us", "p99_us", "p999_us", "p9999_us", "max_us", "bytes",
            "peak_bytes", "peak_ratio", "erased_mb", "churn_mops", "churn_memory", "maps", "header", "make_ns", "find_ns",
            "destroy_ns", "ns", "l1_misses", "hit_modified", "finds", "hits"]


def load(files):
    samples = []
    for path in files:
        with open(path, encoding="utf-8") as f:
            if path.endswith(".csv"):
                together = {}
                for line in csv.DictReader(f):
                    told = {k: (int(v) if re.fullmatch(r"\d+", v) else v) for k, v in line.items() if v and k not in ("measure", "samples")}
                    for i, v in enumerate(line["samples"].split()):
                        together.setdefault((*told.values(), i), dict(told))[line["measure"]] = float(v)
                samples += together.values()
            else:
                samples += [json.loads(line) for line in f]
    return samples


def row_of(sample):
    return (sample["section"], *[sample.get(field) for field in ROW])


def write_csv(samples, path):
    cells = collections.defaultdict(list)
    for s in samples:
        for measure in MEASURES:
            if s.get(measure) is not None:
                cells[(*row_of(s), s["side"], measure)].append(f"{s[measure]:.5g}")
    with open(path, "w", encoding="utf-8", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["section", *ROW, "side", "measure", "samples"])
        for key, values in cells.items():
            out.writerow(["" if k is None else k for k in key] + [" ".join(values)])


def disagreements(samples):
    """Rows in which maps that were asked the same found something else."""
    digests, hits = collections.defaultdict(dict), collections.defaultdict(dict)
    for s in samples:
        if "digest" in s:
            digests[row_of(s)].setdefault(s["digest"], set()).add(s["side"])
        # With updates it hangs on whether the hottest keys were there most of the time; few finds say little.
        if s.get("updates") == 0 and s.get("finds", 0) > 100_000:
            hits[row_of(s)].setdefault(s["side"], []).append(s["hits"] / s["finds"])
    wrong = [f"{text_of(row)}: digests of {' / '.join(', '.join(sorted(sides)) for sides in found.values())}"
             for row, found in digests.items() if len(found) > 1]
    for row, sides in hits.items():
        middle = {side: statistics.median(h) for side, h in sides.items()}
        if max(middle.values()) - min(middle.values()) > 0.02:
            wrong.append(f"{text_of(row)}: hits of {middle}")
    return wrong


def text_of(row):
    return " ".join(str(part) for part in row if part is not None)


class Medians:
    """The median of a measure, by section, row and side."""

    def __init__(self, samples, clock):
        cells = collections.defaultdict(list)
        for s in samples:
            for measure in MEASURES:
                if s.get(measure) is not None:
                    cells[(row_of(s), s["side"], measure)].append(s[measure])
        self.samples = cells
        self.cells = {key: statistics.median(values) for key, values in cells.items()}
        self.count = max((len(v) for v in cells.values()), default=0)
        self.speed = "cpu_mops" if clock == "cpu" else "mops"

    def rows(self, section):
        return sorted({row for row, _, _ in self.cells if row[0] == section}, key=lambda r: [(x is not None, str(type(x)), x or 0) for x in r])

    def get(self, row, side, measure=None):
        value = self.cells.get((row, side, measure or self.speed))
        return self.cells.get((row, side, "mops")) if value is None and measure is None else value

    def between(self, one, other, measure=None):
        """The median over the rounds of one (row, side) to another: both were measured within seconds, the rounds were not."""
        ours, theirs = (self.samples.get((*which, measure or self.speed), []) for which in (one, other))
        if not ours or not theirs:
            return None
        if len(ours) != len(theirs):
            return statistics.median(ours) / statistics.median(theirs)
        return statistics.median(a / b for a, b in zip(ours, theirs))

    def ratio(self, row, one, other, measure=None):
        return self.between((row, one), (row, other), measure)

    def best_ratio(self, row, others, higher, measure=None):
        """Ours to the one of the others that is the best beside us."""
        ratios = [r for r in (self.ratio(row, "ashlar", other, measure) for other in others) if r is not None]
        return (min if higher else max)(ratios) if ratios else None

    def sides(self, rows, measure=None):
        return [s for s in SIDES if any(self.get(r, s, measure) is not None for r in rows)]

    def find(self, section, side, measure, **fields):
        for row in self.rows(section):
            told = dict(zip(ROW, row[1:]))
            if all(told[k] == v for k, v in fields.items()):
                value = self.get(row, side, measure)
                if value is not None:
                    return value
        return None


def mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values)) if values else None


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def table(m, title, rows, names, measure=None, mean_row=True):
    """Rows by sides; at the end geometric means over the rows that all of those sides have which have any."""
    sides = m.sides(rows, measure)
    if not sides:
        return
    fields = [i for i in range(len(ROW)) if any(r[1 + i] is not None for r in rows)]
    print(f"\n### {title}\n")
    ours = "ashlar" in sides
    print("| " + " | ".join([*[names.get(ROW[i], ROW[i]) for i in fields], *sides, *(["of the best other"] if ours else [])]) + " |")
    print("|" + "---|" * (len(fields) + len(sides) + ours))
    for r in rows:
        values = [m.get(r, s, measure) for s in sides]
        best = m.best_ratio(r, [s for s in sides if s != "ashlar"], measure in (None, "churn_mops"), measure)
        ratio = [f"{best:.2f}" if best is not None else ""] if ours else []
        print("| " + " | ".join([*["" if r[1 + i] is None else str(r[1 + i]) for i in fields], *[number(v) for v in values], *ratio]) + " |")
    if mean_row:
        common = [r for r in rows if all(m.get(r, s, measure) is not None for s in sides)]
        means = [mean([m.get(r, s, measure) for r in common]) for s in sides]
        if common:
            print("| " + " | ".join([f"geometric mean of {len(common)}", *[""] * (len(fields) - 1), *[f"**{number(v)}**" for v in means],
                                     *([""] if ours else [])]) + " |")


# ---- goals --------------------------------------------------------------------------------------------------------------
def the_36(m, section):
    return [r for r in m.rows(section) if r[1] in (10_000, 1_000_000) and r[3] in (0, 10, 50) and r[4] in (1, 2, 16)]


def goals(m, cells_program):
    """Yields (what, figure, bound, whether it holds); the figure is None where it was not measured."""
    for section, caller in (("cells", ""), ("branch", ", a caller that branches")):
        rows = [r for r in the_36(m, section) if m.get(r, "ashlar") is not None]
        for peer, bound in (("parlayhash", 1.2), ("boost", 1.4)):
            both = [ratio for ratio in (m.ratio(r, "ashlar", peer) for r in rows) if ratio]
            yield (f"geometric mean of {len(both)} of 36 cells, of {peer}'s{caller}", mean(both) if both else None, ">=", bound)
        worst = [(ratio, text_of(r[1:])) for r in rows if (ratio := m.best_ratio(r, ("parlayhash", "boost"), True)) is not None]
        yield (f"worst cell, of the better of both{caller}" + (f" ({min(worst)[1]})" if worst else ""), min(worst)[0] if worst else None, ">=", 0.9)
    pairs = []
    for r in m.rows("cells"):
        ratio = m.between((r, "ashlar"), ((*r[:4], 2, *r[5:]), "ashlar")) if r[4] == 16 else None
        if ratio is not None:
            pairs.append((ratio, text_of(r[1:4])))
    yield ("worst of 16 threads to 2" + (f" ({min(pairs)[1]})" if pairs else ""), min(pairs)[0] if pairs else None, ">=", 0.9)
    for threads, bound in ((1, 1.0), (2, 1.5)):
        rows = [r for r in m.rows("grow") if r[4] == threads and r[6] == 4_000_000 and r[7] == 0]
        yield (f"4M inserts from empty, {threads} thread(s), of boost's", m.ratio(rows[0], "ashlar", "boost") if rows else None, ">=", bound)
    yield ("bytes an entry at 10M", m.find("memory", "ashlar", "bytes", n=10_000_000), "<=", 28)
    yield ("peak of what remains at 10M", m.find("memory", "ashlar", "peak_ratio", n=10_000_000), "<=", 1.6)
    yield ("bytes of a header", m.find("tiny", "ashlar", "header", entries=0), "<=", 256)
    empty = m.find("tiny", "ashlar", "bytes", entries=0)
    yield ("bytes of an empty map", None if empty is None else round(empty), "<=", 128)
    yield ("atomic read-modify-writes in a find", atomics(cells_program), "<=", 0)
    for measure, clock in (("longest_64_ms", "the clock (see machine's stops)"), ("longest_64_cpu_ms", "CPU time")):
        longest = m.find("latency", "ashlar", measure, n=10_000_000, threads=1, reserve=0)
        yield (f"longest 64 inserts while 10M grow, ms by {clock}", longest, "<=", 1.0)


def atomics(program):
    """Of the compiled find (`bench_find_probe` of cells.cc): instructions that lock, up to the first return. What follows it
    is unlikely: a nested pin, a bucket that changes meanwhile, a kernel without membarrier, where a pin is an exchange."""
    try:
        text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "--disassemble=bench_find_probe", program], capture_output=True,
                              text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    lines = re.findall(r"^\s+[0-9a-f]+:\t(.*)$", text, re.M)
    likely = lines[:next((i for i, line in enumerate(lines) if line.startswith("ret")), 0)]
    if len(likely) < 10 or any(line.startswith(("call", "bl\t", "bl ")) for line in likely):
        return None  # not what was meant to be looked at
    return sum(bool(re.match(r"lock|xchg .*\(|cas|ldadd|swp|ldset|stxr|stlxr", line)) for line in likely)


def show_goals(m, cells_program):
    print("\n### goals\n\n| what | measured | wanted | |\n|---|---|---|---|")
    missed = 0
    for what, figure, way, bound in goals(m, cells_program):
        holds = figure is not None and (figure >= bound if way == ">=" else figure <= bound)
        verdict = "not measured" if figure is None else "holds" if holds else "**missed**"
        missed += figure is not None and not holds
        print(f"| {what} | {'' if figure is None else f'{figure:.3g}'} | {way} {bound:g} | {verdict} |")
    print(f"\n{missed} goals missed; medians of up to {m.count} rounds")


def show(samples, clock, cells_program):
    m = Medians(samples, clock)
    names = {"keys": "keys", "updates": "updates, %"}
    unit = "operations a second, millions" + (", by CPU time" if clock == "cpu" else "")
    for section, title in (("cells", "cells"), ("branch", "cells, a caller that branches on hit or miss"), ("strings", "cells, string keys")):
        for keys in dict.fromkeys(r[1] for r in m.rows(section)):
            table(m, f"{title}: {unit}", [r for r in m.rows(section) if r[1] == keys], names)
    table(m, f"conc-map-bench's mixes: {unit}", m.rows("mixes"), names)
    table(m, f"YCSB (E: scans; walk: entries): {unit}", m.rows("ycsb"), names, mean_row=False)
    table(m, "inserts from empty (reserve 1: pre-sized), millions a second", m.rows("grow"), names, mean_row=False)
    for measure, title in (("p50_us", "median"), ("p999_us", "99.9 %"), ("p9999_us", "99.99 %"), ("max_us", "longest"),
                           ("longest_64_ms", "longest 64 in a row, ms"), ("longest_64_cpu_ms", "longest 64 in a row, ms of CPU"),
                           ("machine_stop_ms", "the machine's longest stop of a loop that reads the clock, ms")):
        table(m, f"inserts while it grows: {title}" + (", us" if measure.endswith("_us") else ""), m.rows("latency"), names, measure, False)
    for measure, title in (("bytes", "bytes an entry"), ("peak_ratio", "peak / what remains"), ("erased_mb", "MB left when 90 % are erased")):
        table(m, title, m.rows("memory"), names, measure, False)
    for measure, title in (("churn_mops", "churn at constant size, millions a second"), ("churn_memory", "memory after churn / before")):
        table(m, title, m.rows("churn"), names, measure, False)
    for measure, title in (("bytes", "bytes a map"), ("make_ns", "ns to make and fill it"), ("find_ns", "ns to find all of it"),
                           ("destroy_ns", "ns to destroy it")):
        table(m, f"tiny maps: {title}", m.rows("tiny"), names, measure, False)
    show_padding(m, samples)
    show_goals(m, cells_program)


def show_padding(m, samples):
    rows = m.rows("padding")
    if not rows:
        return
    print("\n### padding: ns an insert, threads that fill small maps of their own\n\n| bytes | threads | side by side | padded | speed-up |\n|---|---|---|---|---|")
    for r in rows:
        if r[-1] == "off":
            off, on = m.get(r, "ashlar", "ns"), m.get((*r[:-1], "on"), "ashlar", "ns")
            print(f"| {r[-2]} | {r[4]} | {number(off)} | {number(on)} | **{off / on:.2f}** |")
        elif r[-1] == "hash_map":
            print(f"| hash_map of 3 | {r[4]} | | {number(m.get(r, 'ashlar', 'ns'))} | |")
    counted = [(r, m.get(r, "ashlar", e), e) for r in rows for e in ("l1_misses", "hit_modified") if m.get(r, "ashlar", e) is not None]
    for r, value, event in counted:
        print(f"{event} an insert, {r[-2]} bytes, {r[-1]}: {value:.3f}")
    why = {s["l1_misses_not_counted"] for s in samples if "l1_misses_not_counted" in s}
    if not counted:
        print(f"Invalidations are not counted on this machine: perf_event_open: {', '.join(sorted(why)) or 'not said'}.")


def plot(samples, clock, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    m = Medians(samples, clock)
    groups = [(section, keys) for section in ("cells", "strings") for keys in dict.fromkeys(r[1] for r in m.rows(section))]
    figure, axes = plt.subplots(len(groups), 3, figsize=(11, 2.6 * len(groups)), squeeze=False)
    for line, (section, keys) in zip(axes, groups):
        for axis, updates in zip(line, (0, 10, 50)):
            rows = [r for r in m.rows(section) if r[1] == keys and r[3] == updates]
            threads = sorted({r[4] for r in rows})
            for side in m.sides(rows):
                points = [(t, mean([m.get(r, side) for r in rows if r[4] == t and m.get(r, side)])) for t in threads]
                axis.plot(*zip(*[(str(t), v) for t, v in points if v]), label=side, marker="o", markersize=3, linewidth=1.3)
            axis.set_title(f"{keys:,} {'string ' if section == 'strings' else ''}keys, {updates} % updates", fontsize=9)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    if groups:
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=len(SIDES), fontsize=8, frameon=False)
        axes[-1][1].set_xlabel("threads")
        axes[0][0].set_ylabel("Mops/s")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    matplotlib.rcParams["svg.hashsalt"] = "ashlar"
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
