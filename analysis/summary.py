"""From launches to summary.csv: one row a cell and metric, planned cells without a value included."""

import csv
import os

import stats
from rundata import SUMMARY_COLUMNS

COMPARED = ('ns_per_op', 'rss_kib', 'pss_kib')
FOLDED = ('ns_per_op_p99',)  # becomes the column p99 of ns_per_op


def digits(x):
    """Four significant digits: more than any interval here supports, and stable in diffs."""
    if x is None:
        return ''
    if abs(x) >= 10000:
        return '%.0f' % x
    return '%.4g' % x


def is_twin(cell):
    return 'twin=1' in cell['params'].split(';')


def primary(cell):
    """The metric that a cell is there for."""
    return 'rss_kib' if cell['workload'] == 'footprint' else 'ns_per_op'


def floor_of(run, cell, metric):
    """(median, samples' unit the same) of the bare mechanism, as many times an operation as the plan says."""
    choice = cell['floor']
    if not choice or metric != 'ns_per_op':
        return None
    values = run.cells[choice['cell']].samples.get(metric)
    return stats.median(values.values()) * choice['times'] if values else None


def cell_status(run, cell, n):
    if n >= run.plan['trials']:
        return 'ok'
    if n:
        return 'incomplete'
    return cell.failures[-1][0] if cell.failures else 'missing'


def noise_of(run, cell, metric):
    """The A/A twin's interval for this workload and placement, as a factor."""
    native, twin = run.sibling(cell, 'native'), run.sibling(cell, 'native-aa')
    if not native or not twin:
        return None
    _, low, high = stats.paired_ratio(twin.samples.get(metric, {}), native.samples.get(metric, {}))
    return stats.noise(low, high)


def cell_verdict(run, cell, metric, ratio):
    if cell['class'] == 'floor':
        return 'floor'
    if is_twin(cell):
        return 'twin'
    if cell['platform'] == 'native':
        return 'reference'
    if metric not in COMPARED or ratio[0] is None:
        return ''
    if cell['platform'] == 'native-aa':
        return 'noise' if ratio[1] is not None else 'n too small'
    return stats.verdict(*ratio, noise_of(run, cell, metric))


def ratio_to_native(run, cell, metric, values):
    native = run.sibling(cell, 'native')
    if metric not in COMPARED or cell['class'] == 'floor' or not native:
        return None, None, None
    if native is cell:
        return (1.0, None, None) if values else (None, None, None)
    return stats.paired_ratio(values, native.samples.get(metric, {}))


def summarize_metric(run, cell, metric, unit):
    values = cell.samples.get(metric, {})
    low, high = stats.interval(values.values())
    floor = floor_of(run, cell, metric)
    middle = stats.median(values.values())
    ratio = ratio_to_native(run, cell, metric, values)
    tail = cell.samples.get(metric + '_p99')
    return {
        'schema': run.plan['schema'],
        'run_id': run.plan['run_id'],
        'host': run.plan['host'],
        'platform': cell['platform'],
        'knobs': cell['knobs'],
        'workload': cell['workload'],
        'params': cell['params'],
        'placement': cell['placement'],
        'metric': metric,
        'unit': unit,
        'n': len(values),
        'median': middle,
        'ci_low': low,
        'ci_high': high,
        'p99': stats.median(tail.values()) if tail else None,
        'floor': floor,
        'ratio_floor': middle / floor if middle and floor else None,
        'ratio_native': ratio[0],
        'ratio_ci_low': ratio[1],
        'ratio_ci_high': ratio[2],
        'verdict': cell_verdict(run, cell, metric, ratio) if values else '',
        'status': cell_status(run, cell, len(values)),
    }


def summarize_cell(run, cell):
    own = primary(cell)
    rows = [summarize_metric(run, cell, own, 'KiB' if own == 'rss_kib' else 'ns')]
    for metric in cell.samples:
        if metric != own and metric not in FOLDED:
            rows.append(summarize_metric(run, cell, metric, cell.units[metric]))
    return rows


def summarize(run):
    return [row for cell in run.cells for row in summarize_cell(run, cell)]


def write_csv(rows, columns, folder, name):
    """A whole file or none: written beside its place, synced, renamed."""
    path = os.path.join(folder, name)
    with open(path + '.tmp', 'w', newline='') as f:
        out = csv.writer(f, lineterminator='\n')
        out.writerow(columns)
        for row in rows:
            out.writerow(
                [digits(v) if isinstance(v, float) else '' if v is None else v for v in (row[c] for c in columns)]
            )
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + '.tmp', path)


def write(rows, folder):
    write_csv(rows, SUMMARY_COLUMNS, folder, 'summary.csv')
