#!/usr/bin/python3
"""
The instruction lens: instructions executed an operation, for every workload and floor under every platform.

    lens.py run       measure; results/<UTC>-lens/lens.csv and a table
    lens.py check     measure twice; every batch of every row must have taken the same number of instructions
    lens.py gate      measure and compare with results/reference/lens.csv: a row that needs over 2 % more fails
    lens.py baseline  measure and rewrite that file

Each platform gets a machine of its own (bench/machine/), as many at a time as there are CPUs, whose clock is the number
of instructions executed. It has one CPU, so placement is same-cpu.

Exit status: 0; 1 rows differ or are over the limit; 2 wrong usage; 4 a cell failed; 125 no machine, and why.
"""
import argparse
import concurrent.futures
import csv
import datetime
import json
import os
import pathlib
import shlex
import signal
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "machine")]

import cells  # noqa: E402
import machine  # noqa: E402
import lens_table as table  # noqa: E402
from kernel import MachineError, kernel_get  # noqa: E402

BASELINE = ROOT / "results/reference/lens.csv"
LIMIT = 1.02
COLUMNS = ("schema run_id host platform knobs workload params placement block position launch metric unit value n_inner "
           "status reason").split()


def boot(build, variant, cases, timeout):
    """One machine, one platform: {name: (page bytes, status line)}."""
    files = {"build/trapgate": build / "trapgate", "job.sh": HERE / "job.sh"}
    files.update({f"build/workloads/{c.name}": build / "workloads" / c.name for c in cases})
    names = [f"{c.name}:{c.inner}" for c in cases]
    job = shlex.join(["sh", "job.sh", variant.platform, variant.knobs, str(cells.INNER), str(cells.BATCHES),
                      str(cells.WARMUP), *names])
    result = machine.run(build / "machine", files, job + "\n", timeout=timeout, lens=True)
    if result.status == 124:
        raise MachineError(f"{variant}: the machine took longer than {timeout} s")
    if result.status:
        raise MachineError(f"{variant}: the job ended with status {result.status}: {result.output.strip()[-200:]}")
    return {c.name: (result.files.get(c.name, b""), result.files.get(f"{c.name}.status", b"").decode()) for c in cases}


def plain(text):
    """One sentence without what the CSV's columns must not hold."""
    return " ".join(text.replace(",", ";").replace('"', "'").split())[:200]


def row_of(variant, case, data, status_line):
    """What the page of a cell says, as the columns from metric on, and the ticks of its batches."""
    page = cells.page_read(data)
    code, _, err = status_line.strip().partition(" ")
    if isinstance(page, cells.Page) and page.state == cells.UNSUPPORTED:
        return "unsupported", f"line {page.line}: {os.strerror(page.error)}", None
    if isinstance(page, cells.Page) and page.state == cells.ERROR:
        return "failed", f"line {page.line}: {os.strerror(page.error)}", None
    if code not in ("", "0"):
        why = "took too long" if code == "137" else f"exit status {code}"
        return "timeout" if code == "137" else "failed", plain(f"{why} {err}"), None
    if not isinstance(page, cells.Page):
        return "invalid", page, None
    if page.state != cells.DONE or page.name != case.name or page.good != page.ops or not page.ticks:
        return "invalid", f"{page.good} of {page.ops} operations right", None
    return "ok", "", page


def wanted(variant, cases):
    """Floors run natively only."""
    return [c for c in cases if variant.platform == "native" or not c.floor]


def measure(build, variants, cases, timeout, jobs):
    """{(variant, case): (status, reason, page)}; machines side by side. One that dies fails its own cells only."""
    kernel_get(build / "machine/kernel")
    machine.qemu_path()
    out = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {v: pool.submit(boot, build, v, wanted(v, cases), timeout) for v in variants}
        for v, future in futures.items():
            try:
                pages, why = future.result(), ""
            except MachineError as e:
                pages, why = {}, plain(str(e))
            for c in wanted(v, cases):
                out[v, c] = row_of(v, c, *pages[c.name]) if c.name in pages else ("failed", why, None)
            print(f"lens: {v}: {why or f'{len(pages)} cells'}", file=sys.stderr)
    return out


def csv_rows(measured, run_id):
    for position, ((v, c), (status, reason, page)) in enumerate(measured.items()):
        value = f"{page.per_op:.4f}".rstrip("0").rstrip(".") if page else ""
        yield dict(zip(COLUMNS, (1, run_id, "tcg", v.platform, v.knobs, c.name, page.params if page else "", "same-cpu", 1, position, 1,
                                 "instructions_per_op", "instructions", value, page.inner if page else 0, status, reason)))


