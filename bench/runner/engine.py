# SPDX-License-Identifier: MIT
"""The order of runs, and when it is enough.

A pass is one run of a workload under each allocator, in random order, next to each other, so that all of them see the
same machine. Passes of all workloads take turns in random order. A workload is done when the interval of the median time
is narrow for every allocator (at least `least` passes), or after `most`. That rule looks at widths, never at
differences, so stopping by it favours nobody. Every run goes into the journal at once, and a later engine goes on
from there. A failure ends that pair's part; the rest goes on."""
import os
import random
import time

from runner import measure, stats

# Narrow: the half width of the 95 % interval, as a share of the median.
NARROW = 0.02


class Progress:
    """One line on a terminal, rewritten; elsewhere one every ten seconds."""

    def __init__(self, stream):
        self.stream, self.terminal, self.last = stream, stream.isatty(), time.monotonic()

    def at(self, text):
        if self.terminal:
            print(f"\r\033[K{text[:118]}", end="", file=self.stream, flush=True)
        elif time.monotonic() - self.last > 10:
            self.last = time.monotonic()
            print(text, file=self.stream, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=self.stream, flush=True)


def minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def complaint(workload, sample, stdout, timeout):
    """Why this run does not count, or "". May replace metrics by those that the program prints."""
    if sample.status == 124:
        return f"not ended after {timeout} s"
    if sample.status > 128:
        return f"signal {sample.status - 128}"
    if sample.status != 0:
        return f"exit code {sample.status}"
    if b"cannot be preloaded" in sample.stderr:
        return "the library was not loaded"
    if workload.compare and sample.stdout != stdout:
        return "its output differs from that under glibc"
    if workload.parse:
        try:
            sample.metrics.update(workload.parse(sample.stdout, sample.stderr))
        except (ValueError, KeyError, IndexError) as error:
            return f"its output cannot be read: {error}"
    return ""


