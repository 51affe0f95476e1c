"""Unit programs and fuzzers in C: exit status 0, and nothing on stderr from a sanitizer."""
import pytest
from conftest import BUILD, ROOT, run

UNITS = sorted(p.stem for p in (ROOT / "tests/unit").glob("*.c"))
FUZZERS = sorted(p.stem for p in (ROOT / "tests/fuzz").glob("fuzz_*.c"))


@pytest.mark.parametrize("unit", UNITS)
def test_unit(unit):
    result = run([BUILD / "tests/unit" / unit])
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzer(fuzzer):
    result = run([BUILD / "tests/fuzz" / fuzzer])
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
