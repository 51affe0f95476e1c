"""Order statistics and nothing else: exact, assumption-free, reproducible to the last digit. Standard library only.

The unit of analysis is the launch. Intervals are those of the sign test: for n launches, the k-th smallest and the k-th
largest value, k chosen so that a true median lies outside with a probability of at most `alpha`.
"""

import math

ALPHA = 0.05
DELTA = 0.03            # a ratio whose whole interval lies within 1 +- 3 % counts as equivalent


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


def paired_ratio(values, reference):
    """Ratio of two cells from launches paired by block: (ratio, low, high). Both arguments map block to value."""
    blocks = [b for b in values if b in reference and values[b] > 0 and reference[b] > 0]
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
