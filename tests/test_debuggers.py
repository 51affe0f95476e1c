"""gdb and strace inside the sandbox, on programs inside: ptrace as real tracers use it."""
import re
import textwrap

import pytest
from conftest import need, run, sandbox

PROGRAM = """\
    #include <pthread.h>
    #include <stdio.h>
    static int twice(int x) { return x * 2; }
    static void *other(void *p) { *(int *)p = twice(20); return p; }
    int main(void)
    {
        pthread_t t;
        int sum = 0, got;
        for (int i = 0; i < 3; i++)
            sum += twice(i);
        pthread_create(&t, NULL, other, &got);
        pthread_join(t, NULL);
        printf("sum %d\\n", sum + got);
        return 3;
    }
    """


@pytest.fixture
def program(tmp_path):
    need("gcc")
    (tmp_path / "p.c").write_text(textwrap.dedent(PROGRAM))
    built = run(["gcc", "-g", "-O0", "-pthread", "-o", tmp_path / "p", tmp_path / "p.c"])
    assert built.returncode == 0, built.stderr
    return tmp_path / "p"


def test_gdb(platform, program):
    need("gdb")
    commands = ["set confirm off", "set debuginfod enabled off", "break twice", "run", "bt", "print x", "info registers rip", "stepi",
                "finish", "continue", "continue", "continue", "info threads", "delete", "continue"]
    argv = ["gdb", "-nx", "-batch", *[w for c in commands for w in ("-ex", c)], program]
    out = sandbox(platform, argv, timeout=100)
    text = out.stdout + out.stderr
    assert "Breakpoint 1, twice (x=0)" in text and "Breakpoint 1, twice (x=20)" in text, text
    assert re.search(r"#1 .* main \(\)", text) and "$1 = 0" in text and "Value returned is $2 = 0" in text, text
    assert "sum 46" in text and "exited with code 03" in text, text


def test_strace(platform, program):
    need("strace")
    out = sandbox(platform, ["strace", "-f", "-e", "trace=clone3,clone,write,exit_group", program], timeout=100)
    assert out.returncode == 3 and out.stdout == "sum 46\n", out.stderr
    assert re.search(r"(?s)clone3?\(.*= \d+", out.stderr) and "exited with 0 +++" in out.stderr, out.stderr
    assert 'write(1, "sum 46\\n", 7' in out.stderr and "+++ exited with 3 +++" in out.stderr, out.stderr


def test_strace_attached(platform, tmp_path):
    need("strace")
    script = "sh -c 'while :; do read x < /dev/null; done' & p=$!; sleep .3; timeout 1 strace -o t -p $p; kill -9 $p; grep -c openat t >/dev/null && echo seen"
    out = sandbox(platform, ["bash", "-c", script], cwd=tmp_path, timeout=60)
    assert "seen" in out.stdout, out.stdout + out.stderr
