"""Comparing runs: what changed is found, what did not is not, what must not be compared is refused. And
google/benchmark's format.
"""
import json
import pathlib
import subprocess
import sys

import pytest

import made_up
from conftest import ROOT

sys.path.insert(0, str(ROOT / "analysis"))
import rundata  # noqa: E402

WORKLOADS = {"getpid": 700, "read0": 800, "stat": 900, "pipe-pingpong": 9000}


def make(folder, factors=(), seed=1, slow_day=1.0, host="host", placements=None, fail=(), spread=0.02, **manifest):
    """A run in which systrap takes the usual times but for `factors`; on a slow day everything, native too, is
    slower.
    """
    maker = made_up.Maker(run_id=f"20261122T100000Z-{host}{seed}", host=host, seed=seed, spread=spread)
    for name, ns in WORKLOADS.items():
        times = {
            "native": 100 * slow_day,
            "systrap": ns * dict(factors).get(name, 1) * slow_day,
            "ptrace": 9000 * slow_day,
        }
        maker.group(name, {**times, "systrap": None} if name in fail else times)
    maker.write(folder, **manifest)
    if placements:
        plan = json.loads((folder / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps({**plan, "placements": placements}))
    return folder


def compare(base, new, *options):
    return subprocess.run(
        ["/usr/bin/python3", "-B", ROOT / "analysis/compare.py", base, new, *options],
        capture_output=True,
        text=True,
        timeout=60,
    )


def verdicts(result):
    found = {}
    for line in result.stdout.splitlines():
        words = line.split()
        if len(words) > 3 and words[0] in WORKLOADS and words[1].startswith("["):
            found[words[0], words[2]] = next(
                (v for v in ("slower", "faster", "equivalent", "not resolved", "drift", "broken") if v in line), ""
            )
    return found


def test_same_code_is_not_a_change(tmp_path):
    """Twenty pairs of runs of the same code, some of them on slow days: no verdict says that anything changed."""
    wrong = 0
    for seed in range(0, 40, 2):
        result = compare(
            make(tmp_path / f"a{seed}", seed=seed),
            make(tmp_path / f"b{seed}", seed=seed + 1, slow_day=1 + seed / 100),
            "--gate",
        )
        wrong += result.returncode == 6 or "faster" in verdicts(result).values()
    assert wrong <= 1


def test_change_is_found_and_nothing_else(tmp_path):
    result = compare(make(tmp_path / "a"), make(tmp_path / "b", {"read0": 1.12, "stat": 0.8}, seed=2, slow_day=1.3))
    assert result.returncode == 0, result.stderr
    found = verdicts(result)
    assert (
        found["read0", "systrap"] == "slower"
        and found["stat", "systrap"] == "faster"
        and found["getpid", "native"] == "drift"
    )
    assert {found[w, "ptrace"] for w in WORKLOADS} <= {"equivalent", "not resolved"}


def test_gate(tmp_path):
    base = make(tmp_path / "a")
    assert compare(base, make(tmp_path / "same", seed=3), "--gate").returncode == 0
    assert compare(base, make(tmp_path / "slow", {"getpid": 1.2}, seed=4), "--gate").returncode == 6
    assert compare(base, make(tmp_path / "fast", {"getpid": 0.8}, seed=5), "--gate").returncode == 0
    result = compare(base, make(tmp_path / "bad", seed=6, fail=("stat",)), "--gate")
    assert result.returncode == 6 and "broken" in result.stdout
    assert compare(base, make(tmp_path / "noisy", seed=8, spread=0.5), "--gate").returncode in (5, 6)
    # Small changes count only where asked for.
    assert compare(base, make(tmp_path / "four", {"getpid": 1.06}, seed=9), "--gate", "--min-effect=20").returncode == 0


def test_refused(tmp_path):
    base = make(tmp_path / "a")
    result = compare(base, make(tmp_path / "cpus", placements={"same-cpu": [0], "free": [0, 1]}))
    assert result.returncode == 4 and "placement same-cpu" in result.stderr
    result = compare(base, make(tmp_path / "binary", seed=2, binaries={"getpid": "c" * 64, "trapgate": "d" * 64}))
    assert result.returncode == 4 and "getpid is another program" in result.stdout
    assert ("read0", "systrap") in verdicts(result) and ("getpid", "systrap") not in verdicts(result)
    result = compare(base, tmp_path / "nothing")
    assert result.returncode == 2 and "Traceback" not in result.stderr


def test_a_new_sentry_is_what_is_compared(tmp_path):
    result = compare(
        make(tmp_path / "a"), make(tmp_path / "b", seed=2, binaries={"getpid": "a" * 64, "trapgate": "e" * 64})
    )
    assert result.returncode == 0 and "another program" not in result.stdout


def test_hosts_are_never_pooled(tmp_path):
    a, b = make(tmp_path / "a"), make(tmp_path / "b", {"getpid": 3}, host="other")
    result = compare(a, b)
    assert (
        result.returncode == 0
        and "side by side" in result.stdout
        and not set(verdicts(result).values()) & {"slower", "faster"}
    )
    assert "7.0" in result.stdout and "21" in result.stdout
    assert compare(a, b, "--gate").returncode == 4


def export(folder):
    result = subprocess.run(
        ["/usr/bin/python3", "-B", ROOT / "analysis/export.py", folder], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_export(tmp_path):
    folder = make(tmp_path / "a")
    out, run = export(folder), rundata.Run(folder)
    assert len(out["benchmarks"]) == 20 * 3 * len(WORKLOADS)
    values = [b["real_time"] for b in out["benchmarks"] if b["name"] == "getpid/same-cpu/systrap"]
    (cell,) = [c for c in run.cells if c["platform"] == "systrap" and c["workload"] == "getpid"]
    assert values == list(cell.samples["ns_per_op"].values())
    assert (
        subprocess.run(
            ["/usr/bin/python3", "-B", ROOT / "analysis/export.py", tmp_path], capture_output=True
        ).returncode
        == 2
    )


def tool():
    """google/benchmark's own compare.py, from Debian's libbenchmark-tools."""
    found = sorted(pathlib.Path("/usr/share").glob("*benchmark*/**/compare.py"))
    return found[0] if found else None


def test_google_benchmark_reads_it(tmp_path):
    if not tool():
        pytest.skip("google/benchmark's compare.py is not installed (Debian package libbenchmark-tools)")
    for name, factors in (("a", ()), ("b", {"getpid": 1.5})):
        (tmp_path / f"{name}.json").write_text(
            json.dumps(export(make(tmp_path / name, factors, seed=len(name) + len(factors))))
        )
    result = subprocess.run(
        [
            "/usr/bin/python3",
            "-B",
            tool(),
            "--no-color",
            "-d",
            tmp_path / "diff.json",
            "benchmarks",
            tmp_path / "a.json",
            tmp_path / "b.json",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tool().parent,
    )
    assert result.returncode == 0, result.stderr
    assert "getpid/same-cpu/systrap_pvalue" in result.stdout and "U Test, Repetitions: 20 vs 20" in result.stdout
    diff = {d["name"]: d for d in json.loads((tmp_path / "diff.json").read_text())}
    changed = [m["time"] for m in diff["getpid/same-cpu/systrap"]["measurements"]]
    assert sorted(changed)[10] == pytest.approx(0.5, abs=0.1)
