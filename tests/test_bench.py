"""The laboratory: workloads, driver, statistics, files. Numbers are not judged here, only how they come about."""
import csv
import json
import math
import os
import pty
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

import jsonschema
import pytest

from conftest import BUILD, PLATFORMS, ROOT

sys.path.insert(0, str(ROOT / "analysis"))
import rundata  # noqa: E402
import stats  # noqa: E402
import summary  # noqa: E402

BENCH = BUILD / "trapgate-bench"
RAW_HEADER = ("schema,run_id,host,platform,knobs,workload,params,placement,block,position,launch,metric,unit,value,n_inner,"
              "status,reason")
SUMMARY_HEADER = ("schema,run_id,host,platform,knobs,workload,params,placement,metric,unit,n,median,ci_low,ci_high,p99,floor,"
                  "ratio_floor,ratio_native,ratio_ci_low,ratio_ci_high,verdict,status")
HIST_HEADER = "schema,run_id,host,platform,knobs,workload,params,placement,block,launch,low_ns,high_ns,count"
NAMES = ("getpid getpid-var read0 write1 open-close stat sched-yield clock-gettime clock-gettime-raw pipe-pingpong "
         "futex-pingpong signal-self fork-exit fork-exec epoll-pipe fault-anon fault-random fault-file fault-cow fault-segv "
         "mmap-munmap mmap-touch-munmap spin memory-bandwidth fault-size call-rate scale-tasks scale-procs").split()
FLOORS = ("getpid sysemu populate sigsys sigsys-spin sigsys-futex notify notify-wake sud spin futex kvm-hlt kvm-syscall kvm-ring0 "
          "kvm-fault").split()

# A sentry made of shell: each of its platforms goes wrong in its own way, but for the honest ones. It counts what the workload
# says it did; skipper leaves one call in a hundred out, doubler counts one too many.
FAKE = r"""#!/bin/sh
if [ "$1" = platforms ]; then
	printf '{"platforms": ['
	for p in honest honest2 skipper doubler crasher killed hanger mute; do printf '{"name": "%s", "available": true}, ' $p; done
	printf '{"name": "absent", "available": false, "reason": "it needs a thing that is not here"}]}'
	exit 0
fi
shift
while [ "$1" != -- ]; do
	case "$1" in
	--platform=*) platform=${1#*=} ;;
	--stats) shift; stats=$1 ;;
	esac
	shift
done
shift
case $platform in
crasher) echo "trapgate: no luck, \"today\"" >&2; exit 125 ;;
killed) kill -SEGV $$ ;;
hanger) sleep 98.765 ;;
mute) exit 0 ;;
esac
"$@" >"$stats.page"
status=$?
cat "$stats.page"
# struct sample_page: ops at 216, min_switches at 232, calls at 272.
at() { od -An -tu8 -j $1 -N 8 "$stats.page" | tr -d ' '; }
switches=$(at 232)
calls=$((switches + $(at 272)))
case $platform in
skipper) switches=$((switches * 99 / 100)) ;;
doubler) calls=$((calls + 1)) ;;
esac
rm -f "$stats.page"
echo "{\"switches\": $switches, \"calls\": {\"getpid\": $calls}, \"faults\": 1}" >"$stats"
exit $status
"""


def bench(*args, binary=BENCH, **kwargs):
    kwargs.setdefault("timeout", 120)
    return subprocess.run([str(binary), "--quiet-wait=0", *[str(a) for a in args]], capture_output=True, text=True, **kwargs)


def finished(result):
    """All cells measured. Whether the machine was quiet enough (exit 5 if not) is no test's business."""
    assert result.returncode in (0, 5), result.stderr
    return result


def latest(out):
    return (out / "latest").resolve()


def schema(name):
    return json.loads((ROOT / "results" / f"{name}.schema.json").read_text())


def check_files(run, with_summary=True):
    """All files of a run folder against their schemas; returns (plan, raw rows)."""
    plan = rundata.read_json(run, "plan.json")
    jsonschema.validate(plan, schema("plan"))
    jsonschema.validate(rundata.read_json(run, "manifest.json"), schema("manifest"))
    for name, header in (("raw", RAW_HEADER), ("summary", SUMMARY_HEADER), ("hist", HIST_HEADER)):
        if name == "summary" and not with_summary:
            continue
        if name == "hist" and not (run / "hist.csv").exists():
            continue
        text = (run / f"{name}.csv").read_text()
        assert text.splitlines()[0] == header
        assert list(schema(name)["properties"]) == header.split(",")
        check = jsonschema.Draft202012Validator(schema(name))
        for row in rundata.read_csv(run / f"{name}.csv"):
            check.validate(row)
        assert len(list(csv.reader(text.splitlines()))) == text.count("\n")
    return plan, rundata.read_csv(run / "raw.csv")


