"""The conformance suite over core/platform.h, case by case, for every platform that this machine can run."""
import os
import subprocess

import pytest

from conftest import BUILD, run

CONTRACT = BUILD / "tests" / "contract" / "contract"
SKIPPED = 77


def cases():
    try:
        return subprocess.run([CONTRACT, "--list"], capture_output=True, text=True, timeout=30).stdout.split()
    except OSError:
        return []


@pytest.mark.parametrize("case", cases())
def test_contract(platform, case):
    p = run([CONTRACT, platform, case])
    if p.returncode == SKIPPED:
        pytest.skip(p.stderr.strip())
    assert p.returncode == 0, p.stdout + p.stderr


SCARCE = ["many_contexts", "revoke_unmap", "revoke_write", "large_revoke", "interrupt_races_spin", "threads_come_and_go",
          "extended_state"]
SMALL = [c for c in cases() if c.startswith(("large_", "huge_"))]


@pytest.mark.parametrize("knob,case", [("kvm.vcpus=1", c) for c in SCARCE] + [("kvm.large_pages=off", c) for c in SMALL])
def test_contract_kvm(knob, case):
    """More tasks than virtual CPUs; page tables without large pages."""
    p = run([CONTRACT, "kvm", case], env={**os.environ, "CONTRACT_KNOBS": knob})
    if p.returncode == SKIPPED:
        pytest.skip(p.stderr.strip())
    assert p.returncode == 0, p.stdout + p.stderr


def test_suite_is_built():
    assert cases()
