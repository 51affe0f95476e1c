"""What every test shares: the built programs, the platforms of this machine, and a way to run a guest."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

# Under nohup and the like a signal may be ignored, which programs inherit.
for _ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_ignored) is signal.SIG_IGN:
        signal.signal(_ignored, signal.SIG_DFL)

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
TRAPGATE = BUILD / "trapgate"


def known_platforms():
    """Every platform in the binary: name -> None if it can run here, else the reason why not."""
    try:
        out = subprocess.run([TRAPGATE, "platforms", "--json"], capture_output=True, text=True, timeout=60)
        rows = json.loads(out.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
    rows = rows["platforms"] if isinstance(rows, dict) else rows
    return {r["name"]: None if r.get("available") else r.get("reason", "no reason given") for r in rows}


PLATFORMS = known_platforms()


def platform_params():
    return [pytest.param(name, marks=[pytest.mark.skip(reason=f"{name}: {why}")] if why else []) for name, why in PLATFORMS.items()]


def pytest_generate_tests(metafunc):
    if "platform" in metafunc.fixturenames:
        metafunc.parametrize("platform", platform_params())


def run(argv, **kwargs):
    """Run a program natively; returns the CompletedProcess with text output."""
    kwargs.setdefault("timeout", 120)
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, errors="replace", **kwargs)


def sandbox(platform, argv, options=(), **kwargs):
    """Run a program in the sandbox."""
    return run([TRAPGATE, "run", f"--platform={platform}", *options, "--", *argv], **kwargs)


def same_as_native(platform, argv, options=(), **kwargs):
    """Run natively and in the sandbox and compare output and status; returns the sandboxed result."""
    native = run(argv, **kwargs)
    if native.returncode < 0:
        native.returncode = 128 - native.returncode  # as a shell shows a signal, and as trapgate does
    inside = sandbox(platform, argv, options, **kwargs)
    assert (inside.returncode, inside.stdout) == (native.returncode, native.stdout), inside.stderr[-4000:] + native.stderr[-1000:]
    return inside


def need(program):
    """Skip, with the reason, when a Debian program is not installed."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def sandbox_processes():
    """Pids of trapgate processes and their stubs."""
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = p.read_bytes().split(b"\0")
        except OSError:
            continue
        if line and line[0].endswith((b"trapgate", b"trapgate-stub")):
            found.append(int(p.parent.name))
    return found