def no_duplicates(rows):
    keys = [(r["block"], r["position"], r["metric"]) for r in rows]
    assert len(keys) == len(set(keys))


@pytest.fixture(scope="module")
def fake_build(tmp_path_factory):
    """A build folder with the real driver and workloads, and the fake sentry."""
    root = tmp_path_factory.mktemp("fake")
    build = root / "build"
    build.mkdir()
    shutil.copy(BENCH, build / "trapgate-bench")
    (build / "workloads").symlink_to(BUILD / "workloads")
    (root / "analysis").symlink_to(ROOT / "analysis")
    (build / "trapgate").write_text(FAKE)
    (build / "trapgate").chmod(0o755)
    return build / "trapgate-bench"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One small native run that several tests look at."""
    out = tmp_path_factory.mktemp("tiny")
    result = bench("--platforms=native", "--workloads=getpid,fault-anon,startup,footprint", "--trials=6", "--seed=7", "--out", out)
    return result, latest(out)


# Workloads

def decode_page(data):
    names = "magic version state name help class placements traps twin fixed inner batches warmups ops good min_switches".split()
    page = dict(zip(names, struct.unpack_from("<QII32s128sIIIIQQIIQQQ", data)))
    page["name"] = page["name"].rstrip(b"\0").decode()
    return page


@pytest.mark.parametrize("name", NAMES + [n + ".twin" for n in NAMES])
def test_workload_natively(name):
    done = subprocess.run([BUILD / "workloads" / name, "0", "3", "3", "200000"], capture_output=True, timeout=60)
    assert done.returncode == 0 and len(done.stdout) == 8192
    page = decode_page(done.stdout)
    assert (page["state"], page["name"]) == (2, name.removesuffix(".twin"))
    assert page["good"] == page["ops"] >= page["inner"] * page["batches"] > 0
    assert page["twin"] == name.endswith(".twin")
    if page["twin"]:
        assert page["min_switches"] == 0


@pytest.mark.parametrize("name", FLOORS)
def test_floor(name):
    done = subprocess.run([BUILD / "workloads" / f"floor-{name}", "0", "3", "3", "200000"], capture_output=True, timeout=60)
    page = decode_page(done.stdout)
    if page["state"] == 4:
        pytest.skip("not supported here")
    assert done.returncode == 0 and page["state"] == 2 and page["good"] == page["ops"] > 0


def test_counts_are_kept():
    data = subprocess.run([BUILD / "workloads/getpid", "1000", "7", "0"], capture_output=True, timeout=60).stdout
    page = decode_page(data)
    assert (page["inner"], page["batches"], page["ops"], page["min_switches"]) == (1000, 7, 7000, 7000)
    text = subprocess.run([BENCH, "--decode"], input=data, capture_output=True, timeout=60)
    assert text.returncode == 0 and b"inner 1000" in text.stdout


def test_getpid_has_the_pattern():
    pattern = b"\xb8\x27\0\0\0\x0f\x05"            # mov $39, %eax; syscall
    assert pattern in (BUILD / "workloads/getpid").read_bytes()
    assert pattern not in (BUILD / "workloads/getpid-var").read_bytes()


@pytest.mark.parametrize("name", ["getpid", "clock-gettime", "fault-segv", "pipe-pingpong", "futex-pingpong", "fork-exec"])
def test_workload_in_sandbox(name, platform, tmp_path):
    """The same binary, its page out through standard output, and the sentry's count to prove the work."""
    done = subprocess.run([BUILD / "trapgate", "run", f"--platform={platform}", "--stats", tmp_path / "s", "--",
                           BUILD / "workloads" / name, "0", "3", "3", "200000"], capture_output=True, timeout=120)
    page = decode_page(done.stdout)
    assert done.returncode == 0 and page["state"] == 2 and page["good"] == page["ops"]
    assert json.loads((tmp_path / "s").read_text())["switches"] >= page["min_switches"]


