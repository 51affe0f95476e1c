"""Whose code stands at an address of the emulated machine: the guest's, the stub's, the sentry's, the kernel's, KVM's."""
import bisect
import dataclasses
import gzip
import pathlib
import re
import subprocess

KERNEL = 1 << 63
RING0 = range(0xffff800000000000, 0xffff800010000000)      # backends/kvm/ring0/layout.h
# The stubs' images: backends/systrap/abi.h, backends/stub/stub_abi.h. One 64 KiB span each; the sentry stands above.
STUBS = (range(0x7f0000010000, 0x7f0000020000), range(0x7f1000000000, 0x7f1000010000))


class Table:
    """Sorted symbols: the name that stands at or below an address."""

    def __init__(self, symbols):
        self.symbols = sorted(symbols)
        self.starts = [s[0] for s in self.symbols]

    def find(self, addr):
        i = bisect.bisect_right(self.starts, addr) - 1
        return self.symbols[i][1] if i >= 0 else None


def elf_table(*paths):
    """Functions of programs or libraries by address within them; of a stripped one, what it exports."""
    return Table([s for path in paths for s in elf_symbols(path)])


def elf_symbols(path):
    out = []
    for options in ([], ["-D"]):
        text = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=False).stdout
        for line in text.splitlines():
            found = re.match(r"([0-9a-f]+) [tTwWiV] (\S+)", line)
            if found:
                out.append((int(found[1], 16), found[2].split("@")[0]))
        if out:
            break
    return out


def elf_span(path):
    """Lowest and highest address that a program asks for, and whether it says where it stands."""
    text = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    spans = [(int(m[1], 16), int(m[1], 16) + int(m[2], 16))
             for m in re.finditer(r"^\s+LOAD\s+\S+ (0x[0-9a-f]+) \S+ \S+ (0x[0-9a-f]+)", text, re.M)]
    return min(s[0] for s in spans), max(s[1] for s in spans)


def kallsyms_tables(packed):
    """(table of all, which module each name's address belongs to) from a compressed /proc/kallsyms."""
    symbols, modules = [], []
    for line in gzip.decompress(packed).decode().splitlines():
        addr, kind, name, *module = line.split()
        if kind in "tTwW":
            symbols.append((int(addr, 16), name))
            modules.append((int(addr, 16), module[0].strip("[]") if module else ""))
    return Table(symbols), Table(modules)


@dataclasses.dataclass(frozen=True)
class Mapping:
    start: int
    end: int
    offset: int
    path: str
    sentry: bool


def read_maps(text):
    """Executable mappings from the job's listing: '== NAME' before each process's maps."""
    out, sentry = [], False
    for line in text.splitlines():
        if line.startswith("== "):
            sentry = line[3:] == "trapgate"
            continue
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ \d+ *(.*)", line)
        if found:
            out.append(Mapping(int(found[1], 16), int(found[2], 16), int(found[3], 16), found[4].strip(), sentry))
    return out


class Symbols:
    """
    Names for one boot. `local` maps paths inside the machine to files here that still have their symbols. Addresses of
    different programs do not overlap: the kernel is told not to randomise, and the guest is a static program.
    """

    def __init__(self, kallsyms, maps, program, local, stubs):
        self.kernel, self.modules = kallsyms_tables(kallsyms)
        self.maps = maps
        self.span = elf_span(program)
        self.program = elf_table(program)
        self.local = local
        self.stub = elf_table(*stubs)
        self.tables = {}
        self.cache = {}

    def find(self, addr):
        """(component, function)"""
        if addr not in self.cache:
            self.cache[addr] = self._find(addr)
        return self.cache[addr]

    def _find(self, addr):
        if addr in RING0:
            return "ring 0", f"ring0+{addr - RING0.start & ~7:#x}"
        if addr >= KERNEL:
            module = self.modules.find(addr) or ""
            return "hypervisor" if module.startswith("kvm") else "host kernel", self.kernel.find(addr) or "?"
        if self.span[0] <= addr < self.span[1]:
            return "guest", self.program.find(addr) or "?"
        if any(addr in span for span in STUBS):
            return "stub", self.stub.find(addr) or "?"
        for m in sorted(self.maps, key=lambda m: not m.sentry):
            if m.start <= addr < m.end:
                return self._mapped(m, addr)
        return "other", f"{addr >> 12 << 12:#x}"

    def _mapped(self, m, addr):
        component = "sentry" if m.sentry else "stub"
        if m.path.startswith("["):
            return component, m.path
        source = self.local.get(m.path)
        if source is None and not m.sentry:
            return component, "trampoline"
        source = source or pathlib.Path(m.path)
        if source not in self.tables:
            self.tables[source] = elf_table(source) if source.exists() else Table([])
        # A shared object's or a PIE's own addresses equal its file offsets plus what its segments are shifted by.
        return component, self.tables[source].find(addr - m.start + self._vaddr(source, m.offset)) or "?"

    def _vaddr(self, source, offset):
        text = subprocess.run(["readelf", "-lW", source], capture_output=True, text=True, check=False).stdout
        for found in re.finditer(r"^\s+LOAD\s+(0x[0-9a-f]+) (0x[0-9a-f]+) \S+ (0x[0-9a-f]+)", text, re.M):
            start, vaddr, size = (int(found[i], 16) for i in (1, 2, 3))
            if start & ~0xfff <= offset < start + size:
                return vaddr - start + offset
        return offset
