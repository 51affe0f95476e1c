"""Statistics: exact, checked against scipy, and against machines that lie: recorded launches of a program against itself."""
import csv
import json
import math
import random
import sys

import jsonschema
import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "analysis"))
import aa  # noqa: E402
import comparisons  # noqa: E402
import rundata  # noqa: E402
import stats  # noqa: E402
import table  # noqa: E402

DATA = ROOT / "tests/data"


def test_percentiles_as_numpy():
    numpy = pytest.importorskip("numpy", reason="python3-numpy is not installed")
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    for p in (0, 50, 90, 99, 100):
        assert stats.percentile(values, p) == pytest.approx(numpy.percentile(values, p))
    assert stats.percentile([], 50) is None


def test_sign_interval_as_scipy():
    scipy_stats = pytest.importorskip("scipy.stats", reason="python3-scipy is not installed")
    for n in range(1, 60):
        k = stats.sign_rank(n)
        assert 2 * scipy_stats.binom.cdf(k - 1, n, 0.5) <= 0.05 < 2 * scipy_stats.binom.cdf(k, n, 0.5) or k > n // 2


def test_rank_sum_as_scipy():
    scipy_stats = pytest.importorskip("scipy.stats", reason="python3-scipy is not installed")
    rng = random.Random(5)
    for n, m in ((6, 6), (7, 9), (12, 5), (20, 24)):
        a, b = [rng.gauss(0.3, 1) for _ in range(n)], [rng.gauss(0, 1) for _ in range(m)]
        shift, low, high, p = stats.shift(a, b)
        assert p == pytest.approx(scipy_stats.mannwhitneyu(a, b, method="exact").pvalue)
        assert low <= shift <= high
        # The interval and the test are one: 0 lies outside exactly if the test rejects.
        assert (p <= 0.05) == (low > 0 or high < 0)
        assert stats.shift(b, a)[:3] == pytest.approx((-shift, -high, -low))


def test_holm():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == [] and stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.launches_needed(1) == 6 and stats.launches_needed(4) == 8 and stats.launches_needed(51) == 11


def test_geometric_mean():
    assert stats.geometric_mean([2, 0.5]) == pytest.approx(1) and stats.geometric_mean([]) is None
    assert stats.geometric_mean([1, 10, 100]) == pytest.approx(10)


def test_smallest_effect():
    assert stats.smallest_effect(1.0, 0.95, 1.04, 1.02) == pytest.approx(1 / 0.95)
    assert stats.smallest_effect(1.0, 0.99, 1.01, 1.2) == 1.2 and stats.smallest_effect(1, None, None, 2) is None


def test_bootstrap_agrees():
    """The bootstrap's interval lies about where the exact one does: neither is off by a slip."""
    resample = pytest.importorskip("resample")
    if resample.MISSING:
        pytest.skip(resample.MISSING)
    rng = random.Random(3)
    logs = [rng.gauss(0.2, 0.1) for _ in range(40)]
    exact, boot = stats.interval(logs), resample.bca(logs)
    assert boot == resample.bca(logs)  # seeded
    assert boot[0] < 0.2 < boot[1] and abs(boot[0] - exact[0]) < 0.05 and abs(boot[1] - exact[1]) < 0.05
    assert resample.bca([1.0] * 9) == (None, None) and resample.bca([1, 2]) == (None, None)


def test_false_positives_on_recorded_launches():
    """R29: at most 7.5 % with launches as the unit in random pairs, beside what pooled samples give on the very same windows."""
    pytest.importorskip("scipy.stats", reason="python3-scipy is not installed")
    found = dict(aa.simulate(DATA / "aa-batches.csv"))
    ours = found.pop("random pairs, launch medians, sign test (Trapgate)")
    assert set(ours) == {"getpid", "pipe-pingpong"}
    for workload, share in ours.items():
        assert share <= 0.075
        for other in found.values():
            assert other[workload] > 2 * share + 0.1, found


def test_false_positives_of_the_driver():
    """The same for the driver's own A/A twin: 150 blocks of four cells, every window of ten."""
    cells = {}
    with open(DATA / "aa-driver.csv", newline="") as f:
        for row in csv.DictReader(f):
            cells.setdefault((row["workload"], row["placement"]), []).append(
                (float(row["native"]), float(row["native-aa"]))
            )
    assert len(cells) == 4
    missed = windows = 0
    for rows in cells.values():
        for start in range(len(rows) - 9):
            sides = [dict(enumerate(side)) for side in zip(*rows[start : start + 10])]
            _, low, high = stats.paired_ratio(*sides)
            missed += low > 1 or high < 1
            windows += 1
    assert windows > 500 and missed / windows <= 0.075


