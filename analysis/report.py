#!/usr/bin/python3
"""report.py RUN_DIR...: report.html of one run, or with --out of several runs side by side. One file, no network.
Needs jinja2.

Exit status: 0; 2 if a folder is no run; 3 without jinja2; 4 if the report would not show every planned cell.
"""

import argparse
import datetime
import json
import os
import re
import sys

import advice
import comparisons as pairs
import gnuplot
import rundata
import summary
import table
from gnuplot import series_name
from source import Source, short_warnings

try:
    import jinja2
except ImportError:
    MISSING = 'no report: jinja2 is missing (Debian package python3-jinja2)'
else:
    MISSING = None

HERE = os.path.dirname(os.path.abspath(__file__))
THEME = {
    gnuplot.INK: 'currentColor',
    gnuplot.FAINT: 'var(--faint)',
    gnuplot.GRID: 'var(--grid)',
    gnuplot.BAND: 'var(--band)',
}
FIGURES = (
    ('ratio', 'Times native'),
    ('rate', 'Will your program feel it?'),
    ('time', 'Time per operation'),
    ('phases', 'Where the time goes'),
    ('scaling', 'Scaling'),
    ('ablation', 'What each optimisation is worth'),
    ('ecdf', 'Distributions of the launches'),
    ('tail', 'Tails of single operations'),
)
RESOURCES = (
    ('cpu_ns_per_op', 'CPU time/op'),
    ('user_ns_per_op', 'user/op'),
    ('system_ns_per_op', 'system/op'),
    ('switches_per_op', 'switches/op'),
    ('host_calls_per_op', 'host calls/op'),
    ('context_switches_per_op', 'context switches/op'),
    ('page_faults_per_op', 'page faults/op'),
    ('migrations_per_op', 'migrations/op'),
    ('cycles_per_op', 'cycles/op'),
    ('instructions_per_op', 'instructions/op'),
    ('rss_kib', 'RSS'),
    ('pss_kib', 'PSS'),
    ('threads', 'threads'),
)


def inline(path):
    """An SVG for the page: its own ids, the theme's ink, no paper; scaled by the page."""
    with open(path) as f:
        svg = f.read()
    svg = svg[svg.index('<svg') :]
    name = re.sub(r'\W', '_', os.path.basename(path)[:-4])
    svg = re.sub(r'<rect x="0" y="0" [^>]*fill="%s"/>' % gnuplot.PAPER, '', svg)
    svg = re.sub(r"(id=['\"]|href=['\"]#|url\(#)", lambda m: m.group(1) + name + '_', svg)
    for colour, word in THEME.items():
        numbers = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        # An attribute cannot hold var(), a style can; gnuplot writes both kinds of quotes and paddings.
        svg = re.sub(
            r"(fill|stroke)\s*=\s*(['\"])\s*rgb\(\s*%d,\s*%d,\s*%d\s*\)\s*['\"]" % tuple(numbers),
            r"style='\1:%s'" % word,
            svg,
        )
    svg = re.sub(r'color="(black|#FEFEFE)"', 'color="currentColor"', svg).replace('fill="black"', 'fill="currentColor"')
    svg = re.sub(r'<title>.*?</title>\s*<desc>.*?</desc>', '<title>%s</title>' % name, svg, flags=re.S)
    width, height = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups()
    return {
        'name': name,
        'svg': svg.replace('<svg', '<svg role="img" class="figure" style="--w:%spx"' % width, 1),
        'width': width,
    }


def figures(folder):
    """Sections of figures, in reading order; an empty list where gnuplot is missing."""
    place = os.path.join(folder, 'plots')
    names = sorted(n for n in os.listdir(place) if n.endswith('.svg')) if os.path.isdir(place) else []
    out = []
    for prefix, title in FIGURES:
        found = [inline(os.path.join(place, n)) for n in names if n.startswith(prefix)]
        if found:
            out.append({'title': title, 'figures': found, 'open': prefix in ('ratio', 'rate', 'phases', 'scaling')})
    return out


def number(x, unit, low=None, high=None):
    """What a table cell shows and sorts by."""
    return {'text': table.amount(x, unit, low, high), 'sort': '' if x is None else '%.6g' % x}


def plain(x, low=None, high=None):
    return {'text': '-' if x is None else table.significant(x, low, high), 'sort': '' if x is None else '%.6g' % x}


