#!/usr/bin/python3
"""compare.py BASE NEW: what changed between two runs on one host, cell by cell, with intervals and verdicts.

A platform's cell is compared by its ratio to native, formed launch by launch inside each run, so that a machine that
was slower on that day is no regression; native itself is shown as the machine's drift. The launch is the unit: Hodges
and Lehmann's shift with the rank sum test's exact interval, Holm over all cells. Runs of different hosts are set side
by side, without verdicts.

Exit status: 0; 2 wrong usage or no run folder; 4 nothing may be compared: other placements or workload binaries, or
with --gate other hosts; with --gate also 6 for a regression or a cell that no longer works, and 5 if the A/A twin
calls either run too noisy.
"""

import argparse
import math
import sys

import rundata
import stats
import summary
import table

MIN_EFFECT = 0.03


def host_of(run):
    return run.plan['host'], run.manifest['machine']['cpu']['model']


def refusals(base, new):
    """Why these runs must not be compared at all, in sentences."""
    out = []
    for name in sorted(set(base.plan['placements']) & set(new.plan['placements'])):
        cpus = [run.plan['placements'][name] for run in (base, new)]
        if cpus[0] != cpus[1]:
            out.append('placement %s is CPUs %s in one run and %s in the other' % (name, *cpus))
    return out


def changed_binaries(base, new):
    """Workloads that are other programs now; the sentry may differ, it is what is compared."""
    first, second = base.manifest['binaries'], new.manifest['binaries']
    return {n for n in first if n in second and first[n] != second[n] and n not in ('trapgate', 'startup', 'footprint')}


def logs_of(run, cell, metric):
    """Per block: log-ratios to native, or for native itself log-times."""
    values = cell.samples.get(metric, {})
    if cell['platform'] == 'native':
        return [math.log(v) for v in values.values() if v > 0]
    native = run.sibling(cell, 'native')
    reference = native.samples.get(metric, {}) if native else {}
    return [math.log(values[b] / reference[b]) for b in stats.paired_blocks(values, reference)]


def pair_cells(base, new):
    """(cell of BASE, the same cell of NEW) for what both planned; floors, twins and the A/A twin are no results."""
    by = {rundata.identity(c.planned): c for c in new.cells}
    for cell in base.cells:
        if (
            cell['class'] != 'floor'
            and cell['platform'] != 'native-aa'
            and not summary.is_twin(cell)
            and rundata.identity(cell.planned) in by
        ):
            yield cell, by[rundata.identity(cell.planned)]


def compare_cell(base, new, old_cell, new_cell):
    metric = summary.primary(old_cell)
    old, fresh = logs_of(base, old_cell, metric), logs_of(new, new_cell, metric)
    row = {
        'cell': old_cell,
        'metric': metric,
        'n': (len(old), len(fresh)),
        'p': 1.0,
        'ratio': None,
        'low': None,
        'high': None,
        'base': stats.median(old_cell.samples.get(metric, {}).values()),
        'new': stats.median(new_cell.samples.get(metric, {}).values()),
        'noise': max(summary.noise_of(r, c, metric) or 1.0 for r, c in ((base, old_cell), (new, new_cell))),
        'verdict': '',
    }
    if not fresh:
        row['verdict'] = 'broken' if old and new_cell.failures else 'not measured'
    elif not old:
        row['verdict'] = 'not measured before'
    else:
        shift, low, high, row['p'] = stats.shift(fresh, old)
        row.update(ratio=math.exp(shift), low=low and math.exp(low), high=high and math.exp(high))
    return row


def judge(rows, min_effect):
    """Verdicts over the whole family of the platforms' cells; native's rows say how the machine drifted."""
    family = [r for r in rows if r['ratio'] is not None and r['cell']['platform'] != 'native']
    for row, p in zip(family, stats.holm([r['p'] for r in family])):
        least = max(row['noise'], 1 + min_effect)
        if row['low'] is None:
            row['verdict'] = 'n too small'
        elif p <= stats.ALPHA and row['low'] > 1 and row['ratio'] > least:
            row['verdict'] = 'slower'
        elif p <= stats.ALPHA and row['high'] < 1 and row['ratio'] < 1 / least:
            row['verdict'] = 'faster'
        elif 1 / (1 + min_effect) <= row['low'] and row['high'] <= 1 + min_effect:
            row['verdict'] = 'equivalent'
        else:
            row['verdict'] = 'not resolved (could see %s)' % table.percent(
                max(row['ratio'] / row['low'], row['high'] / row['ratio'], least)
            )
    for row in rows:
        if row['ratio'] is not None and row['cell']['platform'] == 'native':
            row['verdict'] = 'drift of the machine'
    return rows


HEAD = ('cell', 'base', 'new', 'change', '95 % CI', 'n', 'verdict')


