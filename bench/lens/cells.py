"""What the lens looks at: who runs (variants), what (cases), how often; and what a sample page says."""
import dataclasses
import json
import pathlib
import statistics
import struct
import subprocess

INNER, BATCHES, WARMUP = 64, 9, 6

# Operations a batch where the default makes batches too long: one that holds several timer ticks blurs the median.
# Workloads with a count of their own (pages of a mapping) are not asked.
FEWER = {"fork-exec": 2, "fork-exit": 4, "memory-bandwidth": 1, "mmap-touch-munmap": 16, "spin": 16}
PEERLESS = {"idle"}         # the driver's own tool, no case

# enum sample_state and the offsets of struct sample_page, workloads/include/sample.h
MAGIC, VERSION, BYTES = 0x454c504d41534754, 2, 8192
TICKS, MOST = 512, 448
DESCRIBED, DONE, ERROR, UNSUPPORTED = 1, 2, 3, 4
CLASS_FLOOR = 5


@dataclasses.dataclass(frozen=True)
class Page:
    state: int
    name: str
    kind: int           # enum sample_class
    traps: int
    fixed_inner: int
    inner: int
    ops: int
    good: int
    error: int
    line: int
    params: str         # its parameter's level, k=v, or empty
    ticks: tuple        # instructions of each timed batch

    @property
    def per_op(self):
        return statistics.median(self.ticks) / self.inner


def page_read(data):
    """The page, or a sentence that says why it is none."""
    if len(data) != BYTES:
        return "a sample page of the wrong size" if data else "no sample page"
    magic, version, state = struct.unpack_from("<QII", data, 0)
    if magic != MAGIC or version != VERSION:
        return "not a sample page of this version"
    kind, _, traps, _, fixed = struct.unpack_from("<IIIIQ", data, 176)
    inner, batches, _, ops, good = struct.unpack_from("<QIIQQ", data, 200)
    _, error, line, _ = struct.unpack_from("<IIII", data, 256)
    if batches > MOST:
        return "a sample page with too many batches"
    name = data[16:48].split(b"\0")[0].decode(errors="replace")
    param = data[280:296].split(b"\0")[0].decode(errors="replace")
    level = struct.unpack_from("<Q", data, 296)[0]
    return Page(state, name, kind, traps, fixed, inner, ops, good, error, line, f"{param}={level}" if param else "", struct.unpack_from(f"<{batches}Q", data, TICKS))


@dataclasses.dataclass(frozen=True)
class Variant:
    platform: str
    knobs: str = ""

    def __str__(self):
        return f"{self.platform}:{self.knobs}" if self.knobs else self.platform


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    floor: bool
    inner: int          # operations a batch


def cases(build):
    """Every program in build/workloads that describes itself as a workload, twins left out."""
    found = []
    for path in sorted((build / "workloads").iterdir()):
        if path.suffix or path.name in PEERLESS:
            continue
        page = page_read(subprocess.run([path, "--describe"], capture_output=True, timeout=10, check=False).stdout)
        if isinstance(page, Page) and page.state == DESCRIBED and page.kind:
            found.append(Case(path.name, page.kind == CLASS_FLOOR, page.fixed_inner or FEWER.get(path.name, INNER)))
    return found


def variants(build):
    """Native, every platform of the binary as it is, systrap with patching off, kvm in each residency it has."""
    done = subprocess.run([build / "trapgate", "platforms", "--json"], capture_output=True, text=True, check=True)
    out = [Variant("native")]
    for p in json.loads(done.stdout)["platforms"]:
        knobs = {k["name"] for k in p["knobs"]}
        if "kvm.sentry" in knobs:
            out += [Variant("kvm", "kvm.sentry=host"), Variant("kvm", "kvm.sentry=guest")]
            continue
        out.append(Variant(p["name"]))
        if "systrap.patch" in knobs:
            out.append(Variant("systrap", "systrap.patch=off"))
    return out


def parse_variants(text, known):
    """NAME[:k=v;k=v],...: names must be known, knobs are the sentry's to judge."""
    names = {v.platform for v in known}
    out = []
    for item in text.split(","):
        name, _, knobs = item.partition(":")
        if name not in names:
            raise ValueError(f"no platform {name}: there are {', '.join(sorted(names))}")
        out.append(Variant(name, knobs))
    return out


def select(found, text):
    by_name = {c.name: c for c in found}
    for name in text.split(","):
        if name not in by_name:
            raise ValueError(f"no workload {name}: there are {', '.join(by_name)}")
    return [by_name[n] for n in text.split(",")]


def build_dir(root, name):
    build = pathlib.Path(name) if pathlib.Path(name).is_absolute() else root / name
    if not (build / "trapgate").exists():
        raise ValueError(f"{build}/trapgate is missing: build it first (make)")
    return build
