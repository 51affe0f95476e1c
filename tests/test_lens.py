"""The instruction lens: what it believes, what its gate lets through, and that two machines count alike."""
import csv
import json
import struct
import subprocess
import sys

import jsonschema
import pytest

from conftest import BUILD, PLATFORMS, ROOT, need, run

sys.path[:0] = [str(ROOT / "bench/lens"), str(ROOT / "bench/machine")]

import breakdown  # noqa: E402
import cells  # noqa: E402
import initramfs  # noqa: E402
import lens  # noqa: E402
import symbols  # noqa: E402
import lens_table as table  # noqa: E402

LENS = ROOT / "bench/lens/lens.py"
CASE = cells.Case("getpid", False, 64)
NATIVE = cells.Variant("native")


def page(ops=576, good=576, state=cells.DONE, ticks=(640,) * 9, name=b"getpid", version=cells.VERSION):
    data = bytearray(cells.BYTES)
    struct.pack_into("<QII", data, 0, cells.MAGIC, version, state)
    struct.pack_into("<32s", data, 16, name)
    struct.pack_into("<QIIQQ", data, 200, 64, len(ticks), 0, ops, good)
    struct.pack_into("<IIII", data, 256, 0, 19, 7, 0)
    struct.pack_into(f"<{len(ticks)}Q", data, cells.TICKS, *ticks)
    return bytes(data)


def test_the_page_is_the_workloads_own():
    data = subprocess.run([BUILD / "workloads/getpid", "8", "5", "0"], capture_output=True, timeout=30, check=True).stdout
    got = cells.page_read(data)
    assert (got.name, got.inner, len(got.ticks), got.ops, got.good) == ("getpid", 8, 5, 40, 40)
    assert all(got.ticks)


def test_a_good_page_is_a_row():
    status, reason, got = lens.row_of(NATIVE, CASE, page(), "0 ")
    assert (status, reason, got.per_op) == ("ok", "", 10)


@pytest.mark.parametrize("data, line, status", [
    (page(good=575), "0 ", "invalid"),
    (page(name=b"getppid"), "0 ", "invalid"),
    (page(version=1), "0 ", "invalid"),
    (page()[:-1], "0 ", "invalid"),
    (b"", "0 ", "invalid"),
    (page(ticks=()), "0 ", "invalid"),
    (page(), "1 trapgate: no", "failed"),
    (b"", "137 Killed", "timeout"),
    (page(state=cells.UNSUPPORTED), "1 ", "unsupported"),
    (page(state=cells.ERROR), "1 ", "failed"),
])
def test_a_page_that_proves_nothing_is_no_figure(data, line, status):
    got, reason, value = lens.row_of(NATIVE, CASE, data, line)
    assert got == status and reason and value is None


def rows_of(**values):
    """Rows natively; None: failed."""
    good = lambda v: ("ok", "", cells.page_read(page(ticks=(v,) * 9)))  # noqa: E731
    return list(lens.csv_rows({(NATIVE, cells.Case(n, False, 64)): good(v) if v else ("failed", "why", None)
                               for n, v in values.items()}, "test"))


def test_rows_are_as_the_schema_says():
    schema = json.loads((ROOT / "results/raw.schema.json").read_text())
    for row in rows_of(getpid=6400, stat=None):
        row["value"] = float(row["value"]) if row["value"] else None
        jsonschema.validate(row, schema)
        assert list(row) == list(schema["properties"])


@pytest.mark.parametrize("now, bad", [
    ({"getpid": 6400, "stat": 64000}, []),
    ({"getpid": 6528, "stat": 64000}, []),              # exactly 2 %
    ({"getpid": 6529, "stat": 64000}, ["getpid"]),
    ({"getpid": 6400, "stat": None}, ["stat"]),
    ({"getpid": 100, "stat": 64000}, []),
    ({"getpid": 6400, "stat": 64000, "open": 1}, []),   # new
])
def test_the_gate(now, bad):
    baseline = rows_of(getpid=6400, stat=64000)
    assert [row["workload"] for row, _ in lens.over_limit(rows_of(**now), baseline)] == bad


def test_the_gate_names_the_row(tmp_path, capsys):
    lens.csv_write(tmp_path / "lens.csv", rows_of(getpid=6400))
    assert lens.gate(rows_of(getpid=6400), tmp_path / "lens.csv") == 0
    capsys.readouterr()
    assert lens.gate(rows_of(getpid=12800), tmp_path / "lens.csv") == 1
    assert "native getpid: 100.0 instructions in the baseline, now 200.0, +100.0 %" in capsys.readouterr().err
    assert lens.gate([], tmp_path / "none.csv") == 2


def test_a_difference_in_one_batch_shows():
    one = {(NATIVE, CASE): ("ok", "", cells.page_read(page()))}
    other = {(NATIVE, CASE): ("ok", "", cells.page_read(page(ticks=(640,) * 8 + (641,))))}
    failed = {(NATIVE, CASE): ("failed", "why", None)}
    assert not list(lens.differences(one, one))
    assert len(list(lens.differences(one, other))) == 1
    assert len(list(lens.differences(one, failed))) == 1


def test_the_table_has_every_cell():
    text = table.render(rows_of(getpid=6400, stat=None, **{"floor-getpid": 640}))
    assert [line.split() for line in text.splitlines()] == [
        ["instructions", "native"], ["getpid", "100"], ["stat", "failed"], [], ["instructions", "native"], ["floor-getpid", "10"]]


