"""The page of system calls: made from the table, up to date, and complete by the kernel's own header."""
import re

import pytest
from conftest import ROOT, TRAPGATE, run

HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")


@pytest.fixture(scope="module")
def page():
    result = run([TRAPGATE, "calls"])
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_page_is_up_to_date(page):
    assert (ROOT / "core/syscall/CALLS.md").read_text() == page, "make calls writes it anew"


def test_every_call_of_linux_is_listed(page):
    listed = dict(re.findall(r"^\| (\d+) \| (\w+) \|", page, re.M))
    header = next((text for text in map(read, HEADERS) if text), None)
    if not header:
        pytest.skip("no kernel header here")
    linux = {nr: name for name, nr in re.findall(r"#define __NR_(\w+)\s+(\d+)", header)}
    assert {nr: name for nr, name in linux.items() if nr not in listed} == {}
    assert {nr: (listed[nr], name) for nr, name in linux.items() if listed[nr] != name} == {}


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return None
