# SPDX-License-Identifier: MIT
"""Threads on chosen CPUs: build/bench/place (hwloc) makes the plans, the programs follow BENCH_CPUS."""
import dataclasses
import os
import shutil
import subprocess

from runner import measure, workloads

POLICIES = ("smt", "same-l3", "across-l3", "across-numa", "spread", "none")
# Two threads whose blocks travel, so that the distance between them is what is measured.
PLACED = ("remote/64/threads:2", "remote/1024/threads:2", "lifo/64/threads:2", "producer, consumer", "passive false sharing")


def plan(policy, threads, synthetic=None, xml=None):
    """(CPUs "0,2", ""), or (None, why it cannot be had)."""
    command = [measure.built("place"), policy, str(threads)]
    if synthetic:
        command += ["--synthetic", synthetic]
    if xml:
        command += ["--xml", xml]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode == 3:
        return None, ran.stderr.strip()
    if ran.returncode != 0:
        raise SystemExit(f"{command[0]}: {ran.stderr.strip()}")
    return ran.stdout.strip(), ""


def placed(workload, policy, threads, skip):
    """The workload under a policy, or None; skip(name, why) is told."""
    name = f"{workload.name} @{policy}"
    cpus, problem = plan(policy, threads)
    if problem:
        skip(f"placement {policy}", problem)
        return None
    return dataclasses.replace(workload, name=name, group=workloads.PLACED,
                               env={**workload.env, "BENCH_CPUS": cpus} if cpus else {k: v for k, v in workload.env.items() if k != "BENCH_CPUS"})


def all_placed(found, skip):
    """Every policy with two threads, for those of PLACED."""
    chosen = [w for w in found if w.name in PLACED]
    made = [placed(w, policy, 2, skip) for w in chosen for policy in POLICIES]
    return [w for w in made if w]


def drawing(policy, threads, scratch):
    """The machine with the pinned threads as SVG by lstopo, or why there is none."""
    lstopo = shutil.which("lstopo-no-graphics")
    if not lstopo or not os.path.exists(os.path.join(measure.BENCH, "place")):
        return "", "lstopo is missing: apt-get install hwloc-nox"
    xml, svg = os.path.join(scratch, "machine.xml"), os.path.join(scratch, "machine.svg")
    cpus, problem = plan(policy, threads, xml=xml)
    if problem or not cpus:
        return "", problem or "no thread is pinned"
    subprocess.run([lstopo, "-i", xml, "--no-io", "--no-legend", "--of", "svg", "--force", svg], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return measure.read(svg).decode(errors="replace"), ""
