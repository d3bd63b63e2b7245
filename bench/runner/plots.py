# SPDX-License-Identifier: MIT
"""Plots of results as SVG texts, by matplotlib. Every allocator has one colour and one mark in all of them; the base is a
line at 1. Intervals are drawn wherever there are any, and what has no data says so instead of an empty frame."""
import io
import math
import re

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402
import numpy  # noqa: E402

from runner import workloads  # noqa: E402

COLOURS = {"ashlar": "#d62728", "glibc": "#7f7f7f", "mimalloc": "#1f77b4", "jemalloc": "#2ca02c", "tcmalloc": "#ff7f0e", "tbb": "#9467bd"}
SPARE = ["#8c564b", "#e377c2", "#17becf", "#bcbd22"]
MARKS = {"ashlar": "o", "glibc": "s", "mimalloc": "D", "jemalloc": "^", "tcmalloc": "v", "tbb": "P"}

pyplot.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "ashlar", "font.family": "sans-serif", "axes.spines.top": False,
                        "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
                        "axes.axisbelow": True, "legend.frameon": False})


def colour(results, name):
    others = [n for n in results.names if n not in COLOURS]
    return COLOURS.get(name) or SPARE[others.index(name) % len(SPARE)]


def svg(figure):
    """The figure's text, without the XML head, so that it can stand inside of a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def unique_ids(text, prefix):
    """Several figures in one page must not name their clip paths alike."""
    return re.sub(r'((?:id|href)="#?|url\(#)([A-Za-z])', lambda m: f"{m[1]}{prefix}{m[2]}", text)


def ratio_axis(axis, low, high):
    """Logarithmic: twice as fast is as far from 1 as half as fast."""
    axis.set_xscale("log")
    ticks = [t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100) if low <= t <= high]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(low, high)


def bars(results, names, metric, title, limit=6.0):
    """One block for each workload, one bar for each allocator: the ratio to the base with its interval. Hollow: not
    significant. A bar beyond the limit ends in its number."""
    shown = [n for n in results.names if n != results.base and any(results.cell(w, n, metric).ratio > 0 for w in names)]
    step = 1.0 / (len(shown) + 1)
    figure, axis = pyplot.subplots(figsize=(5.2, 0.8 + 0.115 * len(names) * (len(shown) + 1)))
    smallest = 0.9
    for row, workload in enumerate(names):
        for place, name in enumerate(shown):
            at = row + (place - (len(shown) - 1) / 2) * step
            if (workload, name) in results.failures:
                axis.text(1, at, " failed", va="center", fontsize=6, color=colour(results, name))
                continue
            cell = results.cell(workload, name, metric)
            if not cell.ratio > 0:
                continue
            smallest = min(smallest, cell.ratio_low, cell.ratio)
            end = min(cell.ratio, limit)
            axis.barh(at, end - 1, left=1, height=step * 0.92, color=colour(results, name) if cell.significant else "white",
                      edgecolor=colour(results, name), linewidth=0.8)
            if cell.ratio > limit:
                axis.text(limit * 0.98, at, f"{cell.ratio:.1f}", va="center", ha="right", fontsize=6, color="white" if cell.significant else "black")
            elif cell.ratio_low > 0:
                axis.plot([cell.ratio_low, min(cell.ratio_high, limit)], [at, at], color="black", linewidth=0.9)
    axis.axvline(1, color=colour(results, results.base), linewidth=1.2)
    ratio_axis(axis, smallest * 0.93, limit)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_title(title, loc="left", fontsize=10)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colour(results, n)) for n in shown]
    axis.legend(handles, shown, ncols=len(shown), loc="upper center", bbox_to_anchor=(0.35, -0.35 / figure.get_figheight()), columnspacing=1, fontsize=8)
    return svg(figure)


def front(points):
    """Those (x, y, name) that no other one beats in both, from left to right."""
    best, kept = math.inf, []
    for x, y, name in sorted(points):
        if y < best:
            best = y
            kept.append((x, y, name))
    return kept


def time_and_memory(results, names):
    """Each allocator's geometric means with intervals; small dots are the workloads behind them."""
    figure, axis = pyplot.subplots(figsize=(6.4, 4.6))
    points = []
    for name in results.names:
        time, peak = results.mean(name, "time", names), results.mean(name, "peak_kib", names)
        if not (time[0] > 0 and peak[0] > 0):
            continue
        each = [(results.cell(w, name, "time").ratio, results.cell(w, name, "peak_kib").ratio) for w in names]
        each = numpy.array([e for e in each if e[0] > 0 and e[1] > 0])
        if name != results.base:
            axis.plot(each[:, 0], each[:, 1], MARKS.get(name, "o"), color=colour(results, name), markersize=3, alpha=0.35, linewidth=0)
        axis.errorbar([time[0]], [peak[0]], xerr=[[time[0] - time[1]], [time[2] - time[0]]], yerr=[[peak[0] - peak[1]], [peak[2] - peak[0]]],
                      fmt=MARKS.get(name, "o"), color=colour(results, name), markersize=9, capsize=2, markeredgecolor="black", markeredgewidth=0.7,
                      label=f"{name}  {time[0]:.2f}  {peak[0]:.2f}")
        points.append((time[0], peak[0], name))
    best = front(points)
    for axis_name in ("x", "y"):
        getattr(axis, f"set_{axis_name}scale")("log")
        getattr(axis, f"set_{axis_name}lim")(0.2, 5)
        ticks = (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)
        getattr(axis, f"set_{axis_name}ticks")(ticks, [f"{t:g}" for t in ticks])
        getattr(axis, f"set_{axis_name}ticks")([], minor=True)
    if best:
        # A staircase: everything above and to the right of it is beaten by one on it.
        xs = [best[0][0], best[0][0]] + [v for x, _, _ in best[1:] for v in (x, x)] + [5]
        ys = [5] + [v for _, y, _ in best for v in (y, y)]
        axis.plot(xs, ys[: len(xs)], color="black", linewidth=0.9, linestyle="--", zorder=0)
        axis.fill_between(xs, ys[: len(xs)], 5, color="#f3f3f3", zorder=-1)
    axis.set_xlabel(f"time, ratio to {results.base} (left is better)")
    axis.set_ylabel(f"peak RSS, ratio to {results.base} (down is better)")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), title="time, peak RSS")
    axis.set_title("Time against memory; dashed: the Pareto front of the means", loc="left", fontsize=10)
    return svg(figure)


