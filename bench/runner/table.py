# SPDX-License-Identifier: MIT
"""Medians, ratios and the text tables made of them."""
import math
import statistics


def geomean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def spread(values):
    """(largest - smallest) / median: the noise of a few repetitions."""
    return (max(values) - min(values)) / statistics.median(values)


def middle_spread(values):
    """(upper quartile - lower quartile) / median: the noise of many repetitions."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / middle


def ratio_text(value):
    return "-" if math.isnan(value) else f"{value:.2f}"


def text_table(head, rows):
    """Columns as wide as needed; the first one flush left, the others right. A row of None is a rule."""
    widths = [max(len(str(row[i])) for row in [head, *rows] if row) for i in range(len(head))]

    def line(row):
        cells = [str(row[0]).ljust(widths[0])] + [str(c).rjust(w) for c, w in zip(row[1:], widths[1:])]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(head), rule, *(line(row) if row else rule for row in rows)])


class Results:
    """Samples by workload and allocator, failures beside them."""

    def __init__(self, workloads, names, base):
        self.workloads, self.names, self.base = workloads, names, base
        self.samples = {w: {n: [] for n in names} for w in workloads}
        self.failures = {}  # (workload, name): why

    def median(self, workload, name, what):
        """NaN where it failed or never ran."""
        samples = self.samples[workload][name]
        if (workload, name) in self.failures or not samples:
            return math.nan
        return statistics.median(getattr(s, what) for s in samples)

    def ratio(self, workload, name, what):
        below = self.median(workload, self.base, what)
        # CPU time is counted in ticks on some kernels, so a short program may show none.
        return self.median(workload, name, what) / below if below else math.nan

    def geomean(self, name, what):
        """Over the rows where both `name` and the base have a value."""
        ratios = [self.ratio(w, name, what) for w in self.workloads]
        return geomean([r for r in ratios if r > 0])

    def noise(self):
        """The median over all cells of the spread of wall time."""
        cells = [spread([s.wall for s in samples]) for row in self.samples.values() for samples in row.values()
                 if len(samples) > 1]
        return statistics.median(cells) if cells else math.nan

    def cell(self, workload, name):
        if (workload, name) in self.failures:
            return "failed"
        time, peak = self.ratio(workload, name, "wall"), self.ratio(workload, name, "peak_kib")
        return f"{ratio_text(time)} {ratio_text(peak)}"

    def worst(self, name, what):
        """(ratio, workload) of the worst row, or None."""
        rows = [(self.ratio(w, name, what), w) for w in self.workloads]
        rows = [row for row in rows if row[0] > 0]
        return max(rows) if rows else None

    def text(self):
        others = [n for n in self.names if n != self.base]
        rows = []
        for workload in self.workloads:
            seconds, kib = self.median(workload, self.base, "wall"), self.median(workload, self.base, "peak_kib")
            absolute = ["failed", ""] if math.isnan(seconds) else [f"{seconds:.3f} s", f"{kib / 1024:.1f} MiB"]
            rows.append([workload, *absolute, *(self.cell(workload, n) for n in others)])
        rows.append(None)
        means = [f"{ratio_text(self.geomean(n, 'wall'))} {ratio_text(self.geomean(n, 'peak_kib'))}" for n in others]
        rows.append(["geometric mean", "", "", *means])
        rows.append(["of CPU time", "", "", *(ratio_text(self.geomean(n, "cpu")) + "     " for n in others)])
        lines = [text_table(["", self.base, "peak RSS", *others], rows), ""]
        for name in others:
            slow, fat = self.worst(name, "wall"), self.worst(name, "peak_kib")
            if slow and fat:
                lines.append(f"worst of {name}: time {slow[0]:.2f} ({slow[1]}), peak RSS {fat[0]:.2f} ({fat[1]})")
        for (workload, name), why in self.failures.items():
            lines.append(f"failed: {workload} under {name}: {why}")
        return "\n".join(lines)