def csv_write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        w = csv.DictWriter(f, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_NONE)
        w.writeheader()
        w.writerows(rows)


def csv_read(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def identity(row):
    return row["platform"], row["knobs"], row["workload"]


def differences(first, second):
    """Cells of two measurements that are not the same in every batch."""
    for key, (status, _, page) in first.items():
        other_status, _, other = second[key]
        if status != other_status or (page and page.ticks != other.ticks):
            v, c = key
            yield f"{v} {c.name}: {status} {page and page.ticks} and {other_status} {other and other.ticks}"


def over_limit(rows, baseline, limit=LIMIT):
    """(row, baseline value or None) of rows that got worse: more instructions, or no figure where there was one."""
    known = {identity(r): r for r in baseline if r["status"] == "ok"}
    for row in rows:
        old = known.pop(identity(row), None)
        if old is None:
            continue
        if row["status"] != "ok" or float(row["value"]) > limit * float(old["value"]):
            yield row, float(old["value"])


def save(rows, out, info):
    folder = out / info["run_id"]
    csv_write(folder / "lens.csv", rows)
    (folder / "lens.json").write_text(json.dumps(info, indent=1) + "\n")
    (folder / "lens.txt").write_text(table.render(rows))
    return folder


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    p.add_argument("what", choices=("run", "check", "gate", "baseline"))
    p.add_argument("--build", default=os.environ.get("BUILD", "build"), metavar="DIR")
    p.add_argument("--platforms", metavar="NAME[:k=v],...", help="default: all, systrap with patching off too")
    p.add_argument("--workloads", metavar="NAME,...", help="default: all, and the floors")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "results", metavar="DIR")
    p.add_argument("--baseline", type=pathlib.Path, default=BASELINE, metavar="FILE")
    p.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="for one machine")
    p.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="machines at a time")
    return p.parse_args()


def gate(rows, baseline_path):
    if not baseline_path.exists():
        print(f"lens: there is no baseline {baseline_path}: make lens-baseline writes it", file=sys.stderr)
        return 2
    bad = list(over_limit(rows, csv_read(baseline_path)))
    for row, old in bad:
        name = " ".join(filter(None, identity(row)))
        new = row["value"] and f"{float(row['value']):.1f}, {(float(row['value']) / old - 1) * 100:+.1f} %"
        print(f"lens: {name}: {old:.1f} instructions in the baseline, now {new or row['status'] + ': ' + row['reason']}", file=sys.stderr)
    print(f"lens: {len(bad)} of {len(rows)} rows over the limit of {LIMIT - 1:.0%}")
    return 1 if bad else 0


def main():
    args = arguments()
    try:
        build = cells.build_dir(ROOT, args.build)
        found = cells.cases(build)
        cases = cells.select(found, args.workloads) if args.workloads else found
        variants = cells.variants(build)
        if args.platforms:
            variants = cells.parse_variants(args.platforms, variants)
    except ValueError as e:
        print(f"lens: {e}", file=sys.stderr)
        return 2
    (build / "machine").mkdir(exist_ok=True)
    try:
        measured = measure(build, variants, cases, args.timeout, args.jobs)
        again = measure(build, variants, cases, args.timeout, args.jobs) if args.what == "check" else None
        versions = machine.versions(build / "machine")
    except MachineError as e:
        print(f"lens: {e}", file=sys.stderr)
        return 125
    run_id = "baseline" if args.what == "baseline" else datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ-lens")
    rows = list(csv_rows(measured, run_id))
    if args.what == "baseline":
        csv_write(args.baseline, rows)
        args.baseline.with_suffix(".json").write_text(json.dumps(versions, indent=1) + "\n")
    else:
        print(f"lens: {save(rows, args.out, dict(versions, run_id=run_id))}", file=sys.stderr)
    if again is not None:
        bad = list(differences(measured, again))
        print("\n".join(bad) if bad else f"lens: two runs agree in every batch of {len(measured)} rows")
        return 1 if bad else 0
    print(table.render(rows), end="")
    if args.what == "gate":
        return gate(rows, args.baseline)
    failed = [r for r in rows if r["status"] not in ("ok", "unsupported")]
    for r in failed:
        print(f"lens: {' '.join(filter(None, identity(r)))}: {r['status']}: {r['reason']}", file=sys.stderr)
    return 4 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))     # so that temporary folders go
    sys.exit(main())
