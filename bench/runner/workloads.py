# SPDX-License-Identifier: MIT
"""What bench/ab runs: real programs and our own, each a fixed amount of work with output that does not vary.

Sizes are chosen so that one run takes about half a second under mimalloc: three rounds of all of them under five
allocators fit into `make ab`'s three minutes."""
import dataclasses
import os
import shutil
import subprocess

from runner import measure

INPUTS = os.path.join(measure.ROOT, "bench", "workloads")


@dataclasses.dataclass
class Workload:
    name: str
    argv: list
    package: str = ""  # Debian's package of argv[0], named where the program is missing
    env: dict = dataclasses.field(default_factory=dict)
    repeat: int = 1  # runs per sample, for short programs
    prepare: object = None  # called once with the scratch folder, not measured


def git_history(scratch):
    """A repository of 260 commits on 80 text files, by fast-import; nothing in it depends on the clock."""
    state = 1

    def random(bound):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % bound

    words = ["span", "class", "page", "free", "list", "cache", "return", "if", "while", "size", "batch", "lock"]
    files = [[" ".join(words[random(12)] for _ in range(9)) for _ in range(80 + random(120))] for _ in range(80)]
    stream = []
    for commit in range(260):
        stream.append(f"commit refs/heads/main\ncommitter A <a@b.c> {1700000000 + commit * 60} +0000\n"
                      f"data 10\nchange{commit:04}\n")
        for number in range(80) if commit == 0 else {random(80) for _ in range(4)}:
            lines = files[number]
            for _ in range(4):
                lines[random(len(lines))] = " ".join(words[random(12)] for _ in range(9)) + f" {random(10000)}"
            lines.insert(random(len(lines)), f"line {commit} {random(1000000)}")
            text = "\n".join(lines) + "\n"
            stream.append(f"M 100644 inline folder{number % 7}/file{number}.txt\ndata {len(text)}\n{text}\n")
    repository = os.path.join(scratch, "history.git")
    env = measure.environment(scratch)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", repository], env=env, check=True)
    subprocess.run(["git", "--git-dir", repository, "fast-import", "--quiet"], input="".join(stream).encode(),
                   env=env, check=True)


def program(name, *arguments):
    return [measure.built(name), *map(str, arguments)]


def all_workloads():
    def script(name):
        return os.path.join(INPUTS, name)

    gc = "git --git-dir history.git -c gc.aggressiveWindow=40 gc --aggressive --prune=now --quiet && git --git-dir history.git fsck --strict" \
         " --no-progress && git --git-dir history.git rev-list --all --objects | cksum"
    gxx = f"g++ -std=c++17 -O1 -c '{script('compile.cc')}' -o compiled.o && cksum <compiled.o"
    return [
        Workload("python3", ["/usr/bin/python3", "-S", script("inventory.py")], "python3",
                 {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}),
        Workload("g++", ["sh", "-c", gxx], "g++"),
        Workload("sqlite3", ["sqlite3", "-init", "/dev/null", ":memory:", f".read {script('orders.sql')}"], "sqlite3"),
        Workload("node", ["node", script("events.js")], "nodejs"),
        Workload("git gc", ["sh", "-c", gc], "git", prepare=git_history),
        Workload("perl", ["perl", script("words.pl")], "perl-base"),
        Workload("400 processes", ["/bin/true"], "coreutils", repeat=400),
        Workload("server", program("server", 2, 160)),
        Workload("server, 32 chains", program("server", 32, 10, 20000, 500)),
        Workload("producer, consumer", program("producer_consumer", 1, 4000000)),
        Workload("batches", program("batches", 160)),
        Workload("large blocks", program("large_blocks", 250)),
        Workload("object graph", program("object_graph", 14)),
    ]


def needed_command(workload):
    """The command of which a workload's shell line is made."""
    return workload.argv[2].split()[0] if workload.argv[:2] == ["sh", "-c"] else workload.argv[0]


def select(pattern, say):
    """Those whose name contains one of the |-separated parts of `pattern`, and whose program exists."""
    parts = [p.strip() for p in (pattern or "").split("|")]
    found = [w for w in all_workloads() if any(p in w.name for p in parts)]
    if not found:
        raise SystemExit(f"--only: no workload is named so; there are: {', '.join(w.name for w in all_workloads())}")
    present = []
    for workload in found:
        if shutil.which(needed_command(workload)):
            present.append(workload)
        else:
            say(f"left out: {workload.name}: {needed_command(workload)} is missing: apt-get install {workload.package}")
    return present
