"""The figures of a run, from its CSV files alone (the caption is the manifest's). Bars start at 0, ratios are log and symmetric about 1."""

import math
import os

import gnuplot
import rundata
from gnuplot import Figure, FAINT, BAND, INK, quoted, series_name

ROW = 19                                # pixels a bar
BARS, COLUMNS = 270, 3                  # pixels for the bars of a panel and their numbers; panels beside each other
CROWD = 2                               # more variants of a platform than this are left to the ablation figure
CLASS_TITLES = {'syscall': 'system calls', 'fault': 'page faults and mappings', 'task': 'processes, threads, signals',
                'cpu': 'must cost nothing extra', 'app': 'applications'}

WHERE = {'same-cpu': 'all on one CPU', 'free': 'all CPUs free to use', 'smt-sibling': 'on two threads of a core',
         'same-llc': 'on two cores of a cache'}


class Source:
    """What the figures are drawn from."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest = rundata.read_json(folder, 'manifest.json')
        plan = rundata.read_json(folder, 'plan.json')
        self.classes = {c['workload']: c['class'] for c in plan['cells']}
        self.rows = [r for r in self.read('summary.csv') if r['verdict'] not in ('floor', 'twin')]
        self.comparisons = self.read('comparisons.csv')
        knobs = {(r['platform'], r['knobs']) for r in self.rows if r['knobs']}
        self.crowded = any(sum(p == platform for p, _ in knobs) > CROWD for platform, _ in knobs)
        self.placements = gnuplot.ordered([r['placement'] for r in self.rows])
        machine = self.manifest['machine']
        self.caption = '; '.join(['%s, %s, Linux %s' % (self.manifest['host'], machine['cpu']['model'] or 'unknown CPU',
                                                        machine['kernel']['release']),
                                  'n=%d launches, medians, 95 %% intervals' % self.manifest['trials'], *short_warnings(self.manifest)])

    def read(self, name):
        path = os.path.join(self.folder, name)
        return rundata.read_csv(path) if os.path.exists(path) else []

    def times(self, placement):
        """Rows of time, without the A/A twin and without the levels of a sweep."""
        return [r for r in self.rows if r['metric'] == 'ns_per_op' and r['placement'] == placement and r['median'] is not None and
                r['platform'] != 'native-aa' and not sweep_of(r) and not (r['knobs'] and self.crowded)]


def short_warnings(manifest):
    """R9: what limits all numbers belongs into each caption, in few words."""
    machine, out = manifest['machine'], []
    if machine['hypervisor']:
        out.append('a virtual machine (%s)' % {'KVMKVMKVM': 'KVM'}.get(machine['hypervisor'].strip(), machine['hypervisor'].strip()))
    if machine['kvm']['module'] == 'kvm_pvm':
        out.append('KVM is kvm_pvm, software')
    if not machine['pmu']['available']:
        out.append('no PMU')
    return out


def parameters(row):
    return dict(p.split('=', 1) for p in row['params'].split(';') if '=' in p)


def sweep_of(row):
    """(key, level) of the parameter that a workload is swept over, or None: the one whose value is a number."""
    for key, value in parameters(row).items():
        if key != 'twin' and value.replace('.', '', 1).isdigit():
            return key, float(value)
    return None


def sentence_case(text):
    return text[:1].upper() + text[1:]


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
    settings = ['set xrange [0:%g]' % top, 'set yrange [%g:-0.6]' % (len(rows) - 0.4), 'set xtics auto', 'unset grid',
                'set grid xtics lt 1 lw 1 lc rgb "%s"' % gnuplot.GRID,
                'set ytics (%s) noenhanced scale 0 font ",11"' % ', '.join('%s %d' % (quoted(gnuplot.label(n)), i) for i, n in enumerate(names)),
                'set xtics %g font ",10"' % tick_step(top), 'set border 1']
    figure.text('%s (%s)' % (rows[0]['workload'] + params_text(rows[0]), unit), x - label_width, y - 10)
    for i, row in enumerate(rows):
        figure.text(value_text(row['median'], size), x + BARS - 14, y + (i + 0.6) * ROW * 1.0 * scale_of(rows),
                    size=11, align='right')
    parts = ['%s using 1:2:3:4:5:6:7 with boxxyerror fill solid 1 noborder lc rgb variable' % figure.data(bars),
             '%s using 1:2:3:4 with xerrorbars pt 0 lw 1.4 lc rgb "%s"' % (figure.data(spans), INK),
             '%s using 1:2:3:4 with vectors nohead lw 3 lc rgb "%s"' % (figure.data(floors), INK)]
    if native:
        parts.append("%s using 1:2:3:4 with vectors nohead lw 1 dt 3 lc rgb '%s'" % (
            figure.data(['%g -0.6 0 %g' % (native[0], len(rows))]), FAINT))
    figure.panel(x, y, BARS - 76, ROW * len(rows), settings, parts)


def scale_of(rows):
    return len(rows) / (len(rows) + 0.2)


def params_text(row):
    shown = ';'.join('%s=%s' % p for p in parameters(row).items() if p[0] != 'program')
    return ' ' + shown if shown else ''


def tick_step(top):
    """Three to six round steps on an axis from 0."""
    step = 10 ** math.floor(math.log10(top / 3))
    return next(step * m for m in (1, 2, 5, 10) if top / (step * m) <= 5)


def value_text(value, size):
    value /= size
    return '%.0f' % value if value >= 100 else '%.1f' % value if value >= 10 else '%.2f' % value


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
    figure = Figure('time-%s-%s' % (kind, placement), max(720, 20 + columns * (label_width + BARS + 10)), 70 + lines * step + 18,
                    'Time per operation: %s, %s' % (CLASS_TITLES[kind], WHERE.get(placement, placement)), source.caption)
    figure.text('bar: median   whisker: 95 % interval   black: floor of the mechanism   dotted: native', 14, 42, colour=FAINT, size=11)
    for i, rows in enumerate(panels):
        time_panel(figure, 10 + label_width + (i % columns) * (label_width + BARS + 10), 80 + (i // columns) * step, rows, colours, label_width)
    return figure


# Ratios: a row a workload, a point a platform, log and symmetric about 1; the A/A interval as a band.

def ratio_axis(low, high):
    """xrange and tics of a log axis that is symmetric about 1 and holds all values."""
    reach = max(high, 1 / low, 1.25) * 1.15
    marks = [m * 10**e for e in range(0, 9) for m in ((1, 2, 5) if reach < 60 else (1,)) if m * 10**e <= reach]
    if reach < 2.2:
        marks = [1, 1.1, 1.25, 1.5, 2]
    tics = [('%gx' % m, m) for m in marks] + [('1/%g' % m, 1 / m) for m in marks if m > 1]
    return ['set logscale x', 'set xrange [%g:%g]' % (1 / reach, reach), 'unset mxtics',
            'set xtics (%s) noenhanced font ",11"' % ', '.join('"%s" %g' % t for t in tics if t[1] <= reach and 1 / t[1] <= reach)]


def dots(figure, x, y, width, lines, colours, noise, low_word, high_word):
    """lines: (label, [(series, ratio, low, high)]); noise: a factor a line, or None."""
    every = [v for _, points in lines for p in points for v in p[1:] if v]
    bands = ['1 %d %g %g %g %g' % (i, 1 / n, n, i - 0.42, i + 0.42) for i, n in enumerate(noise) if n]
    height = 26 * len(lines)
    settings = [*ratio_axis(min(every), max(every)), 'set yrange [%g:-0.5]' % (len(lines) - 0.5), 'set border 1',
                'set ytics (%s) noenhanced scale 0 font ",11"' % ', '.join(
                    '%s %d' % (quoted(label), i) for i, (label, _) in enumerate(lines)),
                'unset grid', 'set grid xtics lt 1 lw 1 lc rgb "%s"' % gnuplot.GRID]
    parts = ['%s using 1:2:3:4:5:6 with boxxyerror fill solid 1 noborder lc rgb "%s"' % (figure.data(bands), BAND)]
    names = list(colours)
    for k, name in enumerate(names):
        shift = (k - (len(names) - 1) / 2) * min(0.2, 0.8 / len(names))
        block = ['%g %g %g %g' % (r, i + shift, low or r, high or r)
                 for i, (_, points) in enumerate(lines) for s, r, low, high in points if s == name]
        parts.append('%s using 1:2:3:4 with xerrorbars pt %d ps 0.9 lw 1.6 lc rgb "%s"' % (
            figure.data(block), colours[name][1], colours[name][0]))
    parts.append("%s using 1:2:3:4 with vectors nohead lw 1.4 lc rgb '%s'" % (figure.data(['1 -0.5 0 %d' % len(lines)]), INK))
    figure.text(low_word, x, y - 8, colour=FAINT, size=11)
    figure.text(high_word, x + width, y - 8, colour=FAINT, size=11, align='right')
    figure.panel(x, y, width, height, settings, parts)


def ratio_figures(source):
    for placement in source.placements:
        rows = [r for r in source.times(placement) if r['ratio_native'] and r['platform'] != 'native']
        noise = {(r['workload'], r['params']): noise_factor(r) for r in source.rows if r['placement'] == placement and
                 r['platform'] == 'native-aa' and r['metric'] == 'ns_per_op'}
        if rows:
            yield ratio_figure(source, 'ratio-' + placement, 'Times native, %s' % WHERE.get(placement, placement), rows, noise)


def noise_factor(row):
    return max(1 / row['ratio_ci_low'], row['ratio_ci_high'], 1) if row['ratio_ci_low'] else None


def ratio_figure(source, name, title, rows, noise):
    groups = {}
    for row in sorted(rows, key=lambda r: list(CLASS_TITLES).index(source.classes.get(r['workload'], 'app'))):
        groups.setdefault((row['workload'], row['params']), []).append(row)
    lines = [(key[0] + params_text(group[0]), [(series_name(r), r['ratio_native'], r['ratio_ci_low'], r['ratio_ci_high']) for r in group])
             for key, group in groups.items()]
    colours = gnuplot.palette(gnuplot.ordered([series_name(r) for r in rows]))
    figure = Figure(name, 860, 134 + 26 * len(lines), title, source.caption)
    figure.legend(14, 46, [(n, *colours[n]) for n in colours])
    figure.text('grey: native against itself; a difference inside it is not resolved', 846, 22, colour=FAINT, size=11, align='right')
    left = 24 + 7.4 * max(len(label) for label, _ in lines)
    dots(figure, left, 84, 840 - left, lines, colours, [noise.get(key) for key in groups], '< faster than native', 'slower than native >')
    return figure


# Ablation: each knob off against the same platform with its defaults.

def ablation_figures(source):
    for placement in source.placements:
        pairs = [c for c in source.comparisons if c['metric'] == 'ns_per_op' and c['placement'] == placement and
                 c['platform'] == c['reference'] and c['knobs'] and not c['reference_knobs']]
        for platform in gnuplot.ordered([c['platform'] for c in pairs]):
            yield ablation_figure(source, platform, placement, [c for c in pairs if c['platform'] == platform])


def ablation_figure(source, platform, placement, pairs):
    pairs = sorted(pairs, key=lambda c: (c['knobs'], c['workload']))
    lines = [('%s  %s' % (c['knobs'], c['workload'] + params_text(c)), [(platform, c['ratio'], c['ci_low'], c['ci_high'])])
             for c in pairs]
    colours = gnuplot.palette([platform])
    figure = Figure('ablation-%s-%s' % (platform, placement), 900, 134 + 26 * len(lines),
                    'What is an optimisation worth? %s with one knob off, %s' % (platform, WHERE.get(placement, placement)), source.caption)
    figure.text('point: time with the knob off over time with the defaults   grey: native against itself', 14, 44, colour=FAINT, size=11)
    left = 24 + 7.2 * max(len(label) for label, _ in lines)
    dots(figure, left, 84, 880 - left, lines, colours, [c['noise'] for c in pairs], '< faster without it', 'slower without it >')
    return figure


# Curves.

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
        if row['metric'] == 'ns_per_op' and row['status'] == 'ok' and rundata.identity(row) in names and not sweep_of(row) and not (
                row['knobs'] and source.crowded):
            samples.setdefault(row['placement'], {}).setdefault((row['workload'], row['params']), {}).setdefault(
                series_name(row), []).append(row['value'])
    for placement, groups in samples.items():
        colours = gnuplot.palette(gnuplot.ordered([s for by in groups.values() for s in by if s != 'native-aa']))
        yield grid_of('ecdf-' + placement, 'Distribution of the launches, %s' % WHERE.get(placement, placement), 'share of launches at or below a time', source,
                      [(key[0], by) for key, by in groups.items()], 120, lambda f, *a: ecdf_panel(f, *a, colours), colours)


def time_tics(low, high):
    steps = [('%g %s' % (m, unit), m * size) for unit, size in (('ns', 1), ('us', 1e3), ('ms', 1e6), ('s', 1e9)) for m in (1, 10, 100)]
    if high / low < 30:
        steps = [('%g %s' % (m, unit), m * size) for unit, size in (('ns', 1), ('us', 1e3), ('ms', 1e6), ('s', 1e9))
                 for m in (1, 2, 5, 10, 20, 50, 100, 200, 500)]
    return 'set xtics (%s) font ",11"' % ', '.join('"%s" %g' % s for s in steps)


def ecdf_panel(figure, x, y, width, height, group, colours):
    workload, by_series = group
    every = [v for name, values in by_series.items() if name in colours for v in values]
    low, high = min(every) / 1.15, max(every) * 1.15
    parts = []
    for name, (colour, _) in colours.items():
        values = sorted(by_series.get(name, ()))
        steps = ['%g 0' % low] + ['%g %g' % (v, (i + 1) / len(values)) for i, v in enumerate(values)] + ['%g 1' % high] if values else []
        parts.append('%s using 1:2 with steps lw 2 lc rgb "%s"' % (figure.data(steps), colour))
    figure.text(workload, x - 60, y - 16)
    figure.panel(x, y, width, height, ['set logscale x', 'set xrange [%g:%g]' % (low, high), 'set yrange [0:1.03]', 'set ytics 0.5',
                                       time_tics(low, high)], parts)


def sweeps(source, keys):
    """(workload, placement, key) -> series -> [(level, row)] of the sweeps whose key is (not) among `keys`."""
    out = {}
    for row in source.rows:
        sweep = sweep_of(row) if row['metric'] == 'ns_per_op' and row['median'] is not None and row['platform'] != 'native-aa' else None
        if sweep and keys(sweep[0]):
            out.setdefault((row['workload'], row['placement'], sweep[0]), {}).setdefault(series_name(row), []).append((sweep[1], row))
    return {k: v for k, v in out.items() if max(len(points) for points in v.values()) >= 2}


LEVELS = {'size_kib': 'KiB', 'kib': 'KiB', 'bytes': 'bytes', 'tasks': 'guest tasks', 'procs': 'guest processes', 'pages': 'pages',
          'work_ns': 'ns of work between calls'}
RATE_KEY = 'work_ns'


def scaling_figures(source):
    groups = sweeps(source, lambda key: key != RATE_KEY)
    if groups:
        colours = gnuplot.palette(gnuplot.ordered([s for by in groups.values() for s in by]))
        yield grid_of('scaling', 'How time per operation grows', 'lower is better; both axes are logarithmic', source,
                      list(groups.items()), 170, lambda f, *a: scaling_panel(f, *a, colours), colours)


def scaling_panel(figure, x, y, width, height, group, colours):
    (workload, placement, key), by_series = group
    every = [r['median'] for points in by_series.values() for _, r in points]
    parts = []
    for name, points in by_series.items():
        block = ['%g %g %g %g' % (level, r['median'], r['ci_low'] or r['median'], r['ci_high'] or r['median'])
                 for level, r in sorted(points, key=lambda p: p[0])]
        data = figure.data(block)
        parts += ['%s using 1:2 with lines lw 1.6 lc rgb "%s"' % (data, colours[name][0]),
                  '%s using 1:2:3:4 with yerrorbars pt %d ps 0.8 lw 1.4 lc rgb "%s"' % (data, colours[name][1], colours[name][0])]
    levels = sorted({level for points in by_series.values() for level, _ in points})
    figure.text('%s [%s]' % (workload, placement), x - 60, y - 16)
    figure.panel(x, y, width, height, ['set logscale xy', 'set xrange [%g:%g]' % (levels[0] / 1.3, levels[-1] * 1.3),
                                       'set xtics (%s)' % ', '.join('"%g" %g' % (v, v) for v in levels),
                                       'set xlabel %s offset 0,0.4 textcolor rgb "%s" font ",11"' % (quoted(LEVELS.get(key, key)), INK),
                                       time_tics(min(every), max(every)).replace('xtics', 'ytics')], parts)


def rate_points(by_series):
    """Series -> [(native rate a second, overhead %, low, high)]: at which rate of calls does a platform cost how much?"""
    native = {level: row['median'] for level, row in by_series.get('native', ())}
    out = {}
    for name, points in by_series.items():
        for level, row in points:
            if name != 'native' and level in native and row['ratio_native']:
                out.setdefault(name, []).append((1e9 / native[level], *(100 * (row[k] - 1) if row[k] else None for k in
                                                                       ('ratio_native', 'ratio_ci_low', 'ratio_ci_high'))))
    return {name: sorted(points) for name, points in out.items()}


def crossing(points, percent):
    """The rate at which the overhead passes `percent`, between two measured points on the log-log line; None outside them."""
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
        yield grid_of('rate', 'Will your program feel it? Overhead by rate of system calls', '', source,
                      list(groups.items()), 230, lambda f, *a: rate_panel(f, *a, colours), colours)


def rate_panel(figure, x, y, width, height, group, colours):
    (workload, placement, _), by_series = group
    parts = []
    for name, points in by_series.items():
        block = ['%g %g %g %g' % (rate, p, max(low or p, 0.01), high or p) for rate, p, low, high in points if p >= 0.1]
        data = figure.data(block)
        parts += ['%s using 1:2 with lines lw 1.6 lc rgb "%s"' % (data, colours[name][0]),
                  '%s using 1:2:3:4 with yerrorbars pt %d ps 0.8 lw 1.4 lc rgb "%s"' % (data, colours[name][1], colours[name][0])]
    rates = [p[0] for points in by_series.values() for p in points]
    for level in (1, 10, 50):
        parts.append('%s using 1:2 with lines lw 1 dt 2 lc rgb "%s"' % (
            figure.data(['%g %g' % (min(rates) / 1.5, level), '%g %g' % (max(rates) * 1.5, level)]), FAINT))
    figure.text('%s [%s]' % (workload, placement), x - 60, y - 16)
    figure.panel(x, y, width, height, [
        'set logscale xy', 'set xrange [%g:%g]' % (min(rates) / 1.5, max(rates) * 1.5), 'set yrange [0.08:*]',
        'set xlabel "system calls a second, natively" offset 0,0.4 textcolor rgb "%s" font ",11"' % INK,
        'set xtics (%s)' % ', '.join('"%s" 1e%d' % (name, i + 1) for i, name in enumerate(('10 100 1k 10k 100k 1M 10M').split())),
        'set ytics (%s)' % ', '.join('"%g %%%%" %g' % (v, v) for v in (0.1, 1, 10, 50, 100, 1000, 10000))], parts)


# Phases: where a switch's time goes, stacked from 0.

PHASE_COLOURS = ('#1f83c8', '#74b4e8', '#d9822b', '#efb77b', '#1a9d77', '#7fcdb5', '#8578d6', '#c26ba3', '#b0a000', '#8a8a8a')


def phase_medians(rows):
    """(workload, placement) -> series -> [(phase, median ns)] in the order of the file."""
    from stats import median
    samples = {}
    for row in rows:
        samples.setdefault((row['workload'], row['placement']), {}).setdefault(series_name(row), {}).setdefault(
            row['phase'], []).append(row['ns'])
    return {k: {s: [(p, median(v)) for p, v in phases.items()] for s, phases in by.items()} for k, by in samples.items()}


def phase_figures(source):
    groups = phase_medians(source.read('phases.csv'))
    phases = gnuplot.ordered([p for by in groups.values() for stack in by.values() for p, _ in stack])
    if not groups:
        return
    colours = {p: PHASE_COLOURS[i % len(PHASE_COLOURS)] for i, p in enumerate(phases)}
    lines = sum(len(by) for by in groups.values())
    figure = Figure('phases', 900, 110 + 30 * lines + 64 * len(groups), 'Where the time of a switch goes', source.caption)
    figure.legend(14, 46, [(p, colours[p], 5) for p in phases])
    y = 90
    for (workload, placement), by_series in groups.items():
        phase_panel(figure, y, '%s [%s]' % (workload, placement), by_series, colours)
        y += 30 * len(by_series) + 64
    yield figure


def phase_panel(figure, y, title, by_series, colours):
    names = list(by_series)
    totals = [sum(ns for _, ns in by_series[n]) for n in names]
    size, unit = gnuplot.unit_for(totals, 'ns')
    boxes = []
    for i, name in enumerate(names):
        start = 0
        for phase, ns in by_series[name]:
            boxes.append('%g %d %g %g %g %g %d' % (start / size, i, start / size, (start + ns) / size, i - 0.38, i + 0.38,
                                                   int(colours[phase][1:], 16)))
            start += ns
        figure.text('%s %s' % (value_text(totals[i], size), unit), 886, y + 30 * (i + 0.6), size=11, align='right')
    left = 24 + 6.8 * max(map(len, names))
    figure.text('%s (%s)' % (title, unit), 14, y - 8)
    figure.panel(left, y, 810 - left, 30 * len(names), [
        'set xrange [0:%g]' % (max(totals) / size * 1.02), 'set yrange [%g:-0.5]' % (len(names) - 0.5), 'set border 1', 'unset grid',
        'set grid xtics lt 1 lw 1 lc rgb "%s"' % gnuplot.GRID,
        'set ytics (%s) noenhanced scale 0' % ', '.join('%s %d' % (quoted(n), i) for i, n in enumerate(names))],
        ['%s using 1:2:3:4:5:6:7 with boxxyerror fill solid 1 noborder lc rgb variable' % figure.data(boxes)])


KINDS = (ratio_figures, time_figures, rate_figures, scaling_figures, phase_figures, ablation_figures, ecdf_figures)


def plot(run):
    """Returns the files made and a one-line notice, or None, about what could not be made."""
    if gnuplot.MISSING:
        return [], gnuplot.MISSING
    folder = os.path.join(run.folder, 'plots')
    os.makedirs(folder, exist_ok=True)
    source, made, notices = Source(run.folder), [], []
    for kind in KINDS:
        for figure in kind(source):
            files, notice = figure.save(folder)
            made += files
            notices += [notice] if notice else []
    return made, notices[0] if notices else None
