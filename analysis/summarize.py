#!/usr/bin/python3
"""summarize.py RUN_DIR: writes summary.csv and plots/ into a run folder and prints its table.

Needs python3 only; plots need gnuplot. Exit status: 0, or 2 if the folder is no run.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import plots            # noqa: E402
import rundata          # noqa: E402
import summary          # noqa: E402
import table            # noqa: E402


def main():
    parser = argparse.ArgumentParser(description='Statistics, plots and the table of one run.')
    parser.add_argument('folder', metavar='RUN_DIR')
    parser.add_argument('--no-plots', action='store_true', help='summary.csv and the table only')
    args = parser.parse_args()
    try:
        run = rundata.Run(args.folder)
    except (OSError, ValueError, KeyError) as error:
        print('summarize.py: %s is no run folder: %s' % (args.folder, error), file=sys.stderr)
        return 2
    rows = summary.summarize(run)
    summary.write(rows, args.folder)
    print('\n'.join(table.render(run, rows)))
    made, notice = ([], None) if args.no_plots else plots.plot(run, rows)
    if notice:
        print('note: ' + notice)
    print('results  %s/summary.csv  raw.csv  manifest.json  plan.json%s' % (
        args.folder, '  plots/ (%d files)' % len(made) if made else ''))
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(1)
