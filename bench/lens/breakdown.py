#!/usr/bin/python3
"""
Which code spends the instructions of one round trip: a trace of a few rounds of a workload's loop under each platform,
taken by trace.so in the counting machine, by component (guest, stub, sentry, host kernel, hypervisor, ring 0) and function.

    breakdown.py [--workload getpid] [--platforms NAME[:k=v],...]

Writes results/<UTC>-lens/breakdown.csv (a row a function), phases.csv (a row a stay in one component, in order), and a
plot; prints the heaviest functions. Exit status as lens.py.
"""
import argparse
import array
import collections
import concurrent.futures
import csv
import datetime
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "machine")]

import cells  # noqa: E402
import machine  # noqa: E402
import symbols  # noqa: E402
from kernel import MachineError, kernel_get  # noqa: E402

SKIP, ROUNDS = 256, 16
COMPONENTS = ("guest", "stub", "sentry", "host kernel", "hypervisor", "ring 0", "other")
STUBS = ("systrap/systrap_stub", "backends/stub/image/stub.elf")

# The command runs in the background while its and its children's maps are read; the loop is long enough for both.
JOB = """
{kallsyms}
{command} >/dev/null 2>/tmp/err </dev/null &
usleep 100000
for p in /proc/[0-9]*; do
	[ -n "$(cat $p/maps 2>/dev/null | head -n 1)" ] || continue
	echo "== $(cat $p/comm)"
	cat $p/maps
done >$RESULT/maps
wait
cat /tmp/err
"""


def loop_mark(program):
    """Address and bytes of the jump that closes the workload's loop: code that nobody patches."""
    text = subprocess.run(["objdump", "-d", "--disassemble=batch", program], capture_output=True, text=True, check=True).stdout
    best = None
    for found in re.finditer(r"^\s+([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\tj\w+ +([0-9a-f]+)", text, re.M):
        addr, code, target = int(found[1], 16), found[2].replace(" ", ""), int(found[3], 16)
        if target < addr and (best is None or target < best[2]):
            best = addr, code, target
    if best is None:
        raise MachineError(f"{program.name}: no loop in batch()")
    return best[:2]


def kernel_symbols(build):
    return build / "machine/kernel/kallsyms.gz"


def command_line(variant, workload, inner, batches):
    argv = [f"build/workloads/{workload}", str(inner), str(batches), "0"]
    if variant.platform != "native":
        knobs = [f"--knob={k}" for k in variant.knobs.split(";") if k]
        argv = ["build/trapgate", "run", f"--platform={variant.platform}", *knobs, "--", *argv]
    return argv


def trace(build, variant, workload, timeout):
    """Boot once; the rounds as arrays of addresses, and the symbols that go with them."""
    program = build / "workloads" / workload
    mark, code = loop_mark(program)
    kallsyms = kernel_symbols(build)
    out = build / "machine" / f"trace.{os.getpid()}.{variant}.{workload}"
    files = {"build/trapgate": build / "trapgate", f"build/workloads/{workload}": program}
    job = JOB.format(command=shlex.join(command_line(variant, workload, 2000, 20)),
                     kallsyms="" if kallsyms.exists() else "gzip -c /proc/kallsyms >$RESULT/kallsyms.gz")
    plugin = f"{build}/lens/trace.so,mark={mark:x},bytes={code},skip={SKIP},rounds={ROUNDS},out={out}"
    try:
        result = machine.run(build / "machine", files, job, timeout=timeout, lens=True, extra_qemu=("-plugin", plugin))
        data = array.array("Q", out.read_bytes()) if out.exists() else array.array("Q")
    finally:
        out.unlink(missing_ok=True)
    if result.status == 124:
        raise MachineError(f"{variant}: the machine took longer than {timeout} s")
    if "kallsyms.gz" in result.files:
        kallsyms.write_bytes(result.files["kallsyms.gz"])
    rounds = split(data, mark)
    if len(rounds) != ROUNDS:
        raise MachineError(f"{variant}: {len(rounds)} rounds of {workload} were traced, not {ROUNDS}: {result.output.strip()[-200:]}")
    maps = symbols.read_maps(result.files.get("maps", b"").decode())
    local = {"/trapgate/build/trapgate": build / "trapgate"}
    return rounds, symbols.Symbols(kallsyms.read_bytes(), maps, program, local, [build / s for s in STUBS])


