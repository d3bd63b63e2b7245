# SPDX-License-Identifier: MIT
"""What the numbers were taken on: without it they cannot be compared with anything."""
import hashlib
import os
import platform
import subprocess

from runner import measure


def first_line(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return "unknown"


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "CPU part"))]
    return names[0] if names else platform.machine()


def commit():
    try:
        found = subprocess.run(["git", "-C", measure.ROOT, "describe", "--always", "--dirty", "--abbrev=12"],
                               capture_output=True, text=True, check=False)
        return found.stdout.strip() or "unknown"
    except OSError:
        return "unknown"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def describe(chosen):
    return {
        "cpu": cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "thp": first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load": os.getloadavg()[0],
        "commit": commit(),
        "settings": measure.allocator_settings(),
        "libraries": {a.name: {"path": os.path.realpath(a.path), "sha256": sha256(a.path)} for a in chosen if a.path},
    }


def one_line(machine):
    thp = machine["thp"].partition("[")[2].partition("]")[0] or machine["thp"]
    text = (f"{machine['cpus']} x {machine['cpu']}, Linux {machine['kernel']}, {machine['libc']}, THP {thp}, "
            f"commit {machine['commit']}, load {machine['load']:.1f}")
    for key, value in sorted(machine["settings"].items()):
        text += f", {key}={value}"
    return text
