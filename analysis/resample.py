"""The bootstrap, as a cross-check of the exact intervals. Without numpy and scipy there is none, and one line says
so.
"""

import math
import warnings

try:
    import numpy
    import scipy.stats
except ImportError as error:
    MISSING = 'no bootstrap cross-check: %s is missing (Debian package python3-%s)' % (error.name, error.name)
else:
    MISSING = None

RESAMPLES = 2000
SEED = 20261122


def bca(logs, alpha=0.05):
    """Bias-corrected and accelerated interval of the median of `logs`, or (None, None): too few, no scipy, or
    degenerate.
    """
    if MISSING or len(logs) < 6 or max(logs) == min(logs):
        return None, None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # degenerate resamples come back as NaN, which is looked for below
        found = scipy.stats.bootstrap(
            (numpy.asarray(logs),),
            numpy.median,
            confidence_level=1 - alpha,
            method='BCa',
            n_resamples=RESAMPLES,
            batch=RESAMPLES,
            random_state=numpy.random.default_rng(SEED),
        )
    low, high = (float(x) for x in found.confidence_interval)
    return (None, None) if math.isnan(low) or math.isnan(high) else (low, high)
