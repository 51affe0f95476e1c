"""Whatever happens, nothing is left behind, and a hostile guest ends in its own error."""
import os
import random
import signal
import subprocess
import time

import pytest
from conftest import BUILD, TRAPGATE, sandbox, sandbox_processes


def gone(pids, seconds=10):
    """True once none of the pids is alive."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(os.path.exists(f"/proc/{p}") and not zombie(p) for p in pids):
            return True
        time.sleep(0.02)
    return False


def zombie(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def descendants(pid):
    """Pids below `pid`."""
    children = {}
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                parent = int(open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(p))
    found, todo = [], [pid]
    while todo:
        kids = children.get(todo.pop(), [])
        found += kids
        todo += kids
    return found


@pytest.mark.parametrize("seed", range(8))
def test_sigkill_leaves_nothing(platform, seed):
    rng = random.Random(seed)
    script = "for i in 1 2 3; do (while :; do /bin/true; done) & done; wait"
    p = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--", "sh", "-c", script])
    time.sleep(rng.uniform(0.005, 0.4))
    below = descendants(p.pid)
    p.kill()
    p.wait()
    assert gone(below), f"left behind: {below}"


def test_normal_end_leaves_nothing(platform):
    before = set(sandbox_processes())
    r = sandbox(platform, ["sh", "-c", "sleep 100 & sleep 100 & exit 4"])
    assert r.returncode == 4
    assert gone(set(sandbox_processes()) - before)


def test_fork_bomb(platform):
    """Forking without end ends in the guest's own EAGAIN; the first process goes on."""
    bomb = "import os, signal\nn = 0\ntry:\n  while True:\n    if not os.fork(): signal.pause()\n    n += 1\nexcept OSError as e: print(e.errno, n)"
    r = sandbox(platform, ["/usr/bin/python3", "-c", bomb], ["--knob", "task.max=300"], timeout=90)
    assert (r.returncode, r.stdout) == (0, "11 299\n"), r.stderr[-1000:]


def test_thousand_threads(platform):
    r = sandbox(platform, ["/usr/bin/python3", "-c",
                "import threading, time\nts = []\ntry:\n  for i in range(1000):\n    t = threading.Thread(target=time.sleep, args=(60,), daemon=True); t.start(); ts.append(t)\n"
                "except RuntimeError as e: print(e)\nprint(len(ts) > 500)\nimport os; os._exit(7)"], timeout=90)
    assert r.returncode == 7, r.stderr[-2000:]
    assert r.stdout.endswith("True\n")


def test_all_memory(platform):
    program = "import mmap\nl = []\ntry:\n  while True:\n    m = mmap.mmap(-1, 64 << 20); l.append(m); m.write(b'x' * (64 << 20))\nexcept OSError as e: print('error', e.errno)"
    r = sandbox(platform, ["/usr/bin/python3", "-c", program], ["--knob", "mm.memory_mb=512"], timeout=90)
    assert r.returncode == 137 or "error 12" in r.stdout, (r.returncode, r.stderr[-500:])


def test_writes_without_end(platform, tmp_path):
    r = sandbox(platform, ["sh", "-c", "cat /dev/zero > big; echo $?"], ["--knob", "mm.memory_mb=256"], cwd=tmp_path, timeout=90)
    assert r.stdout == "1\n" and "space" in r.stderr


def test_maps_all_addresses(platform):
    program = "import mmap\nl = []\ntry:\n  for i in range(200000): l.append(mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))\nexcept OSError as e: print('error', e.errno)"
    r = sandbox(platform, ["/usr/bin/python3", "-c", program], timeout=90)
    assert r.returncode == 0 and r.stdout == "error 12\n", r.stderr[-500:]


def test_startup_is_small(platform):
    """A bound on memory, not on time: the sentry of a trivial program stays under 16 MiB resident."""
    p = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--", "sleep", "30"])
    time.sleep(1)
    try:
        status = open(f"/proc/{p.pid}/status").read()
        rss = int(status.split("VmRSS:")[1].split()[0])
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(timeout=20)
    assert rss < 16 * 1024


def test_nothing_grows_with_programs(platform):
    """A sandbox that has run 400 programs holds what it held after 100: memory, descriptors, threads."""
    def held():
        status = open(f"/proc/{p.pid}/status").read()
        return (int(status.split("VmRSS:")[1].split()[0]), len(os.listdir(f"/proc/{p.pid}/fd")),
                int(status.split("Threads:")[1].split()[0]))

    loop = "n=0; while [ $n -lt 400 ]; do /bin/true; n=$((n+1)); [ $((n % 100)) = 0 ] && { echo; read go; }; done; exit 3"
    p = subprocess.Popen([TRAPGATE, "run", f"--platform={platform}", "--", "sh", "-c", loop], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    seen = []
    try:
        for _ in range(4):
            p.stdout.readline()
            time.sleep(0.3)
            seen.append(held())
            p.stdin.write(b"\n")
            p.stdin.flush()
        assert p.wait(timeout=20) == 3
    finally:
        p.kill()
    first, last = seen[0], seen[-1]
    assert last[0] <= first[0] + 1024 and last[1] <= first[1] + 8 and last[2] <= first[2] + 4, seen
