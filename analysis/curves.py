"""Figures of curves: distributions of the launches, sweeps, and the rate of system calls against the time they add."""

import math

import gnuplot
import rundata
from gnuplot import Figure, FAINT, INK, quoted, series_name
from source import WHERE, sweep_of

COLUMNS = 3


def grid_of(figure_name, title, note, source, groups, height, draw, colours):
    columns = min(COLUMNS, len(groups))
    lines = math.ceil(len(groups) / columns)
    width = 280 if columns > 1 else 600
    total = max(760, 30 + (width + 90) * columns)
    figure = Figure(figure_name, total, 110 + lines * (height + 78), title, source.caption)
    figure.legend(14, 46, [(n, *colours[n]) for n in colours])
    figure.text(note, total - 14, 22, colour=FAINT, size=11, align='right')
    for i, group in enumerate(groups):
        draw(figure, 76 + (i % columns) * (width + 90), 96 + (i // columns) * (height + 78), width, height, group)
    return figure


def ecdf_figures(source):
    """The launches themselves: a step a launch. Two humps are seen here and nowhere else."""
    names = {(r['platform'], r['knobs'], r['workload'], r['params'], r['placement']) for r in source.rows}
    samples = {}
    for row in source.read('raw.csv'):
        if (
            row['metric'] == 'ns_per_op'
            and row['status'] == 'ok'
            and rundata.identity(row) in names
            and not sweep_of(row)
            and not (row['knobs'] and source.crowded)
        ):
            samples.setdefault(row['placement'], {}).setdefault((row['workload'], row['params']), {}).setdefault(
                series_name(row), []
            ).append(row['value'])
    for placement, groups in samples.items():
        colours = gnuplot.palette(gnuplot.ordered([s for by in groups.values() for s in by if s != 'native-aa']))
        yield grid_of(
            'ecdf-' + placement,
            'Distribution of the launches, %s' % WHERE.get(placement, placement),
            'share of launches at or below a time',
            source,
            [(key[0], by) for key, by in groups.items()],
            120,
            lambda f, *a: ecdf_panel(f, *a, colours),
            colours,
        )


def time_tics(low, high):
    steps = [
        ('%g %s' % (m, unit), m * size)
        for unit, size in (('ns', 1), ('us', 1e3), ('ms', 1e6), ('s', 1e9))
        for m in (1, 10, 100)
    ]
    if high / low < 30:
        steps = [
            ('%g %s' % (m, unit), m * size)
            for unit, size in (('ns', 1), ('us', 1e3), ('ms', 1e6), ('s', 1e9))
            for m in (1, 2, 5, 10, 20, 50, 100, 200, 500)
        ]
    return 'set xtics (%s) font ",11"' % ', '.join('"%s" %g' % s for s in steps)


def ecdf_panel(figure, x, y, width, height, group, colours):
    workload, by_series = group
    every = [v for name, values in by_series.items() if name in colours for v in values]
    low, high = min(every) / 1.15, max(every) * 1.15
    parts = []
    for name, (colour, _) in colours.items():
        values = sorted(by_series.get(name, ()))
        steps = (
            ['%g 0' % low] + ['%g %g' % (v, (i + 1) / len(values)) for i, v in enumerate(values)] + ['%g 1' % high]
            if values
            else []
        )
        parts.append('%s using 1:2 with steps lw 2 lc rgb "%s"' % (figure.data(steps), colour))
    figure.text(workload, x - 60, y - 16)
    figure.panel(
        x,
        y,
        width,
        height,
        [
            'set logscale x',
            'set xrange [%g:%g]' % (low, high),
            'set yrange [0:1.03]',
            'set ytics 0.5',
            time_tics(low, high),
        ],
        parts,
    )


def sweeps(source, keys):
    """(workload, placement, key) -> series -> [(level, row)] of the sweeps whose key is (not) among `keys`."""
    out = {}
    for row in source.rows:
        sweep = (
            sweep_of(row)
            if row['metric'] == 'ns_per_op' and row['median'] is not None and row['platform'] != 'native-aa'
            else None
        )
        if sweep and keys(sweep[0]):
            out.setdefault((row['workload'], row['placement'], sweep[0]), {}).setdefault(series_name(row), []).append(
                (sweep[1], row)
            )
    return {k: v for k, v in out.items() if max(len(points) for points in v.values()) >= 2}


LEVELS = {
    'size_kib': 'KiB',
    'kib': 'KiB',
    'bytes': 'bytes',
    'tasks': 'guest tasks',
    'procs': 'guest processes',
    'pages': 'pages',
    'work_ns': 'ns of work between calls',
}
RATE_KEY = 'work_ns'


def scaling_figures(source):
    groups = sweeps(source, lambda key: key != RATE_KEY)
    if groups:
        colours = gnuplot.palette(gnuplot.ordered([s for by in groups.values() for s in by]))
        yield grid_of(
            'scaling',
            'How time per operation grows',
            'lower is better; both axes are logarithmic',
            source,
            list(groups.items()),
            170,
            lambda f, *a: scaling_panel(f, *a, colours),
            colours,
        )


def scaling_panel(figure, x, y, width, height, group, colours):
    (workload, placement, key), by_series = group
    every = [r['median'] for points in by_series.values() for _, r in points]
    parts = []
    for name, points in by_series.items():
        block = [
            '%g %g %g %g' % (level, r['median'], r['ci_low'] or r['median'], r['ci_high'] or r['median'])
            for level, r in sorted(points, key=lambda p: p[0])
        ]
        data = figure.data(block)
        parts += [
            '%s using 1:2 with lines lw 1.6 lc rgb "%s"' % (data, colours[name][0]),
            '%s using 1:2:3:4 with yerrorbars pt %d ps 0.8 lw 1.4 lc rgb "%s"'
            % (data, colours[name][1], colours[name][0]),
        ]
    levels = sorted({level for points in by_series.values() for level, _ in points})
    figure.text('%s [%s]' % (workload, placement), x - 60, y - 16)
    figure.panel(
        x,
        y,
        width,
        height,
        [
            'set logscale xy',
            'set xrange [%g:%g]' % (levels[0] / 1.3, levels[-1] * 1.3),
            'set xtics (%s)' % ', '.join('"%g" %g' % (v, v) for v in levels),
            'set xlabel %s offset 0,0.4 textcolor rgb "%s" font ",11"' % (quoted(LEVELS.get(key, key)), INK),
            time_tics(min(every), max(every)).replace('xtics', 'ytics'),
        ],
        parts,
    )


def rate_points(by_series):
    """Series -> [(native rate a second, overhead %, low, high)]: at which rate of calls does a platform cost how
    much?
    """
    native = {level: row['median'] for level, row in by_series.get('native', ())}
    out = {}
    for name, points in by_series.items():
        for level, row in points:
            if name != 'native' and level in native and row['ratio_native']:
                out.setdefault(name, []).append(
                    (
                        1e9 / native[level],
                        *(
                            100 * (row[k] - 1) if row[k] else None
                            for k in ('ratio_native', 'ratio_ci_low', 'ratio_ci_high')
                        ),
                    )
                )
    return {name: sorted(points) for name, points in out.items()}


def crossing(points, percent):
    """The rate at which the overhead passes `percent`, between two measured points on the log-log line; None outside
    them.
    """
    for (r0, p0, *_), (r1, p1, *_) in zip(points, points[1:]):
        if p0 <= percent <= p1 and p0 > 0:
            share = (math.log(percent) - math.log(p0)) / (math.log(p1) - math.log(p0) or 1)
            return math.exp(math.log(r0) + share * (math.log(r1) - math.log(r0)))
    return None


def rate_figures(source):
    groups = {k: rate_points(v) for k, v in sweeps(source, lambda key: key == RATE_KEY).items()}
    groups = {k: v for k, v in groups.items() if v}
    if groups:
        colours = gnuplot.palette(gnuplot.ordered([s for by in groups.values() for s in by]))
        yield grid_of(
            'rate',
            'Will your program feel it? Overhead by rate of system calls',
            '',
            source,
            list(groups.items()),
            230,
            lambda f, *a: rate_panel(f, *a, colours),
            colours,
        )


def rate_panel(figure, x, y, width, height, group, colours):
    (workload, placement, _), by_series = group
    parts = []
    for name, points in by_series.items():
        block = ['%g %g %g %g' % (rate, p, max(low or p, 0.01), high or p) for rate, p, low, high in points if p >= 0.1]
        data = figure.data(block)
        parts += [
            '%s using 1:2 with lines lw 1.6 lc rgb "%s"' % (data, colours[name][0]),
            '%s using 1:2:3:4 with yerrorbars pt %d ps 0.8 lw 1.4 lc rgb "%s"'
            % (data, colours[name][1], colours[name][0]),
        ]
    rates = [p[0] for points in by_series.values() for p in points]
    for level in (1, 10, 50):
        parts.append(
            '%s using 1:2 with lines lw 1 dt 2 lc rgb "%s"'
            % (figure.data(['%g %g' % (min(rates) / 1.5, level), '%g %g' % (max(rates) * 1.5, level)]), FAINT)
        )
    figure.text('%s [%s]' % (workload, placement), x - 60, y - 16)
    figure.panel(
        x,
        y,
        width,
        height,
        [
            'set logscale xy',
            'set xrange [%g:%g]' % (min(rates) / 1.5, max(rates) * 1.5),
            'set yrange [0.08:*]',
            'set xlabel "system calls a second, natively" offset 0,0.4 textcolor rgb "%s" font ",11"' % INK,
            'set xtics (%s)'
            % ', '.join('"%s" 1e%d' % (name, i + 1) for i, name in enumerate(('10 100 1k 10k 100k 1M 10M').split())),
            'set ytics (%s)' % ', '.join('"%g %%%%" %g' % (v, v) for v in (0.1, 1, 10, 50, 100, 1000, 10000)),
        ],
        parts,
    )
