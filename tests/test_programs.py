"""Real programs, unmodified, with the same output and status as natively."""
import textwrap

import pytest
from conftest import need, same_as_native, sandbox

SHELL = {
    "pipeline": "seq 1 1000 | grep 7 | sort -rn | head -5; echo $((6*7)); echo done | tr a-z A-Z | wc -c",
    "loop": "for i in 1 2 3 4 5; do echo $i; done | while read x; do echo got $x; done",
    "substitution": "x=$(echo hello | cat | cat); echo $x; (exit 3); echo $?",
    "redirect": "echo one > f; echo two >> f; cat < f; wc -l < f; rm f; test -e f || echo gone",
    "background": "sleep 0.1 & wait $!; echo $?; false & wait $!; echo $?",
    "signals": "trap 'echo usr1' USR1; kill -USR1 $$; echo after; (kill -9 $$ 2>/dev/null & wait) ; echo unreached",
}


@pytest.mark.parametrize("name", [n for n in SHELL if n != "signals"])
def test_busybox(platform, name, tmp_path):
    need("busybox")
    same_as_native(platform, ["busybox", "sh", "-c", SHELL[name]], cwd=tmp_path)


@pytest.mark.parametrize("name", SHELL)
def test_bash(platform, name, tmp_path):
    need("bash")
    same_as_native(platform, ["bash", "-c", SHELL[name]], cwd=tmp_path)


def test_bash_job_control(platform, tmp_path):
    script = """\
        set -m
        trap 'echo chld >/dev/null' CHLD
        sleep 5 &
        kill -STOP %1; sleep 0.2; jobs -s | sed 's/ \\+/ /g'
        kill -CONT %1; kill -TERM %1; wait %1; echo status $?
        f() { trap 'echo int; exit 7' INT; kill -INT $BASHPID; }
        (f); echo $?
        coproc cat; echo ping >&${COPROC[1]}; read -r x <&${COPROC[0]}; echo $x
        mapfile -t a < <(printf '%s\\n' a b c); echo ${#a[@]}
        """
    same_as_native(platform, ["bash", "-c", textwrap.dedent(script)], cwd=tmp_path)


def test_coreutils_tree(platform, tmp_path):
    script = """\
        set -e
        mkdir -p tree; cd tree
        for i in $(seq 1 1000); do mkdir -p d$((i % 37)); echo "file $i" > d$((i % 37))/f$i; done
        find . -type f | wc -l; du -a . | wc -l; ls -R | md5sum
        cat $(find . -type f | sort) | sha256sum
        cp -a . ../copy; diff -r . ../copy && echo same
        find . -name '*7' -print0 | xargs -0 rm; find . -type f | sort | xargs wc -c | tail -1
        mv d1 renamed; chmod -R u-w renamed; stat -c '%A %s' renamed/* | sort | uniq -c
        ln -s renamed/f1 link; readlink link; ln d2/f2 hard; stat -c %h hard
        chmod -R u+w renamed; cd ..; rm -rf tree copy; ls -A
        """
    same_as_native(platform, ["bash", "-c", textwrap.dedent(script)], cwd=tmp_path)


PYTHON = {
    "threads": """
        import threading, queue
        q = queue.Queue(); total = []
        def work():
            while (n := q.get()) is not None: total.append(n * n)
        ts = [threading.Thread(target=work) for _ in range(20)]
        [t.start() for t in ts]
        for i in range(1000): q.put(i)
        for _ in ts: q.put(None)
        [t.join() for t in ts]
        print(sum(total))""",
    "subprocess": """
        import subprocess, sys
        for i in range(5):
            p = subprocess.run(["sh", "-c", f"echo out {i}; echo err >&2; exit {i}"], capture_output=True, text=True)
            print(p.stdout, p.stderr, p.returncode)
        p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        print(len(p.communicate(b"x" * 1000000)[0]))
        try: subprocess.run(["sleep", "10"], timeout=0.2)
        except subprocess.TimeoutExpired: print("timeout")
        try: subprocess.run(["/no/such/program"])
        except FileNotFoundError as e: print(e)""",
    "asyncio": """
        import asyncio
        async def f(i):
            await asyncio.sleep(0.01 * (i % 3)); return i
        async def main():
            print(sum(await asyncio.gather(*(f(i) for i in range(100)))))
            p = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
            print(await p.communicate())
            try: await asyncio.wait_for(asyncio.sleep(5), 0.05)
            except asyncio.TimeoutError: print("timeout")
        asyncio.run(main())""",
    "files": """
        import os, tempfile, mmap, json
        with tempfile.TemporaryDirectory(dir=".") as d:
            p = os.path.join(d, "f")
            with open(p, "w+b") as f:
                f.truncate(1 << 20)
                m = mmap.mmap(f.fileno(), 0); m[5:10] = b"hello"; m.flush(); m.close()
                f.seek(5); print(f.read(5))
            os.rename(p, p + "2"); print(sorted(os.listdir(d)), os.stat(p + "2").st_size)
        print(json.dumps({"a": [1, 2]}))""",
    "multiprocessing": """
        import multiprocessing as mp
        def sq(x): return x * x
        if __name__ == "__main__":
            with mp.Pool(3) as p: print(p.map(sq, range(20)))""",
}