def split(data, mark):
    """The trace cut into rounds, each beginning with the mark."""
    cuts = [i for i, addr in enumerate(data) if addr == mark]
    return [data[a:b] for a, b in zip(cuts, cuts[1:] + [len(data)])]


def usual(rounds):
    """The round of median length: one that a timer interrupted is longer."""
    return sorted(rounds, key=len)[len(rounds) // 2]


def functions(one, names):
    """{(component, function): instructions}"""
    return collections.Counter(names.find(addr) for addr in one)


def phases(one, names):
    """[(component, instructions)] in order."""
    out = []
    for addr in one:
        component = names.find(addr)[0]
        if out and out[-1][0] == component:
            out[-1][1] += 1
        else:
            out.append([component, 1])
    return out


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(header)
        w.writerows(rows)


def show(variant, counted, order, top):
    total = sum(counted.values())
    print(f"\n{variant}: {total} instructions a round trip")
    print("  " + " > ".join(f"{c} {n}" for c, n in order))
    for (component, function), n in counted.most_common(top):
        print(f"  {n:7,} {100 * n / total:5.1f} %  {component:12} {function}")


def plot(folder, workload, rows):
    """A bar a platform, stacked by component."""
    present = [c for c in COMPONENTS if any(r[1].get(c) for r in rows)]
    data = "\n".join("\t".join([f'"{v}"'] + [str(parts.get(c, 0)) for c in present]) for v, parts in rows)
    columns = ", ".join(f"{'$data' if not i else chr(39) * 2} using {i + 2}:xtic(1) title '{c}'" for i, c in enumerate(present))
    script = f"""
set terminal svg size 900,500 font 'sans,13' background 'white'
set output '{folder}/breakdown.svg'
set style data histograms
set style histogram rowstacked
set style fill solid 0.85 border -1
set boxwidth 0.6
set ylabel 'instructions executed'
set yrange [0:*]
set grid ytics
set key outside right
set title 'One {workload}: whose code executes'
$data << EOD
{data}
EOD
plot {columns}
"""
    try:
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    except FileNotFoundError:
        print("breakdown: no plot: gnuplot is not installed", file=sys.stderr)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    p.add_argument("--build", default=os.environ.get("BUILD", "build"), metavar="DIR")
    p.add_argument("--platforms", metavar="NAME[:k=v],...")
    p.add_argument("--workload", default="getpid")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "results", metavar="DIR")
    p.add_argument("--timeout", type=int, default=600, metavar="SECONDS")
    p.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="machines at a time")
    p.add_argument("--top", type=int, default=25, help="functions to print")
    return p.parse_args()


def collect(build, variants, args):
    """[(variant, functions, phases)], machines side by side; the first fetches the kernel's symbols."""
    kernel_get(build / "machine/kernel")
    first = 0 if kernel_symbols(build).exists() else 1
    done = [trace(build, v, args.workload, args.timeout) for v in variants[:first]]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        done += pool.map(lambda v: trace(build, v, args.workload, args.timeout), variants[first:])
    return [(v, functions(usual(r), n), phases(usual(r), n)) for v, (r, n) in zip(variants, done)]


def main():
    args = arguments()
    try:
        build = cells.build_dir(ROOT, args.build)
        variants = cells.variants(build)
        if args.platforms:
            variants = cells.parse_variants(args.platforms, variants)
        cells.select(cells.cases(build), args.workload)
    except ValueError as e:
        print(f"breakdown: {e}", file=sys.stderr)
        return 2
    (build / "machine").mkdir(exist_ok=True)
    try:
        found = collect(build, variants, args)
    except MachineError as e:
        print(f"breakdown: {e}", file=sys.stderr)
        return 125
    folder = args.out / datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ-lens")
    write(folder / "breakdown.csv", ("platform", "knobs", "workload", "component", "function", "instructions"),
          [(v.platform, v.knobs, args.workload, *key, n) for v, counted, _ in found for key, n in counted.most_common()])
    write(folder / "phases.csv", ("platform", "knobs", "workload", "order", "component", "instructions"),
          [(v.platform, v.knobs, args.workload, i, *phase) for v, _, order in found for i, phase in enumerate(order)])
    bars = []
    for v, counted, order in found:
        show(v, counted, order, args.top)
        parts = collections.Counter()
        for (component, _), n in counted.items():
            parts[component] += n
        bars.append((v, parts))
    plot(folder, args.workload, bars)
    print(f"breakdown: {folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))     # so that temporary folders go
    sys.exit(main())
