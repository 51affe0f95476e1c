"""The answer to `which platform should I use here, and what does it cost?`, from one run's ratios and nothing else.

A platform is judged over the system-call workloads that all platforms of a placement completed, by the geometric mean
of its ratios to native, formed block by block, so that it has an interval like any other number. Peers are shown
elsewhere; the advice is about platforms that `trapgate run --platform=` takes.
"""

import math

import curves
import stats
import summary
from source import WHERE, sweep_of

PEERS = ('native', 'runsc', 'uml', 'proot')
NULL_CALL = 'getpid'


def is_candidate(cell):
    return not cell['knobs'] and not cell['platform'].startswith(PEERS)


def table_of(run, placement):
    """platform -> workload -> block -> ratio to native, for system calls without sweeps or twins."""
    out = {}
    for cell in run.cells:
        native = run.sibling(cell, 'native')
        if (
            cell['class'] != 'syscall'
            or cell['placement'] != placement
            or not is_candidate(cell)
            or summary.is_twin(cell)
            or sweep_of(cell)
            or not native
        ):
            continue
        values, base = cell.samples.get('ns_per_op', {}), native.samples.get('ns_per_op', {})
        ratios = {b: values[b] / base[b] for b in stats.paired_blocks(values, base)}
        if ratios:
            out.setdefault(cell['platform'], {})[cell['workload']] = ratios
    return out


def section_means(table):
    """platform -> block -> geometric mean over the workloads that every platform has."""
    common = set.intersection(*(set(by) for by in table.values())) if table else set()
    out = {}
    for platform, by_workload in table.items():
        blocks = set.intersection(*(set(by_workload[w]) for w in common)) if common else set()
        if blocks:
            out[platform] = {b: stats.geometric_mean([by_workload[w][b] for w in common]) for b in sorted(blocks)}
    return out, sorted(common)


def mean_of(blocks):
    """(ratio, low, high, n) of one platform's section means."""
    logs = [math.log(v) for v in blocks.values()]
    low, high = stats.interval(logs)
    return math.exp(stats.median(logs)), *(None if x is None else math.exp(x) for x in (low, high)), len(logs)


def null_call(run, platform, placement):
    """Of getpid, or None: added ns with interval, formed block by block."""
    for cell in run.cells:
        if (cell['platform'], cell['workload'], cell['placement'], cell['knobs'], cell['params']) == (
            platform,
            NULL_CALL,
            placement,
            '',
            '',
        ):
            native = run.sibling(cell, 'native')
            base = native.samples.get('ns_per_op', {}) if native else {}
            added = [v - base[b] for b, v in cell.samples.get('ns_per_op', {}).items() if b in base]
            return (stats.median(added), *stats.interval(added), len(added)) if added else None
    return None


def rates(source, platform, placement, added):
    """percent -> (calls a second, `measured` or `computed`): where the platform costs that much."""
    measured = {}
    for (_, place, _), by_series in curves.sweeps(source, lambda key: key == curves.RATE_KEY).items():
        if place == placement:
            points = curves.rate_points(by_series).get(platform, [])
            measured.update({p: curves.crossing(points, p) for p in (1, 10, 50)})
    out = {}
    for percent in (1, 10, 50):
        if measured.get(percent):
            out[percent] = (measured[percent], 'measured')
        elif added and added[0] > 0:
            out[percent] = (percent / 100 * 1e9 / added[0], 'computed')
    return out


def exceptions(comparisons, best, placement):
    """Workloads where another platform beat the best one, as {platform: [workloads]}."""
    out = {}
    for c in comparisons:
        if c['metric'] != 'ns_per_op' or c['placement'] != placement or c['knobs'] or c['reference_knobs']:
            continue
        pair = {
            c['platform']: c['verdict'],
            c['reference']: {'slower': 'faster', 'faster': 'slower'}.get(c['verdict'], ''),
        }
        if best in pair and pair[best] == 'slower':
            other = next(p for p in pair if p != best)
            if not other.startswith(PEERS):
                out.setdefault(other, []).append(c['workload'])
    return out


def advise(run, source, comparisons, placement):
    """One placement's answer as data, or None without any system-call workload there."""
    table = table_of(run, placement)
    means, workloads = section_means(table)
    if not means:
        return None
    order = sorted(means, key=lambda p: mean_of(means[p])[0])
    best = order[0]
    rivals = []
    for other in order[1:]:
        _, low, high = stats.paired_ratio(means[other], means[best])
        if low is None or low <= 1:
            rivals.append(other)
    added = null_call(run, best, placement)
    return {
        'placement': placement,
        'where': WHERE.get(placement, placement),
        'best': best,
        'rivals': rivals,
        'means': [(p, *mean_of(means[p])) for p in order],
        'workloads': workloads,
        'added': added,
        'rates': rates(source, best, placement, added),
        'exceptions': exceptions(comparisons, best, placement),
    }