# The driver

def test_list():
    listed = bench("--list").stdout
    for name in NAMES + ["startup", "footprint"] + [f"floor-{f}" for f in FLOORS]:
        assert f"  {name} " in listed
    for name in PLATFORMS:
        assert f"  {name} " in listed


@pytest.mark.parametrize("args, word", [
    (["--workloads=getpdi"], "did you mean getpid?"),
    (["--suite=quik"], "did you mean quick?"),
    (["--platforms=hones"], "did you mean honest?"),
    (["--bogus"], "unrecognized"),
    (["--trials=0"], "number"),
    (["--knob=nothing"], "KNOB=VALUE"),
    (["--resume=/nonexistent"], "resume"),
])
def test_wrong_usage(fake_build, args, word):
    result = bench(*args, binary=fake_build)
    assert result.returncode == 2 and word in result.stderr and not result.stdout


def test_missing_platform(fake_build, tmp_path):
    result = bench("--platforms=absent", binary=fake_build)
    assert result.returncode == 3 and "a thing that is not here" in result.stderr
    result = bench("--platforms=absent", "--skip-missing", "--dry-run", binary=fake_build)
    assert result.returncode == 0 and "left out: absent" in result.stdout


def test_dry_run_writes_nothing(tmp_path):
    result = bench("--dry-run", "--out", tmp_path / "out")
    assert result.returncode == 0 and "seed" in result.stdout and not (tmp_path / "out").exists()


def test_tiny_run(tiny):
    result, run = tiny
    finished(result)
    plan, rows = check_files(run)
    assert plan["complete"] and plan["seed"] == 7 and plan["subset"]
    manifest = rundata.read_json(run, "manifest.json")
    assert manifest["complete"] and manifest["ended"] and manifest["binaries"]["getpid"]
    no_duplicates(rows)
    # Each row is where the plan put it.
    cells = {c["id"]: c for c in plan["cells"]}
    for row in rows:
        cell = cells[plan["order"][row["block"]][row["position"]]]
        assert rundata.identity(row) == rundata.identity(cell)
        assert (row["status"] == "warmup") == (row["block"] == 0)
        assert row["n_inner"] == cell["inner"] or row["block"] == 0
    # The A/A twin does the very same as native.
    for cell in plan["cells"]:
        if cell["platform"] == "native-aa":
            native, = [c for c in plan["cells"] if c["group"] == cell["group"] and c["platform"] == "native"]
            assert (cell["inner"], cell["batches"]) == (native["inner"], native["batches"])


def test_tiny_summary(tiny):
    result, run = tiny
    rows = rundata.read_csv(run / "summary.csv")
    plan = rundata.read_json(run, "plan.json")
    times = [r for r in rows if r["metric"] == "ns_per_op"]
    assert {rundata.identity(r) for r in rows} == {rundata.identity(c) for c in plan["cells"]}
    for row in times:
        assert row["n"] == 6 and row["status"] == "ok" and row["ci_low"] <= row["median"] <= row["ci_high"]
    native, = [r for r in times if (r["workload"], r["params"], r["platform"], r["placement"]) == ("getpid", "", "native", "same-cpu")]
    floor, = [r for r in times if (r["workload"], r["placement"]) == ("floor-getpid", "same-cpu")]
    assert native["floor"] == floor["median"] and native["verdict"] == "reference" and floor["verdict"] == "floor"
    assert math.isclose(native["ratio_floor"], native["median"] / floor["median"], rel_tol=0.01)
    # Results on standard output, progress on standard error.
    assert "getpid [same-cpu]" in result.stdout and "A/A noise floor" in result.stdout and "SUBSET" in result.stdout
    assert "block  6/6 done" in result.stderr and "\x1b" not in result.stdout + result.stderr
    if shutil.which("gnuplot"):
        for ending, magic in (("svg", b"<?xml"), ("png", b"\x89PNG")):
            assert (run / f"plots/time-syscall-same-cpu.{ending}").read_bytes().startswith(magic)


def test_without_gnuplot(tiny, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny[1], copy, ignore=shutil.ignore_patterns("plots"))
    result = subprocess.run(["/usr/bin/python3", "-B", ROOT / "analysis/summarize.py", copy], capture_output=True, text=True,
                            env={"PATH": "/nonexistent"}, timeout=60)
    assert result.returncode == 0 and "gnuplot is missing" in result.stdout and not (copy / "plots").exists()


