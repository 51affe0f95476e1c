"""
The hardware lane: the contract suite, the guest programs and the floors on a machine with AMD-V semantics, which QEMU's TCG
emulates, and on Debian's kernel. Two machines with one CPU each, whose clock counts instructions: a busy host changes nothing.

What fails there natively too is the emulator's or the kernel's own: it is skipped with that reason, and only if it shows.
"""
import concurrent.futures
import os
import shlex
import sys

import pytest

from conftest import BUILD, ROOT, need, run

sys.path[:0] = [str(ROOT / "bench/lens"), str(ROOT / "bench/machine")]

import cells  # noqa: E402
import machine  # noqa: E402
from boot import built  # noqa: E402
from kernel import MachineError, kernel_get  # noqa: E402

CASE_SECONDS, MACHINE_SECONDS = 120, 1500
SKIPPED = 77
EMULATOR = BUILD / "tests/amdv/emulator"

# Guests that fail natively in the machine: exit code of the check, and why it is not ours.
NATIVE_FAILURES = {
    "fs_mmap": (17, "this kernel keeps what was written behind the end of a mapped file"),
    "sig_altstack": (23, "this kernel refuses sigaltstack where newer ones do not"),
    "sig_fault": (32, "TCG raises no SSE exceptions"),
    "sig_frame": (14, "TCG's XRSTOR takes a bad MXCSR"),
    "loader_script": (4, "the machine has busybox instead of coreutils"),
}

# Contract cases that stumble on what tests/amdv/emulator.c shows natively.
QUIRKS = {
    "fault_kinds_absent": "bts-absent",
    "exceptions": "int1",
    "exceptions_late": "push-noncanonical",
    "privileged": "return-to-kernel-cs",
    "alignment_check": "misaligned",
    "compat_exceptions": "compat-int3",
}


def variants():
    try:
        return [v for v in cells.variants(BUILD) if v.knobs != "systrap.patch=off"]
    except (OSError, ValueError):
        return []


# A machine that executes a thousand million instructions a case takes minutes: a target of its own asks for it.
pytestmark = pytest.mark.skipif(not os.environ.get("AMDV"), reason="make test-amdv runs the hardware lane")

VARIANTS = variants()
SANDBOXES = [v for v in VARIANTS if v.platform != "native"]
GUESTS = sorted(p.stem for p in (ROOT / "tests/guests").glob("*.c"))
FLOORS = sorted(p.stem for p in (ROOT / "workloads/floors").glob("*.c"))
TWO_CPUS = {"floor-spin", "floor-sigsys-spin"}
CONTRACT = BUILD / "tests/contract/contract"
CASES = run([CONTRACT, "--list"]).stdout.split() if CONTRACT.exists() else []


def boot(chosen):
    files = {**built(BUILD, ("trapgate", "workloads/floor-*", "tests/contract/contract", "tests/guests/*")),
             "job.sh": ROOT / "tests/amdv/job.sh", "emulator": EMULATOR}
    job = "./emulator\n" + shlex.join(["sh", "job.sh", str(CASE_SECONDS), *map(str, chosen)]) + "\n"
    return machine.run(BUILD / "machine", files, job, timeout=MACHINE_SECONDS, lens=True)


class Lane:
    """rows[kind, variant, name] = (exit status, what it printed if that is not 0); quirks: what the emulator owned up to."""

    def __init__(self, results):
        self.rows, self.quirks, self.ends = {}, {}, []
        for result in results:
            self.read(result.output)
            self.ends.append(f"status {result.status}: {result.output[-400:]}")

    def read(self, output):
        said = []
        for line in output.splitlines():
            if line.startswith("| "):
                said.append(line[2:])
            elif line.startswith("quirk "):
                name, _, what = line[6:].partition(": ")
                self.quirks[name] = what
            elif line.startswith("row\t"):
                _, kind, platform, knobs, name, status, _ = line.split("\t")
                self.rows[kind, str(cells.Variant(platform, knobs)), name] = int(status), "\n".join(said)
                said = []

    def get(self, kind, variant, name):
        row = self.rows.get((kind, str(variant), name))
        assert row, f"{kind} {variant} {name} was not reached: {self.ends}"
        return row


@pytest.fixture(scope="module")
def lane():
    need("qemu-system-x86_64")
    need("cpio")
    (BUILD / "machine").mkdir(exist_ok=True)
    try:
        kernel_get(BUILD / "machine/kernel")
    except MachineError as e:
        pytest.skip(f"no kernel for the machine: {e}")
    # By halves that take about as long; the second begins with kvm.
    halves = [VARIANTS[:len(VARIANTS) // 2 + 1], VARIANTS[len(VARIANTS) // 2 + 1:][::-1]]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return Lane(pool.map(boot, [h for h in halves if h]))


@pytest.mark.timeout(2 * MACHINE_SECONDS + 120)
@pytest.mark.parametrize("name", FLOORS)
def test_floor(lane, name):
    """A floor that cannot run there says so in its page, with status 1."""
    status, _ = lane.get("floor", "native", name)
    if status == 1 and name in TWO_CPUS:
        pytest.skip("needs two CPUs")
    if status == 1 and name.startswith("floor-notify"):
        pytest.skip("this kernel has no wake-up on the same CPU for notifications")
    assert status == 0


@pytest.mark.parametrize("guest", GUESTS)
def test_guest_native(lane, guest):
    status, said = lane.get("guest", "native", guest)
    known, why = NATIVE_FAILURES.get(guest, (0, ""))
    assert status == known, said
    if known:
        pytest.skip(f"fails natively there: {why}")


@pytest.mark.parametrize("guest", GUESTS)
@pytest.mark.parametrize("variant", SANDBOXES, ids=str)
def test_guest(lane, variant, guest):
    """As natively; where native fails, a sandbox may do better."""
    status, said = lane.get("guest", variant, guest)
    if status and guest in NATIVE_FAILURES:
        assert status == NATIVE_FAILURES[guest][0], said
        pytest.skip(f"fails natively there: {NATIVE_FAILURES[guest][1]}")
    assert status == 0, said


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", SANDBOXES, ids=str)
def test_contract(lane, variant, case):
    status, said = lane.get("contract", variant, case)
    if status == SKIPPED:
        pytest.skip(said)
    if status and QUIRKS.get(case) in lane.quirks:
        pytest.skip(f"the emulator, natively: {QUIRKS[case]}: {lane.quirks[QUIRKS[case]]}")
    assert status == 0, said
