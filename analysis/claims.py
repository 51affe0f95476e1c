"""Published claims as data: what a source says, the figures it rests on, and the cells of a run that test it
(published/claims.json).

A claim is a relation, never a number of nanoseconds: a ratio of cells (`over` to `under`), an order of cells, or a
difference. The published relation is computed from published/figures.csv, and `margin` is the factor by which another
machine may be off.
"""

import csv
import json
import math
import os

import stats

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'published')
SIZES = {'ns': 1, 'ns/call': 1, 'us': 1e3, 'ms': 1e6, 's': 1e9, 'bytes/container': 1 / 1024, 'MB': 1e6 / 1024}
AGREES, DISAGREES, OPEN, UNTESTABLE = 'agrees', 'disagrees', 'not resolved', 'not testable here'


def read_figures():
    with open(os.path.join(FOLDER, 'figures.csv'), newline='') as f:
        return {row['figure']: row for row in csv.DictReader(f)}


def read_claims():
    with open(os.path.join(FOLDER, 'claims.json')) as f:
        return json.load(f)


def value_of(figure):
    return float(figure['value']) * SIZES.get(figure['unit'], 1)


def published(claim, figures):
    """(low, high) of the published relation over its pairs of figures; for an order a list of ratios; None without
    figures.
    """
    pairs = [(value_of(figures[a]), value_of(figures[b])) for a, b in claim.get('figures', ())]
    found = [a - b if claim['kind'] == 'difference' else a / b for a, b in pairs]
    if claim['kind'] == 'order':
        return found or None
    return (min(found), max(found)) if found else None


def allowed(claim, relation):
    """The interval in which a measured relation agrees."""
    margin, direction = claim.get('margin'), claim['direction']
    if direction == 'equal':
        return 1 / margin, margin
    if claim['kind'] == 'difference':
        return relation[0] / margin, relation[1] * margin
    if not relation or not margin:
        return (1, math.inf) if direction == 'above' else (0, 1)
    low, high = relation[0] / margin, relation[1] * margin
    return (max(1, low), high) if direction == 'above' else (low, min(1, high))


def obstacle(claim, run):
    """Why this machine cannot test the claim whatever it measures, or None."""
    machine, kvm = run.manifest['machine'], run.manifest['machine']['kvm']
    reasons = {
        'hardware-kvm': None
        if kvm['usable'] and kvm['module'] in ('kvm_intel', 'kvm_amd')
        else 'no hardware KVM (module: %s)' % (kvm['module'] or 'none'),
        'pvm': None if kvm['usable'] and kvm['module'] == 'kvm_pvm' else 'KVM is not PVM here',
        'bare-metal': 'this is a virtual machine' if machine['hypervisor'] else None,
        'virtual-machine': None if machine['hypervisor'] else 'this is no virtual machine',
        'two-cpus': None if len(run.plan['placements'].get('free', ())) > 1 else 'the run had one CPU',
        'both-metal-and-nested': 'it takes one machine bare and nested; compare two runs of such a pair',
    }
    return next((reasons[n] for n in claim.get('needs', ()) if reasons[n]), None)


def cell_name(want):
    platform = want['platform'] + (':' + want['knobs'] if want.get('knobs') else '')
    return ' '.join(filter(None, (platform, want['workload'], want.get('params'), '[%s]' % want['placement'])))


def samples_of(run, want):
    """block -> value of a cell that a claim names, or None if the run has no such cell or no value of it."""
    for cell in run.cells:
        if all(cell[k] == want.get(k, '') for k in ('platform', 'knobs', 'workload', 'placement')) and matches(
            cell['params'], want.get('params', '')
        ):
            return cell.samples.get(want.get('metric', 'ns_per_op')) or None
    return None


def matches(params, wanted):
    """`program=...` names what the driver chose to run and identifies nothing."""
    return sorted(p for p in params.split(';') if p and not p.startswith('program=')) == sorted(
        p for p in wanted.split(';') if p
    )


def missing(run, cells):
    return [cell_name(c) for c in cells if samples_of(run, c) is None]


def relation(run, over, under, difference=False):
    """(value, low, high, n) of a relation between cells, formed block by block."""
    tops, bottoms = ([samples_of(run, c) for c in side] for side in (over, under))
    blocks = set.intersection(*(set(s) for s in tops + bottoms))
    if difference:
        values = [tops[0][b] - bottoms[0][b] for b in sorted(blocks)]
        return stats.median(values), *stats.interval(values), len(values)
    logs = [sum(math.log(s[b]) for s in tops) - sum(math.log(s[b]) for s in bottoms) for b in sorted(blocks)]
    low, high = stats.interval(logs)
    return math.exp(stats.median(logs)), *(None if x is None else math.exp(x) for x in (low, high)), len(logs)


