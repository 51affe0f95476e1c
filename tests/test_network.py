"""What a guest reaches with each --network."""
import socket
import threading

from conftest import sandbox

CLIENT = """
import socket, sys
try:
    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    c.sendall(b"question")
    print(c.recv(100).decode())
except OSError as e:
    print(type(e).__name__, e.errno)
"""


def serve_once(listener):
    conn, _ = listener.accept()
    conn.sendall(conn.recv(100).replace(b"question", b"answer"))
    conn.close()


def client(platform, network, port):
    result = sandbox(platform, ["/usr/bin/python3", "-c", CLIENT, port], [f"--network={network}"])
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_host_network_reaches_a_server_outside(platform):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve_once, args=(listener,), daemon=True).start()
        assert client(platform, "host", listener.getsockname()[1]) == "answer"


def test_loopback_is_the_sandbox_own(platform):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert client(platform, "loopback", listener.getsockname()[1]) == "ConnectionRefusedError 111"


def test_no_network_reaches_nothing(platform):
    assert client(platform, "none", 80) == "OSError 101"


def test_server_and_client_inside(platform):
    script = """
import http.server, threading, urllib.request
s = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
threading.Thread(target=s.serve_forever, daemon=True).start()
try:
    urllib.request.urlopen("http://localhost:%d/" % s.server_port)
except urllib.error.HTTPError as e:
    print(e.code)
"""
    assert sandbox(platform, ["/usr/bin/python3", "-c", script]).stdout == "501\n"
