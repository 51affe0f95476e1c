#!/usr/bin/python3
"""reproduce.py [RUN_DIR...]: published claims beside what this machine measures, claim by claim.

Without run folders it measures what the claims need, with the driver of --build, into results/. Prints the published
relation, the measured one with its interval, and a verdict; writes reproduce.csv and a figure beside the first run.
With --against RUN_DIR (another host) it compares the claims, not the nanoseconds, and leaves both manifests and their
difference.

Exit status: 0; 2 wrong usage or no run folder; 3 no build to measure with; with --gate 6 if a claim disagrees that is
not explained in claims.json. A run that the driver could not finish is used as far as it goes.
"""

import argparse
import csv
import difflib
import json
import os
import subprocess
import sys

import bars
import claims as c
import gnuplot
import rundata
import summary
import table
from source import Source

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS = ('claim,published_low,published_high,measured,ci_low,ci_high,n,unit,verdict,reason,run_id').split(',')
COLOURS = {'published': ('#8a8a8a', 13), c.AGREES: ('#1a9d77', 7), c.DISAGREES: ('#d1495b', 5), c.OPEN: ('#d9822b', 9)}


def listed(driver):
    """(workloads, platforms) that this build knows, from the driver's own list."""
    text = subprocess.run([driver, '--list'], capture_output=True, text=True, timeout=60).stdout
    sections, current = {}, None
    for line in text.splitlines():
        if line[:1] != ' ':
            current = sections.setdefault(line.split()[0] if line.split() else '', {})
        elif current is not None and line.strip():
            name, *rest = line.split(None, 1)
            current[name] = rest[0] if rest else ''
    platforms = sections.pop('platforms', {})
    sections.pop('suites', None)
    return {name for part in sections.values() for name in part}, platforms


def measure(build, trials, all_claims):
    """Runs the driver on what the claims need and this build has; returns the run folder or None."""
    driver = os.path.join(build, 'trapgate-bench')
    if not os.access(driver, os.X_OK):
        return None
    known_workloads, known_platforms = listed(driver)
    platforms, workloads = c.platforms_and_workloads(all_claims)
    chosen = [
        p for p in platforms if p.split(':')[0] in known_platforms and p != 'native' or p in ('ptrace', 'systrap')
    ]
    out = os.path.join(ROOT, 'results')
    argv = [
        driver,
        '--suite=standard',
        '--trials=%d' % trials,
        '--skip-missing',
        '--no-summary',
        '--out',
        out,
        '--platforms=' + ','.join(chosen),
        '--workloads=' + ','.join(w for w in workloads if w in known_workloads),
    ]
    status = subprocess.run(argv).returncode
    if status:
        print('reproduce: the driver ended with %d; what it measured is used' % status, file=sys.stderr)
    return os.path.realpath(os.path.join(out, 'latest')) if status in (0, 4, 5, 7, 124) else None


def summarized(run):
    """A run that was measured for this has no summary yet; the figure's caption comes from it."""
    if not os.path.exists(os.path.join(run.folder, 'summary.csv')):
        summary.write(summary.summarize(run), run.folder)
    return run


def unit_of(claim):
    if claim['kind'] != 'difference':
        return 'ratio'
    return 'KiB' if any(x.get('metric') == 'rss_kib' for x in c.cells_of(claim)) else 'ns'


def number(x, unit):
    return table.amount(x, unit) if unit != 'ratio' else table.significant(x)


def said(result):
    claim, pub, unit = result['claim'], result['published'], unit_of(result['claim'])
    if not pub:
        return 'in words'
    if claim['kind'] == 'order':
        return 'steps ' + ', '.join('%s x' % table.significant(r) for r in pub)
    text = number(pub[0], unit) if pub[0] == pub[1] else '%s .. %s' % (number(pub[0], unit), number(pub[1], unit))
    return text + (' x' if unit == 'ratio' else '')


def found(result):
    unit = unit_of(result['claim'])
    if result['steps']:
        return 'steps ' + ', '.join(
            '%s x (%s)' % (table.significant(r[0]), table.span(r[1], r[2], table.significant)) for r in result['steps']
        )
    if result['value'] is None:
        return '-'
    return '%s%s (%s, n=%d)' % (
        number(result['value'], unit),
        ' x' if unit == 'ratio' else '',
        table.span(result['low'], result['high'], lambda x: number(x, unit)),
        result['n'],
    )


def show(results):
    """Claim by claim: what is said and by whom, what was published, what was measured, and what follows."""
    for result in results:
        claim, verdict = result['claim'], result['verdict']
        reason = result['reason'] or ('a step is the other way round' if verdict == c.DISAGREES else '')
        print('\n%s: %s (%s)' % (claim['id'], claim['sentence'].rstrip('.'), claim['source']))
        print('    published %-22s  measured %s' % (said(result), found(result)))
        print('    %s%s' % (verdict.upper() if verdict == c.DISAGREES else verdict, ': ' + reason if reason else ''))
        if verdict == c.DISAGREES:
            print(
                '    ' + ('explained: ' + claim['explained'] if claim.get('explained') else 'open: not explained yet')
            )
    counts = {v: sum(r['verdict'] == v for r in results) for v in (c.AGREES, c.DISAGREES, c.OPEN, c.UNTESTABLE)}
    print('\n%d claims: %s' % (len(results), ', '.join('%d %s' % (n, v) for v, n in counts.items())))