def line(row):
    unit = 'KiB' if row['metric'] == 'rss_kib' else 'ns'
    ratio = lambda x: table.significant(x, row['low'], row['high'])
    cell = row['cell']
    name = ' '.join(
        filter(None, (cell['workload'], cell['params'], '[%s]' % cell['placement'], table.variant_name(cell).strip()))
    )
    return (
        name,
        table.amount(row['base'], unit),
        table.amount(row['new'], unit),
        '-' if row['ratio'] is None else ratio(row['ratio']),
        table.span(row['low'], row['high'], ratio),
        '%d, %d' % row['n'],
        row['verdict'],
    )


def aligned(lines):
    widths = [max(len(text[i]) for text in lines) for i in range(len(lines[0]))]
    return [
        (
            '%-*s' % (widths[0], text[0])
            + ''.join('  %*s' % (w, t) for w, t in zip(widths[1:-1], text[1:-1]))
            + '  '
            + text[-1]
        ).rstrip()
        for text in lines
    ]


def side_by_side(runs):
    """Two hosts: ratios to native in a column each, and no verdict."""
    rows = [
        {rundata.identity(r): r for r in summary.summarize(run) if r['metric'] == 'ns_per_op' and r['ratio_ci_low']}
        for run in runs
    ]
    lines = [('cell', *(run.plan['host'] for run in runs), '')]
    for key, row in rows[0].items():
        other = rows[1].get(key)
        if other and row['platform'] not in ('native', 'native-aa') and row['verdict'] != 'twin':
            text = [
                '%s (%s, n=%d)'
                % (
                    table.significant(r['ratio_native']),
                    table.span(r['ratio_ci_low'], r['ratio_ci_high'], table.significant),
                    r['n'],
                )
                for r in (row, other)
            ]
            lines.append(
                (
                    ' '.join(
                        filter(
                            None,
                            (
                                row['workload'],
                                row['params'],
                                '[%s]' % row['placement'],
                                table.variant_name(row).strip(),
                            ),
                        )
                    ),
                    *text,
                    '',
                )
            )
    return aligned(lines)


def noisy(run):
    return table.noise_gate(run, table.primary_rows(run, summary.summarize(run)))


def exit_status(rows, left_out, gate, loud):
    if gate and any(r['verdict'] in ('slower', 'broken') for r in rows):
        return 6
    if left_out or not any(r['ratio'] is not None for r in rows):
        return 4
    return 5 if gate and loud else 0


def compare(base, new, min_effect, gate):
    """Prints the comparison; returns the exit status."""
    if host_of(base) != host_of(new):
        print(
            'different hosts, %s (%s) and %s (%s): side by side, times native, without verdicts'
            % (*host_of(base), *host_of(new))
        )
        print('\n'.join(side_by_side((base, new))))
        return 4 if gate else 0
    reasons = refusals(base, new)
    if reasons:
        print('compare.py: not comparable: ' + '; '.join(reasons), file=sys.stderr)
        return 4
    changed = changed_binaries(base, new)
    pairs = list(pair_cells(base, new))
    rows = judge([compare_cell(base, new, *pair) for pair in pairs if pair[0]['workload'] not in changed], min_effect)
    if rows:
        print('\n'.join(aligned([HEAD] + [line(r) for r in rows])))
    print(
        'change: of the ratio to native (native: of the time itself); slower and faster hold over all %d comparisons and exceed both '
        'A/A intervals and %g %%'
        % (sum(r['ratio'] is not None and r['cell']['platform'] != 'native' for r in rows), 100 * min_effect)
    )
    for name in sorted(changed):
        print('not compared: %s is another program in NEW (its binary differs)' % name)
    for run, word in ((base, 'BASE'), (new, 'NEW')):
        print(
            '%s  %s  commit %s  %s'
            % (word, run.plan['run_id'], (run.manifest['git']['commit'] or 'not known')[:12], noisy(run)[0])
        )
    if base.manifest['machine']['kernel']['release'] != new.manifest['machine']['kernel']['release']:
        print(
            'note: the kernels differ: %s and %s'
            % tuple(r.manifest['machine']['kernel']['release'] for r in (base, new))
        )
    return exit_status(rows, changed, gate, noisy(base)[1] or noisy(new)[1])


def main():
    parser = argparse.ArgumentParser(
        description='Compare two runs of one host, cell by cell.', epilog=__doc__.split('\n\n')[-1]
    )
    parser.add_argument('base', metavar='BASE')
    parser.add_argument('new', metavar='NEW')
    parser.add_argument(
        '--gate', action='store_true', help='for continuous integration: regressions and noise set the exit status'
    )
    parser.add_argument(
        '--min-effect',
        type=float,
        default=100 * MIN_EFFECT,
        metavar='PERCENT',
        help='changes below it do not count (3)',
    )
    args = parser.parse_args()
    try:
        base, new = rundata.Run(args.base), rundata.Run(args.new)
    except (OSError, ValueError, KeyError) as error:
        print('compare.py: no run folder: %s' % error, file=sys.stderr)
        return 2
    return compare(base, new, args.min_effect / 100, args.gate)


if __name__ == '__main__':
    sys.exit(main())
