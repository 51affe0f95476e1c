"""make lint is part of the tests."""
from conftest import BUILD, ROOT, run


def test_lint():
    result = run([ROOT / "tests/lint.sh", BUILD], timeout=600)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
