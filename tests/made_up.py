"""Run folders with numbers that are known beforehand: what analysis/ must find in them is no matter of luck or of the
machine.
"""
import csv
import json
import math
import random

RAW = (
    "schema,run_id,host,platform,knobs,workload,params,placement,block,position,launch,metric,unit,value,n_inner,status,"
    "reason"
).split(",")
SYSCALLS = ("getpid", "getpid-var", "read0", "stat")


def machine(virtual=True, pmu=False, module="kvm_pvm"):
    cpu = dict.fromkeys(
        "model vendor family model_number stepping microcode flags bugs smt smt_active l3_cache".split(), "x"
    )
    return {
        "cpu": {**cpu, "model": "Made-up CPU", "online": 2, "tsc_hz": 3e9},
        "kernel": {
            "release": "6.1.0",
            "version": "#1",
            "machine": "x86_64",
            "command_line": "quiet",
            "aslr": "2",
            "yama_ptrace_scope": "0",
            "perf_event_paranoid": "2",
        },
        "mitigations": {},
        "hypervisor": "KVMKVMKVM" if virtual else None,
        "kvm": {"device": True, "usable": True, "module": module, "nested": None},
        "pmu": {"available": pmu, "reason": None if pmu else "No such file or directory"},
        "memory_kib": {"MemTotal": 1},
        "governor": None,
        "idle_driver": None,
        "clocksource": "tsc",
        "thp": {"enabled": "always", "shmem": "never"},
    }


def manifest(run_id, host, trials, **changes):
    ticks = {"load": [0.0, 0.0, 0.0], "ticks": {"user": 1}}
    return {
        "schema": 1,
        "run_id": run_id,
        "host": host,
        "started": "2026-11-22T10:00:00Z",
        "ended": "2026-11-22T10:01:00Z",
        "complete": True,
        "suite": "standard",
        "seed": 1,
        "trials": trials,
        "command": ["trapgate-bench"],
        "variants": [],
        "git": {"commit": "0" * 40, "dirty": False},
        "machine": machine(),
        "packages": {},
        "binaries": {"getpid": "a" * 64, "trapgate": "b" * 64},
        "start": ticks,
        "end": ticks,
        "warnings": [],
        **changes,
    }


class Maker:
    """Collects cells group by group, each with its time in ns, and writes the folder."""

    def __init__(self, run_id="20261122T100000Z-host", host="host", trials=20, seed=7, spread=0.01):
        self.run_id, self.host, self.trials, self.spread = run_id, host, trials, spread
        self.rng = random.Random(seed)
        self.cells, self.times, self.phases, self.hist, self.groups = [], [], [], [], 0
        self.drift = [math.exp(self.rng.gauss(0, 0.05)) for _ in range(trials + 1)]

    def group(self, workload, times, params="", placement="same-cpu", kind="syscall", floor=None):
        """times: `platform` or `platform:knobs` -> ns; the A/A twin comes by itself."""
        first = len(self.cells)
        for name, ns in {**times, "native-aa": times["native"]}.items():
            platform, _, knobs = name.partition(":")
            self.cells.append(
                {
                    "id": len(self.cells),
                    "platform": platform,
                    "knobs": knobs,
                    "workload": workload,
                    "params": params,
                    "placement": placement,
                    "class": kind,
                    "help": "made up",
                    "traps": 1,
                    "group": self.groups,
                    "inner": 100,
                    "batches": 5,
                    "floor": None if floor is None else {"cell": floor, "times": 1},
                }
            )
            self.times.append(ns)
        self.groups += 1
        return first

    def floor(self, name, ns, placement="same-cpu"):
        self.cells.append(
            {
                **self.cells[0],
                "id": len(self.cells),
                "platform": "native",
                "knobs": "",
                "workload": name,
                "params": "",
                "placement": placement,
                "class": "floor",
                "group": self.groups,
                "floor": None,
            }
        )
        self.times.append(ns)
        self.groups += 1
        return len(self.cells) - 1

    def raw_rows(self):
        for block in range(self.trials + 1):
            for position, (cell, ns) in enumerate(zip(self.cells, self.times)):
                who = {k: cell[k] for k in ("platform", "knobs", "workload", "params", "placement")}
                row = {
                    "schema": 1,
                    "run_id": self.run_id,
                    "host": self.host,
                    **who,
                    "block": block,
                    "position": position,
                    "launch": block,
                    "n_inner": 100,
                    "status": "ok" if block else "warmup",
                    "reason": "",
                }
                if ns is None:
                    yield {
                        **row,
                        "metric": "ns_per_op",
                        "unit": "ns",
                        "value": "",
                        "status": "failed",
                        "reason": "no luck",
                    }
                    continue
                value = ns * self.drift[block] * math.exp(self.rng.gauss(0, self.spread))
                yield {**row, "metric": "ns_per_op", "unit": "ns", "value": "%.6g" % value}
                yield {**row, "metric": "ns_per_op_p99", "unit": "ns", "value": "%.6g" % (1.5 * value)}
                yield {**row, "metric": "host_calls_per_op", "unit": "count", "value": "2"}

    def write(self, folder, subset=False, **changes):
        folder.mkdir(parents=True, exist_ok=True)
        ids = [c["id"] for c in self.cells]
        plan = {
            "schema": 1,
            "run_id": self.run_id,
            "host": self.host,
            "suite": "standard",
            "seed": 1,
            "trials": self.trials,
            "batches": 5,
            "target_us": 1000,
            "timeout_s": 10,
            "subset": subset,
            "complete": True,
            "tsc_hz": 3e9,
            "placements": {"same-cpu": [1], "free": [0, 1]},
            "selection": {"platforms": None, "workloads": None, "knobs": []},
            "skipped": [{"platform": "absent", "reason": "it needs a thing that is not here"}],
            "cells": self.cells,
            "order": [ids] * (self.trials + 1),
        }
        (folder / "plan.json").write_text(json.dumps(plan))
        (folder / "manifest.json").write_text(json.dumps(manifest(self.run_id, self.host, self.trials, **changes)))
        with open(folder / "raw.csv", "w", newline="") as f:
            out = csv.DictWriter(f, RAW, lineterminator="\n")
            out.writeheader()
            out.writerows(self.raw_rows())
        if self.hist:
            with open(folder / "hist.csv", "w", newline="") as f:
                f.write(
                    "schema,run_id,host,platform,knobs,workload,params,placement,block,launch,low_ns,high_ns,count\n"
                )
                for platform, workload, placement, bins in self.hist:
                    for block in range(1, self.trials + 1):
                        for low, high, count in bins:
                            f.write(
                                f"1,{self.run_id},{self.host},{platform},,{workload},,{placement},{block},{block},{low},{high},{count}\n"
                            )
        if self.phases:
            with open(folder / "phases.csv", "w", newline="") as f:
                f.write("schema,run_id,host,platform,knobs,workload,params,placement,block,launch,phase,ns,p90_ns,n\n")
                for platform, workload, placement, phase, ns in self.phases:
                    for block in range(1, self.trials + 1):
                        f.write(
                            f"1,{self.run_id},{self.host},{platform},,{workload},,{placement},{block},{block},{phase},{ns},{ns * 1.2},100\n"
                        )
        return folder


