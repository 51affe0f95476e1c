"""analysis/README.md names, for each of the thirty-four rules, what meets it and which test would fail if it did not."""
import re
import subprocess

import pytest

from conftest import ROOT

RULES = [f"R{n}" for n in range(1, 35)]
TABLE = {}
for _line in (ROOT / "analysis/README.md").read_text().splitlines():
    if re.match(r"\| R\d+ \|", _line):
        _cells = [cell.strip() for cell in _line.strip("|").split("|")]
        TABLE.setdefault(_cells[0], []).append(_cells)


def test_every_rule_once():
    assert list(TABLE) == RULES and all(len(rows) == 1 and len(rows[0]) == 4 for rows in TABLE.values())


@pytest.mark.parametrize("rule", RULES)
def test_what_is_named_exists(rule):
    _, asks, met, tests = TABLE[rule][0]
    assert asks
    for path in re.findall(r"`((?:analysis|bench|workloads|tests|backends|core|\.ci)/[^`]+|[A-Z][A-Za-z.]+)`", met):
        assert (ROOT / path).exists(), path
    named = re.findall(r"`(tests/[^`:]+)::(\w+)`", tests)
    if tests == "none":
        assert met.startswith("not met: ") and len(met) > 40  # a reason, in words
    else:
        assert named and re.search(r"`[^`]+/[^`]+`|`LICENSE`", met)
    for path, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.M), f"{path}::{name}"


def test_readme_commands_exist():
    """R30: every make target and program that the README calls exists, and the licence is there."""
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^\s+make ([a-z-]+)", text, re.M)) | set(re.findall(r"`make ([a-z-]+)", text))
    assert {"bench", "test"} <= targets
    for target in targets:
        dry = subprocess.run(
            ["make", "-n", target, "HOSTS=x", "BASE=x", "NEW=x", "CMD=x"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "No rule to make target" not in dry.stderr, target
    assert "MIT" in (ROOT / "LICENSE").read_text() and (ROOT / "tests/deps.sh").stat().st_mode & 0o100
