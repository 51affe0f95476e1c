"""
A machine in QEMU's TCG with emulated AMD-V: Debian's kernel, our programs in its initial file system, one job, its results.

It needs neither root nor KVM nor a network once the kernel is there. Every boot is a machine of its own, so several may
run side by side.
"""
import dataclasses
import io
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import initramfs
from kernel import MachineError, kernel_get

QEMU = "qemu-system-x86_64"
CPU = "max,+svm,la57=off"

# Guest time is instructions executed. Nothing that differs between two boots is left: see README.md, The lens.
LENS_QEMU = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-seed", "1",
             "-rtc", "base=2026-01-01,clock=vm", "-cpu", f"{CPU},-rdrand,-rdseed", "-smp", "1")
LENS_KERNEL = "nokaslr norandmaps mitigations=off tsc=reliable clocksource=tsc random.trust_cpu=off noautogroup"


@dataclasses.dataclass
class Result:
    status: int             # the job's exit status, 124 if its time ran out
    output: str             # what it printed
    files: dict             # name -> bytes, what it left in $RESULT
    console: str            # the kernel's messages


def versions(cache):
    """What could explain a figure: Debian's kernel and QEMU, as text."""
    kernel = kernel_get(cache / "kernel")
    qemu = subprocess.run([qemu_path(), "--version"], capture_output=True, text=True, check=True).stdout.split("\n", 1)[0]
    return {"kernel": f"{kernel.package} {kernel.version}", "qemu": qemu}


def qemu_path():
    found = shutil.which(QEMU)
    if not found:
        raise MachineError(f"{QEMU} is missing: install qemu-system-x86 (make deps)")
    return found


def command(kernel, archive, *, cpus=1, memory="1536M", lens=False, extra_qemu=(), extra_kernel=""):
    """The command line without the serial lines. However whoever waits for the machine dies, it goes too."""
    append = f"console=ttyS0 panic=-1 loglevel=4 {LENS_KERNEL if lens else ''} {extra_kernel}"
    argv = ["setpriv", "--pdeathsig", "KILL", qemu_path(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", memory]
    argv += LENS_QEMU if lens else ("-accel", "tcg", "-cpu", CPU, "-smp", str(cpus))
    argv += ["-kernel", str(kernel.image), "-initrd", str(archive), "-append", append.strip(), *extra_qemu]
    return argv


def _unpack(archive):
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                if member.isfile():
                    files[member.name.removeprefix("./")] = tar.extractfile(member).read()
    except tarfile.TarError:
        pass
    return files


def _serial(path):
    return ["-serial", f"file:{path}"]


def run(cache, files, job, *, timeout=300, root_files=(), live=False, **options):
    """
    Boot, run the shell script `job` in /trapgate, power off. `files`: see initramfs.make(). `live`: the
    output goes to this process's standard output as it comes, instead of into the result. Raises MachineError if the machine itself fails.
    """
    cache = pathlib.Path(cache)
    kernel = kernel_get(cache / "kernel")
    with tempfile.TemporaryDirectory(prefix="boot-", dir=cache) as folder:
        folder = pathlib.Path(folder)
        archive = folder / "initramfs.cpio"
        initramfs.make(archive, kernel, files, job, root_files=root_files)
        argv = command(kernel, archive, **options)
        argv += _serial(folder / "console")
        argv += ["-serial", "stdio"] if live else _serial(folder / "output")
        argv += _serial(folder / "result")
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            done = None
        return _result(folder, done, timeout)


def _result(folder, done, timeout):
    def read(name):
        path = folder / name
        return path.read_bytes() if path.exists() else b""

    output, console = read("output").decode(errors="replace"), read("console").decode(errors="replace")
    if done is None:
        return Result(124, output, {}, console + f"\nmachine: stopped after {timeout} s\n")
    files = _unpack(read("result"))
    if done.returncode or "status" not in files:
        tail = (done.stderr.strip() or console.strip() or "no output").splitlines()[-1]
        raise MachineError(f"the machine died without a result (QEMU's status {done.returncode}): {tail}")
    return Result(int(files.pop("status")), output, files, console)


def shell(cache, files, job, *, root_files=(), **options):
    """The same with the job on this terminal. Ctrl-A X ends QEMU."""
    cache = pathlib.Path(cache)
    kernel = kernel_get(cache / "kernel")
    with tempfile.TemporaryDirectory(prefix="boot-", dir=cache) as folder:
        archive = pathlib.Path(folder) / "initramfs.cpio"
        initramfs.make(archive, kernel, files, job, root_files=root_files, interactive=True)
        return subprocess.run([*command(kernel, archive, **options), "-serial", "mon:stdio"], check=False).returncode