def memory_over_time(results):
    """Small multiples: resident memory of each workload while it runs."""
    series = results.data["memory_over_time"]
    names = [w for w in series if max(max((p[1] for p in s), default=0) for s in series[w].values()) > 4096]
    if not names:
        return ""
    across = 4
    down = -(-len(names) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(11, 1.9 * down + 0.5), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, workload in zip(axes.flat, names):
        for name, points in series[workload].items():
            if points:
                axis.plot([p[0] for p in points], [p[1] / 1024 for p in points], color=colour(results, name), linewidth=1.1)
        axis.set_title(workload, fontsize=8, loc="left")
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
    shown = [n for n in results.names if any(n in s for s in series.values())]
    handles = [pyplot.Line2D([], [], color=colour(results, n), linewidth=2) for n in shown]
    figure.supxlabel("seconds (watching slows the program down)", fontsize=8)
    figure.supylabel("MiB resident", fontsize=8)
    figure.tight_layout()
    figure.legend(handles, shown, ncols=len(shown), loc="lower center", bbox_to_anchor=(0.5, -0.35 / figure.get_figheight()))
    return svg(figure)


def threads_of(results):
    """{case: {threads: workload}} of the micro suite, for cases with more than one number of threads."""
    cases = {}
    for workload in results.of_group(workloads.MICRO):
        case, _, threads = workload.rpartition("/threads:")
        if results.data["samples"].get(workload):
            cases.setdefault(case, {})[int(threads)] = workload
    return {case: rows for case, rows in cases.items() if len(rows) > 1}


def throughput(results):
    """Million operations a second against threads, for every case that runs with several."""
    cases = threads_of(results)
    if not cases:
        return ""
    across = 6
    down = -(-len(cases) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(11, 1.55 * down + 0.5), squeeze=False)
    for axis in axes.flat[len(cases) :]:
        axis.set_visible(False)
    for axis, (case, rows) in zip(axes.flat, cases.items()):
        counts = sorted(rows)
        for name in results.names:
            cells = [results.cell(rows[n], name, "time") for n in counts]
            middle = [1e-6 / c.median if c.median > 0 else math.nan for c in cells]
            low = [m - 1e-6 / c.high if c.high > 0 else 0 for m, c in zip(middle, cells)]
            high = [1e-6 / c.low - m if c.low > 0 else 0 for m, c in zip(middle, cells)]
            axis.errorbar(range(len(counts)), middle, yerr=numpy.maximum(0, [low, high]), color=colour(results, name), linewidth=1.1,
                          marker=MARKS.get(name, "o"), markersize=2.5, elinewidth=0.7)
        axis.set_xticks(range(len(counts)), counts)
        axis.set_title(case, fontsize=8, loc="left")
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
    handles = [pyplot.Line2D([], [], color=colour(results, n), marker=MARKS.get(n, "o"), linewidth=1.5) for n in results.names]
    figure.supxlabel("threads", fontsize=8)
    figure.supylabel("million operations a second, all threads together", fontsize=8)
    figure.tight_layout()
    figure.legend(handles, results.names, ncols=len(results.names), loc="lower center", bbox_to_anchor=(0.5, -0.35 / figure.get_figheight()))
    return svg(figure)


PERCENTILES = (("p50_us", "50"), ("p90_us", "90"), ("p99_us", "99"), ("p99.9_us", "99.9"))


def latency(results):
    """Medians over the runs of each percentile, for workloads that have requests."""
    names = [w for w in results.workloads if results.values(w, results.base, "p50_us")]
    if not names:
        return ""
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.6 * len(names), 3.2), squeeze=False)
    for axis, workload in zip(axes.flat, names):
        for name in results.names:
            samples = [results.values(workload, name, key) for key, _ in PERCENTILES]
            if all(samples):
                middle = [float(numpy.median(s)) for s in samples]
                low = [m - float(numpy.percentile(s, 25)) for m, s in zip(middle, samples)]
                high = [float(numpy.percentile(s, 75)) - m for m, s in zip(middle, samples)]
                axis.errorbar(range(4), middle, yerr=[low, high], label=name, color=colour(results, name), marker=MARKS.get(name, "o"), markersize=3,
                              linewidth=1.2, elinewidth=0.7)
        axis.set_yscale("log")
        axis.set_xticks(range(4), [text + " %" for _, text in PERCENTILES])
        axis.set_title(workload, loc="left", fontsize=9)
        axis.set_xlabel("percentile of the requests")
    axes.flat[0].set_ylabel("microseconds; bars: quartiles over the runs")
    axes.flat[-1].legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    return svg(figure)


def summary(results, names):
    """For README.md: the means of time and of memory, with intervals, side by side."""
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 0.42 * len(results.names) + 0.7), sharey=True)
    for axis, metric, title in zip(axes, ("time", "peak_kib"), ("time", "peak RSS")):
        for row, name in enumerate(results.names):
            mean, low, high, _ = results.mean(name, metric, names)
            if not mean > 0:
                continue
            axis.barh(row, mean, color=colour(results, name), height=0.66)
            axis.plot([low, high], [row, row], color="black", linewidth=1.4)
            axis.text(max(mean, high) + 0.02, row, f"{mean:.2f}", va="center", fontsize=9)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_yticks(range(len(results.names)), results.names)
        axis.grid(axis="y", visible=False)
        axis.set_xlim(0, axis.get_xlim()[1] * 1.08)
        axis.set_title(f"{title}, geometric mean of {len(names)} programs, {results.base} = 1", loc="left", fontsize=9)
    axes[0].invert_yaxis()
    figure.tight_layout()
    return svg(figure)
