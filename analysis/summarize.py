#!/usr/bin/python3
"""summarize.py RUN_DIR: writes summary.csv, comparisons.csv, distribution.csv, plots/ and report.html, and prints the
table.

Needs python3 only; plots need gnuplot, the report jinja2, the bootstrap cross-check scipy: what is missing is named
in a line. Exit status: 0; 2 if the folder is no run; with --gate 5 if the A/A twin says that the machine was too
noisy.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import comparisons  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
import resample  # noqa: E402
import rundata  # noqa: E402
import summary  # noqa: E402
import table  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description='Statistics, plots and the table of one run.')
    parser.add_argument('folder', metavar='RUN_DIR')
    parser.add_argument('--no-plots', action='store_true', help='the CSV files and the table only')
    parser.add_argument('--gate', action='store_true', help='exit with 5 if the A/A noise gate fails')
    args = parser.parse_args()
    try:
        run = rundata.Run(args.folder)
    except (OSError, ValueError, KeyError) as error:
        print('summarize.py: %s is no run folder: %s' % (args.folder, error), file=sys.stderr)
        return 2
    rows = summary.summarize(run)
    summary.write(rows, args.folder)
    pairs = comparisons.write(run, args.folder)
    print('\n'.join(table.render(run, rows, pairs)))
    made, notice = ([], None) if args.no_plots else plots.plot(run)
    page, no_page = (None, None) if args.no_plots else report.write(run, rows, pairs)
    for line in filter(None, (notice, no_page, resample.MISSING)):
        print('note: ' + line)
    print(
        'results  %s/summary.csv  raw.csv  manifest.json  plan.json%s%s'
        % (args.folder, '  report.html' if page else '', '  plots/ (%d files)' % len(made) if made else '')
    )
    print('next     make compare BASE=%s NEW=...   make reproduce   make report RUN=%s' % (args.folder, args.folder))
    noisy = table.noise_gate(run, table.primary_rows(run, rows))[1]
    return 5 if args.gate and noisy else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(1)