def judge(low, high, interval):
    if low is None:
        return OPEN
    if interval[0] <= low and high <= interval[1]:
        return AGREES
    return DISAGREES if high < interval[0] or low > interval[1] else OPEN


def cells_of(claim):
    """Every cell that a claim names, its steps flattened."""
    steps = claim['cells'] if claim['kind'] == 'order' else [claim.get('over', []) + claim.get('under', [])]
    return [c for step in steps for c in (step if isinstance(step, list) else [step])]


def sides(step):
    """A step of an order as (over, under): a cell, or a cell in times another."""
    return ([step[0]], [step[1]]) if isinstance(step, list) else ([step], [])


def test_order(claim, run):
    verdicts, ratios = [], []
    for lower, upper in zip(claim['cells'], claim['cells'][1:]):
        (a, b), (c, d) = sides(upper), sides(lower)
        ratios.append(relation(run, a + d, b + c))
        verdicts.append(judge(*ratios[-1][1:3], (1, math.inf)))
    worst = DISAGREES if DISAGREES in verdicts else OPEN if OPEN in verdicts else AGREES
    return {'verdict': worst, 'steps': ratios, 'n': min(r[3] for r in ratios), 'value': None, 'low': None, 'high': None}


def test(claim, runs, figures):
    """Tests a claim on the first run that has its cells: a dict with the published and the measured relation and the
    verdict.
    """
    said = published(claim, figures)
    out = {
        'claim': claim,
        'published': said,
        'value': None,
        'low': None,
        'high': None,
        'n': 0,
        'steps': (),
        'run': None,
        'reason': '',
    }
    reasons = [
        obstacle(claim, run)
        or ('no such cell: ' + ', '.join(lacking) if (lacking := missing(run, cells_of(claim))) else None)
        for run in runs
    ]
    run = next((run for run, reason in zip(runs, reasons) if not reason), None)
    if run is None:
        return {**out, 'verdict': UNTESTABLE, 'reason': reasons[0] if reasons else 'nothing was measured'}
    out['run'] = run
    if claim['kind'] == 'order':
        return {**out, **test_order(claim, run)}
    value, low, high, n = relation(run, claim['over'], claim['under'], claim['kind'] == 'difference')
    interval = allowed(claim, said)
    verdict = judge(low, high, interval)
    reason = ''
    if low is None:
        reason = 'n too small'
    elif verdict == DISAGREES:
        reason = 'measured %s than %s' % (
            ('lower', bound(interval[0])) if high < interval[0] else ('higher', bound(interval[1]))
        )
    return {**out, 'value': value, 'low': low, 'high': high, 'n': n, 'verdict': verdict, 'reason': reason}


def bound(x):
    return '%.3g' % x


def with_peers(claims):
    """Claims about gVisor's platforms are tested twice: on ours, and on gVisor itself where it is installed."""
    out = []
    for claim in claims:
        out.append(claim)
        if claim.get('peer'):
            out.append({**claim, **claim['peer'], 'id': claim['id'] + '@runsc', 'peer': None})
    return out


def platforms_and_workloads(claims):
    """What a run must measure to test them: platforms with knobs, and workloads."""
    cells = [c for claim in claims for c in cells_of(claim)]
    platforms = {c['platform'] + (':' + c['knobs'] if c.get('knobs') else '') for c in cells}
    return sorted(platforms), sorted({c['workload'] for c in cells})


def markdown(claims, figures):
    """CLAIMS.md: generated, so that it cannot differ from what is tested."""
    out = [
        '# Claims',
        '',
        'Generated from claims.json and figures.csv by `make claims`; do not edit. `make reproduce` tests them.',
        '',
        '| id | claim | source | published | agrees if | cells | needs |',
        '| --- | --- | --- | --- | --- | --- | --- |',
    ]
    for claim in claims:
        said = published(claim, figures)
        if claim['kind'] == 'order':
            cells = ' < '.join(
                ' / '.join(map(cell_name, step)) if isinstance(step, list) else cell_name(step)
                for step in claim['cells']
            )
            text, rule = ', '.join('%.3g' % r for r in said or ()) or 'in words', 'each step is resolved'
        else:
            cells = '%s %s %s' % (
                ' x '.join(map(cell_name, claim.get('over', ()))) or 'none',
                '-' if claim['kind'] == 'difference' else '/',
                ' x '.join(map(cell_name, claim.get('under', ()))) or 'none',
            )
            text = 'in words' if not said else '%.3g' % said[0] if said[0] == said[1] else '%.3g .. %.3g' % said
            rule = '%.3g .. %.3g' % allowed(claim, said)
        out.append(
            '| %s | %s | %s | %s | %s | %s | %s |'
            % (claim['id'], claim['sentence'], claim['source'], text, rule, cells, ', '.join(claim.get('needs', ())))
        )
    return '\n'.join(out) + '\n'
