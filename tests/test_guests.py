"""Guest programs: each check has its own exit code; native is the oracle."""
import pytest
from conftest import BUILD, ROOT, same_as_native

GUESTS = sorted(p.stem for p in (ROOT / "tests/guests").glob("*.c"))


@pytest.mark.parametrize("guest", GUESTS)
def test_guest(platform, guest, tmp_path):
    result = same_as_native(platform, [BUILD / "tests/guests" / guest], cwd=tmp_path, timeout=60)
    assert result.returncode == 0, result.stderr