class Engine:
    def __init__(self, selected, chosen, journal, scratch, seed, progress, least=5, most=25, budget=None):
        self.selected, self.chosen, self.journal, self.scratch = selected, chosen, journal, scratch
        self.random, self.progress = random.Random(seed), progress
        self.least, self.most, self.budget = least, most, budget
        self.started = time.monotonic()
        self.kept = os.path.join(measure.BENCH, "failed")
        self.stdout = {}

    # ---- one run ------------------------------------------------------------------------------------------------

    def folder(self, workload):
        return os.path.join(self.scratch, workload.folder())

    def keep(self, workload, name, sample):
        os.makedirs(self.kept, exist_ok=True)
        path = os.path.join(self.kept, f"{workload.folder()}-{name.replace(' ', '_')}.txt")
        with open(path, "wb") as file:
            file.write(b"status %d\n--- stderr\n" % sample.status + sample.stderr + b"\n--- stdout\n" + sample.stdout)
        return path

    def run(self, workload, path, timeout, series_s=0):
        return measure.run(path, workload.argv, self.folder(workload), workload.env, 1 if series_s else workload.repeat, timeout,
                           workload.driver, series_s, workload.cwd)

    def prepare(self):
        """Inputs, and the output that counts as right. Also the warm-up: files are in the page cache from here on.
        What an earlier engine has prepared in this scratch folder for the same work is left as it is."""
        for workload in list(self.selected):
            folder, known = self.folder(workload), self.journal.workloads.get(workload.name)
            expected = os.path.join(folder, "expected")
            if known and known["key"] != workload.key():
                raise SystemExit(f"{self.journal.path}: '{workload.name}' was other work when its samples were taken: --restart begins anew")
            if known and os.path.exists(expected):
                self.stdout[workload.name] = measure.read(expected)
                continue
            self.progress.at(f"preparing {workload.name}")
            os.makedirs(folder, exist_ok=True)
            if workload.prepare:
                workload.prepare(folder)
            sample = measure.Sample(0, {"time": 1.0})
            if workload.warm:
                sample = measure.run("", workload.argv, folder, workload.env, 1, 120, workload.driver, 0, workload.cwd)
            if sample.status != 0:
                kept = self.keep(workload, "glibc", sample)
                self.journal.add(workload.name, skipped=f"fails without any preloaded library (status {sample.status}): {kept}")
                self.selected.remove(workload)
                continue
            # Of repeated programs each prints the same.
            self.stdout[workload.name] = sample.stdout * workload.repeat
            with open(expected, "wb") as file:
                file.write(self.stdout[workload.name])
            if not known:
                seconds = sample.metrics["time"] * workload.repeat
                self.journal.add(workload.name, known={"group": workload.group, "key": workload.key(), "seconds": seconds,
                                                       "argv": [self.short(a) for a in workload.argv], "cpus": workload.env.get("BENCH_CPUS", "")})

    @staticmethod
    def short(argument):
        return argument.replace(measure.BUILD, "build").replace(measure.ROOT + "/", "")

    def once(self, workload, allocator):
        timeout = int(max(10, 20 * self.journal.workloads[workload.name]["seconds"]))
        sample = self.run(workload, allocator.path, timeout)
        why = complaint(workload, sample, self.stdout[workload.name], timeout)
        if why:
            kept = self.keep(workload, allocator.name, sample)
            self.journal.add(workload.name, allocator.name, failure=f"{why}; output in {os.path.relpath(kept, measure.ROOT)}")
        else:
            self.journal.add(workload.name, allocator.name, metrics=sample.metrics)

    # ---- all of them --------------------------------------------------------------------------------------------

    def fit(self, workload):
        """The allocators that have not failed in it."""
        return [a for a in self.chosen if (workload.name, a.name) not in self.journal.failures]

    def passes(self, workload):
        return min((self.journal.count(workload.name, a.name) for a in self.fit(workload)), default=self.most)

    def done(self, workload):
        passes = self.passes(workload)
        if passes >= self.most:
            return True
        if passes < self.least:
            return False
        samples = self.journal.samples
        widths = [stats.half_width([m["time"] for m in samples[workload.name, a.name]], stats.generator()) for a in self.fit(workload)]
        return max(widths) <= NARROW

    def left(self, active, pass_s):
        """Seconds: until the budget ends, or at most until everything has had `most` passes."""
        all_s = sum(pass_s.get(w.name, 0) * (self.most - self.passes(w)) for w in active)
        return all_s if self.budget is None else min(all_s, self.budget - (time.monotonic() - self.started))

    def work(self):
        """Returns whether it is complete: False where the budget ended it."""
        pass_s = {}
        while True:
            active = [w for w in self.selected if not self.done(w)]
            if not active:
                return True
            # Those with fewer passes first: all of them get on evenly.
            fewest = min(self.passes(w) for w in active)
            for workload in self.random.sample(active, len(active)):
                if self.passes(workload) > fewest:
                    continue
                begun = time.monotonic()
                if self.budget is not None and begun - self.started + pass_s.get(workload.name, 0) > self.budget:
                    return False
                for allocator in self.random.sample(self.fit(workload), len(self.fit(workload))):
                    # A pass that was cut off is completed, not begun again.
                    if self.journal.count(workload.name, allocator.name) <= fewest:
                        self.progress.at(f"{len(self.selected) - len(active)} of {len(self.selected)} done, pass {fewest + 1}, at most "
                                         f"{minutes(max(0, self.left(active, pass_s)))} left: {workload.name} under {allocator.name}")
                        self.once(workload, allocator)
                pass_s[workload.name] = time.monotonic() - begun

    def watch(self, groups, every_s=0.01):
        """Memory over time: one more run of each pair, not timed, since watching costs time."""
        for workload in self.selected:
            for allocator in self.fit(workload):
                if workload.group in groups and (workload.name, allocator.name) not in self.journal.series:
                    self.progress.at(f"memory over time: {workload.name} under {allocator.name}")
                    sample = self.run(workload, allocator.path, 120, every_s)
                    if sample.status == 0:
                        self.journal.add(workload.name, allocator.name, series=thinned(sample.series))


def thinned(series, points=120):
    """At most so many points, each the largest of those that it stands for."""
    step = max(1, -(-len(series) // points))
    return [max(series[i : i + step], key=lambda point: point[1]) for i in range(0, len(series), step)]
