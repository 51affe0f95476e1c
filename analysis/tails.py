"""Single operations out of hist.csv's bins: quantiles, and the figure of what share of operations took longer than a
time.

Operations of a launch are no independent samples, so they describe and decide nothing: no test and no verdict comes
from here.
"""

import gnuplot
import rundata
from curves import grid_of, time_tics
from gnuplot import series_name
from source import WHERE


def merged(rows):
    """Cell -> [(low, high, count)] in rising order, over all launches."""
    out = {}
    for row in rows:
        bins = out.setdefault(rundata.identity(row), {})
        edges = (row['low_ns'], row['high_ns'])
        bins[edges] = bins.get(edges, 0) + row['count']
    return {cell: [(*edges, count) for edges, count in sorted(bins.items())] for cell, bins in out.items()}


def quantile(bins, p):
    """The p-th percentile, linear within its bin."""
    wanted = sum(count for *_, count in bins) * p / 100
    for low, high, count in bins:
        if wanted <= count:
            return low + (high - low) * wanted / count
        wanted -= count
    return bins[-1][1] if bins else None


def survivors(bins):
    """[(time, share of operations that took longer)]: all at first, then at the upper edge of each bin but the last,
    of share 0.
    """
    total = left = sum(count for *_, count in bins)
    out = [(bins[0][0], 1.0)]
    for _, high, count in bins:
        left -= count
        if left > 0:
            out.append((high, left / total))
    return out


def tail_panel(figure, x, y, width, height, group, colours):
    workload, by_series = group
    every = [t for points in by_series.values() for t, _ in points]
    least = min(share for points in by_series.values() for _, share in points)
    parts = []
    for name, points in by_series.items():
        block = ['%g %g' % point for point in points]
        parts.append('%s using 1:2 with steps lw 1.8 lc rgb "%s"' % (figure.data(block), colours[name][0]))
    figure.text(workload, x - 60, y - 16)
    labels = (
        (1, '1'),
        (0.1, '10 %%'),
        (0.01, '1 %%'),
        (1e-3, '0.1 %%'),
        (1e-4, '1e-4'),
        (1e-5, '1e-5'),
        (1e-6, '1e-6'),
    )
    figure.panel(
        x,
        y,
        width,
        height,
        [
            'set logscale xy',
            'set xrange [%g:%g]' % (min(every) / 1.2, max(every) * 1.2),
            'set yrange [%g:1.2]' % (least / 1.5),
            'set ytics (%s)' % ', '.join('"%s" %g' % (text, share) for share, text in labels),
            time_tics(min(every), max(every)),
        ],
        parts,
    )


def tail_figures(source):
    shown = {rundata.identity(r) for r in source.rows if r['platform'] != 'native-aa'}
    groups = {}
    for cell, bins in merged(source.read('hist.csv')).items():
        row = dict(zip(rundata.IDENTITY, cell))
        points = survivors(bins)
        if cell in shown and points and not (row['knobs'] and source.crowded):
            key = (row['placement'], ' '.join(filter(None, (row['workload'], row['params']))))
            groups.setdefault(key, {})[series_name(row)] = points
    for placement in gnuplot.ordered([key[0] for key in groups]):
        chosen = [(name, by) for (place, name), by in groups.items() if place == placement]
        drawn = {name for _, by in chosen for name in by}
        colours = gnuplot.palette([n for n in gnuplot.ordered([series_name(r) for r in source.rows]) if n in drawn])
        yield grid_of(
            'tail-' + placement,
            'Tails: single operations, %s' % WHERE.get(placement, placement),
            'share of operations that took longer',
            source,
            chosen,
            140,
            lambda f, *a: tail_panel(f, *a, colours),
            colours,
        )
