"""Order statistics: exact, assumption-free, reproducible to the last digit. Standard library only, so that a run on a
bare machine still gets its summary; what needs numpy and scipy is in resample.py, as a cross-check.

The unit of analysis is the launch. Intervals are those of the sign test: for n launches, the k-th smallest and the
k-th largest value, k chosen so that a true median lies outside with a probability of at most `alpha`.
"""

import functools
import math

ALPHA = 0.05
DELTA = 0.03  # a ratio whose whole interval lies within 1 +- 3 % counts as equivalent


def median(values):
    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return None
    middle = n // 2
    return ordered[middle] if n % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def sign_rank(n, alpha=ALPHA):
    """The largest k with 2 P(Binomial(n, 1/2) < k) <= alpha; 0: n is too small for any interval."""
    tail, k = 0.0, 0
    while k <= n // 2:
        tail += math.comb(n, k) / 2**n
        if 2 * tail > alpha:
            return k
        k += 1
    return k


def interval(values, alpha=ALPHA):
    """(low, high) of the median, or (None, None) below six values."""
    k = sign_rank(len(values), alpha)
    if not k:
        return None, None
    ordered = sorted(values)
    return ordered[k - 1], ordered[-k]


def sign_test(values):
    """Two-sided p-value of `the median is 0`; zeros are dropped."""
    above = sum(v > 0 for v in values)
    below = sum(v < 0 for v in values)
    n, least = above + below, min(above, below)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(least + 1)) / 2**n) if n else 1.0


def paired_blocks(values, reference):
    return [b for b in values if b in reference and values[b] > 0 and reference[b] > 0]


def paired_ratio(values, reference):
    """Ratio of two cells from launches paired by block: (ratio, low, high). Both arguments map block to value."""
    blocks = paired_blocks(values, reference)
    if not blocks:
        return None, None, None
    logs = [math.log(values[b] / reference[b]) for b in blocks]
    low, high = interval(logs)
    return math.exp(median(logs)), *(None if x is None else math.exp(x) for x in (low, high))


def noise(ratio_low, ratio_high):
    """Half-width of an A/A interval as a factor, 1 or more: differences inside it mean nothing."""
    if ratio_low is None or ratio_high is None:
        return None
    return max(1 / ratio_low, ratio_high, 1.0)


def verdict(ratio, low, high, noise_factor):
    """In words, never in colour. `noise_factor` is noise() of the same workload's A/A twin, or None."""
    if ratio is None:
        return ''
    if low is None or high is None:
        return 'n too small'
    threshold = noise_factor or 1.0
    if low > 1 and ratio > threshold:
        return 'slower'
    if high < 1 and ratio < 1 / threshold:
        return 'faster'
    if low >= 1 / (1 + DELTA) and high <= 1 + DELTA:
        return 'equivalent'
    return 'not resolved'


def smallest_effect(ratio, low, high, noise_factor):
    """The smallest ratio, as a factor above 1, that launches like these could have told from 1."""
    if ratio is None or low is None or high is None:
        return None
    return max(ratio / low, high / ratio, noise_factor or 1.0)


def holm(p_values):
    """Holm's adjusted p-values, in the order given: the family-wise error over all of them stays below the level."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def launches_needed(comparisons, alpha=ALPHA):
    """The fewest launches with which Holm's first step over so many comparisons can be passed at all."""
    n = 1
    while comparisons * 2 / 2**n > alpha:
        n += 1
    return n


def percentile(values, p):
    """Linear between order statistics, as numpy's default; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = (len(ordered) - 1) * p / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def geometric_mean(ratios):
    """The only mean there is for ratios; None of nothing."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


@functools.lru_cache(maxsize=None)
def rank_sum_tail(n, m):
    """P(U <= u) for u = 0, 1, ... of Mann and Whitney's U under `no difference`: counts of partitions, no
    approximation.
    """
    counts = [1] + [0] * (n * m)
    for i in range(1, n + 1):  # the Gaussian binomial coefficient (n + m over n), factor by factor
        for u in range(n * m, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    total, tail, out = math.comb(n + m, n), 0, []
    for count in counts:
        tail += count
        out.append(tail / total)
    return out


def shift(new, base, alpha=ALPHA):
    """Hodges and Lehmann: (shift, low, high, p) of `new` against `base`, unpaired; the interval is the rank sum
    test's own.
    """
    if not new or not base:
        return None, None, None, 1.0
    n, m = len(new), len(base)
    differences = sorted(a - b for a in new for b in base)
    tail = rank_sum_tail(n, m)
    above = sum(d > 0 for d in differences) + sum(d == 0 for d in differences) / 2
    p = min(1.0, 2 * tail[math.ceil(min(above, n * m - above))])
    k = sum(2 * t <= alpha for t in tail)
    low, high = (differences[k - 1], differences[-k]) if k else (None, None)
    return median(differences), low, high, p