def test_without_scipy(tiny, tmp_path):
    """Python without its packages: the summary is the same, and a line names what would bring the cross-check."""
    copy = tmp_path / "run"
    shutil.copytree(tiny[1], copy, ignore=shutil.ignore_patterns("plots", "*.html"))
    result = subprocess.run(["/usr/bin/python3", "-B", "-S", ROOT / "analysis/summarize.py", "--no-plots", copy], capture_output=True,
                            text=True, timeout=60)
    assert result.returncode == 0 and "Debian package python3-numpy" in result.stdout, result.stderr
    assert (copy / "summary.csv").read_bytes() == (tiny[1] / "summary.csv").read_bytes()
    assert all(r["boot_low"] is None for r in rundata.read_csv(copy / "comparisons.csv"))


def test_summarize_not_a_run(tmp_path):
    result = subprocess.run(["/usr/bin/python3", "-B", ROOT / "analysis/summarize.py", tmp_path], capture_output=True, text=True)
    assert result.returncode == 2 and "no run folder" in result.stderr and "Traceback" not in result.stderr


def test_failing_cells(fake_build, tmp_path):
    """Each way to fail is a row with status and reason; the honest cells are measured all the same."""
    result = bench("--workloads=getpid", "--trials=2", "--timeout=2", "--out", tmp_path, binary=fake_build)
    assert result.returncode == 124, result.stderr
    plan, rows = check_files(latest(tmp_path))
    assert plan["complete"] and plan["skipped"] == [{"platform": "absent", "reason": "it needs a thing that is not here"}]
    seen = {}
    for row in rows:
        if row["status"] not in ("ok", "warmup"):
            assert row["value"] is None and row["metric"] == "ns_per_op"
            seen.setdefault(row["platform"], set()).add((row["status"], row["reason"]))
    assert set(seen) == {"skipper", "doubler", "crasher", "killed", "hanger", "mute"}
    assert {s for p in seen.values() for s, _ in p} == {"invalid", "failed", "timeout"}
    reason = {p: next(iter(r))[1] for p, r in seen.items()}
    assert "switches needed; the sentry counted" in reason["skipper"]
    assert "system calls made; the sentry counted" in reason["doubler"]
    assert "exit status 125: trapgate: no luck; 'today'" in reason["crasher"]
    assert "signal 11" in reason["killed"] and "no end after 2 s" in reason["hanger"] and "no sample page" in reason["mute"]
    for row in rundata.read_csv(latest(tmp_path) / "summary.csv"):
        if row["platform"] in seen:
            assert row["n"] == 0 and row["status"] in ("invalid", "failed", "timeout")
        elif row["metric"] == "ns_per_op":
            assert row["n"] == 2
    assert "no end after 2 s" in result.stdout


def test_cell_that_fails_alone_is_exit_4(fake_build, tmp_path):
    result = bench("--platforms=skipper", "--workloads=getpid", "--trials=1", "--out", tmp_path, "--no-summary", binary=fake_build)
    assert result.returncode == 4 and "work not proven" in result.stderr


def test_order_is_balanced(fake_build, tmp_path):
    """Over a full square each variant follows each other equally often, and the seed decides the order."""
    orders = []
    for out in ("a", "b"):
        result = bench("--platforms=honest,honest2", "--filter=getpid/*/same-cpu", "--trials=10", "--seed=11", "--out", tmp_path / out,
                       "--no-summary", binary=fake_build)
        assert result.returncode == 0, result.stderr
        orders.append(rundata.read_json(latest(tmp_path / out), "plan.json"))
    assert orders[0]["order"] == orders[1]["order"]
    plan = orders[0]
    cells = {c["id"]: c for c in plan["cells"]}
    group = next(c["group"] for c in plan["cells"] if c["platform"] == "honest" and not c["params"])
    follows, places = {}, {}
    for block in plan["order"][1:]:
        assert sorted(block) == sorted(cells)
        row = [i for i in block if cells[i]["group"] == group]
        for pair in zip(row, row[1:]):
            follows[pair] = follows.get(pair, 0) + 1
        for place in enumerate(row):
            places[place] = places.get(place, 0) + 1
    assert len(follows) == 20 and set(follows.values()) == {2}      # five variants: a square and its mirror image
    assert len(places) == 25 and set(places.values()) == {2}


