"""Plots by gnuplot from summary.csv alone: times a workload with intervals and floors, and ratios to native. SVG and PNG."""

import os
import shutil
import subprocess

# Okabe and Ito's palette: told apart by colour-blind readers too. The order is that of the legend.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#F0E442')
NATIVE_COLOUR = '#999999'
TICS = [('%d %s' % (n, unit), n * size) for unit, size in (('ns', 1), ('us', 1e3), ('ms', 1e6), ('s', 1e9)) for n in (1, 10, 100)]
FORMATS = (('svg', 'svg size %d,%d dynamic background rgb "white" font "sans,13"'),
           ('png', 'pngcairo size %d,%d background rgb "white" font "sans,11"'))


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def series_name(row):
    return row['platform'] + (':' + row['knobs'] if row['knobs'] else '')


def plotted(rows, placement):
    return [r for r in rows if r['metric'] == 'ns_per_op' and r['placement'] == placement and r['median'] and
            r['verdict'] not in ('floor', 'twin', 'noise') and r['platform'] != 'native-aa']


class Chart:
    """Groups of bars: a group a workload, a bar a variant. Data blocks are written beside the script."""

    def __init__(self, rows, value, low, high):
        self.workloads = sorted({r['workload'] for r in rows}, key=[r['workload'] for r in rows].index)
        self.series = sorted({series_name(r) for r in rows}, key=[series_name(r) for r in rows].index)
        self.rows, self.keys = rows, (value, low, high)
        self.width = len(self.series) + 1

    def place(self, row):
        return self.workloads.index(row['workload']) * self.width + self.series.index(series_name(row))

    def colour(self, name):
        sandboxes = [n for n in self.series if n != 'native']
        return NATIVE_COLOUR if name == 'native' else COLOURS[sandboxes.index(name) % len(COLOURS)]

    def block(self, name):
        lines = []
        for row in self.rows:
            if series_name(row) != name or not row[self.keys[0]]:
                continue
            middle = row[self.keys[0]]
            low, high = (row[k] or middle for k in self.keys[1:])
            lines.append('%g %g %g %g' % (self.place(row), middle, low, high))
        return lines or ['NaN NaN NaN NaN']

    def floors(self):
        lines = ['%g %g' % (self.place(r), r['floor']) for r in self.rows if r['floor']]
        return lines or ['NaN NaN']

    def tics(self):
        middle = (self.width - 2) / 2
        return ', '.join('%s %g' % (quoted(w), i * self.width + middle) for i, w in enumerate(self.workloads))

    def size(self):
        return max(1100, 40 + 16 * self.width * len(self.workloads)), 560


def script(chart, title, ylabel, extra, with_floors, ratio):
    style = 'using 1:2:3:4:(0.9) with boxerrorbars' if not ratio else 'using 1:2:3:4 with yerrorbars pt 7 ps 0.8 lw 2'
    lines = []
    for i, name in enumerate(chart.series):
        lines += ['$d%d << EOD' % i, *chart.block(name), 'EOD']
    lines += ['$floors << EOD', *chart.floors(), 'EOD']
    lines += ['set title "%s" noenhanced' % title.replace('"', "'"), 'set ylabel %s' % quoted(ylabel), 'set logscale y',
              'set grid ytics lt 1 lw 1 dt 1 lc rgb "#cccccc"', 'set key outside top center horizontal noenhanced', 'set border 3',
              'set xtics nomirror rotate by -40 noenhanced (%s)' % chart.tics(), 'set ytics nomirror',
              *([] if ratio else ['set ytics (%s)' % ', '.join('"%s" %g' % t for t in TICS)]),
              'set style fill solid 0.85 noborder', 'set errorbars 0.6', 'set bmargin 9', 'set rmargin 6',
              'set xrange [-1:%d]' % (chart.width * len(chart.workloads)), *extra]
    parts = ['$d%d %s lc rgb %s title %s' % (i, style, quoted(chart.colour(name)), quoted(name))
             for i, name in enumerate(chart.series)]
    if with_floors:
        parts.append('$floors using ($1-0.55):2:(1.1):(0) with vectors nohead lw 3 lc rgb "black" title "floor of the mechanism"')
    if ratio:
        parts.append('1 with lines lw 1 lc rgb "black" dt 2 title "native"')
    return lines + ['plot ' + ', \\\n     '.join(parts)]


def draw(folder, name, chart, body):
    made = []
    for ending, terminal in FORMATS:
        path = os.path.join(folder, '%s.%s' % (name, ending))
        text = 'set terminal %s\nset output %s\n%s\n' % (terminal % chart.size(), quoted(path), '\n'.join(body))
        done = subprocess.run(['gnuplot', '-'], input=text, text=True, capture_output=True, timeout=60)
        if done.returncode:
            return made, 'gnuplot: ' + (done.stderr.strip().splitlines() or ['failed'])[-1]
        made.append(path)
    return made, None


def plot(run, rows):
    """Returns the files made and a one-line notice, or None, about what could not be made."""
    if not shutil.which('gnuplot'):
        return [], 'no plots: gnuplot is missing (Debian package gnuplot-nox)'
    folder = os.path.join(run.folder, 'plots')
    os.makedirs(folder, exist_ok=True)
    caption = '; '.join(run.manifest['warnings'][:2])
    made = []
    for placement in ('same-cpu', 'free'):
        chosen = plotted(rows, placement)
        if not chosen:
            continue
        tail = '\\n' + caption if caption else ''
        times = Chart(chosen, 'median', 'ci_low', 'ci_high')
        files, notice = draw(folder, 'time-' + placement, times, script(
            times, 'Time per operation, %s, %s%s' % (placement, run.plan['host'], tail), 'time per operation, median and 95 % CI',
            [], True, False))
        made += files
        compared = [r for r in chosen if r['platform'] != 'native' and r['ratio_native']]
        if not notice and compared:
            ratios = Chart(compared, 'ratio_native', 'ratio_ci_low', 'ratio_ci_high')
            files, notice = draw(folder, 'ratio-' + placement, ratios, script(
                ratios, 'Times native, %s, %s%s' % (placement, run.plan['host'], tail), 'ratio to native, median and 95 % CI',
                [], False, True))
            made += files
        if notice:
            return made, notice
    return made, None
