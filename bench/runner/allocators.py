# SPDX-License-Identifier: MIT
"""The allocators that are compared: where their libraries lie, which package has them, and a proof that they load."""
import dataclasses
import os
import sysconfig

from runner import measure

# Name: (file, where it comes from). glibc needs no library.
KNOWN = {
    "glibc": ("", "glibc itself"),
    "ashlar": ("libashlar.so", "make"),
    "mimalloc": ("libmimalloc.so.2.0", "apt-get install libmimalloc2.0"),
    "jemalloc": ("libjemalloc.so.2", "apt-get install libjemalloc2"),
    "tcmalloc": ("libtcmalloc_minimal.so.4", "apt-get install libtcmalloc-minimal4"),
    "tbb": ("libtbbmalloc_proxy.so.2", "apt-get install libtbbmalloc2"),
}
# Known, but compared only if asked for: a library without anything in it (what does preloading cost?), and Ashlar with
# every block checked.
EXTRA = {
    "empty": ("bench/libempty.so", "make bench-programs"),
    "hardened": ("libashlar-hardened.so", "make"),
}
BASE = "mimalloc"


@dataclasses.dataclass
class Allocator:
    name: str
    path: str  # "" is glibc
    problem: str = ""


def folders():
    triplet = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    return [f"/usr/lib/{triplet}", "/usr/lib64", "/usr/lib", "/usr/local/lib"]


def find(name):
    """The known allocator `name`; where its library is missing, `problem` says so and names the cure."""
    file, cure = {**KNOWN, **EXTRA}[name]
    if not file:
        return Allocator(name, "")
    places = [measure.BUILD] if cure.startswith("make") else folders()
    for place in places:
        path = os.path.join(place, file)
        if os.path.exists(path):
            return Allocator(name, path)
    return Allocator(name, file, f"{file} is missing: {cure}")


def parse(text):
    """--libs: a comma-separated list of known names and NAME=PATH. None: all known ones."""
    chosen = []
    for part in (text or ",".join(KNOWN)).split(","):
        name, equals, path = part.strip().partition("=")
        if equals:
            path = os.path.abspath(path)
            problem = "" if os.path.exists(path) else f"{path} does not exist"
            chosen.append(Allocator(name, path, problem))
        elif name in KNOWN or name in EXTRA:
            chosen.append(find(name))
        else:
            raise SystemExit(f"--libs: '{name}' is neither NAME=PATH nor one of {' '.join([*KNOWN, *EXTRA])}")
    if len({a.name for a in chosen}) != len(chosen):
        raise SystemExit("--libs: a name occurs twice")
    return chosen


def against_itself(name):
    """--aa: the same library under two names."""
    first = parse(name)[0]
    return [first, Allocator(first.name + " again", first.path, first.problem)]


def check(allocator, scratch):
    """Sets `problem` where a preloaded program does not really have the library in its memory map."""
    if allocator.problem or not allocator.path:
        return
    sample = measure.run(allocator.path, ["/bin/cat", "/proc/self/maps"], scratch, timeout=10)
    if os.path.realpath(allocator.path).encode() not in sample.stdout or sample.status != 0:
        said = sample.stderr.decode(errors="replace").strip() or f"status {sample.status}"
        allocator.problem = f"{allocator.path} cannot be preloaded: {said.splitlines()[0]}"


def usable(chosen, scratch, say):
    """Those of `chosen` that load; says what is left out and why."""
    for allocator in chosen:
        check(allocator, scratch)
        if allocator.problem:
            say(f"left out: {allocator.name}: {allocator.problem}")
    good = [a for a in chosen if not a.problem]
    if not good:
        raise SystemExit("no allocator is left to measure")
    return good


def base_of(chosen, wanted=None):
    """The name that ratios refer to: `wanted`, else mimalloc, else the first one."""
    names = [a.name for a in chosen]
    if wanted and wanted not in names:
        raise SystemExit(f"--base: {wanted} is not among {' '.join(names)}")
    return wanted or (BASE if BASE in names else names[0])
