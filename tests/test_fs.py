"""The overlay and bind mounts: what a guest changes, where it shows, and what it can't reach."""
import errno
import os
import pathlib
import shutil
import subprocess
import threading

import pytest
from conftest import need, run, sandbox

CHANGES = r"""
cd "$1"
cat small; echo more >> small; cat small
head -c 100000 big | md5sum; echo tail >> big; tail -c 20 big; md5sum < big
printf XYZ | dd of=big bs=1 seek=5000 conv=notrunc 2>/dev/null; md5sum < big
truncate -s 70000 big; md5sum < big; truncate -s 90000 big; md5sum < big
cat hard2; echo changed > hard1; cat hard2; stat -c '%h %s' hard1 hard2
rm hard1; stat -c '%h %s' hard2; cat hard2
ls -A dir; rm dir/a; ls -A dir; echo again > dir/a; cat dir/a; ls -A dir
mv dir/sub moved; find moved dir | sort; cat moved/deep/file
mkdir dir/sub; ls -A dir/sub; echo new > dir/sub/n; find . | sort
rmdir dir 2>&1 | sed 's/.*: //'
rm -r dir; ls -A; mkdir dir; ls -A dir; echo x > dir/only; ls -A dir
mv small renamed; cat renamed; ls -A; test -e small || echo gone
readlink link; cat link 2>/dev/null || echo dangling; ln -sf renamed link; cat link
chmod 600 renamed; stat -c '%a' renamed
mv -T many many2; ls many2 | wc -l; rm many2/f1*; ls many2 | wc -l; rm -r many2; ls -A
cp -r moved copy; diff -r moved copy && echo equal
touch -d '2001-02-03 04:05:06 UTC' renamed; stat -c '%Y' renamed
ls -l --time-style=+%s renamed | awk '{print $1, $2, $5}'
"""


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "dir/sub/deep").mkdir(parents=True)
    (root / "many").mkdir()
    (root / "small").write_text("small\n")
    (root / "big").write_bytes(bytes((i * 7 + i // 251) & 255 for i in range(200000)))
    (root / "hard1").write_text("hard\n")
    os.link(root / "hard1", root / "hard2")
    (root / "dir/a").write_text("a\n")
    (root / "dir/sub/deep/file").write_text("deep\n")
    (root / "link").symlink_to("small")
    for i in range(200):
        (root / f"many/f{i}").write_text(str(i))
    return root


def picture(root):
    """Everything that a change to the tree could change, but access times."""
    lines = []
    for p in sorted([root, *root.rglob("*")]):
        st = p.lstat()
        content = os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else b""
        lines.append((str(p.relative_to(root)), st.st_mode, st.st_nlink, st.st_uid, st.st_size * p.is_file(), content))
    return lines


def in_copy(tree, tmp_path, name):
    copy = tmp_path / name
    subprocess.run(["cp", "-a", tree, copy], check=True)
    return copy


def test_overlay_changes_nothing_outside(platform, tree, tmp_path):
    before = picture(tree)
    native = run(["bash", "-c", CHANGES, "bash", in_copy(tree, tmp_path, "native")])
    inside = sandbox(platform, ["bash", "-c", CHANGES, "bash", tree])
    assert inside.stdout == native.stdout, inside.stderr
    assert inside.stderr == native.stderr
    assert picture(tree) == before


def test_bind_rw_passes_through(platform, tree, tmp_path):
    copy = in_copy(tree, tmp_path, "native")
    native = run(["bash", "-c", CHANGES, "bash", copy])
    inside = sandbox(platform, ["bash", "-c", CHANGES, "bash", "/mnt"], [f"--bind={tree}:/mnt:rw"])
    assert inside.stdout == native.stdout, inside.stderr
    assert picture(tree) == picture(copy)


def test_bind_ro(platform, tree):
    before = picture(tree)
    script = "cd /mnt; cat small; for c in 'echo x > small' 'rm small' 'mkdir d' 'mv small s' 'chmod 600 small' 'ln small s'; do " \
             "(eval \"$c\") 2>&1 | sed 's/.*: //'; done"
    inside = sandbox(platform, ["bash", "-c", script], [f"--bind={tree}:/mnt:ro"])
    assert inside.stdout == "small\n" + "Read-only file system\n" * 6
    assert picture(tree) == before


def test_bind_of_a_file(platform, tmp_path):
    (tmp_path / "one").write_text("one\n")
    (tmp_path / "other").write_text("other\n")
    inside = sandbox(platform, ["sh", "-c", "cat /etc/one; echo two >> /etc/one; ls /etc/other"], [f"--bind={tmp_path}/one:/etc/one:rw"])
    assert inside.stdout == "one\n" and "No such file" in inside.stderr
    assert (tmp_path / "one").read_text() == "one\ntwo\n"


def test_bind_mapping_reaches_the_host(platform, tmp_path):
    need("python3")
    (tmp_path / "f").write_bytes(b"x" * 10000)
    code = "import mmap,os; f=os.open('/mnt/f',os.O_RDWR); m=mmap.mmap(f,10000); m[5000:5004]=b'MAPS'; " \
           "print(os.pread(f,4,5000)); os.pwrite(f,b'WRIT',100); print(m[100:104]); m.flush(); m[6000:6003]=b'END'"
    inside = sandbox(platform, ["/usr/bin/python3", "-c", code], [f"--bind={tmp_path}:/mnt:rw"])
    assert inside.stdout == "b'MAPS'\nb'WRIT'\n", inside.stderr
    data = (tmp_path / "f").read_bytes()
    assert data[5000:5004] == b"MAPS" and data[100:104] == b"WRIT" and data[6000:6003] == b"END" and len(data) == 10000


@pytest.fixture
def small_root(tmp_path):
    """A root directory with nothing but busybox, beside a secret that must stay out of reach."""
    need("busybox")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    (tmp_path / "secret").write_text("SECRET\n")
    return root


def test_symlinks_stay_in_the_root(platform, small_root, tmp_path):
    (small_root / "abs").symlink_to(tmp_path / "secret")
    (small_root / "up").symlink_to("../secret")
    (small_root / "far").symlink_to("../" * 30 + str(tmp_path / "secret"))
    (small_root / "dir").symlink_to(tmp_path)
    script = "for f in /abs /up /far /dir/secret /../secret /bin/../../secret /proc/self/root/../secret /proc/1/cwd/../secret; do " \
             "busybox cat $f 2>/dev/null && echo \"leak $f\"; done; busybox ls /"
    inside = sandbox(platform, ["/bin/busybox", "sh", "-c", script], [f"--rootfs={small_root}"])
    assert "SECRET" not in inside.stdout and "leak" not in inside.stdout
    assert inside.stdout.split() == ["abs", "bin", "dev", "dir", "far", "proc", "sys", "up"], inside.stderr
    assert sorted(p.name for p in small_root.iterdir()) == ["abs", "bin", "dir", "far", "up"]


def test_guest_symlinks_in_a_bind_stay_in_the_sandbox(platform, small_root, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    script = f"cd /mnt; busybox ln -s {tmp_path}/secret a; busybox ln -s ../secret b; busybox ln -s .. c; " \
             "busybox cat a b c/secret 2>/dev/null; busybox sh -c 'echo hacked > a' 2>/dev/null; busybox sh -c 'echo hacked > b'; " \
             "busybox ln a /mnt/d; busybox cat d 2>/dev/null; busybox chmod 777 a 2>/dev/null; echo end"
    inside = sandbox(platform, ["/bin/busybox", "sh", "-c", script], [f"--rootfs={small_root}", f"--bind={shared}:/mnt:rw"])
    assert inside.stdout == "end\n", inside.stdout
    assert (tmp_path / "secret").read_text() == "SECRET\n"


def test_racing_renames_on_the_host(platform, small_root, tmp_path):
    """Someone swaps a directory for a symlink to the outside while the guest walks through it."""
    shared = tmp_path / "shared"
    (shared / "d").mkdir(parents=True)
    (shared / "d/secret").write_text("mine\n")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(shared / "d", shared / "real")
            os.symlink(tmp_path, shared / "d")
            os.unlink(shared / "d")
            os.rename(shared / "real", shared / "d")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        script = "i=0; while [ $i -lt 300 ]; do read x 2>/dev/null < /mnt/d/secret && echo $x; i=$((i+1)); done"
        inside = sandbox(platform, ["/bin/busybox", "sh", "-c", script], [f"--rootfs={small_root}", f"--bind={shared}:/mnt:rw"])
    finally:
        stop.set()
        thread.join()
    assert set(inside.stdout.split()) <= {"mine"}, inside.stdout
    assert inside.returncode == 0


def test_pseudo_file_systems_of_the_host_are_hidden(platform, small_root):
    """The host's /proc under another name would show the sentry's own memory."""
    if os.getuid():
        pytest.skip("needs root to mount")
    inner = small_root / "hostproc"
    inner.mkdir()
    if subprocess.run(["mount", "-t", "proc", "proc", inner], capture_output=True).returncode:
        pytest.skip("can't mount proc here")
    try:
        inside = sandbox(platform, ["/bin/busybox", "ls", "/hostproc"], [f"--rootfs={small_root}"])
        assert inside.stdout == "" and inside.returncode == 0, inside.stdout
    finally:
        subprocess.run(["umount", inner], check=True)


def test_missing_directories_are_one_sentence(platform, tmp_path):
    for options in ([f"--rootfs={tmp_path}/none"], [f"--bind={tmp_path}/none:/mnt"], ["--rootfs=/proc"], [f"--cwd={tmp_path}/none"]):
        inside = sandbox(platform, ["/bin/true"], options)
        assert inside.returncode == 125, options
        assert len(inside.stderr.strip().splitlines()) == 1, inside.stderr


def test_writable_root(platform, small_root):
    script = "busybox mkdir /new && echo text > /new/f && busybox mv /new/f /g && busybox cat /g; busybox ls /"
    inside = sandbox(platform, ["/bin/busybox", "sh", "-c", script], [f"--rootfs={small_root}", "--rootfs-rw"])
    assert inside.stdout.split() == ["text", "bin", "g", "new"]
    assert (small_root / "g").read_text() == "text\n" and sorted(p.name for p in small_root.iterdir()) == ["bin", "g", "new"]


def test_mounts_inside(platform):
    if os.getuid():
        pytest.skip("a guest without capabilities can't mount")
    need("busybox")
    script = """mkdir /tmp/m; cd /tmp
        mount -t tmpfs x m && touch m/a && ls m && grep ' /tmp/m ' /proc/mounts; umount m; ls m | wc -l
        mkdir src; touch src/1 src/2; mount --bind src m && ls m; mount -o remount,bind,ro m; touch m/3; ls m
        cd m; umount /tmp/m; cd ..; umount m; ls m | wc -l
        mount -t nosuch x m; echo $?; rmdir m"""
    inside = sandbox(platform, ["busybox", "sh", "-c", script])
    assert inside.stdout.split("\n") == ["a", "tmpfs /tmp/m tmpfs rw,relatime 0 0", "0", "1", "2", "1", "2", "0", "255", ""], inside.stderr
    assert "Read-only" in inside.stderr and "busy" in inside.stderr


LOOP = r"""
cd /tmp; head -c 1048576 /dev/zero > img; mkdir m
losetup -f; losetup --show -f img; losetup -f; stat -c '%F %t:%T' /dev/loop0
blockdev --getsize64 /dev/loop0; blockdev --getro /dev/loop0
printf block | dd of=/dev/loop0 bs=1 seek=5000 conv=notrunc,fsync status=none; dd if=img bs=1 skip=5000 count=5 status=none; echo
dd if=/dev/zero of=/dev/loop0 bs=4096 status=none; echo full $?; stat -c %s img
losetup -r -o 4096 --sizelimit 2048 /dev/loop1 img; blockdev --getsize64 /dev/loop1; wc -c < /dev/loop1
echo x > /dev/loop1; echo readonly $?
losetup /dev/loop0 img; echo busy $?
losetup /dev/loop2 /dev/loop0; echo device on a device $?
losetup /dev/loop2 /dev/null; echo no file $?
mount -t ext4 /dev/loop0 m; echo no such file system $?
truncate -s 4608 img; wc -c < /dev/loop0; wc -c < /dev/loop1; losetup -c /dev/loop0; blockdev --getsize64 /dev/loop0
(while :; do cat /dev/loop3 > /dev/null; done) & reader=$!
for i in $(seq 20); do losetup /dev/loop3 img && losetup -d /dev/loop3 || echo failed; done; kill $reader
losetup -nl -O NAME,BACK-FILE,RO,OFFSET | tr -s ' '; cat /sys/block/loop1/size; ls /sys/block; ls /sys/block/loop7
losetup -d /dev/loop0; losetup -d /dev/loop0; echo detached $?; wc -c < /dev/loop0; losetup -f
"""


def test_loop_devices(platform):
    if os.getuid():
        pytest.skip("a guest without capabilities can't open block devices")
    need("losetup")
    inside = sandbox(platform, ["bash", "-c", LOOP])
    assert inside.stdout.split("\n") == [
        "/dev/loop0", "/dev/loop0", "/dev/loop1", "block special file 7:0", "1048576", "0", "block", "full 1", "1048576",
        "2048", "2048", "readonly 1", "busy 1", "device on a device 1", "no file 1", "no such file system 32",
        "4608", "512", "4608", "/dev/loop0 /tmp/img 0 0", "/dev/loop1 /tmp/img 1 4096", "4", *[f"loop{i}" for i in range(8)],
        "dev", "ro", "size", "detached 1", "0", "/dev/loop0", ""], inside.stderr


UNSHARE = """
import ctypes, os, threading
libc = ctypes.CDLL(None, use_errno=True)
os.dup2(2, 200)
open("/proc/sys/fs/nr_open", "w").write("64")
def unshare():
    print(libc.unshare(0x400), ctypes.get_errno())
for fd in None, 200:
    if fd:
        os.close(fd)
    t = threading.Thread(target=unshare)
    t.start()
    t.join()
"""


def test_unshare_beyond_nr_open(platform):
    if os.getuid():
        pytest.skip("a guest without capabilities can't write to /proc/sys")
    inside = sandbox(platform, ["/usr/bin/python3", "-c", UNSHARE])
    assert inside.stdout == f"-1 {errno.EMFILE}\n0 0\n", inside.stderr


def test_mount_nosymfollow(platform):
    if os.getuid():
        pytest.skip("a guest without capabilities can't mount")
    script = """cd /tmp; mkdir m; mount -t tmpfs -o nosymfollow x m || exit; echo file > m/f; ln -s f m/link
        cat m/link; readlink m/link; cat m/f; grep -c nosymfollow /proc/mounts"""
    inside = sandbox(platform, ["bash", "-c", script])
    assert inside.stdout.split() == ["f", "file", "1"] and "Too many levels" in inside.stderr, inside.stderr


IPC_LIMITS = """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
def limit(name, value):
    path = "/proc/sys/" + name
    old = open(path).read()
    open(path, "w").write(value)
    return path, old
def result(value):
    return "made" if value >= 0 else os.strerror(ctypes.get_errno())
def trial(name, value, call):
    path, old = limit(name, value)
    refused = result(call())
    open(path, "w").write(old)
    assert open(path).read() == old
    print(name, refused, result(call()))
trial("kernel/shmmax", "8192", lambda: libc.shmget(0, 8193, 0o600))
trial("kernel/shmmni", "0", lambda: libc.shmget(0, 1, 0o600))
trial("kernel/msgmni", "0", lambda: libc.msgget(0, 0o600))
queue = libc.msgget(0, 0o600)
trial("kernel/msgmax", "100", lambda: libc.msgsnd(queue, (ctypes.c_long * 64)(1), 101, 0))
limit("fs/mqueue/msg_max", "3")
limit("fs/mqueue/queues_max", "1")
os.setuid(65534)
open_queue = lambda name: libc.mq_open(name, 0o102, 0o600, None)
first = open_queue(b"/a")
attr = (ctypes.c_long * 8)()
libc.mq_getattr(first, attr)
print(result(first), attr[1], result(open_queue(b"/b")))
huge = lambda: result(libc.shmget(0, 1 << 21, 0o4600))
resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 22, 1 << 22))
allowed = huge()
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
print(allowed, "/", huge())
for bad in "kernel/shmmni", "kernel/msgmax":
    try:
        limit(bad, "1")
    except PermissionError:
        print("denied")
"""


def test_ipc_limits(platform):
    if os.getuid():
        pytest.skip("a guest without capabilities can't write to /proc/sys")
    inside = sandbox(platform, ["/usr/bin/python3", "-c", IPC_LIMITS])
    assert inside.stdout.split("\n") == [
        "kernel/shmmax Invalid argument made", "kernel/shmmni No space left on device made",
        "kernel/msgmni No space left on device made", "kernel/msgmax Invalid argument made",
        "made 3 No space left on device", "Cannot allocate memory / Operation not permitted", "denied", "denied", ""], inside.stderr
