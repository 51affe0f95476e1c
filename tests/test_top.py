"""trapgate top: what a watcher sees of a running sandbox, and that watching is all it can do."""
import json
import os
import re
import subprocess
import time

import pytest

from conftest import TRAPGATE, run

CALLER = "import os\nwhile True: os.getppid()"


@pytest.fixture
def sandbox_process(platform):
    process = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--", "/usr/bin/python3", "-c",
                                f"print('up', flush=True)\n{CALLER}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    yield process
    process.kill()
    process.wait()


def live_fd(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:trapgate-live"):
            return f"/proc/{pid}/fd/{fd}"
    return None


def test_top_shows_the_guest(sandbox_process, platform):
    """Calls by name, the task by its command, and rates that are not nothing; the shares of a task's time make a whole."""
    done = run([TRAPGATE, "top", "-d", "0.5", "-n", "2", sandbox_process.pid])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    last = done.stdout.rsplit("sandbox ", 1)[1]
    assert done.stdout.count("sandbox ") == 2 and f"platform {platform} " in last and " 1 tasks " in last
    assert float(re.search(r"(\d+) switches/s", last)[1]) > 0
    assert float(re.search(r"^getppid +(\d+) +([\d.]+)$", last, re.M)[1]) > 0
    task = re.search(r"^ +(\d+) +(\d+)  python3 +([\d.]+) +([\d.]+) +([\d.]+) +(\d+) +(\d+)$", last, re.M)
    assert task and sum(float(task[i]) for i in (3, 4, 5)) == pytest.approx(100, abs=0.2)
    assert "\x1b" not in done.stdout


def test_watching_changes_nothing(sandbox_process):
    """The page can be read and not written, shrunk or grown, through /proc too."""
    path = live_fd(sandbox_process.pid)
    fd = os.open(path, os.O_RDWR)
    for attempt in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 1 << 30)):
        with pytest.raises(PermissionError):
            attempt()
    os.close(fd)


def test_top_ends_with_the_sandbox(platform):
    process = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--", "/bin/sleep", "3"])
    deadline = time.time() + 20
    while not live_fd(process.pid) and time.time() < deadline:
        time.sleep(0.05)
    done = run([TRAPGATE, "top", "-d", "0.5", process.pid], timeout=60)
    process.wait()
    assert done.returncode == 0 and "sleep" in done.stdout


def test_top_of_nothing(tmp_path):
    for args, word in ((["1x"], "usage"), ([], "usage"), (["-d", "0", "1"], "usage"), (["-n", "0", "1"], "usage"),
                       ([str(os.getpid())], "no sandbox"), (["999999999"], "No such process")):
        done = run([TRAPGATE, "top", *args])
        assert done.returncode == 125 and word in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


def test_off(platform):
    process = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--knob", "task.live=off", "--", "/bin/sh", "-c",
                                "echo up; sleep 5"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    done = run([TRAPGATE, "top", "-n", "1", process.pid])
    process.kill()
    process.wait()
    assert done.returncode == 125 and "without task.live" in done.stderr


def test_tasks_that_end_are_not_lost(platform, tmp_path):
    """The counts of ended tasks move into the sum: --stats and the page agree that all calls were made."""
    script = "import os\nfor i in range(150):\n  p = os.fork()\n  if not p: os._exit(0)\n  os.waitpid(p, 0)"
    done = run([TRAPGATE, "run", f"--platform={platform}", "--stats", tmp_path / "s", "--", "/usr/bin/python3", "-c", script])
    stats = json.loads((tmp_path / "s").read_text())
    assert done.returncode == 0 and stats["tasks"] == 151 and stats["calls"]["wait4"] >= 150