def interval(low, high, form):
    return {
        'text': table.span(low, high, form) if low is not None else '-',
        'sort': '' if low is None else '%.6g' % low,
    }


def short(text):
    """`systrap:systrap.patch=off` as people say it."""
    return re.sub(r'\b([\w-]+):\1\.', r'\1 ', text)


def row_view(cell, row, found):
    size = lambda x: table.amount(x, row['unit'], row['ci_low'], row['ci_high'])
    ratio = lambda x: table.significant(x, row['ratio_ci_low'], row['ratio_ci_high'])
    small = row['n'] and row['n'] < 6
    return {
        'workload': cell['workload'],
        'params': row['params'],
        'help': cell['help'],
        'placement': cell['placement'],
        'variant': gnuplot.label(series_name(row)),
        'platform': row['platform'],
        'n': row['n'],
        'median': number(row['median'], row['unit'], row['ci_low'], row['ci_high']),
        'ci': {'text': 'n too small', 'sort': ''} if small else interval(row['ci_low'], row['ci_high'], size),
        'ratio': plain(row['ratio_native'], row['ratio_ci_low'], row['ratio_ci_high']),
        'ratio_ci': {'text': 'n too small' if small and row['ratio_native'] not in (None, 1) else '-', 'sort': ''}
        if row['ratio_ci_low'] is None
        else interval(row['ratio_ci_low'], row['ratio_ci_high'], ratio),
        'floor': plain(
            row['ratio_floor'],
            *(None if not row['floor'] or b is None else b / row['floor'] for b in (row['ci_low'], row['ci_high'])),
        ),
        'p99': number(row['p99'], row['unit']),
        'verdict': short(table.sentence(row, found)),
        'status': row['status'],
        'word': row['verdict'] if row['status'] == 'ok' else 'bad',
    }


def sections(run, rows, compared):
    """Micro and applications apart, classes apart; every planned cell once. Returns (sections, cells shown)."""
    by_cell, by_pair = table.primary_rows(run, rows), table.pairs_by_cell(compared)
    out, shown = [], set()
    for title, kinds in (
        ('Micro-benchmarks', ('syscall', 'fault', 'task', 'cpu')),
        ('Applications', ('app',)),
        ('Floors and twins', ()),
    ):
        groups = []
        for kind, name in (*table.CLASSES, ('twin', 'twins: the same loop with the trap left out')):
            chosen = [c for c in run.cells if kind == class_of(c)]
            if (kind in kinds or not kinds and kind in ('floor', 'twin')) and chosen:
                shown.update(c.id for c in chosen)
                groups.append(
                    {
                        'title': name,
                        'rows': [row_view(c, by_cell[c.id], by_pair.get(rundata.identity(c), ())) for c in chosen],
                    }
                )
        out.append({'title': title, 'groups': groups})
    return out, shown


def class_of(cell):
    return 'twin' if summary.is_twin(cell) else cell['class']


def resources(rows):
    """What a cell costs beside time: metrics as columns, only those that the run has."""
    cells, have = {}, set()
    for row in rows:
        if row['metric'] in dict(RESOURCES) and row['median'] is not None and row['verdict'] not in ('floor', 'twin'):
            cells.setdefault(rundata.identity(row), []).append(row)
            have.add(row['metric'])
    columns = [(m, name) for m, name in RESOURCES if m in have]
    out = []
    for found in cells.values():
        first, by = found[0], {r['metric']: r for r in found}
        out.append(
            {
                'workload': first['workload'],
                'params': first['params'],
                'placement': first['placement'],
                'variant': gnuplot.label(series_name(first)),
                'n': first['n'],
                'values': [resource(by.get(m)) for m, _ in columns],
            }
        )
    return [name for _, name in columns], out


def resource(row):
    if row is None:
        return {'text': '-', 'sort': ''}
    shown = number(row['median'], row['unit'] if row['unit'] != 'count' else '', row['ci_low'], row['ci_high'])
    spread = (
        ''
        if row['ci_low'] is None
        else ' (%s)'
        % table.span(
            row['ci_low'],
            row['ci_high'],
            lambda x: table.amount(x, row['unit'] if row['unit'] != 'count' else '', row['ci_low'], row['ci_high']),
        )
    )
    return {'text': shown['text'].strip(), 'sort': shown['sort'], 'spread': spread}


