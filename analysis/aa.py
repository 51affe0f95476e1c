#!/usr/bin/python3
"""aa.py FILE: how often does each way of comparing find a difference between a program and itself?

FILE holds recorded launches of the same code (tests/record_aa.py): workload, launch, then the batches. Windows of
consecutive launches are divided into two sides A and B; every `difference` found is false. Each method gets the same
windows. Needs scipy.
"""

import csv
import math
import random
import sys

import stats

ALPHA = 0.05
PAIRS = 10  # launches a side
TRIALS = 600
SEED = 20261122


def read(path):
    """Workload -> [batches of a launch] in the order of recording."""
    out = {}
    with open(path, newline='') as f:
        rows = csv.reader(f)
        next(rows)
        for workload, _, *batches in rows:
            out.setdefault(workload, []).append([float(b) for b in batches])
    return out


def rank_sum(a, b):
    from scipy.stats import mannwhitneyu

    return mannwhitneyu(a, b).pvalue <= ALPHA


def pooled(a, b):
    """All samples of all launches thrown together, as if they were independent."""
    return rank_sum([x for launch in a for x in launch], [x for launch in b for x in launch])


def medians(a, b):
    return rank_sum([stats.median(x) for x in a], [stats.median(x) for x in b])


def paired(a, b):
    """What Trapgate does: log-ratios of launch medians, paired by block, exact sign-test interval."""
    logs = [math.log(stats.median(x) / stats.median(y)) for x, y in zip(a, b)]
    low, high = stats.interval(logs, ALPHA)
    return low is not None and (low > 0 or high < 0)


def one_after_the_other(window, rng):
    return window[: len(window) // 2], window[len(window) // 2 :]


def in_random_order(window, rng):
    """Pairs of neighbours, each in an order that is drawn."""
    pairs = [window[i : i + 2] for i in range(0, len(window), 2)]
    for pair in pairs:
        rng.shuffle(pair)
    return [a for a, _ in pairs], [b for _, b in pairs]


METHODS = (
    ('one process a side, samples, Mann-Whitney', 1, one_after_the_other, pooled),
    ('launches A, then launches B, samples pooled, Mann-Whitney', PAIRS, one_after_the_other, pooled),
    ('random pairs, samples pooled, Mann-Whitney', PAIRS, in_random_order, pooled),
    ('launches A, then launches B, launch medians, Mann-Whitney', PAIRS, one_after_the_other, medians),
    ('random pairs, launch medians, sign test (Trapgate)', PAIRS, in_random_order, paired),
)


def false_positives(launches, size, divide, method, trials=TRIALS, seed=SEED):
    """Share of windows in which `method` finds a difference."""
    rng = random.Random(seed)
    found = 0
    for _ in range(trials):
        start = rng.randrange(len(launches) - 2 * size + 1)
        found += bool(method(*divide(launches[start : start + 2 * size], rng)))
    return found / trials


def simulate(path):
    """(method, {workload: share}) for every method."""
    data = read(path)
    return [(name, {w: false_positives(launches, *how) for w, launches in data.items()}) for name, *how in METHODS]


if __name__ == '__main__':
    for name, shares in simulate(sys.argv[1]):
        print('%-60s %s' % (name, '  '.join('%s %5.1f %%' % (w, 100 * share) for w, share in shares.items())))
