"""Figures of bars and dots: times from 0 with their floors, ratios on a log axis that is symmetric about 1,
ablations.
"""

import math

import gnuplot
from gnuplot import Figure, FAINT, BAND, INK, quoted, series_name, value_text
from source import WHERE, params_text

ROW = 19  # pixels a bar
BARS, COLUMNS = 270, 3  # pixels for the bars of a panel and their numbers; panels beside each other
CLASS_TITLES = {
    'syscall': 'system calls',
    'fault': 'page faults and mappings',
    'task': 'processes, threads, signals',
    'cpu': 'must cost nothing extra',
    'app': 'applications',
}

# Time: a panel a workload, a bar a variant, from 0; the floor of its mechanism on it, native as a line through all.


def time_panel(figure, x, y, rows, colours, label_width):
    names = [series_name(r) for r in rows]
    size, unit = gnuplot.unit_for([r['median'] for r in rows], 'ns')
    top = max(max(r['median'], min(r['ci_high'] or 0, 1.5 * r['median'])) for r in rows) / size * 1.04
    bars, spans, floors = [], [], []
    for i, row in enumerate(rows):
        colour = int(colours[names[i]][0][1:], 16)
        bars.append('%g %d 0 %g %g %g %d' % (row['median'] / size, i, row['median'] / size, i - 0.36, i + 0.36, colour))
        if row['ci_low'] is not None:
            spans.append('%g %d %g %g' % (row['median'] / size, i, row['ci_low'] / size, row['ci_high'] / size))
        if row['floor']:
            floors.append('%g %g 0 0.9' % (row['floor'] / size, i - 0.45))
    native = [r['median'] / size for r in rows if series_name(r) == 'native']
    settings = [
        'set xrange [0:%g]' % top,
        'set yrange [%g:-0.6]' % (len(rows) - 0.4),
        'set xtics auto',
        'unset grid',
        'set grid xtics lt 1 lw 1 lc rgb "%s"' % gnuplot.GRID,
        'set ytics (%s) noenhanced scale 0 font ",11"'
        % ', '.join('%s %d' % (quoted(gnuplot.label(n)), i) for i, n in enumerate(names)),
        'set xtics %g font ",10"' % tick_step(top),
        'set border 1',
    ]
    figure.text('%s (%s)' % (rows[0]['workload'] + params_text(rows[0]), unit), x - label_width, y - 10)
    for i, row in enumerate(rows):
        figure.text(
            value_text(row['median'], size),
            x + BARS - 14,
            y + (i + 0.6) * ROW * 1.0 * scale_of(rows),
            size=11,
            align='right',
        )
    parts = [
        '%s using 1:2:3:4:5:6:7 with boxxyerror fill solid 1 noborder lc rgb variable' % figure.data(bars),
        '%s using 1:2:3:4 with xerrorbars pt 0 lw 1.4 lc rgb "%s"' % (figure.data(spans), INK),
        '%s using 1:2:3:4 with vectors nohead lw 3 lc rgb "%s"' % (figure.data(floors), INK),
    ]
    if native:
        parts.append(
            "%s using 1:2:3:4 with vectors nohead lw 1 dt 3 lc rgb '%s'"
            % (figure.data(['%g -0.6 0 %g' % (native[0], len(rows))]), FAINT)
        )
    figure.panel(x, y, BARS - 76, ROW * len(rows), settings, parts)


def scale_of(rows):
    return len(rows) / (len(rows) + 0.2)


def tick_step(top):
    """Three to six round steps on an axis from 0."""
    step = 10 ** math.floor(math.log10(top / 3))
    return next(step * m for m in (1, 2, 5, 10) if top / (step * m) <= 5)


def time_figures(source):
    for placement in source.placements:
        rows = source.times(placement)
        for kind in CLASS_TITLES:
            panels = {}
            for row in rows:
                if source.classes.get(row['workload']) == kind:
                    panels.setdefault((row['workload'], row['params']), []).append(row)
            if panels:
                yield time_figure(source, kind, placement, list(panels.values()))


