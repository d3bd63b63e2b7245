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


def said(*command):
    """What a command prints, or "" where it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "CPU part"))]
    return names[0] if names else platform.machine()


def commit():
    return said("git", "-C", measure.ROOT, "describe", "--always", "--dirty", "--abbrev=12") or "unknown"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def version(path):
    """The Debian package that a file is of, with its version; "" for any other file."""
    real = os.path.realpath(path)
    for candidate in (real, real.replace("/usr/lib/", "/lib/", 1)):
        package = said("dpkg-query", "-S", candidate).partition(": ")[0]
        if package:
            return package.partition(":")[0] + " " + said("dpkg-query", "-W", "-f", "${Version}", package)
    return ""


def library(allocator):
    if not allocator.path:
        return {"path": "", "sha256": "", "version": "glibc " + platform.libc_ver()[1]}
    path = os.path.realpath(allocator.path)
    own = path.startswith(measure.ROOT + os.sep)
    # In a published file the way to our build folder is of no interest.
    return {"path": os.path.relpath(path, measure.ROOT) if own else path, "sha256": sha256(path),
            "version": f"commit {commit()}" if own else version(path)}


def describe(chosen):
    return {
        "cpu": cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "virtual": said("systemd-detect-virt", "--vm") or "unknown",
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "thp": first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "address_randomisation": first_line("/proc/sys/kernel/randomize_va_space"),
        "load": os.getloadavg()[0],
        "commit": commit(),
        "settings": measure.allocator_settings(),
        "libraries": {a.name: library(a) for a in chosen},
    }


def one_line(machine):
    thp = machine["thp"].partition("[")[2].partition("]")[0] or machine["thp"]
    text = (f"{machine['cpus']} x {machine['cpu']}, Linux {machine['kernel']}, {machine['libc']}, THP {thp}, "
            f"commit {machine['commit']}, load {machine['load']:.1f}")
    for key, value in sorted(machine["settings"].items()):
        text += f", {key}={value}"
    return text
