"""The emulated machine's file system: busybox, our programs with the libraries that they need, a job."""
import os
import pathlib
import shutil
import subprocess

from kernel import MachineError

HERE = pathlib.Path(__file__).resolve().parent
TREE = "trapgate"       # where the build's files lie in the machine, under the same names as in the source tree


def _elf(path):
    with open(path, "rb") as f:
        return f.read(4) == b"\x7fELF"


def _libraries(path):
    """Absolute paths of what the loader maps for a program; nothing for a static one."""
    out = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    for line in out.splitlines():
        words = line.split()
        found = words[2] if len(words) > 2 and words[1] == "=>" else words[0]
        if found == "not":
            raise MachineError(f"{path} needs {words[0]}, which is not installed")
        if found.startswith("/"):
            yield found


def _place(root, name, source, strip):
    target = root / name.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if strip and _elf(source):
        subprocess.run(["strip", "--strip-debug", "-o", target, source], check=True)
    else:
        shutil.copy(source, target)


def make(out, kernel, files, job, *, root_files=(), interactive=False):
    """
    Write the archive `out`. `files` maps names inside the machine's /trapgate to files here, `root_files` names from its
    root; `job` is the text of the shell script that runs. Programs lose their debugging sections, nothing else.
    """
    root = out.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    busybox = shutil.which("busybox")
    if not busybox:
        raise MachineError("busybox is missing: install busybox-static")
    for name in ("bin", "dev", "modules", TREE):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    shutil.copy(HERE / "init.sh", root / "init")
    os.chmod(root / "init", 0o755)
    for module in kernel.modules:
        shutil.copy(module, root / "modules")
    (root / "modules/order").write_text("".join(f"{m.name}\n" for m in kernel.modules))
    (root / "job").write_text(job)
    if interactive:
        (root / "interactive").touch()
    libraries = set()
    for name, source in [(f"{TREE}/{n}", s) for n, s in dict(files).items()] + list(dict(root_files).items()):
        _place(root, name, source, strip=True)
        if _elf(source):
            libraries.update(_libraries(source))
    for path in sorted(libraries):
        _place(root, path, path, strip=False)
    _pack(root, out)
    shutil.rmtree(root)


def _pack(root, out):
    """Sorted and without times, owners or inode numbers of this machine: equal input, equal archive."""
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*"))
    for path in (root, *root.rglob("*")):
        os.utime(path, (0, 0), follow_symlinks=False)
    with open(out, "wb") as archive:
        argv = ["cpio", "--create", "--quiet", "--format=newc", "--null", "--reproducible", "--owner=+0:+0"]
        try:
            subprocess.run(argv, cwd=root, input="\0".join(names) + "\0", text=True, stdout=archive, check=True)
        except FileNotFoundError:
            raise MachineError("cpio is missing: install it (make deps)") from None
