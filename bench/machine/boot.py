#!/usr/bin/python3
"""
Run a command in the emulated machine: Debian's kernel in QEMU's TCG with emulated AMD-V, one's own build inside.

    bench/machine/boot.py [OPTION...] [--] COMMAND...     prints its output, ends with its exit status
    bench/machine/boot.py --shell                         a shell; Ctrl-A X ends the machine
    make vm-shell   make vm CMD='build/tests/contract/contract kvm'

COMMAND is given to the machine's shell, in a directory that looks like the source tree after a build: build/trapgate,
build/workloads/*, build/tests/contract/contract, build/tests/guests/*, with busybox for the rest. /dev/kvm is there; what
the command leaves in $RESULT comes back with --result. Nothing is kept from boot to boot.

Exit status: the command's; 124 if its time ran out; 125, with one sentence, if the machine cannot be had.
"""
import argparse
import os
import pathlib
import shlex
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import machine  # noqa: E402
from kernel import MachineError  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULT = ("trapgate", "workloads/*", "tests/contract/contract", "tests/guests/*", "tests/hostile/*")


def built(build, patterns=DEFAULT):
    """name in the machine -> file here, for what is built of `patterns`."""
    return {f"build/{p.relative_to(build)}": p for pattern in patterns for p in sorted(build.glob(pattern))
            if p.is_file() and os.access(p, os.X_OK)}


def arguments():
    head, _, _ = __doc__.partition("\n\nExit")
    p = argparse.ArgumentParser(description=head, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / os.environ.get("BUILD", "build"), metavar="DIR")
    p.add_argument("--cpus", type=int, default=2)
    p.add_argument("--memory", default="1536M")
    p.add_argument("--timeout", type=int, default=300, metavar="SECONDS")
    p.add_argument("--lens", action="store_true", help="count instructions: one CPU whose time is instructions executed")
    p.add_argument("--file", action="append", default=[], metavar="NAME=PATH", help="another file, as /trapgate/NAME")
    p.add_argument("--result", type=pathlib.Path, metavar="DIR", help="put here what the command left in $RESULT")
    p.add_argument("--console", type=pathlib.Path, metavar="FILE", help="put here what the kernel said")
    p.add_argument("--qemu", default="", help="more options for QEMU")
    p.add_argument("--kernel", default="", help="more kernel parameters")
    p.add_argument("--shell", action="store_true", help="a shell on this terminal")
    p.add_argument("command", nargs=argparse.REMAINDER)
    args = p.parse_args()
    args.command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not args.command and not args.shell:
        p.error("which command?")
    return args


def main():
    args = arguments()
    cache = args.build / "machine"
    cache.mkdir(parents=True, exist_ok=True)
    files = built(args.build)
    files.update(pair.split("=", 1) for pair in args.file)
    options = {"cpus": args.cpus, "memory": args.memory, "lens": args.lens,
               "extra_qemu": shlex.split(args.qemu), "extra_kernel": args.kernel}
    job = " ".join(args.command) if len(args.command) == 1 else shlex.join(args.command)
    try:
        if args.shell:
            return machine.shell(cache, files, job or "exec sh", **options)
        result = machine.run(cache, files, job + "\n", timeout=args.timeout, live=True, **options)
    except MachineError as e:
        print(f"machine: {e}", file=sys.stderr)
        return 125
    if args.result:
        for name, data in result.files.items():
            path = args.result / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if args.console:
        args.console.write_text(result.console)
    if result.status == 124:
        print(f"machine: stopped after {args.timeout} s", file=sys.stderr)
    return result.status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))     # so that temporary folders go
    sys.exit(main())
