"""kvm.sentry=guest: the sentry's hot part in ring 0, slow where that is emulated, but the same results."""
import subprocess

import pytest
from conftest import BUILD, PLATFORMS, ROOT, run, same_as_native

needs_kvm = pytest.mark.skipif(PLATFORMS.get("kvm", "no kvm") is not None, reason=f"kvm: {PLATFORMS.get('kvm', 'not built')}")
RESIDENCIES = {"guest": ["kvm.sentry=guest"], "kpti": ["kvm.sentry=guest", "kvm.kpti=on"], "host": ["kvm.sentry=host"]}
GUESTS = ["short_calls", "seccomp", "pipe"]
CASES = ["interrupt_sticks", "interrupt_races_calls", "interrupt_races_spin", "no_restart", "revoke_unmap", "large_turns", "hostile_entries", "single_step", "breakpoint", "privileged", "code_above_the_guest",
         "fault_restart", "fault_own_page", "segment_bases", "extended_state", "threads_come_and_go"]


def options(residency):
    return [o for knob in RESIDENCIES[residency] for o in ("--knob", knob)]


@needs_kvm
@pytest.mark.parametrize("residency", RESIDENCIES)
@pytest.mark.parametrize("guest", [g for g in GUESTS if (ROOT / "tests/guests" / f"{g}.c").exists()])
def test_guest(guest, residency, tmp_path):
    result = same_as_native("kvm", [BUILD / "tests/guests" / guest], options(residency), cwd=tmp_path, timeout=100)
    assert result.returncode == 0, result.stderr


def contract_cases():
    try:
        known = subprocess.run([BUILD / "tests/contract/contract", "--list"], capture_output=True, text=True, timeout=30).stdout.split()
    except OSError:
        return []
    return [c for c in CASES if c in known]


@needs_kvm
@pytest.mark.parametrize("residency", ["guest", "kpti"])
@pytest.mark.parametrize("case", contract_cases())
def test_contract(case, residency, monkeypatch):
    monkeypatch.setenv("CONTRACT_KNOBS", ";".join(RESIDENCIES[residency]))
    p = run([BUILD / "tests/contract/contract", "kvm", case])
    assert p.returncode in (0, 77), p.stdout + p.stderr


@pytest.mark.parametrize("code, complaint", [
    ("extern void free(void *); void f(void *p) { free(p); }", "free"),
    ("double f(double x) { return x * 2; }", "xmm"),
    ('void f(void) { __asm__("syscall"); }', "syscall"),
    ("static __thread int t; int f(void) { return t++; }", "fs:"),
])
def test_what_may_not_run_inside(code, complaint, tmp_path):
    source = tmp_path / "bad.c"
    source.write_text(code)
    subprocess.run(["cc", "-O2", "-fPIE", "-c", "-o", tmp_path / "bad.o", source], check=True)
    p = run([ROOT / "tests/inside.sh", tmp_path / "bad.o"])
    assert p.returncode == 1 and complaint in p.stderr