@pytest.mark.parametrize("options, message", [
    (["--platforms=nosuch"], "no platform nosuch"), (["--workloads=getpod"], "no workload getpod"), (["--build=/nonexistent"], "missing")])
def test_wrong_usage(options, message):
    done = run([LENS, "run", *options])
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_machine_is_one_sentence(tmp_path):
    """Neither QEMU nor anything else outside the kernel's cache is looked for twice."""
    done = run([LENS, "run", "--workloads=getpid", "--platforms=native", f"--out={tmp_path}"],
               env={"PATH": "/nonexistent", "BUILD": str(BUILD), "LC_ALL": "C"})
    assert done.returncode == 125, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "missing" in done.stderr


def test_a_machine_that_dies_fails_its_own_cells_only(monkeypatch, tmp_path):
    def boot(build, variant, cases, timeout):
        if variant.platform == "native":
            raise lens.MachineError("native: the machine took longer than 1 s")
        return {c.name: (page(), "0 ") for c in cases}

    monkeypatch.setattr(lens, "boot", boot)
    monkeypatch.setattr(lens, "kernel_get", lambda cache: None)
    monkeypatch.setattr(lens.machine, "qemu_path", lambda: "")
    out = lens.measure(tmp_path, [NATIVE, cells.Variant("ptrace")], [CASE], 1, 2)
    assert [status for status, _, _ in out.values()] == ["failed", "ok"]
    assert "longer than 1 s" in out[NATIVE, CASE][1]


# ---- symbols and the breakdown ----

def test_the_mark_closes_the_loop():
    addr, code = breakdown.loop_mark(BUILD / "workloads/getpid")
    text = run(["objdump", "-d", "--disassemble=batch", BUILD / "workloads/getpid"]).stdout
    line = next(ln for ln in text.splitlines() if ln.strip().startswith(f"{addr:x}:"))
    assert "\tj" in line and "".join(line.split("\t")[1].split()) == code


def test_rounds_are_cut_at_the_mark():
    assert breakdown.split([9, 1, 2, 9, 3, 9], 9) == [[9, 1, 2], [9, 3], [9]]


def test_names_of_addresses():
    maps = symbols.read_maps("== sh\n00400000-00401000 r-xp 00000000 00:02 5 /bin/busybox\n"
                             "== trapgate\n7f0000404000-7f000046f000 r-xp 00004000 00:02 9 /x/trapgate\n"
                             "7f00006f0000-7f00006f1000 rw-p 00000000 00:00 0\n")
    assert [(m.start, m.sentry) for m in maps] == [(0x400000, False), (0x7f0000404000, True)]
    names = symbols.Table([(10, "a"), (20, "b")])
    assert [names.find(x) for x in (9, 10, 19, 20, 99)] == [None, "a", "a", "b", "b"]


# ---- with a machine ----

@pytest.fixture(scope="module")
def machine_cache():
    need("qemu-system-x86_64")
    need("cpio")
    (BUILD / "machine").mkdir(exist_ok=True)
    try:
        lens.kernel_get(BUILD / "machine/kernel")
    except lens.MachineError as e:
        pytest.skip(f"no kernel for the machine: {e}")
    return BUILD / "machine"


def test_equal_input_equal_archive(machine_cache, tmp_path):
    kernel = lens.kernel_get(machine_cache / "kernel")
    for name in ("one", "two"):
        initramfs.make(tmp_path / name, kernel, {"build/trapgate": BUILD / "trapgate"}, "exit 0\n")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.timeout(1200)
def test_two_machines_count_alike(machine_cache, tmp_path):
    """Every batch of every row, on each platform; make lens-check does it for all workloads."""
    platforms = ",".join(["native", *(p for p in PLATFORMS if p != "kvm")])
    done = run([LENS, "check", f"--platforms={platforms}", "--workloads=getpid,fault-segv,pipe-pingpong", f"--out={tmp_path}"],
               timeout=1100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "two runs agree in every batch" in done.stdout
    with open(next(tmp_path.glob("*-lens/lens.csv")), newline="") as f:
        rows = list(csv.DictReader(f))
    assert rows and all(r["status"] == "ok" for r in rows), rows


@pytest.mark.timeout(900)
def test_a_traced_round_is_what_the_lens_counts(machine_cache, tmp_path):
    """The trace and the clock are two ways to count; they may differ by the loop's share of reading the clock."""
    done = run([LENS, "run", "--platforms=native", "--workloads=getpid", f"--out={tmp_path}"], timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run([ROOT / "bench/lens/breakdown.py", "--platforms=native", f"--out={tmp_path}"], timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(next(tmp_path.glob("*-lens/lens.csv")), newline="") as f:
        counted = float(next(csv.DictReader(f))["value"])
    with open(next(tmp_path.glob("*-lens/breakdown.csv")), newline="") as f:
        rows = list(csv.DictReader(f))
    assert abs(sum(int(r["instructions"]) for r in rows) - counted) < 0.02 * counted
    names = {(r["component"], r["function"]) for r in rows}
    assert {("guest", "batch"), ("host kernel", "__x64_sys_getpid")} <= names
    assert {c for c, _ in names} == {"guest", "host kernel"}
