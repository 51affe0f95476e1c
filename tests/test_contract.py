"""The conformance suite over core/platform.h, case by case, for every platform that this machine can run."""
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


def test_suite_is_built():
    assert cases()
