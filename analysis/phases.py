"""The figure of phases: where the time of a switch goes, stacked from 0."""

import gnuplot
import stats
from gnuplot import Figure, quoted, series_name, value_text

PHASE_COLOURS = (
    '#1f83c8',
    '#74b4e8',
    '#d9822b',
    '#efb77b',
    '#1a9d77',
    '#7fcdb5',
    '#8578d6',
    '#c26ba3',
    '#b0a000',
    '#8a8a8a',
)


def phase_medians(rows):
    """(workload, placement) -> series -> [(phase, median ns)] in the order of the file."""
    samples = {}
    for row in rows:
        samples.setdefault((row['workload'], row['placement']), {}).setdefault(series_name(row), {}).setdefault(
            row['phase'], []
        ).append(row['ns'])
    return {
        k: {s: [(p, stats.median(v)) for p, v in phases.items()] for s, phases in by.items()}
        for k, by in samples.items()
    }


def phase_figures(source):
    groups = phase_medians(source.read('phases.csv'))
    phases = gnuplot.ordered([p for by in groups.values() for stack in by.values() for p, _ in stack])
    if not groups:
        return
    colours = {p: PHASE_COLOURS[i % len(PHASE_COLOURS)] for i, p in enumerate(phases)}
    lines = sum(len(by) for by in groups.values())
    figure = Figure(
        'phases', 900, 110 + 30 * lines + 64 * len(groups), 'Where the time of a switch goes', source.caption
    )
    figure.legend(14, 46, [(p.replace('_', ' '), colours[p], 5) for p in phases])
    order = gnuplot.ordered([series_name(r) for r in source.rows] + [s for by in groups.values() for s in by])
    y = 90
    for (workload, placement), by_series in groups.items():
        phase_panel(figure, y, '%s [%s]' % (workload, placement), by_series, colours, order)
        y += 30 * len(by_series) + 64
    yield figure


def phase_panel(figure, y, title, by_series, colours, order):
    names = sorted(by_series, key=order.index)
    totals = [sum(ns for _, ns in by_series[n]) for n in names]
    size, unit = gnuplot.unit_for(totals, 'ns')
    boxes = []
    for i, name in enumerate(names):
        start = 0
        for phase, ns in by_series[name]:
            boxes.append(
                '%g %d %g %g %g %g %d'
                % (start / size, i, start / size, (start + ns) / size, i - 0.38, i + 0.38, int(colours[phase][1:], 16))
            )
            start += ns
        figure.text('%s %s' % (value_text(totals[i], size), unit), 886, y + 30 * (i + 0.6), size=11, align='right')
    left = 24 + 6.8 * max(map(len, names))
    figure.text('%s (%s)' % (title, unit), 14, y - 8)
    figure.panel(
        left,
        y,
        810 - left,
        30 * len(names),
        [
            'set xrange [0:%g]' % (max(totals) / size * 1.02),
            'set yrange [%g:-0.5]' % (len(names) - 0.5),
            'set border 1',
            'unset grid',
            'set grid xtics lt 1 lw 1 lc rgb "%s"' % gnuplot.GRID,
            'set ytics (%s) noenhanced scale 0' % ', '.join('%s %d' % (quoted(n), i) for i, n in enumerate(names)),
        ],
        ['%s using 1:2:3:4:5:6:7 with boxxyerror fill solid 1 noborder lc rgb variable' % figure.data(boxes)],
    )
