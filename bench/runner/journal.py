# SPDX-License-Identifier: MIT
"""Samples on disk: one JSON object a line, written as soon as a run has ended, so that whatever ends the runner loses at
most the run that was under way. A journal is for one set of libraries, by their hashes; workloads may be added at any
time, but one that has changed is refused. Without a path nothing is written."""
import json
import os

from runner import measure


class Journal:
    def __init__(self, path, libraries, restart=False):
        self.path = path
        self.samples = {}  # (workload, allocator): [metrics]
        self.failures = {}  # (workload, allocator): why
        self.workloads = {}  # name: {"group", "key", "expected", "seconds", ...}, in the order of their arrival
        self.skipped = {}  # name: why
        self.series = {}  # (workload, allocator): [[seconds, KiB]]
        self.instructions = {}  # (workload, allocator): instructions per operation
        self.slices = []  # {"machine", "seed"} of every time that it was begun or continued
        self.file = None
        if restart and path and os.path.exists(path):
            os.unlink(path)
        if path:
            self.load(libraries)
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            self.file = open(path, "a", encoding="utf-8")
            if self.file.tell() == 0:
                self.write({"libraries": libraries})

    def load(self, libraries):
        for line in measure.read(self.path).splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the line that a kill cut off
            if "libraries" in entry and libraries is not None and entry["libraries"] != libraries:
                raise SystemExit(f"{self.path} holds samples of other libraries: --restart begins anew, --journal FILE elsewhere")
            self.take(entry)
        # A cut-off line must not swallow the next one.
        if os.path.exists(self.path) and not measure.read(self.path).endswith(b"\n") and os.path.getsize(self.path):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\n")

    def take(self, entry):
        pair = (entry.get("workload"), entry.get("allocator"))
        if "metrics" in entry:
            self.samples.setdefault(pair, []).append(entry["metrics"])
        elif "failure" in entry:
            self.failures[pair] = entry["failure"]
        elif "known" in entry:
            self.workloads[entry["workload"]] = entry["known"]
        elif "skipped" in entry:
            self.skipped[entry["workload"]] = entry["skipped"]
        elif "series" in entry:
            self.series[pair] = entry["series"]
        elif "instructions" in entry:
            self.instructions[pair] = entry["instructions"]
        elif "slice" in entry:
            self.slices.append(entry["slice"])

    def write(self, entry):
        if self.file:
            self.file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self.file.flush()

    def add(self, workload=None, allocator=None, **what):
        """One of the kinds that take() knows."""
        entry = {}
        if workload is not None:
            entry["workload"] = workload
        if allocator is not None:
            entry["allocator"] = allocator
        entry.update(what)
        self.take(entry)
        self.write(entry)

    def count(self, workload, allocator):
        return len(self.samples.get((workload, allocator), []))
