"""Fleets on loopback: GNU parallel over a real sshd, and a real Slurm, both with this machine in several roles.

The plumbing is what is tested: a small repository whose driver makes up a run is cloned, built and run by the hosts.
"""
import getpass
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from conftest import BUILD, ROOT, need

sys.path.insert(0, str(ROOT / "analysis"))
import rundata  # noqa: E402

SBIN = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
DRIVER = r"""#!/usr/bin/python3
import os, pathlib, sys, time
sys.path.insert(0, %r)
import made_up
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
running = pathlib.Path(%r)
(running / str(os.getpid())).touch()
time.sleep(0.3)
alone = len(list(running.iterdir())) == 1
make = made_up.Maker(run_id="20261122T100000Z-made", host="made")
make.group("getpid", {"native": 100, "systrap": 700})
make.write(out / "20261122T100000Z-made", command=sys.argv[1:] + (["alone"] if alone else ["not alone"]))
(out / "latest").symlink_to("20261122T100000Z-made")
(running / str(os.getpid())).unlink()
sys.exit(4 if "--fail" in sys.argv else 0)
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture()
def tree(tmp_path):
    """A repository with the real fleet scripts and analysis, and a driver that measures nothing."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "bench/fleet", tree / "bench/fleet")
    shutil.copytree(ROOT / "analysis", tree / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "running").mkdir()
    (tree / "driver").write_text(DRIVER % (str(ROOT / "tests"), str(tmp_path / "running")))
    (tree / "Makefile").write_text(
        "deps:\n\t@:\nall:\n\tmkdir -p build\n\tinstall -m 755 driver build/trapgate-bench\n"
    )
    for argv in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "tree"],
    ):
        subprocess.run(["git", *argv], cwd=tree, check=True)
    return tree


def environment(tmp_path):
    return {
        **SBIN,
        "FLEET_OUT": str(tmp_path / "fleet"),
        "FLEET_CACHE": str(tmp_path / "cache"),
        "FLEET_LOCK": str(tmp_path / "lock"),
    }


def check_fleet(out, count):
    """Every host delivered a run that was alone; the report shows them side by side and says that they are one
    machine.
    """
    runs = sorted(out.glob("*/*/manifest.json"))
    assert len(runs) == count
    commands = [rundata.read_json(r.parent, "manifest.json")["command"] for r in runs]
    assert all(c[-1] == "alone" and "--suite=quick" in c for c in commands)
    assert len({json.loads((r.parent / "host.json").read_text())["name"] for r in runs}) == count
    text = (out / "report.html").read_text()
    assert "shared host" in text and f"{count} hosts side by side" in text
    rows = rundata.read_csv(out / "summary.csv")
    assert len([r for r in rows if r["platform"] == "systrap" and r["metric"] == "ns_per_op"]) == count


@pytest.fixture()
def sshd(tmp_path):
    """An sshd of our own on a loopback port; yields the login that reaches it."""
    for program in ("parallel", "rsync", "ssh", "ssh-keygen"):
        need(program)
    server = shutil.which("sshd", path=SBIN["PATH"])
    if not server:
        pytest.skip("sshd is not installed (Debian package openssh-server)")
    if os.getuid() == 0:
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    port = free_port()
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\nPidFile {tmp_path}/pid\n"
        "StrictModes no\nPasswordAuthentication no\nUsePAM no\nPermitRootLogin yes\n"
    )
    process = subprocess.Popen([server, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=subprocess.DEVNULL)
    deadline = time.time() + 20
    while time.time() < deadline and process.poll() is None:
        with socket.socket() as s:
            if not s.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.1)
    yield (
        f"ssh -p {port} -i {tmp_path}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
        f"{getpass.getuser()}@127.0.0.1"
    )
    process.terminate()
    process.wait(20)


def test_ssh_fleet(tree, sshd, tmp_path):
    """Two names for this machine and one host that is not there: two runs, one after the other, and exit 7."""
    (tmp_path / "hosts").write_text(f"# a comment\n{sshd}\n{sshd}   # again\n{sshd.replace('-p ', '-p 1')}\n")
    lines = (tmp_path / "hosts").read_text().splitlines()
    result = subprocess.run(
        [tree / "bench/fleet/run.sh", tmp_path / "hosts", "--suite=quick"],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment(tmp_path),
    )
    assert result.returncode == 7, result.stdout + result.stderr
    assert len(lines) == 4 and "2 of 3 hosts" in result.stdout and "03-127.0.0.1 delivered nothing" in result.stderr
    check_fleet(tmp_path / "fleet", 2)
    assert "delivered nothing" in (tmp_path / "fleet/report.html").read_text()
    assert not list((pathlib.Path.home() / ".parallel/tmp").glob("*/host.sh"))  # nothing is left on the host


