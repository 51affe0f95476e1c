"""The table that ends `make bench`: aligned text, the verdict in words, every planned cell in it."""

import math

import rundata
import stats
import summary

CLASSES = (
    ('syscall', 'system calls'),
    ('fault', 'page faults and mappings'),
    ('task', 'processes, threads, signals'),
    ('cpu', 'must cost nothing extra'),
    ('app', 'applications'),
    ('floor', 'floors: the bare mechanisms, natively'),
)


def amount(x, unit, low=None, high=None):
    """At most three significant digits, none of them finer than the interval, and a unit that keeps them readable."""
    if x is None:
        return '-'
    steps = {
        'ns': ((1e9, 's'), (1e6, 'ms'), (1e3, 'us'), (0, 'ns')),
        'KiB': ((1024**2, 'GiB'), (1024, 'MiB'), (0, 'KiB')),
    }
    for size, name in steps.get(unit, ((0, unit),)):
        if abs(x) >= size:
            scale = size or 1
            return (
                '%s %s' % (significant(x / scale, *(None if b is None else b / scale for b in (low, high))), name)
            ).rstrip()
    return '-'


def significant(x, low=None, high=None):
    """Three significant digits; the third is dropped where it says less than a hundredth of the interval's width
    (R27).
    """
    places = min(2 - math.floor(math.log10(abs(x))), 4) if x else 0
    if low is not None and high is not None and high > low:
        places = max(min(places, 1 - math.floor(math.log10(high - low))), places - 1)
    return '%.*f' % (max(places, 0), round(x, places))


def span(low, high, form):
    return '-' if low is None else '%s .. %s' % (form(low), form(high))


def percent(factor):
    """A spread as a factor, 1 or more, in the words that read best at its size."""
    if factor is None:
        return '-'
    return '+-%.1f %%' % (100 * (factor - 1)) if factor < 2 else 'x or / %s' % significant(factor)


def sentence(row, pairs=()):
    """The verdict in words: against native, then against other platforms where one is known; `?`: it does not hold
    under Holm.
    """
    if row['status'] not in ('ok', 'incomplete'):
        return row['status']
    found = {}
    for pair in pairs:
        if pair['verdict'] in ('slower', 'faster') and pair['reference'] != 'native-seccomp':
            name = pair['reference'] + (':' + pair['reference_knobs'] if pair['reference_knobs'] else '')
            found.setdefault(pair['verdict'], []).append(name + ('' if pair['holds'] == 'yes' else '?'))
    text = ', '.join('%s than %s' % (word, ' and '.join(names)) for word, names in found.items()) or row['verdict']
    if row['verdict'] in ('slower', 'faster') and not pairs:
        text += ' than native'
    if row['verdict'] == 'not resolved' and 'native' not in text:
        text = 'not resolved from native' + ('; ' + text if found else '')
    if row['unit'] == 'KiB':
        text = text.replace('slower', 'larger').replace('faster', 'smaller')
    if row['status'] == 'incomplete':
        text += ' (incomplete: n=%d)' % row['n']
    return text.strip()


HEAD = ('', 'median', '95 % CI', 'vs native', '95 % CI', 'x floor', 'p99', 'verdict')


def line_of(row, name, pairs=()):
    form = lambda x: amount(x, row['unit'], row['ci_low'], row['ci_high'])
    ratio = lambda x: significant(x, row['ratio_ci_low'], row['ratio_ci_high'])
    return (
        name,
        form(row['median']),
        span(row['ci_low'], row['ci_high'], form),
        '-' if row['ratio_native'] is None else ratio(row['ratio_native']),
        span(row['ratio_ci_low'], row['ratio_ci_high'], ratio),
        '-' if row['ratio_floor'] is None else significant(row['ratio_floor']),
        form(row['p99']),
        sentence(row, pairs),
    )


def variant_name(row):
    return '  ' + row['platform'] + (':' + row['knobs'] if row['knobs'] else '')


def group_lines(run, cells, by_cell, pairs):
    """A workload in a placement: a heading with its noise, then a line a variant. The A/A twin is the heading."""
    first = cells[0]
    row = by_cell[first.id]
    native, twin = run.sibling(first, 'native'), run.sibling(first, 'native-aa')
    noise = None
    if native and twin:
        noise = by_cell[twin.id]
        noise = stats.noise(noise['ratio_ci_low'], noise['ratio_ci_high'])
    if first['class'] == 'floor':
        return [line_of(row, '%s [%s]' % (first['workload'], first['placement']))]
    lines = [
        (
            '%s [%s]' % (' '.join(filter(None, (first['workload'], first['params']))), first['placement']),
            'A/A noise %s' % percent(noise),
        )
    ]
    for cell in cells:
        if cell['platform'] != 'native-aa':
            lines.append(
                line_of(by_cell[cell.id], variant_name(by_cell[cell.id]), pairs.get(rundata.identity(cell), ()))
            )
    return lines


