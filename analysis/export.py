#!/usr/bin/python3
"""export.py RUN_DIR: the run as google/benchmark JSON on standard output, a repetition a launch, so that its
compare.py reads it.

    export.py results/A >a.json; export.py results/B >b.json; compare.py benchmarks a.json b.json

That tool pools nothing here: its U test gets launches, which are independent. Exit status: 0, or 2 if the folder is
no run.
"""

import json
import sys

import rundata
import summary


def context(run):
    machine = run.manifest['machine']
    return {
        'date': run.manifest['started'],
        'host_name': run.plan['host'],
        'executable': 'trapgate-bench',
        'num_cpus': machine['cpu']['online'],
        'mhz_per_cpu': round(machine['cpu']['tsc_hz'] / 1e6),
        'cpu_scaling_enabled': machine['governor'] not in (None, 'performance'),
        'caches': [],
        'load_avg': (run.manifest['start'] or {}).get('load') or [],
        'library_build_type': 'release',
        'trapgate_run': run.plan['run_id'],
        'trapgate_commit': run.manifest['git']['commit'],
    }


def name_of(cell):
    variant = cell['platform'] + (':' + cell['knobs'] if cell['knobs'] else '')
    return '/'.join(filter(None, (cell['workload'], cell['params'], cell['placement'], variant)))


def repetitions(cell, family):
    """One entry a launch. CPU time is 0 where the run did not record it: the format has no word for `none`."""
    values, cpu = cell.samples.get('ns_per_op', {}), cell.samples.get('cpu_ns_per_op', {})
    for i, (block, value) in enumerate(sorted(values.items())):
        yield {
            'name': name_of(cell),
            'run_name': name_of(cell),
            'run_type': 'iteration',
            'family_index': family,
            'per_family_instance_index': 0,
            'repetitions': len(values),
            'repetition_index': i,
            'threads': 1,
            'iterations': cell['inner'] or 1,
            'real_time': value,
            'cpu_time': cpu.get(block, 0.0),
            'time_unit': 'ns',
        }


def export(run):
    cells = [c for c in run.cells if c['platform'] != 'native-aa' and not summary.is_twin(c)]
    return {
        'context': context(run),
        'benchmarks': [entry for i, cell in enumerate(cells) for entry in repetitions(cell, i)],
    }


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        print(__doc__.split('\n')[0], file=sys.stderr)
        return 2
    try:
        run = rundata.Run(sys.argv[1])
    except (OSError, ValueError, KeyError) as error:
        print('export.py: %s is no run folder: %s' % (sys.argv[1], error), file=sys.stderr)
        return 2
    json.dump(export(run), sys.stdout, indent=1)
    print()
    return 0


if __name__ == '__main__':
    sys.exit(main())