@pytest.mark.parametrize("name", PYTHON)
def test_python(platform, name, tmp_path):
    (tmp_path / "prog.py").write_text(textwrap.dedent(PYTHON[name]))
    same_as_native(platform, ["/usr/bin/python3", "prog.py"], cwd=tmp_path)


def test_sqlite(platform, tmp_path):
    need("sqlite3")
    sql = """\
        PRAGMA journal_mode=WAL; PRAGMA journal_mode=DELETE;
        CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, v REAL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000)
          INSERT INTO t SELECT i, 'row ' || i, i * 0.5 FROM n;
        CREATE INDEX t_name ON t(name);
        BEGIN; DELETE FROM t WHERE id % 3 = 0; ROLLBACK;
        SELECT count(*), sum(v) FROM t; SELECT id FROM t WHERE name = 'row 4242';
        PRAGMA integrity_check;
        """
    same_as_native(platform, ["sh", "-c", f"rm -f db; sqlite3 db <<'E'\n{textwrap.dedent(sql)}\nE\nls db*; rm db"], cwd=tmp_path)


def test_sqlite_recovers_a_killed_writer(platform, tmp_path):
    """A writer is killed in the middle of a transaction; the hot journal must be rolled back."""
    need("sqlite3")
    script = """\
        sqlite3 db 'CREATE TABLE t(x); INSERT INTO t VALUES(1);'
        (echo 'PRAGMA cache_size=5; BEGIN;'; for i in $(seq 1 3000); do echo "INSERT INTO t VALUES(randomblob(500));"; done; sleep 5) | sqlite3 db &
        sleep 0.7; pkill -9 sqlite3; wait
        sqlite3 db 'SELECT count(*) FROM t; PRAGMA integrity_check;'; ls
        """
    result = sandbox(platform, ["bash", "-c", textwrap.dedent(script)], cwd=tmp_path)
    assert result.stdout.split()[:2] == ["1", "ok"], result.stdout + result.stderr


def test_tar_gzip(platform, tmp_path):
    script = """\
        set -e
        mkdir src; for i in $(seq 1 200); do head -c $((i * 37)) /usr/share/common-licenses/GPL-3 > src/f$i; done
        ln -s f1 src/link; chmod 750 src/f2
        tar czf a.tgz src; mkdir out; tar xzf a.tgz -C out; diff -r src out/src && echo same
        stat -c %A out/src/f2; gzip -k src/f3; gunzip -c src/f3.gz | cmp - src/f3 && echo cmp
        tar cf - src | (mkdir o2; cd o2; tar xf -); ls o2/src | wc -l; rm -rf src out o2 a.tgz
        """
    same_as_native(platform, ["bash", "-c", textwrap.dedent(script)], cwd=tmp_path)


def test_gcc(platform, tmp_path):
    script = """\
        cat > a.c <<'E'
        #include <stdio.h>
        #include <math.h>
        #include <pthread.h>
        static void *f(void *p) { return p; }
        int main(void) { pthread_t t; void *r; pthread_create(&t, 0, f, (void *)42); pthread_join(t, &r);
          printf("%ld %.3f\\n", (long)r, sqrt(2.0)); return 5; }
        E
        gcc -O2 -Wall -pthread -o a a.c -lm && ./a; echo $?
        echo 'int main(void) { return x; }' > b.c; gcc b.c -o b 2>/dev/null; echo $?; rm -f a a.c b.c
        """
    same_as_native(platform, ["bash", "-c", textwrap.dedent(script)], cwd=tmp_path)


def test_perl(platform, tmp_path):
    script = r'''
        my %h; $h{$_ % 7} += $_ for 1..10000; print join(",", map { "$_=$h{$_}" } sort keys %h), "\n";
        open(my $f, ">", "x") or die; print $f "line $_\n" for 1..100; close $f;
        open($f, "<", "x"); my @l = <$f>; print scalar(@l), "\n"; unlink "x";
        my $pid = fork(); if (!$pid) { exit 9 } waitpid($pid, 0); print $? >> 8, "\n";
        local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select(undef, undef, undef, 3); print `echo sub`;
        '''
    same_as_native(platform, ["perl", "-e", script], cwd=tmp_path)


def test_git(platform, tmp_path):
    need("git")
    script = """\
        export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
        git init -q -b main r; cd r; for i in $(seq 1 50); do echo $i > f$i; done
        git add .; git commit -qm one; echo x >> f1; git commit -qam two; git log --oneline; git status --short
        git branch b; git checkout -q b; echo y > g; git add g; git commit -qm three; git checkout -q main; git merge -q b
        git gc -q; git fsck 2>/dev/null; git clone -q . ../c; cd ../c; git log --format=%H; cd ..; rm -rf r c
        """
    same_as_native(platform, ["bash", "-c", textwrap.dedent(script)], cwd=tmp_path)