def time_figure(source, kind, placement, panels):
    colours = gnuplot.palette(gnuplot.ordered([series_name(r) for rows in panels for r in rows]))
    label_width = 16 + 7.2 * max(len(gnuplot.label(name)) for name in colours)
    tall = max(map(len, panels))
    lines = math.ceil(len(panels) / COLUMNS)
    step = ROW * tall + 66
    columns = min(COLUMNS, len(panels))
    figure = Figure(
        'time-%s-%s' % (kind, placement),
        max(720, 20 + columns * (label_width + BARS + 10)),
        70 + lines * step + 18,
        'Time per operation: %s, %s' % (CLASS_TITLES[kind], WHERE.get(placement, placement)),
        source.caption,
    )
    figure.text(
        'bar: median   whisker: 95 % interval   black: floor of the mechanism   dotted: native',
        14,
        42,
        colour=FAINT,
        size=11,
    )
    for i, rows in enumerate(panels):
        time_panel(
            figure,
            10 + label_width + (i % columns) * (label_width + BARS + 10),
            80 + (i // columns) * step,
            rows,
            colours,
            label_width,
        )
    return figure


# Ratios: a row a workload, a point a platform, log and symmetric about 1; the A/A interval as a band.


def ratio_axis(low, high):
    """xrange and tics of a log axis that is symmetric about 1 and holds all values."""
    reach = max(high, 1 / low, 1.25) * 1.15
    marks = [m * 10**e for e in range(0, 9) for m in ((1, 2, 5) if reach < 60 else (1,)) if m * 10**e <= reach]
    if reach < 2.2:
        marks = [1, 1.1, 1.25, 1.5, 2]
    tics = [('%gx' % m, m) for m in marks] + [('1/%g' % m, 1 / m) for m in marks if m > 1]
    return [
        'set logscale x',
        'set xrange [%g:%g]' % (1 / reach, reach),
        'unset mxtics',
        'set xtics (%s) noenhanced font ",11"'
        % ', '.join('"%s" %g' % t for t in tics if t[1] <= reach and 1 / t[1] <= reach),
    ]


def dots(figure, x, y, width, lines, colours, noise, low_word, high_word):
    """lines: (label, [(series, ratio, low, high)]); noise: a factor a line, or None."""
    every = [v for _, points in lines for p in points for v in p[1:] if v]
    bands = ['1 %d %g %g %g %g' % (i, 1 / n, n, i - 0.42, i + 0.42) for i, n in enumerate(noise) if n]
    height = 26 * len(lines)
    settings = [
        *ratio_axis(min(every), max(every)),
        'set yrange [%g:-0.5]' % (len(lines) - 0.5),
        'set border 1',
        'set ytics (%s) noenhanced scale 0 font ",11"'
        % ', '.join('%s %d' % (quoted(label), i) for i, (label, _) in enumerate(lines)),
        'unset grid',
        'set grid xtics lt 1 lw 1 lc rgb "%s"' % gnuplot.GRID,
    ]
    parts = ['%s using 1:2:3:4:5:6 with boxxyerror fill solid 1 noborder lc rgb "%s"' % (figure.data(bands), BAND)]
    names = list(colours)
    for k, name in enumerate(names):
        shift = (k - (len(names) - 1) / 2) * min(0.2, 0.8 / len(names))
        block = [
            '%g %g %g %g' % (r, i + shift, low or r, high or r)
            for i, (_, points) in enumerate(lines)
            for s, r, low, high in points
            if s == name
        ]
        parts.append(
            '%s using 1:2:3:4 with xerrorbars pt %d ps 0.9 lw 1.6 lc rgb "%s"'
            % (figure.data(block), colours[name][1], colours[name][0])
        )
    parts.append(
        "%s using 1:2:3:4 with vectors nohead lw 1.4 lc rgb '%s'" % (figure.data(['1 -0.5 0 %d' % len(lines)]), INK)
    )
    figure.text(low_word, x, y - 8, colour=FAINT, size=11)
    figure.text(high_word, x + width, y - 8, colour=FAINT, size=11, align='right')
    figure.panel(x, y, width, height, settings, parts)


def ratio_figures(source):
    for placement in source.placements:
        rows = [r for r in source.times(placement) if r['ratio_native'] and r['platform'] != 'native']
        noise = {
            (r['workload'], r['params']): noise_factor(r)
            for r in source.rows
            if r['placement'] == placement and r['platform'] == 'native-aa' and r['metric'] == 'ns_per_op'
        }
        if rows:
            yield ratio_figure(
                source, 'ratio-' + placement, 'Times native, %s' % WHERE.get(placement, placement), rows, noise
            )


def noise_factor(row):
    return max(1 / row['ratio_ci_low'], row['ratio_ci_high'], 1) if row['ratio_ci_low'] else None


def ratio_figure(source, name, title, rows, noise):
    groups = {}
    for row in sorted(rows, key=lambda r: list(CLASS_TITLES).index(source.classes.get(r['workload'], 'app'))):
        groups.setdefault((row['workload'], row['params']), []).append(row)
    lines = [
        (
            key[0] + params_text(group[0]),
            [(series_name(r), r['ratio_native'], r['ratio_ci_low'], r['ratio_ci_high']) for r in group],
        )
        for key, group in groups.items()
    ]
    colours = gnuplot.palette(gnuplot.ordered([series_name(r) for r in rows]))
    figure = Figure(name, 860, 150 + 26 * len(lines), title, source.caption)
    figure.legend(14, 46, [(n, *colours[n]) for n in colours])
    figure.text(
        'grey: native against itself; a difference inside it is not resolved',
        846,
        22,
        colour=FAINT,
        size=11,
        align='right',
    )
    left = 24 + 7.4 * max(len(label) for label, _ in lines)
    dots(
        figure,
        left,
        84,
        840 - left,
        lines,
        colours,
        [noise.get(key) for key in groups],
        '< faster than native',
        'slower than native >',
    )
    return figure


# Ablation: each knob off against the same platform with its defaults.


def ablation_figures(source):
    for placement in source.placements:
        pairs = [
            c
            for c in source.comparisons
            if c['metric'] == 'ns_per_op'
            and c['placement'] == placement
            and c['platform'] == c['reference']
            and c['knobs']
            and not c['reference_knobs']
        ]
        for platform in gnuplot.ordered([c['platform'] for c in pairs]):
            yield ablation_figure(source, platform, placement, [c for c in pairs if c['platform'] == platform])


def ablation_figure(source, platform, placement, pairs):
    pairs = sorted(pairs, key=lambda c: (c['knobs'], c['workload']))
    lines = [
        ('%s  %s' % (c['knobs'], c['workload'] + params_text(c)), [(platform, c['ratio'], c['ci_low'], c['ci_high'])])
        for c in pairs
    ]
    colours = gnuplot.palette([platform])
    figure = Figure(
        'ablation-%s-%s' % (platform, placement),
        900,
        150 + 26 * len(lines),
        'What is an optimisation worth? %s with one knob off, %s' % (platform, WHERE.get(placement, placement)),
        source.caption,
    )
    figure.text(
        'point: time with the knob off over time with the defaults   grey: native against itself',
        14,
        44,
        colour=FAINT,
        size=11,
    )
    left = 24 + 7.2 * max(len(label) for label, _ in lines)
    dots(
        figure,
        left,
        84,
        880 - left,
        lines,
        colours,
        [c['noise'] for c in pairs],
        '< faster without it',
        'slower without it >',
    )
    return figure