# The files of a made-up run: what is slow in it is known.


def planned(
    number, platform, workload="getpid", knobs="", params="", placement="same-cpu", kind="syscall", group=0, floor=None
):
    return {
        "id": number,
        "platform": platform,
        "knobs": knobs,
        "workload": workload,
        "params": params,
        "placement": placement,
        "class": kind,
        "help": "",
        "traps": 1,
        "group": group,
        "inner": 100,
        "batches": 5,
        "floor": floor,
    }


def made_up_run(trials, factors, spread=0.01):
    """A run held in memory: native takes 100 ns, each other platform its factor times that."""
    rng = random.Random(11)
    run = rundata.Run.__new__(rundata.Run)
    run.folder = None
    run.plan = {
        "schema": 1,
        "run_id": "r",
        "host": "h",
        "trials": trials,
        "subset": False,
        "complete": True,
        "skipped": [],
    }
    run.manifest = {"warnings": []}
    run.cells = [rundata.Cell(planned(i, name)) for i, name in enumerate(factors)]
    for cell, factor in zip(run.cells, factors.values()):
        cell.units["ns_per_op"] = "ns"
        cell.samples["ns_per_op"] = {b: 100 * factor * math.exp(rng.gauss(0, spread)) for b in range(1, trials + 1)}
    return run


def test_comparisons_say_what_is_known(tmp_path):
    run = made_up_run(20, {"native": 1, "native-aa": 1, "systrap": 5, "ptrace": 60, "same": 60})
    rows = comparisons.write(run, tmp_path)
    found = {(r["platform"], r["reference"]): r for r in rows}
    assert found["systrap", "native"]["verdict"] == "slower" and found["systrap", "native"]["holds"] == "yes"
    assert found["ptrace", "systrap"]["ratio"] == pytest.approx(12, rel=0.02)
    assert (
        found["same", "ptrace"]["verdict"] in ("equivalent", "not resolved")
        and found["same", "ptrace"]["smallest_effect"] < 1.05
    )
    assert len(rows) == 6 and not any("native-aa" in key for key in found)
    schemas = {n: json.loads((ROOT / f"results/{n}.schema.json").read_text()) for n in ("comparisons", "distribution")}
    for name, schema in schemas.items():
        read = rundata.read_csv(tmp_path / f"{name}.csv")
        assert read and list(schema["properties"]) == list(read[0])
        for row in read:
            jsonschema.validate(row, schema)


def test_knobs_are_compared_with_their_own_platform():
    """An ablation of many knobs is not a tournament of knobs; two knobs without a default between them are compared."""
    cells = [
        planned(i, p, knobs=k)
        for i, (p, k) in enumerate(
            (("native", ""), ("systrap", "a=1"), ("systrap", ""), ("ptrace", ""), ("kvm", "b=1"), ("kvm", "b=2"))
        )
    ]
    name = lambda c: c["platform"] + c["knobs"]
    found = {(name(a), name(b)) for a, b in comparisons.pairs_of(cells)}
    assert found == {
        ("systrapa=1", "native"),
        ("systrap", "native"),
        ("ptrace", "native"),
        ("kvmb=1", "native"),
        ("kvmb=2", "native"),
        ("systrapa=1", "systrap"),
        ("ptrace", "systrap"),
        ("kvmb=2", "kvmb=1"),
    }


def test_six_launches_are_an_indication():
    """Six launches resolve one comparison, not a family: the verdict carries a question mark and the way to settle it is named."""
    run = made_up_run(6, {"native": 1, "native-aa": 1, "systrap": 5, "ptrace": 60})
    rows = comparisons.all_comparisons(run)
    assert {r["holds"] for r in rows} == {"alone"}
    lines = table.resolution_lines(rows)
    assert "TRIALS=7" in lines[-1] and "3 verdicts" in lines[-1]
    assert (
        table.sentence(
            {"status": "ok", "verdict": "slower", "n": 6, "unit": "ns"}, [r for r in rows if r["platform"] == "ptrace"]
        )
        == "slower than native? and systrap?"
    )


def test_percent_reads_well():
    assert table.percent(1.014) == "+-1.4 %" and table.percent(3.5) == "x or / 3.50" and table.percent(None) == "-"