def banners(run, noisy, gate):
    """What a reader must know before the first number."""
    manifest, plan = run.manifest, run.plan
    out = (
        [('limits', 'These numbers hold for %s.' % '; '.join(short_warnings(manifest)))]
        if short_warnings(manifest)
        else []
    )
    if plan['subset']:
        out.append(('subset', 'A subset: not all cells of the suite were asked for.'))
    if not plan['complete']:
        out.append(('incomplete', 'Incomplete: the run was stopped before its last block.'))
    if plan['trials'] < 6:
        out.append(('small', 'n too small: fewer than 6 launches give no 95 % interval; nothing is compared.'))
    if noisy:
        out.append(('noisy', 'Noisy: ' + gate + '.'))
    for step in plan.get('extensions') or ():
        out.append(
            (
                'extended',
                'Extended from %s to %s launches after the first look: intervals are a little too narrow.'
                % (step['from'], step['to']),
            )
        )
    reasons = unpublishable(manifest)
    if reasons:
        out.append(('unpublishable', 'Not for publication: %s.' % '; '.join(reasons)))
    return out


def unpublishable(manifest):
    """R18: what is missing from a manifest that should explain the numbers."""
    out = []
    if not manifest['git']['commit']:
        out.append('the source commit is not known')
    elif manifest['git']['dirty']:
        out.append('the source tree had changes that no commit holds')
    if not manifest['machine']['cpu']['model']:
        out.append('the CPU is not known')
    if not manifest['complete']:
        out.append('the manifest was not completed')
    return out


def facts(manifest):
    machine, cpu = manifest['machine'], manifest['machine']['cpu']
    text = lambda x: 'not known' if x in (None, '') else str(x)
    load = lambda when: ', '.join('%.2f' % x for x in (manifest[when] or {}).get('load') or ()) or 'not known'
    return [
        (
            'CPU',
            '%s, family %s model %s stepping %s, microcode %s'
            % tuple(text(cpu[k]) for k in ('model', 'family', 'model_number', 'stepping', 'microcode')),
        ),
        ('CPUs online, SMT', '%s, %s' % (cpu['online'], text(cpu['smt']))),
        ('last-level cache', text(cpu['l3_cache'])),
        ('kernel', '%s %s' % (machine['kernel']['release'], machine['kernel']['version'])),
        ('command line', text(machine['kernel']['command_line'])),
        ('hypervisor', text(machine['hypervisor']) if machine['hypervisor'] else 'none seen'),
        (
            'KVM',
            'module %s, nested %s, %s'
            % (
                text(machine['kvm']['module']),
                text(machine['kvm']['nested']),
                'usable' if machine['kvm']['usable'] else 'not usable',
            ),
        ),
        ('PMU', 'available' if machine['pmu']['available'] else 'n/a (%s)' % machine['pmu']['reason']),
        ('governor, idle driver', '%s, %s' % (text(machine['governor']), text(machine['idle_driver']))),
        ('clocksource', text(machine['clocksource'])),
        ('transparent huge pages', '%s; shmem %s' % (text(machine['thp']['enabled']), text(machine['thp']['shmem']))),
        ('load at the start, end', '%s; %s' % (load('start'), load('end'))),
        ('commit', text(manifest['git']['commit']) + (' (dirty)' if manifest['git']['dirty'] else '')),
        ('suite, seed, launches', '%s, %s, %s' % (manifest['suite'], manifest['seed'], manifest['trials'])),
        ('began, ended', '%s, %s' % (manifest['started'], text(manifest['ended']))),
    ]


def pair_view(c):
    ratio = lambda x: table.significant(x, c['ci_low'], c['ci_high'])
    name = lambda k: c[k] + (
        ':' + c[k + '_knobs' if k == 'reference' else 'knobs']
        if c[k + '_knobs' if k == 'reference' else 'knobs']
        else ''
    )
    return {
        'workload': c['workload'],
        'params': c['params'],
        'placement': c['placement'],
        'a': name('platform'),
        'b': name('reference'),
        'n': c['n'],
        'unit': c['metric'],
        'ratio': plain(c['ratio'], c['ci_low'], c['ci_high']),
        'ci': interval(c['ci_low'], c['ci_high'], ratio),
        'boot': interval(c['boot_low'], c['boot_high'], ratio),
        'p': {'text': '%.2g' % c['p_holm'], 'sort': '%.6g' % c['p_holm']},
        'effect': {
            'text': table.percent(c['smallest_effect']),
            'sort': '' if c['smallest_effect'] is None else '%.6g' % c['smallest_effect'],
        },
        'verdict': c['verdict'] + ('?' if c['holds'] == 'alone' else ''),
    }


