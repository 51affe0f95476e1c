"""gnuplot as a drawing board: figures of panels, one look for all of them, each as SVG and PNG.

A figure is sized in pixels and holds panels at pixel positions, so that labels have room however many cells a run
has. Ink, grid and band have colours of their own, which the report replaces by those of its theme (report.py); data
colours suit light and dark.
"""

import os
import shutil
import subprocess
import textwrap

MISSING = None if shutil.which('gnuplot') else 'no plots: gnuplot is missing (Debian package gnuplot-nox)'

INK, FAINT, GRID, BAND, PAPER = '#222222', '#6b6b6b', '#d8d8d8', '#ececec', '#fefefe'
# Told apart by colour-blind readers too, and never alone: points differ in shape, bars and curves carry names.
COLOURS = {
    'native': '#8a8a8a',
    'native-seccomp': '#5f7186',
    'systrap': '#1f83c8',
    'ptrace': '#d9822b',
    'kvm': '#1a9d77',
    'notify': '#c26ba3',
    'runsc-systrap': '#74b4e8',
    'runsc-ptrace': '#efb77b',
    'runsc-kvm': '#7fcdb5',
    'uml': '#8578d6',
    'proot': '#b0a000',
}
MORE = ('#d1495b', '#3fa7b5', '#9c755f', '#8cb33f', '#b279a2', '#5b6ee1')
SHAPES = (7, 5, 9, 11, 13, 6, 4, 8, 10, 12)
SVG = 'svg size %d,%d dynamic background rgb "%s" font "sans-serif,12"'
PNG = 'pngcairo size %d,%d background rgb "%s" font "sans,12" fontscale %g linewidth %g pointscale %g'
SCALE = 1.5  # PNG pixels a figure pixel
UNITS = {
    'ns': ((1e9, 's'), (1e6, 'ms'), (1e3, 'us'), (0, 'ns')),
    'KiB': ((1024**2, 'GiB'), (1024, 'MiB'), (0, 'KiB')),
}


def quoted(text):
    return "'" + str(text).replace("'", "''").replace('\n', ' ') + "'"


def series_name(row):
    return row['platform'] + (':' + row['knobs'] if row['knobs'] else '')


def label(name):
    """A series as the figures write it: the knob without the platform's name before it."""
    platform, _, knobs = name.partition(':')
    return ' '.join([platform, *(k.removeprefix(platform + '.') for k in knobs.split(';') if k)])


def palette(names):
    """Series name -> (colour, point shape): a platform keeps its colour in every figure."""
    out, spare = {}, 0
    for i, name in enumerate(names):
        if name not in COLOURS:
            spare += 1
        out[name] = (COLOURS.get(name) or MORE[(spare - 1) % len(MORE)], SHAPES[i % len(SHAPES)])
    return out


def unit_for(values, unit):
    """(divisor, name) that keeps the largest of the values readable."""
    steps, largest = UNITS.get(unit, ((0, unit),)), max(values, default=0)
    return next((size or 1, name) for size, name in steps if largest >= size)


def value_text(value, size):
    value /= size
    return '%.0f' % value if value >= 100 else '%.1f' % value if value >= 10 else '%.2f' % value


def ordered(names):
    return sorted(set(names), key=list(names).index)


class Figure:
    def __init__(self, name, width, height, title, caption):
        self.name, self.width, self.height, self.title, self.blocks = name, width, height, title, 0
        self.lines = [
            'unset key',
            'set tics nomirror',
            'set border 3 lc rgb "%s"' % INK,
            'set tics textcolor rgb "%s" font ",11"' % INK,
            'set grid xtics ytics lt 1 lw 1 lc rgb "%s"' % GRID,
            'set errorbars 0.6',
            'set multiplot',
        ]
        self.text(title, 14, 22, size=15)
        lines = textwrap.wrap(caption, int((width - 28) / 6.9))[:2]
        for i, line in enumerate(lines):
            self.text(line, 14, height - 12 - 14 * (len(lines) - 1 - i), colour=FAINT, size=10)

    def text(self, text, x, y, colour=INK, size=12, align='left'):
        """At a pixel of the figure, counted from its upper left corner."""
        self.lines.append(
            'set label %s at screen %g,%g %s noenhanced font ",%d" textcolor rgb "%s"'
            % (quoted(text), x / self.width, 1 - y / self.height, align, size, colour)
        )

    def data(self, rows):
        """A data block of the script; returns its name. Empty ones hold a NaN, which draws nothing."""
        self.blocks += 1
        name = '$d%d' % self.blocks
        self.lines += ['%s << EOD' % name, *(rows or ['NaN NaN NaN NaN NaN NaN']), 'EOD']
        return name

    def panel(self, x, y, width, height, settings, parts):
        """Plots `parts` into a rectangle of pixels. Settings of one panel do not reach the next."""
        self.lines += [
            'set lmargin at screen %g' % (x / self.width),
            'set rmargin at screen %g' % ((x + width) / self.width),
            'set tmargin at screen %g' % (1 - y / self.height),
            'set bmargin at screen %g' % (1 - (y + height) / self.height),
            *settings,
            'plot ' + ', \\\n     '.join(parts),
            'unset label',
            'unset logscale',
            'unset arrow',
            'set xtics auto',
            'set ytics auto',
            'unset object',
            'set format "% h"',
            'set xrange [*:*]',
            'set yrange [*:*]',
            'unset xlabel',
            'unset ylabel',
        ]

    def legend(self, x, y, entries):
        """entries: (name, colour, shape or None for a block)."""
        for name, colour, shape in entries:
            mark = 'point pt %d ps 1.1 lc rgb "%s"' % (shape or 5, colour)
            self.lines.append("set label '' at screen %g,%g %s" % ((x + 6) / self.width, 1 - y / self.height, mark))
            self.text(label(name), x + 16, y, size=11)
            x += 34 + 7.2 * len(label(name))

    def save(self, folder):
        """Returns (files, None) or (files so far, what went wrong in a line)."""
        made = []
        body = '\n'.join(self.lines + ['unset multiplot'])
        for ending, terminal in (
            ('svg', SVG % (self.width, self.height, PAPER)),
            ('png', PNG % (self.width * SCALE, self.height * SCALE, PAPER, SCALE, SCALE, SCALE)),
        ):
            path = os.path.join(folder, '%s.%s' % (self.name, ending))
            text = 'set terminal %s\nset output %s\n%s\n' % (terminal, quoted(path), body)
            done = subprocess.run(['gnuplot', '-'], input=text, text=True, capture_output=True, timeout=60)
            if done.returncode or 'warning' in done.stderr.lower() and os.environ.get('GNUPLOT_STRICT'):
                return made, 'gnuplot, %s: %s' % (self.name, (done.stderr.strip().splitlines() or ['failed'])[-1])
            made.append(path)
        return made, None