def test_fleet_usage(tree, tmp_path):
    need("parallel")
    need("rsync")
    run = tree / "bench/fleet/run.sh"
    assert subprocess.run([run], capture_output=True, env=environment(tmp_path)).returncode == 2
    (tmp_path / "empty").write_text("# nobody\n")
    result = subprocess.run([run, tmp_path / "empty"], capture_output=True, text=True, env=environment(tmp_path))
    assert result.returncode == 2 and "names no host" in result.stderr


def test_host_runs_the_real_driver(tmp_path):
    """host.sh with a build that the hosts share: the driver's own run folder comes back, and its exit status."""
    commit = (
        subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
        or "none"
    )
    result = subprocess.run(
        [
            ROOT / "bench/fleet/host.sh",
            tmp_path / "no-bundle",
            commit,
            "here",
            tmp_path / "here.tar.gz",
            "--platforms=native",
            "--workloads=spin",
            "--trials=1",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment(tmp_path), "FLEET_BUILD": str(BUILD)},
    )
    assert result.returncode == 0, result.stderr
    subprocess.run(["tar", "-xzf", tmp_path / "here.tar.gz", "-C", tmp_path], check=True)
    (host,) = tmp_path.glob("*/host.json")
    assert json.loads(host.read_text())["commit"] == commit and rundata.Run(host.parent).plan["complete"]


# Slurm: a controller and two nodes, all of them this machine.

SLURM = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/{auth}
{munge}
CredType=cred/{cred}
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool.%n
SlurmctldPidFile={dir}/ctld.pid
SlurmdPidFile={dir}/d.%n.pid
SlurmctldLogFile={dir}/ctld.log
SlurmdLogFile={dir}/d.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES State=UP OverSubscribe=NO
"""


def start_munge(folder):
    """A munged of our own; returns (process, socket) or (None, why not)."""
    munged = shutil.which("munged", path=SBIN["PATH"])
    if not munged:
        return None, "munged is not installed (Debian package munge)"
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    sock = folder / "munge.socket"
    process = subprocess.Popen(
        [
            munged,
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={sock}",
            f"--pid-file={folder}/munge.pid",
            f"--log-file={folder}/munge.log",
            f"--seed-file={folder}/munge.seed",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 15
    while time.time() < deadline and process.poll() is None and not sock.exists():
        time.sleep(0.1)
    return (process, sock) if sock.exists() else (None, "munged did not start")


@pytest.fixture()
def slurm(tmp_path_factory):
    for program in ("slurmctld", "slurmd", "sbatch"):
        if not shutil.which(program, path=SBIN["PATH"]):
            pytest.skip(f"{program} is not installed (Debian packages slurmctld, slurmd, slurm-client, munge)")
    if os.getuid():
        pytest.skip("slurmd needs root")
    folder = tmp_path_factory.mktemp("slurm")
    munge, sock = start_munge(folder)
    if not munge:
        pytest.skip(sock)
    host = socket.gethostname().split(".")[0]
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(
        SLURM.format(
            host=host,
            ports=[free_port() for _ in range(3)],
            user=getpass.getuser(),
            dir=folder,
            auth="munge",
            munge=f"AuthInfo=socket={sock}",
            cred="munge",
        )
    )
    env = {**SBIN, "SLURM_CONF": str(folder / "slurm.conf")}
    daemons = [
        munge,
        subprocess.Popen(["slurmctld", "-D"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
    ]
    for node in ("n1", "n2"):
        (folder / f"spool.{node}").mkdir()
        daemons.append(
            subprocess.Popen(
                ["slurmd", "-D", "-N", node], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
    deadline, idle = time.time() + 60, ""
    while time.time() < deadline and idle.count("idle") != 2:
        idle = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %t"], env=env, capture_output=True, text=True).stdout
        time.sleep(0.3)
    if idle.count("idle") == 2:
        yield env
    for process in reversed(daemons):
        process.send_signal(signal.SIGTERM)
    for process in daemons:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    if idle.count("idle") != 2:
        logs = "\n".join(p.read_text()[-1500:] for p in folder.glob("*.log"))
        pytest.fail(f"Slurm's nodes did not come up: {idle}\n{logs}")


def test_slurm_fleet(tree, slurm, tmp_path):
    """A job array with a task a node, and a merge job that depends on it."""
    env = {**environment(tmp_path), **{k: slurm[k] for k in ("SLURM_CONF", "PATH")}}
    result = subprocess.run(
        [tree / "bench/fleet/slurm.sh", "--suite=quick"], capture_output=True, text=True, timeout=200, env=env
    )
    logs = "\n".join(p.read_text() for p in (tmp_path / "fleet").glob("*.log"))
    assert result.returncode == 0, result.stdout + result.stderr + logs
    assert "2 nodes" in result.stderr and "2 of 2 hosts" in result.stdout
    check_fleet(tmp_path / "fleet", 2)
    assert {p.name for p in (tmp_path / "fleet").glob("0*") if p.is_dir()} == {"01-n1", "02-n2"}
