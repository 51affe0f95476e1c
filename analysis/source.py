"""What the figures of a run are drawn from: its CSV files, and of the manifest the caption."""

import os

import gnuplot
import rundata

CROWD = 2  # more variants of a platform than this are left to the ablation figure
WHERE = {
    'same-cpu': 'all on one CPU',
    'free': 'all CPUs free to use',
    'smt-sibling': 'on two threads of a core',
    'same-llc': 'on two cores of a cache',
}


class Source:
    """What the figures are drawn from."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest = rundata.read_json(folder, 'manifest.json')
        plan = rundata.read_json(folder, 'plan.json')
        self.classes = {c['workload']: c['class'] for c in plan['cells']}
        self.rows = [r for r in self.read('summary.csv') if r['verdict'] not in ('floor', 'twin')]
        self.comparisons = self.read('comparisons.csv')
        knobs = {(r['platform'], r['knobs']) for r in self.rows if r['knobs']}
        self.crowded = any(sum(p == platform for p, _ in knobs) > CROWD for platform, _ in knobs)
        self.placements = gnuplot.ordered([r['placement'] for r in self.rows])
        machine = self.manifest['machine']
        self.caption = '; '.join(
            [
                '%s, %s, Linux %s'
                % (self.manifest['host'], machine['cpu']['model'] or 'unknown CPU', machine['kernel']['release']),
                'n=%d launches, medians, %s'
                % (
                    self.manifest['trials'],
                    '95 % intervals' if self.manifest['trials'] > 5 else 'too few for intervals',
                ),
                *short_warnings(self.manifest),
            ]
        )

    def read(self, name):
        return rundata.read_csv_if_any(os.path.join(self.folder, name))

    def times(self, placement):
        """Rows of time, without the A/A twin and without the levels of a sweep."""
        return [
            r
            for r in self.rows
            if r['metric'] == 'ns_per_op'
            and r['placement'] == placement
            and r['median'] is not None
            and r['platform'] != 'native-aa'
            and not sweep_of(r)
            and not (r['knobs'] and self.crowded)
        ]


def short_warnings(manifest):
    """R9: what limits all numbers belongs into each caption, in few words."""
    machine, out = manifest['machine'], []
    if machine['hypervisor']:
        out.append(
            'a virtual machine (%s)'
            % {'KVMKVMKVM': 'KVM'}.get(machine['hypervisor'].strip(), machine['hypervisor'].strip())
        )
    if machine['kvm']['module'] == 'kvm_pvm':
        out.append('KVM is kvm_pvm, software')
    if not machine['pmu']['available']:
        out.append('no PMU')
    return out


def parameters(row):
    return dict(p.split('=', 1) for p in row['params'].split(';') if '=' in p)


def sweep_of(row):
    """(key, level) of the parameter that a workload is swept over, or None: the one whose value is a number."""
    for key, value in parameters(row).items():
        if key != 'twin' and value.replace('.', '', 1).isdigit():
            return key, float(value)
    return None


def params_text(row):
    shown = ';'.join('%s=%s' % p for p in parameters(row).items() if p[0] != 'program')
    return ' ' + shown if shown else ''
