"""Reading a run folder: plan.json, manifest.json, raw.csv, with types as results/*.schema.json say."""

import csv
import gzip
import json
import os

RAW_COLUMNS = (
    'schema,run_id,host,platform,knobs,workload,params,placement,block,position,launch,metric,unit,value,'
    'n_inner,status,reason'
).split(',')
SUMMARY_COLUMNS = (
    'schema,run_id,host,platform,knobs,workload,params,placement,metric,unit,n,median,ci_low,ci_high,p99,'
    'floor,ratio_floor,ratio_native,ratio_ci_low,ratio_ci_high,verdict,status'
).split(',')
INTEGERS = {'schema', 'block', 'position', 'launch', 'n_inner', 'n'}
NUMBERS = {
    'value',
    'median',
    'ci_low',
    'ci_high',
    'p99',
    'floor',
    'ratio_floor',
    'ratio_native',
    'ratio_ci_low',
    'ratio_ci_high',
    'ratio',
    'boot_low',
    'boot_high',
    'p',
    'p_holm',
    'noise',
    'smallest_effect',
    'min',
    'p50',
    'p90',
    'max',
    'ns',
    'p90_ns',
    'low_ns',
    'high_ns',
    'count',
}
IDENTITY = ('platform', 'knobs', 'workload', 'params', 'placement')


def typed(row):
    """Text of a CSV row to values; an empty number is None."""
    out = {}
    for key, text in row.items():
        if key in INTEGERS:
            out[key] = int(text)
        elif key in NUMBERS:
            out[key] = float(text) if text else None
        else:
            out[key] = text
    return out


def read_csv(path):
    """Typed rows of a file, or of the same with .gz behind it, as kept runs have it. A torn last line, as a crash leaves
    it, is dropped.
    """
    rows = []
    packed = not os.path.exists(path)
    with gzip.open(f'{path}.gz', 'rt', newline='') if packed else open(path, newline='') as f:
        for row in csv.DictReader(f):
            if None in row or None in row.values():
                continue
            rows.append(typed(row))
    return rows


def read_csv_if_any(path):
    """Rows, or none if there is no such file."""
    return read_csv(path) if os.path.exists(path) or os.path.exists(f'{path}.gz') else []


def read_json(folder, name):
    with open(os.path.join(folder, name)) as f:
        return json.load(f)


def identity(row):
    return tuple(row[key] for key in IDENTITY)


class Cell:
    """One planned cell and what its launches gave: samples[metric][block] = value."""

    def __init__(self, planned):
        self.planned = planned
        self.id = planned['id']
        self.samples = {}
        self.units = {}
        self.failures = []

    def __getitem__(self, key):
        return self.planned[key]

    def add(self, row):
        if row['status'] in ('ok', 'scaled') and row['value'] is not None:
            self.samples.setdefault(row['metric'], {})[row['block']] = row['value']
            self.units[row['metric']] = row['unit']
        elif row['status'] not in ('ok', 'scaled', 'warmup'):
            self.failures.append((row['status'], row['reason'], row['metric'], row['unit']))


class Run:
    def __init__(self, folder):
        self.folder = folder
        self.plan = read_json(folder, 'plan.json')
        self.manifest = read_json(folder, 'manifest.json')
        self.cells = [Cell(c) for c in self.plan['cells']]
        by_identity = {identity(c.planned): c for c in self.cells}
        for row in read_csv_if_any(os.path.join(folder, 'raw.csv')):
            if identity(row) in by_identity:
                by_identity[identity(row)].add(row)

    def sibling(self, cell, platform):
        """The cell of the same workload and placement under another platform, default knobs."""
        for other in self.cells:
            if other['group'] == cell['group'] and other['platform'] == platform and not other['knobs']:
                return other
        return None
