"""Published figures, claims, and what `make reproduce` says about a run whose numbers are known."""
import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

import made_up
from conftest import ROOT

sys.path.insert(0, str(ROOT / "analysis"))
import claims as c  # noqa: E402
import gnuplot  # noqa: E402
import rundata  # noqa: E402

PUBLISHED = ROOT / "analysis/published"
FIGURES, CLAIMS = c.read_figures(), c.read_claims()
WORDS = {"hardware-kvm", "bare-metal", "virtual-machine", "two-cpus", "pvm", "both-metal-and-nested"}
# What issue and README promise: each has at least these claims.
SUBJECTS = (
    "blog-order blog-ptrace-native blog-trap-native blog-patched-native blog-redis-systrap blog-build-systrap blog-cpu guide-syscall "
    "guide-cpu guide-memory ant-kvm-native ant-ptrace-native hotcloud-ptrace-native one-cpu-trap one-cpu-patched patch-gain patch-kvm "
    "kvm-best-on-metal systrap-better-nested pvm-exit-nested fault-size-systrap sud-seccomp notify-same-cpu zpoline-order"
).split()


def reproduce(*args, **kwargs):
    return subprocess.run(
        ["/usr/bin/python3", "-B", ROOT / "analysis/reproduce.py", *args],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "GNUPLOT_STRICT": "1"},
        **kwargs,
    )


def test_figures_have_sources():
    assert len(FIGURES) > 500 and len({f["source"] for f in FIGURES.values()}) > 40
    for figure in FIGURES.values():
        assert figure["source"] and figure["location"] and figure["unit"] and figure["reading"] and figure["platform"]
        float(figure["value"])


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim["id"] for claim in CLAIMS])
def test_claim_is_well_formed(claim):
    assert claim["sentence"].endswith(".") and claim["source"] and set(claim.get("needs", ())) <= WORDS
    assert claim["direction"] in ("above", "below", "equal") and claim["kind"] in ("ratio", "order", "difference")
    for pair in claim.get("figures", ()):
        assert len(pair) == 2 and all(name in FIGURES for name in pair)
    said = c.published(claim, FIGURES)
    if claim["kind"] == "order":
        assert len(claim["cells"]) >= 3
    elif "both-metal-and-nested" not in claim.get("needs", ()):
        assert c.cells_of(claim)
        low, high = c.allowed(claim, said)
        assert low < high
        # What was published agrees with the claim that is made of it.
        assert not said or low <= said[0] and said[1] <= high, (said, low, high)
    for cell in c.cells_of(claim):
        assert set(cell) <= {"platform", "knobs", "workload", "params", "placement", "metric"}
    assert claim["kind"] == "order" or len(c.cells_of(claim)) in (0, 2, 4)


def test_claims_cover_what_was_promised():
    ids = [claim["id"] for claim in CLAIMS]
    assert len(ids) == len(set(ids)) and set(SUBJECTS) <= set(ids)


def test_claims_md_is_generated():
    assert (PUBLISHED / "CLAIMS.md").read_text() == reproduce("--claims").stdout


def blog_run(folder, patched=640, trapped=2400, ptrace=15000, spin=1300, module="kvm_pvm", **kwargs):
    make = made_up.Maker(**kwargs)
    make.group(
        "getpid",
        {"native": 150, "systrap": patched, "systrap:systrap.patch=off": trapped, "ptrace": ptrace, "kvm": 33000},
        placement="free",
    )
    make.group(
        "getpid", {"native": 150, "systrap": 9000, "systrap:systrap.patch=off": 12000, "ptrace": 10000, "kvm": 33000}
    )
    make.group("spin", {"native": 1300, "systrap": spin, "ptrace": 1300, "kvm": 1301}, placement="free", kind="cpu")
    for name, placement, ns in (
        ("floor-sigsys", "same-cpu", 2400),
        ("floor-sud", "same-cpu", 2200),
        ("floor-notify", "same-cpu", 3000),
        ("floor-notify-wake", "free", 12500),
    ):
        make.floor(name, ns, placement)
    return make.write(folder, machine=made_up.machine(module=module))


def verdicts(run, runs=()):
    everything = c.with_peers(CLAIMS)
    return {claim["id"]: c.test(claim, [rundata.Run(run), *runs], FIGURES) for claim in everything}


def test_verdicts(tmp_path):
    found = verdicts(blog_run(tmp_path / "run"))
    word = {name: r["verdict"] for name, r in found.items()}
    for name in (
        "blog-order",
        "blog-ptrace-native",
        "blog-patched-native",
        "blog-ptrace-trap",
        "patch-gain",
        "one-cpu-patched",
        "blog-cpu",
        "sud-seccomp",
        "notify-same-cpu",
        "systrap-better-nested",
    ):
        assert word[name] == c.AGREES, (name, found[name])
    assert found["patch-gain"]["value"] == pytest.approx(2400 / 640, rel=0.03) and found["patch-gain"]["n"] == 20
    assert found["blog-order"]["steps"][0][0] == pytest.approx(640 / 150, rel=0.03)
    # What cannot be tested says why.
    for name, reason in (
        ("kvm-best-on-metal", "virtual machine"),
        ("ant-kvm-native", "no hardware KVM (module: kvm_pvm)"),
        ("pvm-exit-nested", "bare and nested"),
        ("blog-redis-systrap", "no such cell: systrap redis-set [free]"),
        ("blog-order@runsc", "no such cell: runsc-systrap"),
    ):
        assert word[name] == c.UNTESTABLE and reason in found[name]["reason"]


