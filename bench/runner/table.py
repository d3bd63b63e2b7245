# SPDX-License-Identifier: MIT
"""Text tables of results. A difference that is not significant is marked with a tilde, everywhere."""
import math

from runner import stats, workloads

LEGEND = "below 1 is better; ~ not significant"


def number(value, digits=2):
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def ratio(cell):
    """Always as wide: what is not significant has a tilde."""
    if math.isnan(cell.ratio):
        return "- "
    return number(cell.ratio) + ("~" if cell.q > stats.ALPHA else " ")


def seconds(value):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size / 10:
            return f"{value / size:.3f} {unit}"
    return f"{value * 1e9:.2f} ns"


def text_table(head, rows):
    """Columns as wide as needed; the first one flush left, the others right. A row of None is a rule."""
    widths = [max(len(str(row[i])) for row in [head, *rows] if row) for i in range(len(head))]

    def line(row):
        cells = [str(row[0]).ljust(widths[0])] + [str(c).rjust(w) for c, w in zip(row[1:], widths[1:])]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(head), rule, *(line(row) if row else rule for row in rows)])


def with_interval(mean):
    return f"{number(mean[0])} [{number(mean[1])} {number(mean[2])}]"


def cell_text(results, workload, name, memory):
    if (workload, name) in results.failures:
        return "failed "
    text = ratio(results.cell(workload, name, "time"))
    return text + " " + ratio(results.cell(workload, name, "peak_kib")) if memory else text


def group_table(results, names, memory):
    """Rows of one kind: the base's absolute figures, the others' ratios, geometric means below."""
    others = [n for n in results.names if n != results.base]
    rows = []
    for workload in names:
        time, peak = results.cell(workload, results.base, "time"), results.cell(workload, results.base, "peak_kib")
        missing = "failed" if (workload, results.base) in results.failures else "-"
        absolute = [missing] if math.isnan(time.median) else [seconds(time.median)]
        if memory:
            absolute.append("" if math.isnan(peak.median) else f"{peak.median / 1024:.1f} MiB")
        rows.append([workload, *absolute, *(cell_text(results, workload, n, memory) for n in others)])
    if len(names) > 1:
        blank = [""] * (2 if memory else 1)
        means = []
        for name in others:
            text = number(results.mean(name, "time", names)[0]) + " "
            means.append(text + " " + number(results.mean(name, "peak_kib", names)[0]) + " " if memory else text)
        rows += [None, ["geometric mean", *blank, *means]]
        if memory:
            rows.append(["of CPU time", *blank, *(number(results.mean(n, "cpu", names)[0]) + "       " for n in others)])
    head = ["", results.base, *(["peak RSS"] if memory else []), *others]
    return text_table(head, rows)


def plain_table(results, what, title, digits):
    """Figures without statistics: instructions, bytes per object. None where there are none."""
    rows = []
    for workload in results.of_group(workloads.MICRO):
        values = [what(workload, name) for name in results.names]
        if any(v is not None for v in values):
            rows.append([workload.replace("/threads:1", ""), *("-" if v is None else f"{v:.{digits}f}" for v in values)])
    return text_table([title, *results.names], rows) if rows else None


def medians_of(results, metric):
    def what(workload, name):
        values = sorted(results.values(workload, name, metric))
        return values[len(values) // 2] if values else None
    return what


def text(results):
    parts = []
    whole = results.of_group(workloads.REAL, workloads.OURS, workloads.SERVERS, workloads.COMMAND)
    if whole:
        parts.append(f"Columns: {results.base}'s median time and peak RSS; the others' time and peak RSS as ratios to it ({LEGEND}).")
        parts.append(group_table(results, whole, True))
    for group in (workloads.MICRO, workloads.PLACED):
        names = [w for w in results.of_group(group) if results.data["samples"][w]]
        if names:
            parts.append(f"{group}: {results.base}'s median time of one operation; the others' as ratios to it ({LEGEND}).")
            parts.append(group_table(results, names, False))
    parts.append(plain_table(results, lambda w, n: results.data["instructions"].get(w, {}).get(n), "instructions", 1))
    parts.append(plain_table(results, medians_of(results, "bytes_per_object"), "bytes per object", 1))
    parts.append("\n".join(verdict(results, whole or results.workloads)))
    return "\n\n".join(part for part in parts if part)


def verdict(results, names):
    """Means with their intervals, the worst rows, how much is chance, what is missing."""
    lines = []
    for name in [n for n in results.names if n != results.base] if len(names) > 1 else []:
        time, peak = results.mean(name, "time", names), results.mean(name, "peak_kib", names)
        slow, fat = results.worst(name, "time", names), results.worst(name, "peak_kib", names)
        if slow and fat:
            lines.append(f"{name}: time {with_interval(time)}, worst {slow[0]:.2f} ({slow[1]}); peak RSS {with_interval(peak)}, "
                         f"worst {fat[0]:.2f} ({fat[1]})")
    if lines:
        lines.insert(0, "geometric means with their 95 % intervals:")
    least, most = results.passes()
    if results.compared:
        found = sum(cell.significant for cell in results.compared)
        lines.append(f"{found} of {len(results.compared)} differences are significant: Mann-Whitney U, corrected by Benjamini and Hochberg, so that "
                     f"at most {100 * stats.ALPHA:.0f} % of those are expected to be chance.")
    if least < 4:
        lines.append(f"Only {least} to {most} samples of each: too few to call anything significant." if least != most else
                     f"Only {least} samples of each: too few to call anything significant.")
    for row in results.data["skipped"]:
        lines.append(f"left out: {row['workload']}: {row['why']}")
    for (workload, name), why in results.failures.items():
        lines.append(f"failed: {workload} under {name}: {why}")
    return lines
