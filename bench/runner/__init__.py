# SPDX-License-Identifier: MIT
"""What bench/ab, bench/report and bench/readme share. Imports go from left to right in:

    measure | allocators, machine | workloads, micro, placement | stats, journal | engine, results | table | plots, page

measure: one run of one program. allocators: which libraries there are, and whether they really load. machine: what the
numbers were taken on. workloads, micro, placement: what is run. stats: medians, intervals, tests; numpy is all that it
needs. journal: samples on disk, for runs that are continued. engine: the order of runs, and when it is enough.
results: what the samples say. table: text. plots (matplotlib), page (HTML): what people look at.
"""
