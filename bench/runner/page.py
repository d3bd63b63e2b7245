# SPDX-License-Identifier: MIT
"""One HTML page of results, with everything in it: no scripts, no other files, no network."""
import html
import math
import statistics

from runner import plots, stats, table, workloads

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1120px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; } h2 { font-size: 1.2em; margin-top: 2.2em; border-bottom: 1px solid #ccc; }
p.note, figcaption { color: #555; font-size: 0.9em; max-width: 75ch; }
table { border-collapse: collapse; font-size: 0.86em; font-variant-numeric: tabular-nums; }
th, td { padding: 0.18em 0.5em; text-align: right; white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1px solid #888; position: sticky; top: 0; background: #fff; } tr.mean td { border-top: 1px solid #888; font-weight: bold; }
td.better { background: #ddf0dd; } td.worse { background: #f8dcd8; } td.none { color: #888; } td.failed { background: #b00; color: #fff; }
.side { display: flex; flex-wrap: wrap; gap: 1.2em; align-items: flex-start; } .wide { overflow-x: auto; } figure { margin: 0; } svg { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1em 1.2em; font-size: 0.9em; } dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; margin: 0.8em 0; font-weight: bold; } code { font-size: 0.92em; }
"""


def text(value):
    return html.escape(str(value))


def figure(drawing, caption, prefix):
    if not drawing:
        return ""
    return f"<figure class=wide>{plots.unique_ids(drawing, prefix)}<figcaption>{text(caption)}</figcaption></figure>"


def ratio_cell(results, workload, name, metric):
    if (workload, name) in results.failures:
        return f'<td class=failed title="{text(results.failures[workload, name])}">failed</td>'
    cell = results.cell(workload, name, metric)
    if math.isnan(cell.ratio):
        return "<td class=none>-</td>"
    tested = not math.isnan(cell.q)
    kind = ("better" if cell.ratio < 1 else "worse") if cell.significant else "none"
    title = f"{cell.ratio_low:.3f} to {cell.ratio_high:.3f}" + (f", p {cell.p:.2g}, corrected {cell.q:.2g}" if tested else "")
    return f'<td class={kind} title="{title}">{cell.ratio:.2f}{"" if cell.significant else "~"}</td>'


def ratio_table(results, names, memory):
    others = [n for n in results.names if n != results.base]
    metrics = [("time", "time")] + ([("peak_kib", "peak")] if memory else [])
    head = f"<tr><th><th>{text(results.base)}" + ("<th>peak RSS" if memory else "")
    head += "".join(f"<th>{text(n)}{'<br>' + label if memory else ''}" for n in others for _, label in metrics) + "<th>samples</tr>"
    rows = []
    for workload in names:
        time, peak = results.cell(workload, results.base, "time"), results.cell(workload, results.base, "peak_kib")
        row = f"<tr><td>{text(workload)}<td>" + ("-" if math.isnan(time.median) else table.seconds(time.median))
        if memory:
            row += "<td>" + ("-" if math.isnan(peak.median) else f"{peak.median / 1024:.1f} MiB")
        row += "".join(ratio_cell(results, workload, n, metric) for n in others for metric, _ in metrics)
        least, most = results.passes([workload])
        rows.append(row + f"<td class=none>{least if least == most else f'{least}-{most}'}</tr>")
    if len(names) > 1:
        row = "<tr class=mean><td>geometric mean<td>" + ("<td>" if memory else "")
        for name in others:
            for metric, _ in metrics:
                mean, low, high, _ = results.mean(name, metric, names)
                row += f'<td title="{low:.3f} to {high:.3f}">{table.number(mean)}</td>'
        rows.append(row + "<td></tr>")
    return f"<div class=wide><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"


def plain(results, what, digits, title, note):
    rows = []
    for workload in results.of_group(workloads.MICRO):
        values = [what(workload, name) for name in results.names]
        if any(v is not None for v in values):
            cells = "".join("<td class=none>-" if v is None else f"<td>{v:.{digits}f}" for v in values)
            rows.append(f"<tr><td>{text(workload.replace('/threads:1', ''))}{cells}</tr>")
    if not rows:
        return ""
    head = "<tr><th>" + "".join(f"<th>{text(n)}" for n in results.names) + "</tr>"
    return f"<h2>{title}</h2><p class=note>{note}</p><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


# Metric, title, digits.
FIGURES = (("cpu", "CPU time, seconds", 3), ("minor_faults", "page faults", 0), ("voluntary", "context switches, voluntary", 0),
           ("involuntary", "context switches, involuntary", 0), ("rate", "requests a second", 0), ("p50_us", "latency, microseconds, 50 %", 0),
           ("p99_us", "latency, microseconds, 99 %", 0), ("p99.9_us", "latency, microseconds, 99.9 %", 0))


def figures(results, names):
    """Medians of all that is measured besides time and peak memory, a block of rows for each figure."""
    parts = []
    for key, title, digits in FIGURES:
        rows = []
        for workload in names:
            values = [results.values(workload, name, key) for name in results.names]
            if any(values):
                rows.append(f"<tr><td>{text(workload)}" + "".join(f"<td>{statistics.median(v):.{digits}f}" if v else "<td class=none>-" for v in values) + "</tr>")
        if rows:
            head = f"<tr><th>{title}" + "".join(f"<th>{text(n)}" for n in results.names) + "</tr>"
            parts.append(f"<details><summary>{title}</summary><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></details>")
    return "".join(parts)


def machine_list(results):
    machine = results.data["slices"][-1]["machine"]
    loads = [s["machine"]["load"] for s in results.data["slices"]]
    rows = [("machine", f"{machine['cpus']} x {machine['cpu']}, {machine['memory_mib']} MiB, virtualisation: {machine['virtual']}"),
            ("kernel, libc", f"Linux {machine['kernel']}, {machine['libc']}"),
            ("THP, governor, ASLR", f"{machine['thp']}; {machine['governor']}; {machine['address_randomisation']}"),
            ("commit", machine["commit"]),
            ("load before each slice", ", ".join(f"{load:.2f}" for load in loads)),
            ("allocators' settings", ", ".join(f"{k}={v}" for k, v in machine["settings"].items()) or "defaults")]
    rows += [(name, f"{lib['version']}; {lib['path'] or 'nothing preloaded'}" + (f"; sha256 {lib['sha256'][:16]}" if lib["sha256"] else ""))
             for name, lib in machine["libraries"].items()]
    return "<dl>" + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in rows) + "</dl>"


def problems(results):
    rows = [f"{f['workload']} under {f['allocator']}: {f['why']}" for f in results.data["failures"]]
    left = [f"{s['workload']}: {s['why']}" for s in results.data["skipped"]]
    parts = []
    for title, lines in (("Failed", rows), ("Left out", left)):
        if lines:
            parts.append(f"<h2>{title}</h2><ul>" + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>")
    return "".join(parts)


def head(results, names):
    least, most = results.passes()
    lines = []
    for name in [n for n in results.names if n != results.base]:
        time, peak = results.mean(name, "time", names), results.mean(name, "peak_kib", names)
        slow, fat = results.worst(name, "time", names), results.worst(name, "peak_kib", names)
        if slow and fat:
            lines.append(f"<tr><td>{text(name)}<td>{table.with_interval(time)}<td>{slow[0]:.2f} <span class=none>{text(slow[1])}</span>"
                         f"<td>{table.with_interval(peak)}<td>{fat[0]:.2f} <span class=none>{text(fat[1])}</span></tr>")
    found = sum(c.significant for c in results.compared)
    counted = least if least == most else f"{least} to {most}"
    return (f"<p>Ratios to {text(results.base)}; below 1 is better. {counted} samples of each pair, interleaved in random order. "
            f"{found} of {len(results.compared)} differences are significant.</p>"
            "<table><thead><tr><th>geometric mean [95 % interval]<th>time<th>worst<th>peak RSS<th>worst</tr></thead><tbody>"
            + "".join(lines) + "</tbody></table>"
            f"<p class=note>Medians; intervals are bootstrap percentiles. A difference is called significant where Mann and Whitney's U says so at "
            f"{100 * stats.ALPHA:.0f} % after Benjamini and Hochberg's correction for all comparisons on this page; what is not is marked ~, and drawn hollow. "
            "Green: significantly better than the base, red: significantly worse. Nothing is left out but what the last section names.</p>")


def page(results, machine_drawing=""):
    whole = results.of_group(workloads.REAL, workloads.OURS, workloads.SERVERS, workloads.COMMAND)
    micro = [w for w in results.of_group(workloads.MICRO) if results.data["samples"].get(w)]
    placed = results.of_group(workloads.PLACED)
    parts = [f"<h1>Allocators compared</h1>{head(results, whole or micro)}"]
    if whole:
        parts.append("<h2>Time against memory</h2>" + figure(plots.time_and_memory(results, whole), "Large marks: geometric means over all programs "
                     "with their intervals. Small ones: single programs.", "a"))
        parts.append("<h2>Programs</h2><div class=side>"
                     + figure(plots.bars(results, whole, "time", f"time, {results.base} = 1"), "Shorter to the left is better. Lines: 95 % intervals. Hollow: not significant.", "b")
                     + figure(plots.bars(results, whole, "peak_kib", f"peak RSS, {results.base} = 1"), "Of one process of the workload, the largest; of servers all together.", "c")
                     + "</div>" + ratio_table(results, whole, True) + "<p class=note>Medians of what else was measured:</p>" + figures(results, whole))
    parts.append("<h2>Latency</h2>" + figure(plots.latency(results), "Of the clients' requests.", "d") if plots.latency(results) else "")
    if results.data["memory_over_time"]:
        parts.append("<h2>Memory over time</h2>" + figure(plots.memory_over_time(results), "Proportional set size, one run each, sampled from "
                     "smaps_rollup. Programs below 4 MiB are left out.", "e"))
    if micro:
        parts.append("<h2>Micro: throughput against threads</h2>" + figure(plots.throughput(results), "Of the micro suite, all threads together. "
                     "Up to the number of CPUs each thread has one of its own; beyond, the kernel decides.", "f"))
        parts.append("<h2>Micro: time of one operation</h2><details><summary>table of all cases</summary>" + ratio_table(results, micro, False) + "</details>")
        parts.append(plain(results, lambda w, n: results.data["instructions"].get(w, {}).get(n), 1, "Micro: instructions of one operation",
                           "By callgrind, the loop included: exact, and the same under any load. Programs under callgrind have no rseq."))
        parts.append(plain(results, table.medians_of(results, "bytes_per_object"), 1, "Micro: bytes of memory for one object",
                           "Resident memory that 8 MiB of objects of one size add to a process, divided by their number; the size is the row's."))
    if placed:
        parts.append("<h2>Placement of threads</h2>" + ratio_table(results, placed, False))
    if machine_drawing:
        parts.append("<h2>The machine</h2>" + figure(machine_drawing, "By lstopo; blue: the CPUs of two threads under the policy spread.", "g"))
    parts.append("<h2>Measured on</h2>" + machine_list(results) + problems(results))
    return (f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Allocators compared</title>"
            f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n")