def view(run, rows, compared):
    """One run as the template shows it. Raises ValueError if a planned cell would be left out."""
    source = Source(run.folder)
    shown_sections, shown = sections(run, rows, compared)
    if shown != {c.id for c in run.cells}:
        raise ValueError('%d planned cells are not in the report' % (len(run.cells) - len(shown)))
    gate, noisy = table.noise_gate(run, table.primary_rows(run, rows))
    columns, used = resources(rows)
    return {
        'id': run.plan['run_id'],
        'host': run.plan['host'],
        'plan': run.plan,
        'manifest': run.manifest,
        'gate': gate,
        'noisy': noisy,
        'banners': banners(run, noisy, gate),
        'advice': [a for a in (advice.advise(run, source, compared, p) for p in source.placements) if a],
        'sections': shown_sections,
        'cells': len(shown),
        'resource_columns': columns,
        'resources': used,
        'figures': figures(run.folder),
        'pairs': [pair_view(c) for c in compared],
        'failures': table.failures(run),
        'resolution': table.resolution_lines(compared),
        'facts': facts(run.manifest),
        'counters': run.manifest.get('counters') or {},
        'json': json.dumps(run.manifest, indent=1),
        'warnings': run.manifest['warnings'],
    }


def environment():
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    env.filters['sig'] = table.significant
    env.filters['amount'] = lambda x, unit='ns': table.amount(x, unit)
    env.filters['rate'] = lambda x: '{:,.0f}'.format(float('%.2g' % x))
    env.globals['now'] = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
    return env


def side_by_side(runs, views):
    """Ratios of several hosts in one table: a column a host, never a mean over them."""
    lines = {}
    for i, run in enumerate(runs):
        for row in summary.summarize(run):
            if (
                row['metric'] == 'ns_per_op'
                and row['platform'] not in ('native', 'native-aa')
                and row['ratio_native']
                and row['verdict'] != 'twin'
            ):
                key = (row['workload'], row['params'], row['placement'], series_name(row))
                lines.setdefault(key, [None] * len(runs))[i] = {
                    'ratio': plain(row['ratio_native'], row['ratio_ci_low'], row['ratio_ci_high']),
                    'n': row['n'],
                    'time': table.amount(row['median'], 'ns', row['ci_low'], row['ci_high']),
                    'ci': table.span(
                        row['ratio_ci_low'],
                        row['ratio_ci_high'],
                        lambda x: table.significant(x, row['ratio_ci_low'], row['ratio_ci_high']),
                    ),
                    'verdict': row['verdict'],
                }
    return [
        {'workload': k[0], 'params': k[1], 'placement': k[2], 'variant': k[3], 'hosts': cells}
        for k, cells in lines.items()
    ]


def render(views, lines=(), notes=()):
    return environment().get_template('report.html.j2').render(runs=views, lines=lines, notes=notes)


def save(path, text):
    with open(path + '.tmp', 'w') as f:
        f.write(text)
    os.replace(path + '.tmp', path)


def write(run, rows, compared):
    """report.html into the run's folder; returns (path, None) or (None, notice)."""
    if MISSING:
        return None, MISSING
    path = os.path.join(run.folder, 'report.html')
    save(path, render([view(run, rows, compared)]))
    return path, None


def main():
    parser = argparse.ArgumentParser(description='A self-contained HTML report of one run, or of several side by side.')
    parser.add_argument('folders', metavar='RUN_DIR', nargs='+')
    parser.add_argument('--out', help='the file to write; needed for several runs')
    parser.add_argument('--note', action='append', default=[], help='a sentence to stand at the top')
    args = parser.parse_args()
    if MISSING:
        print('report.py: ' + MISSING, file=sys.stderr)
        return 3
    if len(args.folders) > 1 and not args.out:
        parser.error('--out is needed for several runs')
    try:
        runs = [rundata.Run(folder) for folder in args.folders]
        views = [view(run, summary.summarize(run), pairs.all_comparisons(run)) for run in runs]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        print('report.py: no run folder: %s' % error, file=sys.stderr)
        return 2
    except ValueError as error:
        print('report.py: %s' % error, file=sys.stderr)
        return 4
    path = args.out or os.path.join(args.folders[0], 'report.html')
    save(path, render(views, side_by_side(runs, views) if len(runs) > 1 else (), args.note))
    print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
