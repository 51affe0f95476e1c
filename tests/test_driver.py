"""The driver: what it plans, what it says, and what it survives. As in test_bench.py, no number is judged."""
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, need
from test_bench import BENCH, bench, check_files, fake_build, finished, latest, no_duplicates  # noqa: F401
import rundata

IN_USER_NAMESPACE = ["unshare", "-rm"]


def namespaces():
    done = subprocess.run([*IN_USER_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    if done.returncode:
        pytest.skip("no user and mount namespaces here")


def plan_of(*args, binary=BENCH, **kwargs):
    """--dry-run as {(workload, placement, params): [variants]}."""
    result = bench("--dry-run", *args, binary=binary, **kwargs)
    assert result.returncode == 0, result.stderr
    plan = {}
    for line in result.stdout.splitlines()[1:]:
        if line.startswith("left out"):
            continue
        workload, placement, params, variants = line[:22].strip(), line[23:34].strip(), line[35:51].strip(), line[51:].split()
        plan[workload, placement, params] = variants
    return plan


# Plan

def test_native_in_every_group(fake_build):  # noqa: F811
    """No platform without native, its twin and the bare filter beside it."""
    plan = plan_of("--skip-missing", binary=fake_build)
    for (workload, _, params), variants in plan.items():
        if workload.startswith("floor-"):
            assert variants == ["native"]
        elif params == "twin=1":
            assert variants[0] == "native"
        else:
            assert variants[:3] == ["native", "native-aa", "native-seccomp"] and "honest" in variants


def test_filter(fake_build):  # noqa: F811
    plan = plan_of("--filter=getpid/honest*/free,read*/skipper,spin", binary=fake_build)
    natives = ["native", "native-aa", "native-seccomp"]
    assert plan["getpid", "free", ""] == natives + ["honest", "honest2"] and ("getpid", "same-cpu", "") not in plan
    assert plan["read0", "same-cpu", ""] == natives + ["skipper"]
    assert "mute" in plan["spin", "same-cpu", ""] and "mute" in plan["spin", "free", ""]
    assert {w for w, _, _ in plan if not w.startswith("floor")} == {"getpid", "read0", "spin"}
    assert ("floor-getpid", "free", "") in plan and ("floor-kvm-hlt", "same-cpu", "") not in plan


@pytest.mark.parametrize("pattern, word", [
    ("getpdi", "did you mean getpid?"), ("getpid/honets", "did you mean honest?"), ("getpid/*/same-cup", "did you mean same-cpu?"),
    ("a*b", "no workload"), ("getpid/*/*/x", "three parts"),
])
def test_wrong_filter(fake_build, pattern, word):  # noqa: F811
    result = bench(f"--filter={pattern}", binary=fake_build)
    assert result.returncode == 2 and word in result.stderr and not result.stdout


@pytest.mark.parametrize("args, word", [
    (["--budget=soon"], "90s or 4m"), (["--placements=anywhere"], "no placement"), (["frobnicate"], "doctor"), (["seccomp"], "command"),
    (["--extend=/nonexistent"], "resume"),
])
def test_wrong_words(args, word):
    result = bench(*args)
    assert result.returncode == 2 and word in result.stderr and not result.stdout


def fake_sysfs(root, cores, llc):
    """CPUs 0 and 1, the last ones of this machine at least: who shares what."""
    for cpu in os.sched_getaffinity(0):
        base = root / f"devices/system/cpu/cpu{cpu}"
        for index, shared in ((0, str(cpu)), (3, llc)):
            (base / f"cache/index{index}").mkdir(parents=True)
            (base / f"cache/index{index}/shared_cpu_list").write_text(shared + "\n")
        (base / "topology").mkdir()
        (base / "topology/thread_siblings_list").write_text((cores or str(cpu)) + "\n")
    return {**os.environ, "TRAPGATE_SYSFS": str(root)}


def test_placements_from_topology(tmp_path):
    """An SMT sibling and a cache neighbour become placements where they are not all there is."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU")
    everything = f"{cpus[0]}-{cpus[-1]}"
    (tmp_path / "a").mkdir()
    env = fake_sysfs(tmp_path / "a", None, everything)
    places = {p for _, p, _ in plan_of("--suite=full", "--platforms=native", env=env)}
    # With two CPUs a pair is `free`; with more, two cores under one cache are a place of their own.
    assert places == {"same-cpu", "free"} | ({"same-llc"} if len(cpus) > 2 else set())
    if len(cpus) > 2:
        (tmp_path / "b").mkdir()
        env = fake_sysfs(tmp_path / "b", f"{cpus[-2]},{cpus[-1]}", everything)
        plan = plan_of("--suite=full", "--platforms=native", env=env)
        assert {p for _, p, _ in plan} == {"same-cpu", "free", "smt-sibling", "same-llc"}
        assert ("floor-getpid", "smt-sibling", "") in plan


def test_one_cpu_has_one_placement():
    cpu = max(os.sched_getaffinity(0))
    result = subprocess.run(["taskset", "-c", str(cpu), BENCH, "--dry-run", "--platforms=native"], capture_output=True, text=True)
    assert result.returncode == 0 and "same-cpu" in result.stdout and " free " not in result.stdout
    result = subprocess.run(["taskset", "-c", str(cpu), BENCH, "--dry-run", "--placements=free"], capture_output=True, text=True)
    assert result.returncode == 2 and "no placement here called free" in result.stderr


def test_sweeps_are_in_their_suites():
    quick, scaling = plan_of("--platforms=native"), plan_of("--suite=scaling", "--platforms=native")
    assert not [k for k in quick if "=" in k[2] and "twin" not in k[2] and "program" not in k[2]]
    levels = {}
    for workload, _, params in scaling:
        if "=" in params:
            levels.setdefault((workload, params.split("=")[0]), set()).add(int(params.split("=")[1]))
    assert levels and all(len(v) >= 3 for v in levels.values())


# Files

def small(out, *args, **kwargs):
    return bench("--platforms=native", "--filter=sched-yield", "--no-summary", "--out", out, *args, **kwargs)


def test_extension_is_on_record(tmp_path):
    assert small(tmp_path, "--trials=2", "--seed=5").returncode == 0
    run = latest(tmp_path)
    before, rows = check_files(run, with_summary=False)
    assert before["extensions"] == [] and before["complete"]
    assert bench("--extend", run, "--trials=1", "--no-summary").returncode == 0
    after, more = check_files(run, with_summary=False)
    extension, = after["extensions"]
    assert (extension["from"], extension["to"], after["trials"], after["complete"]) == (2, 3, 3, True)
    assert after["order"][:3] == before["order"] and len(after["order"]) == 4
    assert more[:len(rows)] == rows and {r["block"] for r in more} == {0, 1, 2, 3}
    no_duplicates(more)
    # Once more without a number: as many again as the run has.
    assert bench("--extend", run, "--no-summary").returncode == 0
    assert [(e["from"], e["to"]) for e in check_files(run, with_summary=False)[0]["extensions"]] == [(2, 3), (3, 6)]


def test_extension_of_the_unfinished(tmp_path):
    assert small(tmp_path, "--trials=1").returncode == 0
    run = latest(tmp_path)
    plan = rundata.read_json(run, "plan.json")
    plan["complete"] = False
    (run / "plan.json").write_text(json.dumps(plan))
    result = bench("--extend", run)
    assert result.returncode == 2 and "--resume it first" in result.stderr
    assert rundata.read_json(run, "plan.json")["extensions"] == []


def test_other_binaries_are_refused(tmp_path):
    assert small(tmp_path, "--trials=1").returncode == 0
    run = latest(tmp_path)
    manifest = rundata.read_json(run, "manifest.json")
    manifest["binaries"]["sched-yield"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest))
    for option in ("--resume", "--extend"):
        result = bench(option, run)
        assert result.returncode == 4 and "other binaries" in result.stderr
    assert rundata.read_json(run, "plan.json")["trials"] == 1


def test_budget(tmp_path):
    """Rounds are cut once, after the warm-up, and never below six."""
    result = small(tmp_path, "--trials=400", "--budget=1s", timeout=300)
    assert result.returncode == 0 and "budget of 1 s" in result.stderr, result.stderr
    plan, rows = check_files(latest(tmp_path), with_summary=False)
    assert 6 <= plan["trials"] < 400 and len(plan["order"]) == plan["trials"] + 1 and plan["budget_s"] == 1
    assert {r["block"] for r in rows} == set(range(plan["trials"] + 1))


def test_full_disk(tmp_path):
    """What fits is kept whole, the exit status says that it can go on, and with room it does."""
    namespaces()
    script = f"""
        mount -t tmpfs -o size=256k none /mnt &&
        {BENCH} --quiet-wait=0 --platforms=native --filter='sched-yield,spin' --trials=60 --seed=3 --no-summary --out /mnt 2>/mnt.err
        echo first $?
        run=$(ls -d /mnt/2*)
        tail -c 1 $run/raw.csv | od -An -c
        mount -o remount,size=64m /mnt
        {BENCH} --quiet-wait=0 --no-summary --resume $run
        echo second $?
        cp -r $run {tmp_path}/run
    """.replace("/mnt.err", str(tmp_path / "err"))
    done = subprocess.run([*IN_USER_NAMESPACE, "sh", "-c", script], capture_output=True, text=True, timeout=300)
    assert "first 7" in done.stdout and "second 0" in done.stdout, done.stdout + done.stderr
    assert "\\n" in done.stdout.split("first 7")[1].split("second")[0]
    assert "the last block is lost" in (tmp_path / "err").read_text()
    (tmp_path / "run").rename(tmp_path / rundata.read_json(tmp_path / "run", "plan.json")["run_id"])
    run, = [p for p in tmp_path.iterdir() if p.is_dir()]
    plan, rows = check_files(run, with_summary=False)
    assert plan["complete"] and {r["block"] for r in rows} == set(range(61))
    no_duplicates(rows)


def test_unwritable_target(tmp_path):
    (tmp_path / "file").write_text("")
    result = small(tmp_path / "file" / "out", "--trials=1")
    assert result.returncode == 1 and "Not a directory" in result.stderr and not result.stdout


# Without this and that

def test_doctor():
    result = bench("doctor")
    assert result.returncode == 0 and result.stdout.startswith("trapgate ") and "problems" in result.stdout
    for module in ("numpy", "scipy", "jinja2"):
        done = subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], capture_output=True)
        assert (f"no {module}:" in result.stdout) == (done.returncode != 0)
    assert ("no gnuplot" in result.stdout) == (shutil.which("gnuplot") is None)


def test_works_without_anything(tmp_path):
    """No root, no /dev/kvm, no PMU, no gnuplot, no scipy: each is named in a line of its own, and the rest is measured."""
    namespaces()
    code = "import os, sys; print(*[d for d in sys.path if any(os.path.exists(d + m) for m in ('/numpy', '/scipy', '/jinja2'))])"
    found = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    hide = " && ".join(f"mount --bind {tmp_path}/empty {d}" for d in found) or "true"
    script = f"""
        mkdir {tmp_path}/empty
        {hide} &&
        mount -t tmpfs none /dev/shm && touch /dev/shm/none && mount -t tmpfs none /dev && mkdir /dev/shm &&
        : >/dev/null
        exec setpriv --reuid 0 --no-new-privs env -i PATH=/nonexistent \
            {BENCH} --quiet-wait=0 --filter=sched-yield/ptrace,sched-yield/systrap --trials=6 --out {tmp_path}/out
    """
    done = subprocess.run([*IN_USER_NAMESPACE, "sh", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 5), done.stderr
    for word in ("no /dev/kvm", "no gnuplot", "no scipy", "no numpy", "no jinja2"):
        lines = [line for line in done.stderr.splitlines() if word in line]
        assert len(lines) == 1 and len(lines[0]) < 160, (word, done.stderr)
    assert "sched-yield [same-cpu]" in done.stdout and "Traceback" not in done.stdout + done.stderr
    plan, _ = check_files(latest(tmp_path / "out"))
    assert plan["complete"]


def test_as_nobody(tmp_path):
    """An ordinary user gets numbers too; what the kernel then does not count is n/a with the reason, not 0."""
    if os.geteuid():
        pytest.skip("is nobody already")
    need("setpriv")
    home = tmp_path / "nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    path = tmp_path
    while str(path) != "/":
        path.chmod(path.stat().st_mode | 0o111) if path.owner() == "root" else None
        path = path.parent
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BENCH, "--quiet-wait=0",
                           "--platforms=native", "--filter=sched-yield", "--trials=1", "--no-summary", "--out", home],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "not root" in done.stderr, done.stderr
    _, rows = check_files(latest(home), with_summary=False)
    counters = rundata.read_json(latest(home), "manifest.json")["counters"]
    for name, state in counters.items():
        assert state == "ok" or re.fullmatch(r"n/a\(E[A-Z]+: .+\)", state)
        assert bool([r for r in rows if r["metric"] == name]) == (state == "ok")


def test_standard_output_is_results(tmp_path):
    result = small(tmp_path, "--trials=1")
    assert result.returncode == 0 and result.stdout == ""
    head = result.stderr.splitlines()
    assert head[0].startswith("trapgate ") and "doctor:" in head[0] and head[-1].startswith("OK: ") and head[-1].endswith("exit 0")


# What a filter is

def test_seccomp_variant(tmp_path):
    """The filter is on, long, lets ordinary programs be, and refuses what a container must not do."""
    def inside(*argv):
        return subprocess.run([BENCH, "seccomp", *argv], capture_output=True, text=True, timeout=60)
    assert "Seccomp:\t2" in inside("cat", "/proc/self/status").stdout
    assert inside("/usr/bin/python3", "-c", "import threading, socket; t = threading.Thread(target=print, args=('up',)); t.start(); "
                  "t.join(); socket.socketpair()").stdout == "up\n"
    assert inside("unshare", "-U", "true").returncode != 0 and inside("nonesuch").returncode == 127
    code = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); print(libc.syscall(%d, 0, 0, 0, 0), ctypes.get_errno())"
    for nr, errno in ((165, 1), (169, 1), (321, 1), (435, 38), (39, None)):     # mount reboot bpf clone3 getpid
        out = inside("/usr/bin/python3", "-c", code % nr).stdout.split()
        assert (out[0] == "-1" and int(out[1]) == errno) if errno else int(out[0]) > 0
    assert small(tmp_path, "--trials=1").returncode == 0
    _, rows = check_files(latest(tmp_path), with_summary=False)
    assert {"native", "native-aa", "native-seccomp"} == {r["platform"] for r in rows if r["workload"] == "sched-yield"
                                                         and not r["params"]}


# Counters

FAKE_PMU = r"""
/* perf_event_open as a machine with a busy PMU has it: what asks for hardware counts 3000 in a quarter of the time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long nr, ...)
{
	static long (*real)(long, ...);
	long a[6];
	va_list ap;
	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		real = dlsym(RTLD_NEXT, "syscall");
	if (nr == SYS_perf_event_open && ((struct perf_event_attr *)a[0])->type != PERF_TYPE_SOFTWARE) {
		const struct perf_event_attr *attr = (void *)a[0];
		const uint64_t reading[3] = { attr->exclude_host ? 0 : 3000, 4000, 1000 };
		int fd;

		if (attr->type == PERF_TYPE_HW_CACHE) {
			errno = ENOENT;
			return -1;
		}
		fd = memfd_create("pmu", 0);
		/* Who does not ask for the times gets the count only. */
		pwrite(fd, reading, attr->read_format == (PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING) ? 24 : 8, 0);
		return fd;
	}
	return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
"""


def test_multiplexed_counters(tmp_path):
    """Counts that shared the hardware are scaled and flagged; what cannot be opened is n/a and no row; guest and host apart."""
    need("gcc")
    (tmp_path / "pmu.c").write_text(FAKE_PMU)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", tmp_path / "pmu.so", tmp_path / "pmu.c", "-ldl"], check=True)
    result = small(tmp_path / "out", "--trials=1", env={**os.environ, "LD_PRELOAD": str(tmp_path / "pmu.so")})
    assert result.returncode == 0, result.stderr
    run = latest(tmp_path / "out")
    _, rows = check_files(run, with_summary=False)
    counters = rundata.read_json(run, "manifest.json")["counters"]
    assert counters["cycles_host_per_op"] == "ok" and counters["dtlb_misses_host_per_op"].startswith("n/a(ENOENT: no PMU")
    cell = [r for r in rows if (r["platform"], r["workload"], r["params"], r["block"]) == ("native", "sched-yield", "", 1)]
    by_metric = {r["metric"]: r for r in cell}
    cycles = by_metric["cycles_host_per_op"]
    assert cycles["status"] == "scaled" and cycles["reason"] == "counted 25 % of the time"
    # 3000 counted in a quarter of the time are 12000, over three batches of n_inner operations.
    assert cycles["value"] == pytest.approx(12000 / (3 * cycles["n_inner"]), rel=1e-4)
    assert by_metric["cycles_guest_per_op"]["value"] == 0 and "dtlb_misses_host_per_op" not in by_metric
    assert by_metric["context_switches_per_op"]["status"] == "ok"


def test_no_counters_no_rows(tmp_path):
    assert small(tmp_path, "--trials=1", "--no-counters").returncode == 0
    _, rows = check_files(latest(tmp_path), with_summary=False)
    assert not [r for r in rows if r["metric"] in ("cpu_ns_per_op", "context_switches_per_op")]


def test_counters_see_the_whole_sandbox(platform, tmp_path):
    """Context switches and CPU time of stubs and threads are in; so are the sentry's own counts."""
    result = bench(f"--filter=pipe-pingpong/{platform}/same-cpu", "--trials=1", "--no-summary", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    _, rows = check_files(latest(tmp_path), with_summary=False)
    values = {r["metric"]: r["value"] for r in rows if (r["platform"], r["params"], r["block"]) == (platform, "", 1)}
    if "context_switches_per_op" in values:
        assert values["context_switches_per_op"] >= 1           # two processes on one CPU take turns
    assert values["cpu_ns_per_op"] > 0 and values["threads"] >= 2 and values["rss_kib"] > 0
    assert values["switches_per_op"] >= 4 and values["host_calls_per_op"] > 0
    assert values["cpu_ns_per_op"] == pytest.approx(values["user_ns_per_op"] + values["system_ns_per_op"], rel=1e-3)


# Histograms

def test_histogram(tmp_path):
    assert small(tmp_path, "--trials=1").returncode == 0
    run = latest(tmp_path)
    check_files(run, with_summary=False)
    rows = rundata.read_csv(run / "hist.csv")
    groups = {}
    for row in rows:
        groups.setdefault((row["platform"], row["workload"], row["placement"], row["block"]), []).append(row)
    assert ("native", "sched-yield", "same-cpu", 1) in groups
    for bins in groups.values():
        assert 8 <= sum(b["count"] for b in bins) <= 4000
        for low, high in zip(bins, bins[1:]):
            assert low["high_ns"] <= high["low_ns"] * (1 + 1e-5)
        # Log-linear: a bin is a sixteenth of its octave, so no wider than that of its lower edge; below, a tick.
        assert all(b["high_ns"] - b["low_ns"] <= max(b["low_ns"] / 16, 1) * 1.001 for b in bins)