def test_disagreement_is_found(tmp_path):
    found = verdicts(blog_run(tmp_path / "run", patched=2300, spin=1700))
    assert found["patch-gain"]["verdict"] == c.DISAGREES and "lower" in found["patch-gain"]["reason"]
    assert found["blog-cpu"]["verdict"] == c.DISAGREES and "higher" in found["blog-cpu"]["reason"]
    found = verdicts(blog_run(tmp_path / "order", patched=2600))
    assert found["blog-order"]["verdict"] == c.DISAGREES


def test_noise_is_not_resolved(tmp_path):
    found = verdicts(blog_run(tmp_path / "run", spread=0.6, trials=8))
    assert found["blog-cpu"]["verdict"] == c.OPEN
    found = verdicts(blog_run(tmp_path / "few", trials=4))
    assert found["patch-gain"]["verdict"] == c.OPEN and found["patch-gain"]["reason"] == "n too small"


def test_hardware_kvm_makes_claims_testable(tmp_path):
    found = verdicts(blog_run(tmp_path / "run", module="kvm_amd"))
    assert found["ant-ptrace-kvm"]["verdict"] == c.DISAGREES  # 33 us is no hardware's call
    assert found["pvm-exit-over-call"]["reason"] == "KVM is not PVM here"


def test_command(tmp_path):
    run = blog_run(tmp_path / "run")
    result = reproduce(run)
    assert result.returncode == 0, result.stderr
    assert (
        "published 2.34 .. 3.34 x" in result.stdout
        and "not testable here: no such cell: systrap redis-set [free]" in result.stdout
    )
    with open(run / "reproduce.csv", newline="") as f:
        rows = {r["claim"]: r for r in csv.DictReader(f)}
    assert (
        rows["patch-gain"]["verdict"] == "agrees"
        and float(rows["patch-gain"]["published_low"]) == 2.336
        and len(rows) == len(c.with_peers(CLAIMS))
    )
    if not gnuplot.MISSING:
        svg = (run / "plots/reproduce.svg").read_text()
        assert "Published and measured" in svg and "patch-gain" in svg and (run / "plots/reproduce.png").exists()
    assert reproduce(tmp_path / "nothing").returncode == 2
    assert reproduce("--build", tmp_path).returncode == 3


def test_gate_wants_explanations(tmp_path):
    run = blog_run(tmp_path / "run", patched=2300)
    assert reproduce(run, "--gate").returncode == 6
    assert "open: not explained yet" in reproduce(run).stdout


def test_two_hosts_compare_claims(tmp_path):
    """R31: another host's run is compared verdict by verdict, however different its nanoseconds; both manifests and
    their difference stay.
    """
    here = blog_run(tmp_path / "here")
    make_there = blog_run(tmp_path / "there", patched=2300, host="there", module="kvm_amd")
    result = reproduce(here, "--against", make_there)
    assert result.returncode == 0, result.stderr
    assert "patch-gain" in result.stdout.split("against", 1)[1] and "verdicts are the same" in result.stdout
    manifests = [json.loads((here / f"manifest-{w}.json").read_text()) for w in ("here", "there")]
    assert [m["host"] for m in manifests] == ["host", "there"]
    assert "kvm_amd" in (here / "manifest.diff").read_text()


def test_measures_with_a_build(tmp_path):
    """What is asked of the driver: platforms with knobs and workloads that it lists, and nothing that it does not
    know.
    """
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "analysis", tree / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "build").mkdir()
    run = blog_run(tree / "results/run")
    driver = tree / "build/trapgate-bench"
    driver.write_text(
        "#!/bin/sh\nif [ $1 = --list ]; then printf 'workloads\\n  getpid   syscall  x\\n  spin   cpu  x\\nplatforms\\n"
        "  native   always\\n  ptrace   can run\\n  systrap   can run\\nsuites\\n  quick  x\\n'; exit; fi\n"
        f"echo \"$@\" >{tmp_path}/asked; ln -sfn {run} {tree}/results/latest\nexit 4\n"
    )
    driver.chmod(0o755)
    result = subprocess.run(
        ["/usr/bin/python3", "-B", tree / "analysis/reproduce.py", "--trials", "7"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    asked = (tmp_path / "asked").read_text().split()
    assert "--workloads=getpid,spin" in asked and "--trials=7" in asked
    platforms = next(a for a in asked if a.startswith("--platforms=")).split("=", 1)[1].split(",")
    assert platforms == ["ptrace", "ptrace:mm.fault_around_kb=4", "systrap", "systrap:systrap.patch=off"]