def test_knobs_go_where_they_belong(fake_build, tmp_path):
    result = bench("--platforms=honest,honest2:honest2.a=1;honest2.b=2", "--knob=honest.x=on", "--knob=mm.y=4", "--workloads=getpid",
                   "--trials=1", "--out", tmp_path, "--no-summary", binary=fake_build)
    assert result.returncode == 0, result.stderr
    plan, _ = check_files(latest(tmp_path), with_summary=False)
    knobs = {c["platform"]: c["knobs"] for c in plan["cells"]}
    assert knobs["honest"] == "honest.x=on;mm.y=4" and knobs["honest2"] == "honest2.a=1;honest2.b=2;mm.y=4"
    assert knobs["native"] == ""


def start(out, trials):
    return subprocess.Popen([str(BENCH), "--quiet-wait=0", "--platforms=native", "--workloads=getpid,read0,spin", f"--trials={trials}", "--out", str(out)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_block(process, block):
    for line in process.stderr:
        if line.startswith(f"block  {block}/"):
            return
    pytest.fail("the driver ended early")


def test_interrupt_and_resume(tmp_path):
    process = start(tmp_path, 4)
    wait_for_block(process, 1)
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    assert process.wait(30) == 7
    run = latest(tmp_path)
    plan, before = check_files(run)
    assert not plan["complete"] and not rundata.read_json(run, "manifest.json")["complete"]
    assert any(r["status"] == "incomplete" for r in rundata.read_csv(run / "summary.csv"))
    result = bench("--resume", run)
    finished(result)
    plan, rows = check_files(run)
    assert plan["complete"] and rows[:len(before)] == before
    no_duplicates(rows)
    assert {r["block"] for r in rows} == {0, 1, 2, 3, 4}
    assert all(r["status"] == "ok" for r in rundata.read_csv(run / "summary.csv"))


def test_kill_and_torn_row(tmp_path):
    """After kill -9 at most a block is lost; a row torn in the middle goes, with its launch, and is measured again."""
    process = start(tmp_path, 3)
    wait_for_block(process, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    run, = [p for p in tmp_path.iterdir() if not p.is_symlink()]
    text = (run / "raw.csv").read_bytes()
    assert text.endswith(b"\n")
    (run / "raw.csv").write_bytes(text[:-25])
    result = bench("--resume", run)
    finished(result)
    plan, rows = check_files(run)
    no_duplicates(rows)
    assert {(r["block"], r["position"]) for r in rows} == {(b, p) for b in range(4) for p in range(len(plan["cells"]))}
    assert all(len({r["metric"] for r in rows if (r["block"], r["position"]) == (1, p)}) >= 5 for p in range(len(plan["cells"])))


def test_resume_refuses_another_plan(tiny, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny[1], copy)
    plan = rundata.read_json(copy, "plan.json")
    plan["cells"][0]["workload"] = "something-else"
    (copy / "plan.json").write_text(json.dumps(plan))
    result = bench("--resume", copy)
    assert result.returncode == 4 and "other cells" in result.stderr


def sleepers():
    return subprocess.run(["pgrep", "-fx", "sleep 98.765"], capture_output=True, text=True).stdout.split()


def test_no_process_is_left(fake_build, tmp_path):
    """Ctrl-C in the middle of a hanging cell takes the whole tree with it, orphans included."""
    process = subprocess.Popen([str(fake_build), "--quiet-wait=0", "--platforms=hanger", "--workloads=startup", "--trials=1", "--timeout=60", "--out",
                                str(tmp_path), "--no-summary"], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.time() + 30
    while not sleepers() and time.time() < deadline:
        time.sleep(0.05)
    assert sleepers()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 7 and not sleepers()


def test_bar_on_a_terminal(tmp_path):
    """Standard error is a terminal: a bar with the time left, redrawn in place; standard output stays clean."""
    master, slave = pty.openpty()
    done = subprocess.Popen([str(BENCH), "--quiet-wait=0", "--platforms=native", "--workloads=spin,memory-bandwidth", "--trials=2", "--out",
                             str(tmp_path)], stdout=subprocess.PIPE, stderr=slave, text=True)
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:
        pass
    out = done.communicate(timeout=60)[0]
    assert done.returncode in (0, 5) and b"left 0:" in shown and b"\r\x1b[K[" in shown and "\x1b" not in out


def test_platforms_tiny(platform, tmp_path):
    """Real platforms: every row valid, work proven, the floor joined."""
    result = bench(f"--platforms={platform}", "--workloads=getpid,fault-anon,startup,footprint", "--trials=1", "--out", tmp_path)
    finished(result)
    _, rows = check_files(latest(tmp_path))
    inside = {(r["workload"], r["metric"]) for r in rows if r["platform"] == platform and r["status"] == "ok"}
    assert {("getpid", "ns_per_op"), ("getpid", "switches"), ("fault-anon", "ns_per_op"), ("startup", "ns_per_op"),
            ("footprint", "rss_kib")} <= inside
    found = [r for r in rundata.read_csv(latest(tmp_path) / "summary.csv")
             if (r["platform"], r["metric"]) == (platform, "ns_per_op") and r["workload"] in ("getpid", "fault-anon")]
    assert found and all(r["ratio_native"] for r in found)
    if platform in ("ptrace", "systrap"):
        assert all(r["floor"] for r in found)


# Statistics

def test_sign_rank():
    assert [stats.sign_rank(n) for n in (1, 5, 6, 8, 9, 10, 20, 40)] == [0, 0, 1, 1, 2, 2, 6, 14]


def test_interval_and_median():
    assert stats.interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert stats.interval([1, 2, 3, 4, 5]) == (None, None)
    assert stats.interval(range(1, 21)) == (6, 15)
    assert stats.median([3, 1, 2]) == 2 and stats.median([4, 1, 2, 3]) == 2.5 and stats.median([]) is None


def test_sign_test():
    assert stats.sign_test([1] * 6) == pytest.approx(2 / 64)
    assert stats.sign_test([1, -1] * 5) == 1 and stats.sign_test([]) == 1 and stats.sign_test([0, 0]) == 1


def test_ratio_swaps_exactly():
    a, b = {1: 2.0, 2: 3.0, 3: 5.0, 4: 7.0, 5: 4.0, 6: 6.0}, {1: 1.0, 2: 2.0, 3: 2.0, 4: 3.0, 5: 5.0, 6: 2.0, 7: 9.0}
    ratio, low, high = stats.paired_ratio(a, b)
    back = stats.paired_ratio(b, a)
    assert (1 / back[0], 1 / back[2], 1 / back[1]) == pytest.approx((ratio, low, high))
    assert low == pytest.approx(4 / 5) and high == pytest.approx(3)
    assert stats.paired_ratio({1: 1.0}, {2: 1.0}) == (None, None, None)
    assert stats.paired_ratio({1: 3.0}, {1: 1.0}) == (pytest.approx(3), None, None)


def test_verdicts():
    assert stats.verdict(2, 1.8, 2.2, 1.05) == "slower" and stats.verdict(0.5, 0.4, 0.6, 1.05) == "faster"
    assert stats.verdict(1.04, 1.02, 1.06, 1.05) == "not resolved"          # inside the noise of native against itself
    assert stats.verdict(1.0, 0.99, 1.01, 1.2) == "equivalent" and stats.verdict(1.0, 0.5, 2, None) == "not resolved"
    assert stats.verdict(3, None, None, None) == "n too small" and stats.verdict(None, None, None, None) == ""
    assert stats.noise(0.9, 1.05) == pytest.approx(1 / 0.9) and stats.noise(None, None) is None


@pytest.mark.parametrize("n", [6, 10, 20])
def test_false_positives(n):
    """The same code on both sides, with drift, heavy tails and launch-to-launch noise: at most 7.5 % of intervals miss 1."""
    rng = random.Random(2026)
    missed, trials = 0, 4000
    for _ in range(trials):
        drift = rng.gauss(0, 0.1)
        sides = ({}, {})
        for block in range(n):
            level = drift * block / n + (0.5 if rng.random() < 0.05 else 0)
            order = [0, 1] if block % 2 else [1, 0]
            for place, side in enumerate(order):
                sides[side][block] = math.exp(level + 0.02 * place * drift + rng.gauss(0, 0.07) + (rng.random() < 0.1) * 0.4)
        _, low, high = stats.paired_ratio(*sides)
        missed += low > 1 or high < 1
    assert missed / trials <= 0.075


def test_digits():
    assert [summary.digits(x) for x in (None, 0.0, 123456.7, 97.24361, 0.012346)] == ["", "0", "123457", "97.24", "0.01235"]
