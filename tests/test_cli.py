"""The command line: exit statuses, bad input, streams, environment, the sandbox's borders."""
import json
import os
import signal
import subprocess

import pytest
from conftest import PLATFORMS, ROOT, TRAPGATE, run, sandbox


def fails_with(result, status, *words):
    lines = result.stderr.strip().splitlines()
    assert result.returncode == status, result.stderr
    assert len(lines) == 1, f"one sentence, not {lines}"
    for w in words:
        assert w in lines[0]


@pytest.mark.parametrize("argv,words", [
    ([], ["no command"]),
    (["fly"], ["unknown command", "fly"]),
    (["run"], ["no command"]),
    (["run", "--nonsense", "true"], ["--nonsense"]),
    (["run", "--platform=warp", "true"], ["warp"]),
    (["run", "--knob", "no.such=1", "true"], ["no.such"]),
    (["run", "--knob", "ptrace.pin=maybe", "true"], ["ptrace.pin"]),
    (["run", "--bind", "x", "true"], ["--bind"]),
    (["run", "--bind", "/no/such/dir:/x", "true"], ["/no/such/dir"]),
    (["run", "--rootfs", "/no/such/dir", "true"], ["/no/such/dir"]),
    (["run", "--cwd", "/no/such/dir", "/bin/true"], ["/no/such/dir"]),
    (["run", "--network=5g", "true"], ["5g"]),
    (["run", "--log=loud", "true"], ["loud"]),
    (["run", "--stats", "/no/such/dir/f", "/bin/true"], ["/no/such/dir/f"]),
    (["platforms", "--xml"], ["usage"]),
])
def test_bad_usage_is_125_and_one_sentence(argv, words):
    fails_with(run([TRAPGATE, *argv]), 125, *words)


def test_exit_statuses(platform, tmp_path):
    assert sandbox(platform, ["sh", "-c", "exit 42"]).returncode == 42
    assert sandbox(platform, ["sh", "-c", "kill -TERM $$"]).returncode == 128 + 15
    assert sandbox(platform, ["sh", "-c", "kill -SEGV $$"]).returncode == 128 + 11
    fails_with(sandbox(platform, ["no-such-command"]), 127, "no-such-command")
    fails_with(sandbox(platform, ["/no/such/command"]), 127, "/no/such/command")
    fails_with(sandbox(platform, ["/etc"]), 126, "/etc")
    fails_with(sandbox(platform, ["/etc/passwd"]), 126, "/etc/passwd")
    (tmp_path / "bad").write_bytes(b"\x7fELF" + b"\xff" * 200)
    (tmp_path / "bad").chmod(0o755)
    fails_with(sandbox(platform, [tmp_path / "bad"]), 126, "bad")
    (tmp_path / "short").write_bytes(b"\x7fELF")
    (tmp_path / "short").chmod(0o755)
    fails_with(sandbox(platform, [tmp_path / "short"]), 126, "short")


def test_streams_and_environment(platform):
    r = sandbox(platform, ["sh", "-c", "cat; echo err >&2; echo $A-$B"], ["--env", "A=1", "--env", "B=2"], input="from stdin\n")
    assert r.stdout == "from stdin\n1-2\n" and r.stderr == "err\n"
    r = sandbox(platform, ["/usr/bin/env"], ["--clear-env", "--env", "X=y"])
    assert r.stdout == "X=y\n"
    assert sandbox(platform, ["pwd"], ["--cwd", "/usr/lib"]).stdout == "/usr/lib\n"


def test_a_guest_changes_nothing_outside(platform, tmp_path):
    (tmp_path / "keep").write_text("old")
    script = "echo new > keep; echo x > made; rm -rf sub; cat keep; ls"
    (tmp_path / "sub").mkdir()
    r = sandbox(platform, ["sh", "-c", script], cwd=tmp_path)
    assert r.stdout == "new\nkeep\nmade\n"
    assert (tmp_path / "keep").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["keep", "sub"]


def test_bind(platform, tmp_path):
    (tmp_path / "in").write_text("hello")
    r = sandbox(platform, ["sh", "-c", "cat /mnt/in; echo x > /mnt/out"], ["--bind", f"{tmp_path}:/mnt"])
    assert r.stdout == "hello" and r.returncode != 0 and not (tmp_path / "out").exists()
    r = sandbox(platform, ["sh", "-c", "echo x > /mnt/out; mkdir /mnt/d; mv /mnt/in /mnt/d"], ["--bind", f"{tmp_path}:/mnt:rw"])
    assert r.returncode == 0, r.stderr
    assert (tmp_path / "out").read_text() == "x\n" and (tmp_path / "d/in").read_text() == "hello"


def test_stats_and_strace(platform, tmp_path):
    stats = tmp_path / "s.json"
    r = sandbox(platform, ["/bin/echo", "hi"], ["--stats", stats, "--strace"])
    assert r.stdout == "hi\n"
    assert 'write(1, "hi\\n", 3) = 3' in r.stderr
    counters = json.loads(stats.read_text())
    assert counters["platform"] == platform
    assert counters["switches"] >= sum(counters["calls"].values()) > 5
    assert counters["calls"]["write"] == 1


def test_platforms_lists_names_reasons_and_knobs():
    r = run([TRAPGATE, "platforms", "--json"])
    assert r.returncode == 0
    assert "ptrace" in PLATFORMS
    text = run([TRAPGATE, "platforms"]).stdout
    assert "ptrace" in text and "ptrace.pin" in text


def test_host_signals_reach_the_guest(platform):
    p = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--", "sh", "-c", "trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
                         stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGTERM)
    assert p.communicate(timeout=20)[0] == "term\n"
    assert p.returncode == 3


def test_full_disk_for_stats(platform):
    fails_with(sandbox(platform, ["/bin/true"], ["--stats", "/dev/full"]), 125, "/dev/full", "space")


def test_readme_lists_the_host_calls():
    """The table in README.md is what `trapgate host-calls` prints."""
    assert run([TRAPGATE, "host-calls"]).stdout in (ROOT / "README.md").read_text()


def test_confinement_can_be_measured(platform):
    """Each part is a knob; the guest sees no difference."""
    for knob in ("host.filter=off", "host.namespaces=off"):
        assert sandbox(platform, ["/bin/echo", "hi"], [f"--knob={knob}"]).stdout == "hi\n"