def write(results, folder):
    path = os.path.join(folder, 'reproduce.csv')
    with open(path + '.tmp', 'w', newline='') as f:
        out = csv.writer(f, lineterminator='\n')
        out.writerow(COLUMNS)
        for r in results:
            pub = r['published'] if r['published'] and r['claim']['kind'] != 'order' else (None, None)
            row = (
                r['claim']['id'],
                *pub,
                r['value'],
                r['low'],
                r['high'],
                r['n'],
                unit_of(r['claim']),
                r['verdict'],
                r['reason'],
                r['run'].plan['run_id'] if r['run'] else '',
            )
            out.writerow(['' if x is None else '%.4g' % x if isinstance(x, float) else x for x in row])
    os.replace(path + '.tmp', path)


def draw(results, folder):
    """Published beside measured, ratios only; returns what could not be drawn, or None."""
    if gnuplot.MISSING:
        return gnuplot.MISSING
    shown = [r for r in results if r['value'] and r['claim']['kind'] == 'ratio' and r['published']]
    if not shown:
        return 'no figure: no claim with a published ratio could be measured'
    lines = []
    for r in shown:
        low, high = r['published']
        lines.append(
            (
                r['claim']['id'],
                [('published', (low * high) ** 0.5, low, high), (r['verdict'], r['value'], r['low'], r['high'])],
            )
        )
    used = {name: COLOURS[name] for name in COLOURS if any(p[0] == name for _, points in lines for p in points)}
    run = shown[0]['run']
    figure = gnuplot.Figure(
        'reproduce',
        900,
        156 + 26 * len(lines),
        'Published and measured',
        Source(run.folder).caption,
    )
    figure.legend(14, 46, [(name, *look) for name, look in used.items()])
    left = 24 + 7.4 * max(len(label) for label, _ in lines)
    bars.dots(figure, left, 84, 880 - left, lines, used, [None] * len(lines), '', 'ratio, log')
    os.makedirs(os.path.join(folder, 'plots'), exist_ok=True)
    return figure.save(os.path.join(folder, 'plots'))[1]


def against(results, other, folder, figures):
    """The same claims on another host's run: verdict beside verdict, both manifests kept, and where they differ."""
    second = [c.test(r['claim'], [other], figures) for r in results]
    print('\nagainst %s on %s: claims, not nanoseconds' % (other.plan['run_id'], other.plan['host']))
    for mine, theirs in zip(results, second):
        if mine['verdict'] != theirs['verdict']:
            print(
                '  %-22s here %s; there %s%s'
                % (
                    mine['claim']['id'],
                    mine['verdict'],
                    theirs['verdict'],
                    ' (%s)' % theirs['reason'] if theirs['reason'] else '',
                )
            )
    print(
        '  %d of %d verdicts are the same'
        % (sum(a['verdict'] == b['verdict'] for a, b in zip(results, second)), len(results))
    )
    run = next((r['run'] for r in results if r['run']), None)
    texts = [json.dumps(r.manifest, indent=1, sort_keys=True).splitlines() if r else [] for r in (run, other)]
    for name, text in (
        ('manifest-here.json', texts[0]),
        ('manifest-there.json', texts[1]),
        ('manifest.diff', difflib.unified_diff(*texts, 'here', 'there', lineterm='', n=0)),
    ):
        with open(os.path.join(folder, name), 'w') as f:
            f.write('\n'.join(text) + '\n')


def main():
    parser = argparse.ArgumentParser(description='Published claims beside what this machine measures.')
    parser.add_argument('folders', metavar='RUN_DIR', nargs='*')
    parser.add_argument('--build', help='measure with this build')
    parser.add_argument('--trials', type=int, default=20, help='launches a cell (20)')
    parser.add_argument('--against', metavar='RUN_DIR', help='a run of another host')
    parser.add_argument('--gate', action='store_true', help='exit with 6 if a claim disagrees without an explanation')
    parser.add_argument('--claims', action='store_true', help='print CLAIMS.md and stop')
    args = parser.parse_args()
    figures, everything = c.read_figures(), c.read_claims()
    if args.claims:
        print(c.markdown(everything, figures), end='')
        return 0
    everything = c.with_peers(everything)
    if not args.folders:
        args.folders = [measure(args.build or os.path.join(ROOT, 'build'), args.trials, everything)]
    if not args.folders[0]:
        print('reproduce: nothing to measure with: no build, or the driver did not run (make all)', file=sys.stderr)
        return 3
    try:
        runs = [summarized(rundata.Run(folder)) for folder in args.folders]
        other = rundata.Run(args.against) if args.against else None
    except (OSError, ValueError, KeyError) as error:
        print('reproduce: no run folder: %s' % error, file=sys.stderr)
        return 2
    results = [c.test(claim, runs, figures) for claim in everything]
    show(results)
    write(results, args.folders[0])
    notice = draw(results, args.folders[0])
    if other:
        against(results, other, args.folders[0], figures)
    print('results  %s/reproduce.csv%s' % (args.folders[0], '  plots/reproduce.svg' if not notice else ''))
    if notice:
        print('note: ' + notice)
    return (
        6 if args.gate and any(r['verdict'] == c.DISAGREES and not r['claim'].get('explained') for r in results) else 0
    )


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(1)
