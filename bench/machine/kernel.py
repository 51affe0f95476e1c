"""Debian's kernel for the emulated machine: the package is downloaded and unpacked under build/, never installed.

Kernel images and modules of the host are not looked at, so that everybody's machine is the same one.
"""
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess

PACKAGE = "linux-image-amd64"
MODULES = ("irqbypass", "ccp", "kvm", "kvm-amd")


class MachineError(Exception):
    """The machine cannot be had; the text is one sentence that says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    package: str        # Debian's name
    version: str        # Debian's version
    image: pathlib.Path
    modules: tuple      # in the order in which they load


def _output(*argv):
    env = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    except FileNotFoundError:
        raise MachineError(f"{argv[0]} is missing: the machine's kernel comes as a Debian package") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MachineError(f"{' '.join(argv[:3])}: {last}")
    return done.stdout


def _real_package():
    """linux-image-amd64 holds nothing and depends on the newest kernel."""
    for line in _output("apt-cache", "depends", PACKAGE).splitlines():
        found = re.match(r"\s*Depends: (linux-image-\d\S*)", line)
        if found:
            return found[1]
    raise MachineError(f"apt knows no package {PACKAGE} (has apt-get update run?)")


def _download(package, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run(["apt-get", "download", "-q", package], cwd=folder, capture_output=True, text=True, check=False)
    debs = list(folder.glob("*.deb"))
    if done.returncode or len(debs) != 1:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MachineError(f"apt-get download {package} failed: {last}")
    return debs[0]


def _unpack(deb, folder):
    """The image and all modules; a package is 400 MB, what is kept of it a few."""
    folder.mkdir(parents=True)
    data = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    wanted = ["./boot/vmlinuz-*", "*/kernel/arch/x86/kvm/*", "*/kernel/virt/lib/*", "*/kernel/drivers/crypto/ccp/*"]
    tar = subprocess.run(["tar", "-x", "-C", folder, "--wildcards", *wanted], stdin=data.stdout, check=False)
    if data.wait() or tar.returncode:
        raise MachineError(f"{deb.name} is not a kernel package as expected")


def _depends(module):
    """Names that the module's own description lists; packages carry no modules.dep."""
    found = re.search(rb"\0?depends=([^\0]*)\0", module.read_bytes())
    return [n for n in found[1].decode().split(",") if n] if found else []


def _load_order(folder):
    """A module that is not in the package is built into the kernel, which does no harm."""
    files = {p.name[:-3].replace("-", "_"): p for p in folder.rglob("*.ko")}
    order = []

    def add(name):
        path = files.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        for other in _depends(path):
            add(other)
        order.append(path)

    for name in MODULES:
        add(name)
    return tuple(order)


def _expand(folder):
    """Some releases compress their modules; busybox's insmod takes plain ones."""
    for path in folder.rglob("*.ko.*z"):
        subprocess.run(["xz", "-dq", path], check=True)


def kernel_get(cache):
    """The kernel under `cache`, fetched if it is not there yet. Raises MachineError."""
    stamp = cache / "package"
    if not stamp.exists():
        cache.mkdir(parents=True, exist_ok=True)
        package = _real_package()
        deb = _download(package, cache / "download")
        version = _output("dpkg-deb", "-f", str(deb), "Version").strip()
        shutil.rmtree(cache / "files", ignore_errors=True)
        _unpack(deb, cache / "files")
        _expand(cache / "files")
        shutil.rmtree(cache / "download")
        stamp.write_text(f"{package} {version}\n")
    package, version = stamp.read_text().split()
    image = next((cache / "files/boot").glob("vmlinuz-*"))
    return Kernel(package, version, image, _load_order(cache / "files"))
