#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""placement_test.py - every policy of build/bench/place on machines that hwloc makes up: 2 sockets x 4 L3 x 8 cores x 2
hardware threads, and ones that lack what a policy needs. What is expected is computed here from the CPU numbers."""
import os
import subprocess
import sys

PLACE = os.path.join(os.environ["BUILD"], "bench", "place")
BIG = "pack:2 [numa] l3:4 core:8 pu:2"
SOCKETS, L3S, CORES, SMT = 2, 4, 8, 2
ALL = SOCKETS * L3S * CORES * SMT
failed = 0


def check(name, condition, detail=""):
    global failed
    print(f"{'ok' if condition else 'not ok'} {name}" + (f" ({detail})" if detail != "" else ""))
    failed += not condition


def place(policy, threads, synthetic=BIG, env=None):
    arguments = ["--synthetic", synthetic] if synthetic else []
    ran = subprocess.run([PLACE, policy, str(threads), *arguments], capture_output=True, text=True, env=dict(os.environ, **(env or {})), check=False)
    cpus = [int(c) for c in ran.stdout.strip().split(",")] if ran.stdout.strip() else []
    return cpus, ran.returncode, ran.stderr.strip()


# Of a CPU number of BIG: hwloc counts the hardware threads through.
def core(cpu): return cpu // SMT
def l3(cpu): return core(cpu) // CORES
def socket(cpu): return l3(cpu) // L3S


def distinct(cpus, of): return len({of(c) for c in cpus})


for policy, capacity in (("smt", ALL), ("same-l3", CORES * SMT), ("across-l3", L3S * CORES * SMT), ("across-numa", ALL), ("spread", ALL)):
    cpus, status, said = place(policy, capacity)
    check(f"{policy}_places_{capacity}_threads_on_as_many_cpus", status == 0 and len(set(cpus)) == capacity and max(cpus) < ALL, said)
    cpus, status, said = place(policy, capacity + 1)
    check(f"{policy}_refuses_{capacity + 1}_threads", status == 3 and str(capacity) in said, said)
    check(f"{policy}_fewer_threads_are_its_first", all(place(policy, n)[0] == place(policy, capacity)[0][:n] for n in (1, 2, 3, 8, capacity - 1)))

cpus = place("smt", ALL)[0]
check("smt_pairs_share_a_core", all(core(a) == core(b) and a != b for a, b in zip(cpus[::2], cpus[1::2])))
check("smt_pairs_are_on_different_cores", distinct(cpus[::2], core) == ALL // SMT)

cpus = place("same-l3", CORES * SMT)[0]
check("same_l3_is_one_l3", distinct(cpus, l3) == 1)
check("same_l3_takes_every_core_before_a_second_thread_of_one", distinct(cpus[:CORES], core) == CORES and distinct(cpus[CORES:], core) == CORES)

cpus = place("across-l3", L3S * CORES * SMT)[0]
check("across_l3_stays_in_one_socket", distinct(cpus, socket) == 1)
check("across_l3_neighbours_are_on_different_l3", all(l3(a) != l3(b) for a, b in zip(cpus, cpus[1:])))
check("across_l3_takes_all_l3_in_turn", all(distinct(cpus[i : i + L3S], l3) == L3S for i in range(0, len(cpus), L3S)))
check("across_l3_takes_every_core_before_a_second_thread_of_one", distinct(cpus[: L3S * CORES], core) == L3S * CORES)

cpus = place("across-numa", ALL)[0]
check("across_numa_neighbours_are_on_different_nodes", all(socket(a) != socket(b) for a, b in zip(cpus, cpus[1:])))
check("across_numa_takes_every_core_before_a_second_thread_of_one", distinct(cpus[: ALL // SMT], core) == ALL // SMT)

cpus = place("spread", ALL)[0]
check("spread_neighbours_are_on_different_sockets", all(socket(a) != socket(b) for a, b in zip(cpus, cpus[1:])))
check("spread_first_threads_have_an_l3_each", distinct(cpus[: SOCKETS * L3S], l3) == SOCKETS * L3S)
check("spread_takes_every_core_before_a_second_thread_of_one", distinct(cpus[: ALL // SMT], core) == ALL // SMT)

check("none_pins_nothing", place("none", 1000) == ([], 0, ""))

# Machines that lack what a policy needs: it says so.
for policy, synthetic, why in (("smt", "pack:1 l3:1 core:4 pu:1", "hardware threads"), ("same-l3", "pack:2 l3:4 core:1 pu:2", "L3"),
                               ("same-l3", "pack:1 core:4 pu:1", "L3"), ("across-l3", "pack:2 l3:1 core:4 pu:2", "L3"),
                               ("across-numa", "pack:2 l3:4 core:8 pu:2", "NUMA"), ("sideways", BIG, "no policy")):
    cpus, status, said = place(policy, 2, synthetic)
    check(f"{policy}_cannot_be_had_on_{synthetic.replace(' ', '_')}", status == 3 and not cpus and why in said, said)
cpus = place("smt", 2, "pack:1 l3:1 core:4 pu:2")[0]
check("smt_on_a_small_machine", cpus == [0, 1], str(cpus))
# Numbered as many real machines are: a core's hardware threads are 0 and 4, the next one's 1 and 5.
cpus = place("smt", 4, "pack:1 l3:1 core:4 pu:2(indexes=0,4,1,5,2,6,3,7)")[0]
check("smt_by_topology_and_not_by_number", cpus == [0, 4, 1, 5], str(cpus))
cpus, status, said = place("spread", 4, None, {"HWLOC_SYNTHETIC": "pack:4 core:1 pu:2"})
check("hwloc_synthetic_from_the_environment", cpus == [0, 2, 4, 6], f"{cpus} {said}")
check("nonsense_is_refused", place("spread", 4, "pack:x")[1] == 2 and place("spread", 0)[1] == 2)
sys.exit(1 if failed else 0)
