# SPDX-License-Identifier: MIT
"""What the samples say: medians, ratios to the base with intervals, and which differences are significant.

The family of comparisons that the correction is for: every workload, every allocator but the base, time and peak
memory. A Cell is one of them, or one of the base's own."""
import dataclasses
import json
import math

import numpy

from runner import stats

TESTED = ("time", "peak_kib")
# Peak memory of a micro case is mostly its program's; bytes per object say more.
UNTESTED_GROUPS = {"peak_kib": {"micro", "placement"}}


@dataclasses.dataclass
class Cell:
    median: float = math.nan
    low: float = math.nan
    high: float = math.nan
    ratio: float = math.nan  # to the base's median
    ratio_low: float = math.nan
    ratio_high: float = math.nan
    p: float = math.nan  # as it is
    q: float = math.nan  # corrected for the number of comparisons
    resampled: object = None  # ratios of resampled medians

    @property
    def significant(self):
        return self.q <= stats.ALPHA


class Results:
    def __init__(self, data):
        """`data` is what to_data() makes and the published JSON holds."""
        self.data = data
        self.base, self.names = data["base"], data["names"]
        self.workloads = list(data["workloads"])
        self.failures = {(f["workload"], f["allocator"]): f["why"] for f in data["failures"]}
        self.cells = {}  # (workload, name, metric): Cell
        self.summarise()

    def group(self, workload):
        return self.data["workloads"][workload]["group"]

    def groups(self):
        return list(dict.fromkeys(self.group(w) for w in self.workloads))

    def of_group(self, *groups):
        return [w for w in self.workloads if self.group(w) in groups]

    def values(self, workload, name, metric):
        return self.data["samples"].get(workload, {}).get(name, {}).get(metric, [])

    def summarise(self):
        random = stats.generator()
        compared = []
        for workload in self.workloads:
            for metric in (*TESTED, "cpu"):
                base_values = [] if (workload, self.base) in self.failures else self.values(workload, self.base, metric)
                base = stats.resampled_medians(base_values, random) if base_values else None
                for name in self.names:
                    values = self.values(workload, name, metric)
                    if not values or (workload, name) in self.failures:
                        continue
                    own = base if name == self.base else stats.resampled_medians(values, random)
                    cell = Cell(float(numpy.median(values)), *stats.interval(own))
                    self.cells[workload, name, metric] = cell
                    if base is None or not float(numpy.median(base_values)):
                        continue
                    cell.ratio = cell.median / float(numpy.median(base_values))
                    if name == self.base:
                        cell.ratio_low = cell.ratio_high = 1.0
                        cell.resampled = numpy.ones(stats.RESAMPLES)
                        continue
                    # CPU time is counted in ticks on some kernels, so a short program may show none.
                    with numpy.errstate(divide="ignore", invalid="ignore"):
                        cell.resampled = own / base
                    cell.ratio_low, cell.ratio_high = stats.interval(cell.resampled)
                    if metric in TESTED and self.group(workload) not in UNTESTED_GROUPS.get(metric, ()):
                        cell.p = stats.mann_whitney(values, base_values)
                        compared.append(cell)
        for cell, q in zip(compared, stats.adjusted([cell.p for cell in compared])):
            cell.q = float(q)
        self.compared = compared

    def cell(self, workload, name, metric):
        return self.cells.get((workload, name, metric), Cell())

    def mean(self, name, metric, workloads):
        """Geometric mean of the ratios over those workloads that have one: (mean, low, high, their number)."""
        cells = [self.cell(w, name, metric) for w in workloads]
        cells = [c for c in cells if c.ratio > 0]
        if not cells:
            return math.nan, math.nan, math.nan, 0
        with numpy.errstate(divide="ignore", invalid="ignore"):
            logs = numpy.mean([numpy.log(c.resampled) for c in cells], axis=0)
        low, high = stats.interval(numpy.exp(logs[numpy.isfinite(logs)]))
        return stats.geomean([c.ratio for c in cells]), low, high, len(cells)

    def passes(self, workloads=None):
        counts = [len(self.values(w, n, "time")) for w in workloads or self.workloads for n in self.names if (w, n) not in self.failures]
        return (min(counts), max(counts)) if counts else (0, 0)

    def significant(self):
        return [(key, cell) for key, cell in self.cells.items() if cell.significant]

    def worst(self, name, metric, workloads):
        rows = [(self.cell(w, name, metric).ratio, w) for w in workloads]
        rows = [row for row in rows if row[0] > 0]
        return max(rows) if rows else None


def columns(samples):
    """[{metric: value}] as {metric: [value]}, which is a third of the size."""
    names = dict.fromkeys(key for sample in samples for key in sample)
    return {name: [sample[name] for sample in samples if name in sample] for name in names}


def to_data(journal, chosen_names, base, workload_names=None):
    """All that a journal holds (or of some workloads), in the form that is published."""
    names = [w for w in journal.workloads if workload_names is None or w in workload_names]
    return {
        "base": base,
        "names": chosen_names,
        "statistics": {"alpha": stats.ALPHA, "confidence": stats.CONFIDENCE, "test": "Mann-Whitney U, two-sided", "correction": "Benjamini-Hochberg"},
        "slices": journal.slices,
        "workloads": {w: journal.workloads[w] for w in names},
        "skipped": [{"workload": w, "why": why} for w, why in journal.skipped.items()],
        "failures": [{"workload": w, "allocator": a, "why": why} for (w, a), why in journal.failures.items() if w in names],
        "samples": {w: {a: columns(journal.samples[w, a]) for a in chosen_names if (w, a) in journal.samples} for w in names},
        "memory_over_time": {w: {a: journal.series[w, a] for a in chosen_names if (w, a) in journal.series} for w in names
                             if any((w, a) in journal.series for a in chosen_names)},
        "instructions": {w: {a: journal.instructions[w, a] for a in chosen_names if (w, a) in journal.instructions} for w in names
                         if any((w, a) in journal.instructions for a in chosen_names)},
    }


def save(data, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, separators=(",", ":"))
        file.write("\n")


def load(path):
    with open(path, encoding="utf-8") as file:
        return Results(json.load(file))
