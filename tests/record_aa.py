#!/usr/bin/python3
"""record_aa.py FILE: launches of the same code, one after the other on one CPU, with every batch kept; for
test_statistics.py.

Half of the launches will be called A and half B by the simulation, which then looks for differences that cannot
exist. Needs a built tree and a quiet machine. One row a launch: workload, launch, then the batches in ns an
operation.
"""
import os
import pathlib
import struct
import subprocess
import sys

BUILD = pathlib.Path(__file__).resolve().parent.parent / os.environ.get("BUILD", "build")
LAUNCHES, BATCHES = 300, 30
CASES = (("getpid", 2000), ("pipe-pingpong", 200))
SAMPLES_AT, DONE = 272, 2  # offset of the ticks and the final state in workloads/include/sample.h


def launch(name, inner):
    argv = [BUILD / "workloads" / name, str(inner), str(BATCHES), "3", "200000"]
    page = subprocess.run(argv, capture_output=True, check=True).stdout
    (state,) = struct.unpack_from("<I", page, 12)
    (count,) = struct.unpack_from("<I", page, 208)
    assert state == DONE and count == BATCHES
    return struct.unpack_from(f"<{count}Q", page, SAMPLES_AT)


def main(path):
    hz = float(
        subprocess.run(
            [
                BUILD / "trapgate-bench",
                "--platforms=native",
                "--workloads=spin",
                "--trials=1",
                "--no-summary",
                "--out",
                path + ".run",
            ],
            capture_output=True,
        ).returncode
        == 0
        and tsc_hz(path + ".run")
    )
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with open(path, "w") as f:
        f.write("workload,launch,ns_per_op of each batch\n")
        for number in range(LAUNCHES):
            for name, inner in CASES:
                values = [ticks * 1e9 / hz / inner for ticks in launch(name, inner)]
                f.write("%s,%d,%s\n" % (name, number, ",".join("%.4g" % v for v in values)))


def tsc_hz(out):
    import json
    import shutil

    hz = json.loads((pathlib.Path(out) / "latest/plan.json").read_text())["tsc_hz"]
    shutil.rmtree(out)
    return hz


if __name__ == "__main__":
    main(sys.argv[1])