def rich_run(folder, **kwargs):
    """Every kind of figure has something to show."""
    make = Maker(**kwargs)
    for i, name in enumerate(SYSCALLS):
        make.group(
            name,
            {
                "native": 100 + 40 * i,
                "systrap": 700 + 60 * i,
                "ptrace": 9000 + 100 * i,
                "kvm": 33000,
                "systrap:systrap.patch=off": 4100,
                "systrap:systrap.spin=0": 820,
            },
        )
    make.floor("floor-spin", 90)
    for cell in make.cells:
        if cell["platform"] == "systrap" and cell["workload"] == "getpid":
            cell["floor"] = {"cell": len(make.cells) - 1, "times": 1}
    for name in SYSCALLS[:2]:
        make.group(name, {"native": 100, "systrap": 600, "ptrace": 52000}, placement="free")
    make.group("fault-anon", {"native": 1600, "systrap": 900, "ptrace": 1000}, kind="fault")
    make.group("fork-exec", {"native": 300000, "systrap": 900000, "ptrace": 800000}, kind="task")
    make.group("spin", {"native": 1300, "systrap": 1301, "ptrace": 1299}, kind="cpu")
    make.group("broken", {"native": 100, "systrap": None}, kind="task")
    make.group("redis-set", {"native": 20000, "systrap": 60000, "ptrace": 90000}, kind="app")
    for kib in (4, 64, 1024, 65536):
        make.group(
            "fault-size",
            {"native": 400 * kib, "systrap": 10000 + 200 * kib, "ptrace": 40000 + 210 * kib},
            params=f"size_kib={kib}",
            kind="fault",
        )
    for work in (100, 1000, 10000, 100000, 1000000):
        make.group(
            "call-rate",
            {"native": 150 + work, "systrap": 750 + work, "ptrace": 9150 + work},
            params=f"work_ns={work}",
            placement="free",
        )
    make.phases = [
        (p, "getpid", "same-cpu", phase, ns)
        for p, times in (("systrap", (120, 150, 90, 40, 160)), ("ptrace", (2100, 3000, 95, 45, 3700)))
        for phase, ns in zip(("trap", "hand over", "dispatch", "handle", "resume"), times)
    ]
    make.hist = [
        (
            p,
            "getpid",
            "same-cpu",
            [(ns, ns * 1.1, 9000), (ns * 1.1, ns * 2, 900), (ns * 2, ns * 8, 90), (ns * 30, ns * 32, 10)],
        )
        for p, ns in (("native", 100), ("systrap", 700), ("ptrace", 9000))
    ]
    return make.write(folder, **{k: v for k, v in kwargs.items() if k == "subset"})
