"""Servers and their clients in one sandbox: heavy programs, skipped where they are not installed."""
import hashlib
import shutil
import textwrap

import pytest
from conftest import need, sandbox, same_as_native

REDIS = """\
    up() { for i in $(seq 100); do redis-cli -p 7171 ping 2>/dev/null | grep -q PONG && return; sleep .1; done; }
    redis-server --port 7171 --save '' --appendonly yes --dir . >log 2>&1 & up
    redis-benchmark -p 7171 -n 2000 -c 50 -t set,get,lpush -q | grep -c 'requests per second'
    redis-cli -p 7171 set kept yes; redis-cli -p 7171 bgsave; sleep .5
    redis-cli -p 7171 shutdown save; wait; ls dump.rdb appendonlydir | wc -l
    redis-server --port 7171 --appendonly yes --dir . >log 2>&1 & up
    redis-cli -p 7171 get kept; redis-cli -p 7171 shutdown nosave; wait
    """

NGINX = """\
    mkdir www; for i in $(seq 300); do echo "file $i" > www/f$i; done; head -c 1000000 /dev/zero > www/big
    cat > c.conf <<C
    worker_processes 2; daemon off; pid $PWD/pid; error_log $PWD/err; user root;
    events { worker_connections 64; }
    http { access_log off; sendfile on; tcp_nopush on; server { listen 127.0.0.1:8171; root $PWD/www; } }
    C
    nginx -c $PWD/c.conf & for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:8171/f1 && break; sleep .1; done
    for i in $(seq 300); do echo "url = http://127.0.0.1:8171/f$i"; done > urls; curl -s -K urls | LC_ALL=C sort | md5sum
    curl -s http://127.0.0.1:8171/big | md5sum; curl -s -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:8171/none
    kill $!; wait; grep -v notice err | grep -vc 'No such file'
    """

POSTGRES = """\
    d=$(mktemp -d /tmp/pgXXXXXX); chown postgres $d
    cat > $d/run <<'S'
    cd /tmp; b=$(echo /usr/lib/postgresql/*/bin); d=$1
    $b/initdb -D $d/db -A trust >/dev/null && $b/pg_ctl -D $d/db -o "-k $d -p 5171" -l $d/log -w start >/dev/null && echo up
    $b/pgbench -h $d -p 5171 -i -s 1 postgres >/dev/null 2>&1
    $b/pgbench -h $d -p 5171 -c 4 -j 2 -t 50 postgres 2>/dev/null | grep processed
    $b/psql -At -h $d -p 5171 -c 'select count(*), sum(delta) - sum(delta) from pgbench_accounts, pgbench_history' postgres
    $b/pg_ctl -D $d/db -w stop >/dev/null && echo down
    S
    setpriv --reuid=postgres --regid=postgres --init-groups bash $d/run $d; rm -r $d
    """

NODE = """\
    const http = require('http'); let left = 200;
    const s = http.createServer((q, r) => r.end('hi ' + q.url)).listen(0, '127.0.0.1', () => {
      const one = i => http.get({port: s.address().port, host: '127.0.0.1', path: '/' + i}, r => {
        let got = ''; r.on('data', d => got += d); r.on('end', () => {
          if (got != 'hi /' + i) process.exit(1);
          if (!--left) { console.log('all'); s.close(); } }); });
      for (let i = 0; i < 200; i++) one(i); });
    """


def script(text):
    return ["bash", "-c", textwrap.dedent(text)]


def test_redis(platform, tmp_path):
    need("redis-server")
    out = same_as_native(platform, script(REDIS), cwd=tmp_path)
    assert out.stdout.splitlines()[0] == "3" and out.stdout.splitlines()[-1] == "yes", out.stdout


def test_nginx(platform, tmp_path):
    need("nginx")
    need("curl")
    out = sandbox(platform, script(NGINX), cwd=tmp_path, timeout=100)
    lines = out.stdout.splitlines()
    zeros = hashlib.md5(bytes(1000000)).hexdigest()
    files = hashlib.md5(b"".join(sorted(b"file %d\n" % i for i in range(1, 301)))).hexdigest()
    assert lines[-4:-2] == [f"{files}  -", f"{zeros}  -"], out.stdout + out.stderr
    assert lines[-2] == "404" and lines[-1] == "0", out.stdout + out.stderr


@pytest.mark.timeout(170)
def test_postgres(platform, tmp_path):
    need("pgbench")
    need("setpriv")
    out = sandbox(platform, script(POSTGRES), cwd=tmp_path, timeout=150)
    assert out.stdout.splitlines() == ["up", "number of transactions actually processed: 200/200", "20000000|0", "down"], \
        out.stdout + out.stderr


def test_node(platform, tmp_path):
    need("node")
    out = sandbox(platform, ["node", "-e", NODE], cwd=tmp_path, timeout=100)
    assert out.returncode == 0 and out.stdout == "all\n", out.stdout + out.stderr


def test_interfaces(platform):
    need("ip")
    out = sandbox(platform, ["ip", "-br", "addr"])
    assert out.stdout.split() == ["lo", "UNKNOWN", "127.0.0.1/8", "::1/128"], out.stdout + out.stderr
    if shutil.which("python3"):
        out = sandbox(platform, ["python3", "-c", "import socket; print(socket.if_nameindex())"])
        assert out.stdout == "[(1, 'lo')]\n", out.stderr
