# SPDX-License-Identifier: MIT
"""What bench/ab runs besides the micro suite: real programs and our own, each a fixed amount of work with output that
does not vary. One run takes 0.1 to 1 second; those of the quick suite are chosen so that several rounds of all of them
under six allocators fit into `make ab`'s three minutes."""
import dataclasses
import glob
import hashlib
import os
import shutil
import subprocess

from runner import measure

INPUTS = os.path.join(measure.ROOT, "bench", "workloads")
REAL, OURS, SERVERS, MICRO, PLACED, COMMAND = (
    "real programs", "our programs", "servers", "micro", "placement", "your program")


@dataclasses.dataclass
class Workload:
    name: str
    argv: list
    group: str
    package: str = ""  # Debian's package of `needs`, named where it is missing
    needs: str = ""  # a command, where it is not argv[0]
    env: dict = dataclasses.field(default_factory=dict)
    repeat: int = 1  # runs per sample, for short programs
    prepare: object = None  # called once with the scratch folder, not measured
    quick: bool = False  # belongs to `make ab`
    driver: bool = False  # starts a server by itself, and measures it
    parse: object = None  # makes metrics of (stdout, stderr), which replace those of the process
    compare: bool = True  # stdout must be what it is under glibc
    warm: bool = True  # runs once before it is measured; what warms up by itself need not
    cwd: str = ""  # where it runs, if not in its scratch folder

    def folder(self):
        return "".join(c if c.isalnum() else "_" for c in self.name)

    def key(self):
        """Changes where the work changes: samples of different work must not be mixed."""
        digest = hashlib.sha256(repr((self.argv, self.env, self.repeat)).encode())
        for word in self.argv:
            for path in word.replace("'", " ").split():
                if path.startswith((INPUTS, measure.BENCH)) and os.path.isfile(path):
                    digest.update(measure.read(path))
        return digest.hexdigest()[:16]


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


def java_classes(scratch):
    subprocess.run(["javac", "-d", scratch, script("Work.java")], env=measure.environment(scratch), check=True)


def postgres_data(scratch):
    subprocess.run([script("postgres_load"), "prepare"], cwd=scratch, env=measure.environment(scratch), check=True)


def script(name):
    return os.path.join(INPUTS, name)


def postgres():
    """The newest PostgreSQL of Debian, which keeps its programs out of PATH."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: int(p.split("/")[4]))
    return found[-1] if found else "postgres"


def program(name, *arguments):
    return [measure.built(name), *map(str, arguments)]


def real_programs():
    gc = "git --git-dir history.git -c gc.aggressiveWindow=40 gc --aggressive --prune=now --quiet && git --git-dir history.git fsck --strict" \
         " --no-progress && git --git-dir history.git rev-list --all --objects | cksum"
    gxx = f"g++ -std=c++17 -O0 -c '{script('compile.cc')}' -o compiled.o && cksum <compiled.o"
    return [
        Workload("python3", ["/usr/bin/python3", "-S", script("inventory.py")], REAL, "python3", quick=True,
                 env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}),
        Workload("g++", ["sh", "-c", gxx], REAL, "g++", "g++", quick=True),
        Workload("sqlite3", ["sqlite3", "-init", "/dev/null", ":memory:", f".read {script('orders.sql')}"], REAL, "sqlite3", quick=True),
        Workload("node", ["node", script("events.js")], REAL, "nodejs", quick=True),
        Workload("git gc", ["sh", "-c", gc], REAL, "git", "git", prepare=git_history, quick=True),
        Workload("perl", ["perl", script("words.pl")], REAL, "perl-base", quick=True),
        Workload("java", ["java", "-XX:+UseSerialGC", "-Xmx128m", "-XX:MaxDirectMemorySize=64m", "-XX:-UsePerfData", "-Xshare:auto",
                          "-cp", ".", "Work"], REAL, "openjdk-17-jdk-headless", "javac", prepare=java_classes),
        Workload("300 processes", ["/bin/true"], REAL, "coreutils", repeat=300, quick=True),
    ]


def our_programs():
    cpus = len(os.sched_getaffinity(0))
    sharing = max(2, cpus)
    return [
        Workload("server", program("server", 2, 160), OURS, quick=True),
        Workload("server, 32 chains", program("server", 32, 10, 20000, 500), OURS, quick=True),
        Workload("producer, consumer", program("producer_consumer", 1, 3000000), OURS, quick=True),
        Workload("batches", program("batches", 120), OURS, quick=True),
        Workload("large blocks", program("large_blocks", 120), OURS, quick=True),
        Workload("object graph", program("object_graph", 12), OURS, quick=True),
        Workload("lifetimes", program("lifetimes", 2 * cpus, 4000000), OURS, quick=True),
        Workload("thread churn", program("thread_churn", 2500), OURS, quick=True),
        Workload("size drift", program("size_drift", 14), OURS, quick=True),
        Workload("growth by realloc", program("realloc_growth", 96), OURS),
        Workload("batches, all CPUs", program("batches", 100, 20000, cpus), OURS),
        Workload("large blocks, half written", program("large_blocks", 250, 16, 50), OURS),
        Workload("active false sharing", program("false_sharing", "active", sharing, 2500), OURS),
        Workload("active, padded", program("false_sharing", "active", sharing, 2500, 1), OURS),
        Workload("passive false sharing", program("false_sharing", "passive", sharing, 2500), OURS),
        Workload("passive, padded", program("false_sharing", "passive", sharing, 2500, 1), OURS),
        Workload("one malloc, 300 times", program("startup"), OURS, repeat=300),
    ]


def servers():
    return [
        Workload("redis", [script("redis_load")], SERVERS, "redis-server", "redis-server", driver=True),
        Workload("postgres", [script("postgres_load")], SERVERS, "postgresql", postgres(), driver=True, prepare=postgres_data),
    ]


def everything():
    return real_programs() + our_programs() + servers()


def present(found, skip):
    """Those of `found` whose program exists; skip(name, why) is told of the others."""
    kept = []
    for workload in found:
        needed = workload.needs or workload.argv[0]
        if shutil.which(needed):
            kept.append(workload)
        else:
            skip(workload.name, f"{needed} is missing: apt-get install {workload.package}")
    return kept


def matching(found, pattern):
    """Those whose name contains one of the |-separated parts of `pattern`. Ends the script where there is none."""
    parts = [p.strip() for p in (pattern or "").split("|")]
    kept = [w for w in found if any(p in w.name for p in parts)]
    if not kept:
        raise SystemExit(f"--only: no workload is named so; there are: {', '.join(w.name for w in found)}")
    return kept
