# SPDX-License-Identifier: MIT
"""Medians, their intervals, and whether a difference is more than chance.

Intervals: bootstrap percentiles of the median (B. Efron and R. Tibshirani, 1993). The test: Mann and Whitney's U with
mid-ranks, two-sided; its distribution given the ties is counted exactly up to EXACT_UP_TO samples, beyond that it is the
normal approximation with the correction for ties. Many comparisons: Y. Benjamini and Y. Hochberg's false discovery rate,
1995: of what is called significant at ALPHA, at most that share is expected to be chance, and where nothing differs at
all the probability of calling anything significant is ALPHA. Not scipy.stats.mannwhitneyu: Debian's
(1.10) is exact only where nothing is tied, and peak RSS is full of ties; false_discovery_control came in 1.11."""
import math

import numpy

ALPHA = 0.05
CONFIDENCE = 0.95
RESAMPLES = 2000
EXACT_UP_TO = 80


def generator(seed=1):
    """The same intervals from the same samples, always."""
    return numpy.random.default_rng(seed)


def geomean(values):
    values = [v for v in values if v > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def resampled_medians(values, random, resamples=RESAMPLES):
    values = numpy.asarray(values, dtype=float)
    return numpy.median(values[random.integers(0, len(values), (resamples, len(values)))], axis=1)


def interval(resampled):
    tail = 50 * (1 - CONFIDENCE)
    low, high = numpy.percentile(resampled, [tail, 100 - tail])
    return float(low), float(high)


def half_width(values, random):
    """Half the interval of the median, as a share of it: what another measurement narrows. Infinite below 3 values."""
    if len(values) < 3:
        return math.inf
    middle = float(numpy.median(values))
    low, high = interval(resampled_medians(values, random, 400))
    return (high - low) / 2 / middle if middle else 0.0


def mid_ranks_doubled(values):
    """Ranks from 2 on in steps of 2, so that the mean rank of a tie is a whole number."""
    order = numpy.argsort(values, kind="stable")
    ranks = numpy.empty(len(values), dtype=int)
    at = 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        ranks[order[at : end + 1]] = at + end + 2
        at = end + 1
    return ranks


def mann_whitney(first, second):
    """The two-sided p-value that both are samples of one distribution. 1 where either is empty."""
    n, m = len(first), len(second)
    if n == 0 or m == 0:
        return 1.0
    ranks = mid_ranks_doubled(numpy.asarray(list(first) + list(second), dtype=float))
    observed, expected = int(ranks[:n].sum()), n * (n + m + 1)
    distance = abs(observed - expected)
    if n + m > EXACT_UP_TO:
        _, ties = numpy.unique(ranks, return_counts=True)
        size = n + m
        variance = n * m / 12 * (size + 1 - float((ties**3 - ties).sum()) / (size * (size - 1)))
        if variance <= 0:
            return 1.0
        return math.erfc(max(distance / 2 - 0.5, 0) / math.sqrt(2 * variance))
    # ways[k][s]: in how many ways k of the ranks sum up to s.
    ways = numpy.zeros((n + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    sums = numpy.arange(ways.shape[1])
    extreme = ways[n][numpy.abs(sums - expected) >= distance].sum()
    return float(min(1.0, extreme / ways[n].sum()))


def adjusted(p_values):
    """Benjamini and Hochberg's adjusted values, in the order given: significant where at most ALPHA."""
    p_values = numpy.asarray(p_values, dtype=float)
    if not len(p_values):
        return p_values
    order = numpy.argsort(-p_values)
    ranks = numpy.arange(len(p_values), 0, -1)
    result = numpy.empty_like(p_values)
    result[order] = numpy.minimum.accumulate(numpy.minimum(p_values[order] * len(p_values) / ranks, 1))
    return result
