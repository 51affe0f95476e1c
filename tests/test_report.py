"""Figures and report of a run whose numbers are known: what they show, and how a browser shows it."""
import html.parser
import os
import re
import shutil
import subprocess
import sys

import pytest

import browser
import made_up
from conftest import ROOT

sys.path.insert(0, str(ROOT / "analysis"))
import advice  # noqa: E402
import comparisons  # noqa: E402
import gnuplot  # noqa: E402
import report  # noqa: E402
import rundata  # noqa: E402
import summary  # noqa: E402
import table  # noqa: E402
import tails  # noqa: E402
from source import Source  # noqa: E402

needs_gnuplot = pytest.mark.skipif(bool(gnuplot.MISSING), reason=str(gnuplot.MISSING))
needs_jinja = pytest.mark.skipif(bool(report.MISSING), reason=str(report.MISSING))
FIGURES = (
    "ratio-same-cpu ratio-free time-syscall-same-cpu time-syscall-free time-fault-same-cpu time-task-same-cpu time-cpu-same-cpu "
    "time-app-same-cpu ecdf-same-cpu ecdf-free rate scaling phases ablation-systrap-same-cpu tail-same-cpu"
).split()


def summarize(folder, *options, env=None):
    return subprocess.run(
        ["/usr/bin/python3", "-B", ROOT / "analysis/summarize.py", *options, folder],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "GNUPLOT_STRICT": "1", **(env or {})},
    )


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = made_up.rich_run(tmp_path_factory.mktemp("rich") / "run")
    result = summarize(folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


class Page(html.parser.HTMLParser):
    """Rows of tables, and every address that the page names."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.addresses, self.cell = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "action", "data", "srcset", "xlink:href")
        ]

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append(" ".join(self.cell.split()))
            self.cell = None


@needs_gnuplot
def test_figures(rich):
    folder, out = rich
    assert "gnuplot" not in out
    for name in FIGURES:
        assert (folder / f"plots/{name}.svg").read_bytes().startswith(b"<?xml") and (
            folder / f"plots/{name}.png"
        ).read_bytes()[:4] == b"\x89PNG"
    assert len(list((folder / "plots").iterdir())) == 2 * len(FIGURES)


def axis_texts(folder, name):
    return re.findall(r"<text>(?:<tspan[^>]*>)?\s*([^<]*?)\s*<", (folder / f"plots/{name}.svg").read_text())


@needs_gnuplot
def test_bars_start_at_0_and_ratios_are_symmetric(rich):
    """R27, read from the pictures themselves."""
    folder, _ = rich
    for name in FIGURES:
        texts = axis_texts(folder, name)
        if name.startswith("time") or name == "phases":
            panels = [t for t in texts if re.search(r" \((ns|us|ms|s)\)$", t)]
            assert panels and texts.count("0") == len(panels)
        if name.startswith(("ratio", "ablation")):
            above, below = (
                {t.strip("x").removeprefix("1/") for t in texts if re.fullmatch(form, t)}
                for form in (r"[\d.]+x", r"1/[\d.]+")
            )
            assert below and above - {"1"} == below


@needs_gnuplot
def test_captions_name_the_limits(rich):
    """R9: each figure says that the machine is virtual, that KVM is software, and that nothing was counted."""
    folder, _ = rich
    for name in FIGURES:
        caption = " ".join(axis_texts(folder, name))
        assert (
            "a virtual machine (KVM)" in caption
            and "kvm_pvm" in caption
            and "no PMU" in caption
            and "n=20 launches" in caption
        )


@needs_jinja
def test_report_has_every_cell_once(rich):
    """R2, R4, R7: all planned cells with status, micro and applications apart, no total; no number without n and
    interval.
    """
    folder, _ = rich
    text = (folder / "report.html").read_text()
    run, page = rundata.Run(folder), Page(text)
    tables = [r for r in page.rows if len(r) == 11 and r[-1] in ("ok", "failed")]
    assert len(tables) == len(run.cells)
    assert {r[-1] for r in tables if r[0].startswith("broken") and r[1] == "systrap"} == {"failed"}
    for row in tables:
        workload, variant, median, interval, ratio, ratio_interval, n, *_ = row
        if median != "-":
            assert (
                n == "20"
                and re.fullmatch(r"[\d.]+ \S+ \.\. [\d.]+ \S+", interval)
                and re.fullmatch(r"[\d.]+ (ns|us|ms|s)", median)
            )
        if ratio != "-" and variant != "native":
            assert re.fullmatch(r"[\d.]+ \.\. [\d.]+", ratio_interval)
    micro, app = text.index(">Micro-benchmarks<"), text.index(">Applications<")
    assert micro < text.index("fork-exec <", micro) < app < text.index("redis-set", app)
    assert not re.search(r"\b(overall|total) score\b", text)


@needs_jinja
def test_report_is_self_contained(rich):
    folder, _ = rich
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.addresses and all(a.startswith(("#", "data:,")) for a in page.addresses)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)|fetch\(|XMLHttpRequest|<iframe|<object|<embed", text)
    ids = re.findall(r"\sid=['\"]([^'\"]+)", text)
    assert len(ids) == len(set(ids))
    assert "0" * 40 in text and "Made-up CPU" in text and 'data-kind="limits"' in text
    assert len(text) < 2_000_000


def test_advice_is_what_the_numbers_say(rich):
    folder, _ = rich
    run = rundata.Run(folder)
    found = advice.advise(run, Source(folder), comparisons.all_comparisons(run), "same-cpu")
    assert (
        found["best"] == "systrap"
        and not found["rivals"]
        and [m[0] for m in found["means"]] == ["systrap", "ptrace", "kvm"]
    )
    assert found["added"][0] == pytest.approx(600, rel=0.03) and found["added"][1] < 600 < found["added"][2]
    assert found["exceptions"] == {"ptrace": ["fork-exec"]}
    assert found["rates"][10][1] == "computed" and found["rates"][10][0] == pytest.approx(0.1 * 1e9 / 600, rel=0.03)
    free = advice.advise(run, Source(folder), comparisons.all_comparisons(run), "free")
    assert (
        free["rates"][10][1] == "measured" and 1e5 < free["rates"][10][0] < 3e5
    )  # 600 ns more a call: 10 % at 167,000


def test_advice_does_not_tell_equals_apart(tmp_path):
    make = made_up.Maker()
    make.group("getpid", {"native": 100, "systrap": 5000, "ptrace": 5005})
    run = rundata.Run(make.write(tmp_path / "run"))
    summarize(tmp_path / "run", "--no-plots")
    assert len(advice.advise(run, Source(run.folder), comparisons.all_comparisons(run), "same-cpu")["rivals"]) == 1


@needs_jinja
def test_a_cell_left_out_is_exit_4(rich, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(rich[0], copy)
    plan = (copy / "plan.json").read_text().replace('"class": "app"', '"class": "unknown"')
    (copy / "plan.json").write_text(plan)
    result = subprocess.run(
        ["/usr/bin/python3", "-B", ROOT / "analysis/report.py", copy], capture_output=True, text=True
    )
    assert result.returncode == 4 and "are not in the report" in result.stderr


@needs_jinja
def test_hosts_stand_side_by_side(tmp_path):
    """Ratios of each host in a column of its own; a host's manifest beside its numbers; nothing is pooled."""
    folders = []
    for i, factor in enumerate((5, 50)):
        make = made_up.Maker(run_id=f"20261122T10000{i}Z-h{i}", host=f"h{i}")
        make.group("getpid", {"native": 100, "systrap": 100 * factor})
        folders.append(make.write(tmp_path / f"h{i}"))
    out = tmp_path / "fleet.html"
    result = subprocess.run(
        ["/usr/bin/python3", "-B", ROOT / "analysis/report.py", *folders, "--out", out, "--note", "one note"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    text = out.read_text()
    (line,) = [r for r in Page(text).rows if len(r) == 5 and r[2] == "systrap" and "n=20" in r[3]]
    assert re.match(r"(5\.|4\.9)", line[3]) and re.match(r"(50|49)", line[4]) and "n=20" in line[3]
    assert text.count("Made-up CPU") >= 2 and "one note" in text and not re.search(r">\s*(27|16)\.\d", text)


def test_gate(tmp_path):
    """R20: native that differs from itself is exit 5 with --gate, and said without it."""
    make = made_up.Maker(spread=0.4)
    for i in range(6):
        make.group(f"w{i}", {"native": 100, "systrap": 700})
    folder = make.write(tmp_path / "run")
    assert summarize(folder, "--no-plots").returncode == 0
    result = summarize(folder, "--no-plots", "--gate")
    assert result.returncode == 5 and "NOISY" in result.stdout
    quiet = made_up.Maker()
    quiet.group("getpid", {"native": 100, "systrap": 700})
    assert summarize(quiet.write(tmp_path / "quiet"), "--no-plots", "--gate").returncode == 0


def test_digits_follow_the_interval():
    """R27: three significant digits, fewer where the interval is wide."""
    assert table.significant(669.4, 645.2, 702.1) == "669" and table.significant(6.7123, 6.5, 6.9) == "6.71"
    assert (
        table.significant(6.7123, 3.1, 9.9) == "6.7"
        and table.significant(12345) == "12300"
        and table.significant(0.01234) == "0.0123"
    )
    assert (
        table.amount(669.4, "ns", 400, 900) == "670 ns"
        and table.amount(2048, "KiB") == "2.00 MiB"
        and table.amount(None, "ns") == "-"
    )


def test_no_mean_but_the_geometric():
    """R4, R8: nothing in analysis/ averages times; the one mean there is takes ratios."""
    for path in (ROOT / "analysis").glob("*.py"):
        text = path.read_text()
        assert not re.search(r"\bfmean\b|statistics\.mean|numpy\.mean|\.mean\(|sum\([^()]*\) / len\(", text), path


# In a browser.


@pytest.fixture(scope="module")
def page(rich):
    if report.MISSING or browser.missing():
        pytest.skip(report.MISSING or browser.missing())
    with browser.Browser() as b:
        b.requests()
        yield b, rich[0] / "report.html"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_loads(page, width, scheme):
    """No error, no request but for the file itself, nothing wider than the window, figures visible, ink that stands
    out.
    """
    b, path = page
    b.look(path, width, scheme)
    assert [e for e in b.logs("browser") if e["level"] in ("SEVERE", "WARNING")] == []
    assert {u for u in b.requests() if not u.startswith(("chrome:", "data:"))} == {f"file://{path}"}
    assert b.run("return document.documentElement.scrollWidth") <= width
    shade = b.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    ink = b.run("return getComputedStyle(document.body).color.match(/\\d+/g).map(Number)")
    assert (sum(shade) < 100 < 600 < sum(ink)) if scheme == "dark" else (sum(shade) > 700 > 100 > sum(ink))
    sizes = b.run(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return [...document.querySelectorAll('svg.figure')].map(s => [s.getBoundingClientRect().width, s.querySelectorAll('path,use').length])"
    )
    if not gnuplot.MISSING:
        assert len(sizes) == len(FIGURES) and all(w >= min(700, width) * 0.9 and shapes > 10 for w, shapes in sizes)
        labels = b.run(
            "return [...document.querySelectorAll('svg.figure text')].slice(0, 20).map(t => getComputedStyle(t).fill)"
        )
        assert len(set(labels)) >= 1 and all(sum(map(int, re.findall(r"\d+", c)[:3])) > 300 for c in labels) == (
            scheme == "dark"
        )
    assert len(b.screenshot()) > 10_000


def test_tables_sort(page):
    b, path = page
    b.look(path, 1280, "light")
    column = "return [...document.querySelectorAll('table.sortable')[0].tBodies[0].rows].map(r => r.cells[2].dataset.v)"
    click = "document.querySelectorAll('table.sortable')[0].tHead.rows[0].cells[arguments[0]].querySelector('button').click();"
    before = b.run(column)
    b.run(click, 2)
    up = [float(v) for v in b.run(column)]
    b.run(click, 2)
    down = [float(v) for v in b.run(column)]
    assert up == sorted(up) and down == up[::-1] and sorted(map(float, before)) == up and list(map(float, before)) != up
    b.run(click, 1)
    names = b.run(
        "return [...document.querySelectorAll('table.sortable')[0].tBodies[0].rows].map(r => r.cells[1].textContent)"
    )
    assert len([1 for a, b in zip(names, names[1:]) if a != b]) == len(set(names)) - 1 > 3  # equal names stand together
    state = b.run(
        "return [...document.querySelectorAll('table.sortable')[0].tHead.rows[0].cells].map(c => c.getAttribute('aria-sort'))"
    )
    assert state.count("ascending") == 1 and state[1] == "ascending"


def test_unpublishable_runs_say_so(tmp_path):
    """R18: a run that nothing explains is marked."""
    make = made_up.Maker()
    make.group("getpid", {"native": 100, "systrap": 700})
    run = rundata.Run(make.write(tmp_path / "run", git={"commit": None, "dirty": None}))
    assert report.unpublishable(run.manifest) == ["the source commit is not known"]
    assert any(kind == "unpublishable" for kind, _ in report.banners(run, False, ""))
    fine = rundata.Run(make.write(tmp_path / "fine"))
    assert report.unpublishable(fine.manifest) == [] and [k for k, _ in report.banners(fine, False, "")] == ["limits"]


def test_extension_is_shown(tmp_path):
    """R28: launches added after a look at the numbers are on the first page."""
    make = made_up.Maker()
    make.group("getpid", {"native": 100, "systrap": 700})
    run = rundata.Run(make.write(tmp_path / "run"))
    run.plan["extensions"] = [{"from": 6, "to": 20, "at": "2026-11-22T10:00:00Z"}]
    assert ("extended", True) in [(kind, "from 6 to 20" in text) for kind, text in report.banners(run, False, "")]


def test_counters_get_no_verdict(rich):
    """R25: host calls and the like are shown, but nothing is faster or slower by them."""
    folder, _ = rich
    rows = rundata.read_csv(folder / "summary.csv")
    assert {r["verdict"] for r in rows if r["metric"] == "host_calls_per_op" and r["platform"] == "systrap"} == {""}
    assert {r["metric"] for r in rundata.read_csv(folder / "comparisons.csv")} == {"ns_per_op"}


@needs_jinja
def test_missing_counters_have_reasons(tmp_path):
    """R32: what this machine cannot count is named with the reason, and is nowhere 0."""
    make = made_up.Maker()
    make.group("getpid", {"native": 100, "systrap": 700})
    folder = make.write(tmp_path / "run", counters={"task_clock": "ok", "cycles": "n/a(ENOENT: no PMU in this VM)"})
    run = rundata.Run(folder)
    summary.write(summary.summarize(run), folder)
    path, notice = report.write(run, summary.summarize(run), comparisons.write(run, folder))
    text = (folder / "report.html").read_text()
    assert not notice and "cycles n/a(ENOENT: no PMU in this VM)" in text and "task_clock" not in text.split("<pre>")[0]


def test_tails_of_single_operations(rich):
    """hist.csv's bins: quantiles within them, the share that took longer, and their place in distribution.csv."""
    bins = [(100, 110, 90), (110, 200, 9), (1000, 1100, 1)]
    assert (
        tails.quantile(bins, 45) == pytest.approx(105)
        and tails.quantile(bins, 90) == 110
        and tails.quantile(bins, 100) == 1100
    )
    assert tails.survivors(bins) == [(100, 1.0), (110, pytest.approx(0.1)), (200, pytest.approx(0.01))]
    rows = rundata.read_csv(rich[0] / "distribution.csv")
    (row,) = [r for r in rows if (r["platform"], r["workload"], r["metric"]) == ("systrap", "getpid", "operation_ns")]
    assert (
        row["n"] == 20 * 10000
        and row["max"] == pytest.approx(700 * 32)
        and 700 < row["p50"] < 770 < row["p99"] < 1400.1
    )


def test_packed_runs_are_read(rich, tmp_path):
    """A kept run has raw.csv.gz and hist.csv.gz, and says the same."""
    copy = tmp_path / "run"
    shutil.copytree(rich[0], copy, ignore=shutil.ignore_patterns("plots"))
    for name in ("raw.csv", "hist.csv"):
        subprocess.run(["gzip", "-n", copy / name], check=True)
    assert summarize(copy, "--no-plots").returncode == 0
    for name in ("summary.csv", "comparisons.csv", "distribution.csv"):
        assert (copy / name).read_bytes() == (rich[0] / name).read_bytes()
