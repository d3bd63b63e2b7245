# SPDX-License-Identifier: MIT
"""What bench/ab, bench/micro and bench/startup share.

allocators: which libraries there are, and whether they really load. measure: one run of one program. workloads: what
bench/ab runs. machine: what the numbers were taken on. table: medians, ratios, text. Python's standard library only:
the first command of README.md must run on a fresh Debian. Imports go from left to right in: measure, allocators,
workloads | machine | table, the scripts.
"""
