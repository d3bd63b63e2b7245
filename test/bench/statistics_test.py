#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""statistics_test.py - bench/runner/stats.py against values from tables, against enumeration, and against what it promises:
intervals that cover, tests that are wrong as often as stated. Seeds are fixed: nothing here depends on luck or time."""
import itertools
import math
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["ROOT"], "bench"))
import numpy  # noqa: E402

from runner import stats  # noqa: E402

failed = 0


def check(name, condition, detail=""):
    global failed
    print(f"{'ok' if condition else 'not ok'} {name}" + (f" ({detail})" if detail != "" else ""))
    failed += not condition


def close(a, b, tolerance=1e-9):
    return abs(a - b) <= tolerance


def by_enumeration(first, second):
    """The definition: of all ways to choose which of the values are the first sample, how many are as extreme?"""
    values = list(first) + list(second)
    def rank_sum(indexes):
        return sum(sum((values[i] > v) + 0.5 * (values[i] == v) for v in values) + 0.5 for i in indexes)
    expected = len(first) * (len(values) + 1) / 2
    observed = abs(rank_sum(range(len(first))) - expected)
    all_ways = [abs(rank_sum(c) - expected) >= observed - 1e-9 for c in itertools.combinations(range(len(values)), len(first))]
    return sum(all_ways) / len(all_ways)


# Mann and Whitney, 1947, table I: the probability of U = 0 is 1 / C(n + m, n).
for n in (3, 4, 5, 7, 12):
    check(f"mann_whitney_separated_samples_of_{n}", close(stats.mann_whitney(range(n), range(100, 100 + n)), 2 / math.comb(2 * n, n)))
check("mann_whitney_is_symmetric", close(stats.mann_whitney([1, 4, 6, 7], [2, 3, 9, 11, 12]), stats.mann_whitney([2, 3, 9, 11, 12], [1, 4, 6, 7])))
check("mann_whitney_all_equal_is_1", stats.mann_whitney([5] * 8, [5] * 8) == 1)
check("mann_whitney_nothing_to_compare_is_1", stats.mann_whitney([], [1, 2]) == 1)
random = numpy.random.default_rng(3)
worst = 0
for _ in range(40):
    a, b = random.integers(0, 6, random.integers(2, 6)), random.integers(1, 7, random.integers(2, 6))
    worst = max(worst, abs(stats.mann_whitney(a, b) - by_enumeration(a, b)))
check("mann_whitney_with_ties_as_enumerated", worst < 1e-9, f"{worst:.1e}")
large_a, large_b = random.normal(0, 1, 41), random.normal(0.5, 1, 41)
exact_limit, stats.EXACT_UP_TO = stats.EXACT_UP_TO, 200
exact = stats.mann_whitney(large_a, large_b)
stats.EXACT_UP_TO = exact_limit
check("mann_whitney_approximation_near_the_exact_value", abs(stats.mann_whitney(large_a, large_b) - exact) < 0.002, f"{exact:.4f}")

# How often two samples of one distribution differ "significantly": at most as often as stated, with skewed noise as of timings.
wrong = sum(stats.mann_whitney(random.lognormal(0, 0.1, 8), random.lognormal(0, 0.1, 8)) <= 0.05 for _ in range(2000)) / 2000
check("mann_whitney_false_positive_rate_at_most_5_percent", wrong <= 0.062, f"{wrong:.3f}")
families = 400
wrong = 0
for _ in range(families):
    ps = [stats.mann_whitney(random.lognormal(0, 0.1, 7), random.lognormal(0, 0.1, 7)) for _ in range(30)]
    wrong += bool((stats.adjusted(ps) <= stats.ALPHA).any())
check("corrected_family_without_differences_finds_one_in_at_most_5_percent", wrong / families <= 0.08, f"{wrong / families:.3f}")
found = 0
for _ in range(100):
    ps = [stats.mann_whitney(random.normal(1, 0.01, 9), random.normal(1.05 if i < 15 else 1, 0.01, 9)) for i in range(30)]
    found += (stats.adjusted(ps)[:15] <= stats.ALPHA).sum()
check("corrected_family_finds_what_is_there", found >= 1400, f"{found} of 1500")

# Benjamini and Hochberg's example has its values in this order: p * m / rank, made monotone from the top.
adjusted = stats.adjusted([0.01, 0.04, 0.03, 0.005])
check("adjusted_by_hand", all(map(close, adjusted, [0.02, 0.04, 0.04, 0.02])), str(adjusted))
check("adjusted_of_nothing", len(stats.adjusted([])) == 0)

covered = 0
for _ in range(300):
    sample = random.lognormal(0, 0.2, 15)
    low, high = stats.interval(stats.resampled_medians(sample, random, 500))
    covered += low <= 1 <= high
check("bootstrap_interval_covers_the_median", covered >= 270, f"{covered} of 300, stated 285")
check("bootstrap_is_the_same_every_time", (stats.resampled_medians([1, 2, 3, 9], stats.generator()) == stats.resampled_medians([1, 2, 3, 9], stats.generator())).all())
check("half_width_shrinks", stats.half_width(random.normal(1, 0.1, 60), stats.generator()) < stats.half_width(random.normal(1, 0.1, 6), stats.generator()))
check("half_width_of_two_is_infinite", stats.half_width([1, 1], stats.generator()) == math.inf)
check("geomean", close(stats.geomean([1, 4]), 2) and math.isnan(stats.geomean([])))
sys.exit(1 if failed else 0)
