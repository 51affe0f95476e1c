"""comparisons.csv: every pair of variants that the plan sets side by side, with the whole evidence for its verdict.

A pair is compared within one workload, its parameters and one placement: each platform with native, and the platforms
with each other. Holm's correction runs over all comparisons of the run in one metric, so that a table of two hundred
of them holds no more false finds than a single one. distribution.csv beside it has the quantiles of the launches.
"""

import itertools
import math
import os

import resample
import rundata
import stats
import summary
import tails

COLUMNS = (
    'schema,run_id,host,workload,params,placement,metric,unit,platform,knobs,reference,reference_knobs,n,ratio,ci_low,ci_high,'
    'boot_low,boot_high,p,p_holm,noise,smallest_effect,verdict,holds'
).split(',')
QUANTILES = ('schema,run_id,host,platform,knobs,workload,params,placement,metric,unit,n,min,p50,p90,p99,max').split(',')


def variants_of(run, metric):
    """Cells by what they share: those of one group and one set of parameters that are there for the metric and have
    it.
    """
    groups = {}
    for cell in run.cells:
        if (
            cell['class'] != 'floor'
            and not summary.is_twin(cell)
            and cell['platform'] != 'native-aa'
            and summary.primary(cell) == metric
            and cell.samples.get(metric)
        ):
            groups.setdefault((cell['group'], cell['workload'], cell['params'], cell['placement']), []).append(cell)
    return groups.values()


def pairs_of(cells):
    """
    (cell, reference): platforms with native and with each other; a variant with knobs only with native and its own
    platform's default, or, where that was not measured, with that platform's other variants. An ablation would be
    nothing but pairs of knobs otherwise.
    """
    defaults = {c['platform'] for c in cells if not c['knobs']}
    for before, cell in itertools.combinations(cells, 2):
        if before['knobs'] and not cell['knobs']:
            before, cell = cell, before
        same = before['platform'] == cell['platform']
        if not before['knobs'] and (not cell['knobs'] or same or before['platform'].startswith('native')):
            yield cell, before
        elif before['knobs'] and same and cell['platform'] not in defaults:
            yield cell, before


def compare(run, cell, reference, metric):
    values, others = cell.samples[metric], reference.samples[metric]
    blocks = stats.paired_blocks(values, others)
    if not blocks:
        return None
    logs = [math.log(values[b] / others[b]) for b in blocks]
    ratio, low, high = stats.paired_ratio(values, others)
    boot = [None if x is None else math.exp(x) for x in resample.bca(logs)]
    noise = summary.noise_of(run, cell, metric)
    return {
        'schema': run.plan['schema'],
        'run_id': run.plan['run_id'],
        'host': run.plan['host'],
        'workload': cell['workload'],
        'params': cell['params'],
        'placement': cell['placement'],
        'metric': metric,
        'unit': cell.units[metric],
        'platform': cell['platform'],
        'knobs': cell['knobs'],
        'reference': reference['platform'],
        'reference_knobs': reference['knobs'],
        'n': len(blocks),
        'ratio': ratio,
        'ci_low': low,
        'ci_high': high,
        'boot_low': boot[0],
        'boot_high': boot[1],
        'p': stats.sign_test(logs),
        'p_holm': None,
        'noise': noise,
        'smallest_effect': stats.smallest_effect(ratio, low, high, noise),
        'verdict': stats.verdict(ratio, low, high, noise),
    }


def family(rows):
    """Adjusts the p-values over all rows of one metric and says which verdicts hold among so many."""
    for row, p in zip(rows, stats.holm([row['p'] for row in rows])):
        row['p_holm'] = p
        row['holds'] = ('yes' if p <= stats.ALPHA else 'alone') if row['verdict'] in ('slower', 'faster') else ''
    return rows


def all_comparisons(run):
    out = []
    for metric in ('ns_per_op', 'rss_kib'):
        rows = [compare(run, *pair, metric) for cells in variants_of(run, metric) for pair in pairs_of(cells)]
        out += family([row for row in rows if row])
    return out


def quantiles(run):
    out = []
    for cell in run.cells:
        for metric, samples in cell.samples.items():
            values = list(samples.values())
            out.append(
                {
                    'schema': run.plan['schema'],
                    'run_id': run.plan['run_id'],
                    'host': run.plan['host'],
                    **{k: cell[k] for k in ('platform', 'knobs', 'workload', 'params', 'placement')},
                    'metric': metric,
                    'unit': cell.units[metric],
                    'n': len(values),
                    'min': min(values),
                    'max': max(values),
                    **{'p%d' % p: stats.percentile(values, p) for p in (50, 90, 99)},
                }
            )
    return out


def operations(run, folder):
    """Quantiles of single operations, where the run kept histograms: metric `operation_ns`, n operations of all
    launches.
    """
    bins = tails.merged(rundata.read_csv_if_any(os.path.join(folder, 'hist.csv')))
    out = []
    for cell in run.cells:
        if found := bins.get(rundata.identity(cell.planned)):
            out.append(
                {
                    'schema': run.plan['schema'],
                    'run_id': run.plan['run_id'],
                    'host': run.plan['host'],
                    **{k: cell[k] for k in rundata.IDENTITY},
                    'metric': 'operation_ns',
                    'unit': 'ns',
                    'n': int(sum(count for *_, count in found)),
                    'min': found[0][0],
                    'max': found[-1][1],
                    **{'p%d' % p: tails.quantile(found, p) for p in (50, 90, 99)},
                }
            )
    return out


def write(run, folder):
    """Writes both files; returns the comparisons."""
    rows = all_comparisons(run)
    summary.write_csv(rows, COLUMNS, folder, 'comparisons.csv')
    summary.write_csv(quantiles(run) + operations(run, folder), QUANTILES, folder, 'distribution.csv')
    return rows
