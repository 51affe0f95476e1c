"""Stamps of a switch: --phases and --profile of the sentry, phases.csv of the driver. Order and completeness, not time."""
import csv
import re

from conftest import BUILD, sandbox
from test_bench import bench, check_files, latest, schema
import jsonschema
import rundata

PHASES_HEADER = "schema,run_id,host,platform,knobs,workload,params,placement,block,launch,phase,ns,p90_ns,n"
ORDER = ["trap", "hand_over", "dispatch", "handle", "hand_back", "resume"]


def test_stamps_are_in_order(platform, tmp_path):
    """Each switch passes the boundaries in order, and the next begins when it is over; calls have their names."""
    done = sandbox(platform, [BUILD / "workloads/getpid", "500", "3", "3"], [f"--phases={tmp_path / 'p'}"])
    assert done.returncode == 0
    rows = list(csv.DictReader((tmp_path / "p").open()))
    calls = [r["call"] for r in rows]
    assert calls.count("getpid") > 500 and calls[-2:] == ["write", "exit_group"] and len(rows) <= 1024
    last = 0
    for row in rows[:-1]:
        at = {k: int(row[k]) for k in ("stub", "woken", "event", "done", "back", "resumed")}
        assert last <= at["woken"] <= at["event"] <= at["done"] <= at["back"], row
        if platform == "systrap":
            assert last <= at["stub"] <= at["woken"] and at["back"] <= at["resumed"], row
            last = at["resumed"]
        else:
            assert at["stub"] == at["resumed"] == 0
            last = at["back"]


def test_stamps_of_many_tasks(platform, tmp_path):
    done = sandbox(platform, ["/usr/bin/python3", "-c", "import threading, os\nfor i in range(4): threading.Thread(target=os.getpid).start()\n"
                              "if not os.fork(): os._exit(0)\nos.wait()"], [f"--phases={tmp_path / 'p'}"])
    assert done.returncode == 0
    rows = list(csv.DictReader((tmp_path / "p").open()))
    assert len({r["task"] for r in rows}) == 6


def test_profile_is_folded(platform, tmp_path):
    """What flame graph viewers read: frames, a blank, a whole number; the guest's own time and the sentry's both show."""
    done = sandbox(platform, [BUILD / "workloads/spin", "20000", "5", "1"], [f"--profile={tmp_path / 'f'}"])
    assert done.returncode == 0
    total = {}
    for line in (tmp_path / "f").read_text().splitlines():
        match = re.fullmatch(r"([^; ]+(?:;[^;]+)+) (\d+)", line)
        assert match, line
        frames = match[1].split(";")
        assert frames[0] == platform and frames[1] in ("guest", "sentry", "hand-over") and len(frames) == 4
        total[frames[1]] = total.get(frames[1], 0) + int(match[2])
    # A guest that only computes is in the guest.
    assert total["guest"] > total["sentry"] > 0
    assert ("hand-over" in total) == (platform == "systrap")


def test_unwritable(platform):
    for option in ("phases", "profile"):
        done = sandbox(platform, ["/bin/true"], [f"--{option}=/nonexistent/x"])
        assert done.returncode == 125 and done.stderr == f"trapgate: --{option} /nonexistent/x: No such file or directory\n"


def test_phases_of_a_run(platform, tmp_path):
    """The workload's stamps and the sentry's are joined: each phase of the platform, in order, from many switches."""
    result = bench(f"--filter=getpid-var/{platform}/same-cpu", "--phases", "--trials=2", "--no-summary", "--out", tmp_path)
    assert result.returncode == 0 and "no stamps" not in result.stderr, result.stderr
    run = latest(tmp_path)
    plan, _ = check_files(run, with_summary=False)
    assert plan["phases"] and (run / "phases.csv").read_text().splitlines()[0] == PHASES_HEADER
    assert list(schema("phases")["properties"]) == PHASES_HEADER.split(",")
    check = jsonschema.Draft202012Validator(schema("phases"))
    rows = rundata.read_csv(run / "phases.csv")
    wanted = ORDER if platform == "systrap" else [p for p in ORDER if p != "hand_over"]
    for block in (1, 2):
        mine = [r for r in rows if r["block"] == block]
        assert [r["phase"] for r in mine] == wanted and {r["platform"] for r in mine} == {platform}
        assert all(r["n"] > 100 and r["ns"] <= r["p90_ns"] for r in mine)
    for row in rows:
        check.validate(row)
    assert "include the stamps" in " ".join(rundata.read_json(run, "manifest.json")["warnings"])


def test_off_by_default(tmp_path):
    assert bench("--filter=getpid/systrap/same-cpu", "--trials=1", "--no-summary", "--out", tmp_path).returncode == 0
    assert not (latest(tmp_path) / "phases.csv").exists()