def aligned(lines):
    widths = [max(len(line[i]) for line in lines if len(line) == len(HEAD)) for i in range(len(HEAD))]
    heads = [len(line[0]) for line in lines if len(line) == len(HEAD)]
    out = []
    for line in lines:
        if len(line) == 2:
            out.append('%-*s  %s' % (max(heads), line[0], line[1]))
            continue
        text = '%-*s' % (widths[0], line[0])
        for i in range(1, len(HEAD) - 1):
            text += '  %*s' % (widths[i], line[i])
        out.append((text + '  ' + line[-1]).rstrip())
    return out


def groups_of(run, kind):
    groups = {}
    for cell in run.cells:
        if cell['class'] == kind and not summary.is_twin(cell):
            groups.setdefault((cell['workload'], cell['placement'] != 'same-cpu', cell['group']), []).append(cell)
    return [groups[key] for key in sorted(groups)]


def primary_rows(run, rows):
    """The first row of each cell, by cell id: its time, or resident memory."""
    found, out = {}, {}
    for row in rows:
        key = tuple(row[k] for k in ('platform', 'knobs', 'workload', 'params', 'placement'))
        found.setdefault(key, row)
    for cell in run.cells:
        out[cell.id] = found[tuple(cell[k] for k in ('platform', 'knobs', 'workload', 'params', 'placement'))]
    return out


def noise_gate(run, by_cell):
    """(sentence, True if the machine was too noisy): what native against itself says about all other comparisons."""
    factors, excluded = [], 0
    for cell in run.cells:
        row = by_cell[cell.id]
        factor = stats.noise(row['ratio_ci_low'], row['ratio_ci_high'])
        if cell['platform'] != 'native-aa' or factor is None:
            continue
        factors.append((factor, '%s [%s]' % (cell['workload'], cell['placement'])))
        excluded += row['ratio_ci_low'] > 1 or row['ratio_ci_high'] < 1
    if not factors:
        return 'A/A noise floor: not known (fewer than 6 launches a cell)', False
    middle, worst = stats.median([f[0] for f in factors]), max(factors)
    noisy = middle > 1.05 or excluded > max(1, 0.1 * len(factors))
    return (
        'A/A noise floor: median %s, worst %s (%s); %d of %d A/A intervals miss 1: %s'
        % (
            percent(middle),
            percent(worst[0]),
            worst[1],
            excluded,
            len(factors),
            'NOISY, trust large differences only' if noisy else 'OK',
        ),
        noisy,
    )


def failures(run):
    out = []
    for cell in run.cells:
        for status, reason, _, _ in cell.failures[-1:]:
            out.append(
                '  %s: %s / %s [%s]: %s'
                % (status, cell['workload'], variant_name(cell).strip(), cell['placement'], reason)
            )
    return out


def pairs_by_cell(comparisons):
    """Comparisons of the primary metric, by the cell that is compared."""
    out = {}
    for pair in comparisons:
        if pair['metric'] == summary.primary(pair):
            out.setdefault(rundata.identity(pair), []).append(pair)
    return out


def resolution_lines(comparisons):
    """What this run could not see: how small an effect it takes, and how many launches Holm needs."""
    times = [c for c in comparisons if c['metric'] == 'ns_per_op']
    out = []
    open_pairs = [c for c in times if c['verdict'] == 'not resolved' and c['smallest_effect']]
    if open_pairs:
        effects = [c['smallest_effect'] for c in open_pairs]
        worst = max(open_pairs, key=lambda c: c['smallest_effect'])
        out.append(
            'not resolved: %d of %d comparisons; the smallest effect this run could see there: median %s, worst %s (%s %s [%s])'
            % (
                len(open_pairs),
                len(times),
                percent(stats.median(effects)),
                percent(worst['smallest_effect']),
                worst['platform'],
                worst['workload'],
                worst['placement'],
            )
        )
    alone = sum(c['holds'] == 'alone' for c in times)
    if alone:
        out.append(
            '`?`: %d verdicts stand by themselves only, not among %d comparisons (Holm); at least TRIALS=%d settles them'
            % (alone, len(times), stats.launches_needed(len(times)))
        )
    return out


def render(run, rows, comparisons=()):
    by_cell, pairs = primary_rows(run, rows), pairs_by_cell(comparisons)
    out = []
    if run.plan['subset']:
        out.append('SUBSET: not all cells of the suite were asked for.')
    if not run.plan['complete']:
        out.append('INCOMPLETE: the run was stopped before its last block.')
    for kind, title in CLASSES:
        lines = [HEAD]
        for cells in groups_of(run, kind):
            lines += group_lines(run, cells, by_cell, pairs)
        if len(lines) > 1:
            out += ['', '%s   (lower is better; n=%d launches)' % (title.upper(), run.plan['trials'])] + aligned(lines)
    out.append('')
    if run.plan['trials'] < 6:
        out.append('n too small: fewer than 6 launches give no 95 % interval; nothing is compared.')
    out.append(noise_gate(run, by_cell)[0])
    out += resolution_lines(comparisons)
    bad = failures(run)
    if bad:
        out += ['without a value, or not always:'] + bad
    for skip in run.plan['skipped']:
        out.append('left out: %s (%s)' % (skip['platform'], skip['reason']))
    for warning in run.manifest['warnings']:
        out.append('note: ' + warning)
    return out
