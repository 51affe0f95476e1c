"""The terminal: what a user types reaches the guest's jobs, and the shell outside keeps its own job control."""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pytest
from conftest import TRAPGATE, need, run

PATIENCE = 15


class Terminal:
    """A program on a terminal of its own, as an interactive user has it."""

    def __init__(self, argv):
        self.out = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="$ ", TERM="dumb")
            os.environ.pop("PROMPT_COMMAND", None)
            os.execvp(argv[0], [str(a) for a in argv])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def more(self, seconds):
        if not select.select([self.fd], [], [], max(0, seconds))[0]:
            return False
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            data = b""
        self.out += data
        return bool(data)

    def expect(self, text):
        text = text.encode()
        end = time.monotonic() + PATIENCE
        while text not in self.out:
            assert self.more(end - time.monotonic()), (text, self.out)
        self.out = self.out[self.out.index(text) + len(text):]

    def send(self, text, settle=0.0):
        time.sleep(settle)
        os.write(self.fd, text.encode())

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def status(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            self.more(0.05)
        raise AssertionError(self.out)


def inside(platform, *argv):
    return [str(TRAPGATE), "run", f"--platform={platform}", "--", *argv]


def test_ctrl_c(platform):
    with Terminal(inside(platform, "cat")) as t:
        t.send("hi\n")
        t.expect("hi\r\nhi\r\n")
        t.send("\x03")
        assert t.status() == 128 + signal.SIGINT


def test_shell_in_the_sandbox(platform):
    """Job control among the guest's own processes, on the host's terminal."""
    need("bash")
    with Terminal(inside(platform, "bash", "--norc", "-i")) as t:
        t.expect("$ ")
        t.send("sleep 100\n")
        t.send("\x1a", settle=0.5)
        t.expect("Stopped")
        t.send("jobs; fg\n")
        t.send("\x03", settle=0.5)
        t.expect("$ ")
        t.send("echo rc=$?\n", settle=0.2)
        t.expect("rc=130")
        t.resize(33, 99)
        t.send("stty size\n")
        t.expect("33 99")
        t.expect("$ ")
        t.send("cat | cat\n")
        t.send("piped\n", settle=0.5)
        t.expect("piped\r\npiped")
        t.send("\x04")
        t.expect("$ ")
        t.send("exit 7\n")
        assert t.status() == 7


def test_sandbox_as_a_job(platform):
    """The shell outside stops, continues and backgrounds the sandbox as any other program."""
    need("bash")
    cat = " ".join(inside(platform, "cat"))
    with Terminal(["bash", "--norc", "-i"]) as t:
        t.expect("$ ")
        t.send(cat + "\n")
        t.send("abc\n", settle=0.5)
        t.expect("abc\r\nabc")
        t.send("\x1a")
        t.expect("Stopped")
        t.send("echo outside\n")
        t.expect("\r\noutside")
        t.send("fg\n")
        t.send("def\n", settle=0.5)
        t.expect("def\r\ndef")
        t.send("\x04")
        t.expect("$ ")
        # From the background a read stops it.
        t.send(cat + " &\n")
        t.send("jobs\n", settle=1)
        t.expect("Stopped")
        t.send("fg\n")
        t.send("ghi\n", settle=0.5)
        t.expect("ghi\r\nghi")
        t.send("\x04")
        t.expect("$ ")
        t.send("exit\n")
        assert t.status() == 0


def test_modes_are_restored(platform):
    need("bash")
    with Terminal(["bash", "--norc", "--noediting", "-i"]) as t:
        t.expect("$ ")
        t.send(" ".join(inside(platform, "sh", "-c", "'stty -echo raw; exit 3'")) + "\n")
        t.expect("$ ")
        t.send("echo rc=$?\n")
        t.expect("echo rc=$?\r\nrc=3")


@pytest.mark.parametrize("name, trapped", [("TERM", 5), ("HUP", 5), ("USR1", 5)])
def test_signals_from_outside(platform, name, trapped):
    """A signal that someone sends to the sentry is the first process's."""
    need("bash")
    script = f"trap 'exit {trapped}' {name}; echo ready; while :; do sleep 0.1; done"
    with Terminal(inside(platform, "bash", "-c", script)) as t:
        t.expect("ready")
        os.kill(t.pid, signal.Signals[f"SIG{name}"])
        assert t.status() == trapped


def test_signals_from_outside_untrapped(platform):
    with Terminal(inside(platform, "sh", "-c", "echo ready; cat")) as t:
        t.expect("ready")
        os.kill(t.pid, signal.SIGTERM)
        assert t.status() == 128 + signal.SIGTERM


def test_ignored_outside_is_ignored_inside(platform):
    """As nohup and background jobs of a plain shell rely on."""
    command = " ".join(inside(platform, "sh", "-c", "'kill -HUP $$; kill -INT $$; echo survived'"))
    result = run(["sh", "-c", f"trap '' HUP INT; exec {command}"])
    assert (result.returncode, result.stdout) == (0, "survived\n"), result.stderr
