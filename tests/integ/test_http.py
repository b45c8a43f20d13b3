# SPDX-License-Identifier: MIT
"""HTTP of a cell with real programs: curl, Python's http.client, nginx for HTTP/1 and h2c, a websocket; every request and
every stream is judged and has its event."""
import base64
import hashlib
import json
import os
import socket
import socketserver
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import free_port, listening, of_type, wait_for

L7 = "observability.v1.l7_egress_decision"


class H2Web:
    """nginx that speaks only h2c (prior knowledge) on its port."""

    def __init__(self, world):
        self.dir = Path(tempfile.mkdtemp(prefix="h2web-", dir=world))
        self.port = free_port()
        (self.dir / "html").mkdir()
        (self.dir / "html/index.html").write_text("hello over h2c\n")
        (self.dir / "html/big").write_bytes(os.urandom(1 << 20) * 6)
        (self.dir / "nginx.conf").write_text("""
daemon off; pid nginx.pid; error_log error.log; worker_processes 1; user root;
events { worker_connections 1024; }
http { access_log access.log; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen 127.0.0.1:%d http2; root html; client_max_body_size 64m;
    location /put { proxy_pass http://127.0.0.1:1/; } } }
""" % self.port)
        self.process = subprocess.Popen(["nginx", "-p", str(self.dir), "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(self.port))

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def h2web(world):
    w = H2Web(world)
    yield w
    w.stop()


class Echo(BaseHTTPRequestHandler):
    """Answers with what it got: length and digest of the body, and the fields."""
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self):
        data = self.body()
        said = json.dumps({"path": self.path, "length": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                           "headers": dict(self.headers.items()), "port": self.client_address[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PUT = do_POST

    def log_message(self, *unused):
        pass


class WebSocketEcho(socketserver.BaseRequestHandler):
    """RFC 6455, as much as an echo of short text messages needs."""

    def handle(self):
        f = self.request.makefile("rwb")
        key = None
        while (line := f.readline().strip()):
            if line.lower().startswith(b"sec-websocket-key:"):
                key = line.split(b":")[1].strip()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        f.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        f.flush()
        while (head := f.read(2)):
            n = head[1] & 0x7f
            mask, data = f.read(4), f.read(n)
            if head[0] & 0xf == 8:
                return
            f.write(bytes([0x81, n]) + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
            f.flush()


def served(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    return server


@pytest.fixture(scope="module")
def echo():
    server = served(ThreadingHTTPServer(("127.0.0.1", 0), Echo))
    server.daemon_threads = True
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def websocket():
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
    server = served(Server(("127.0.0.1", 0), WebSocketEcho))
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def flags(dns, port, protocol="", names=("example.test",)):
    found = ["--dns", "127.0.0.1:%d" % dns.port]
    for name in names:
        found += ["--allow", "%s:%d%s" % (name, port, protocol), "--allow-answer", "%s:127.0.0.1" % name]
    return found


def decisions(user):
    return [(e["action"], e["reasonCode"], e["protocol"], e.get("host")) for e in of_type(user.events(), L7)]


ALLOWED = ("allow", "l7_http_host_allowlist_match", "http", "example.test")
ALLOWED_H2 = ("allow", "l7_h2_authority_allowlist_match", "h2c", "example.test")


def python(user, flag, text, *args):
    r = user.ctl("run", *flag, "--", "python3", "-c", text, *args)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def test_keep_alive_has_one_event_a_request(user, web, dns):
    url = "http://example.test:%d/" % web.http
    r = user.ctl("run", *flags(dns, web.http, "/http"), "--", "curl", "-4sS", "-w", "%{num_connects}\n", url, url, url)
    assert r.stdout == "hello from nginx\n1\nhello from nginx\n0\nhello from nginx\n0\n", r.stderr
    assert decisions(user) == [ALLOWED] * 3
    assert user.verify().returncode == 0


def test_second_request_to_a_denied_host(user, web, dns):
    """The first worked, the second is denied, the third works again: one connection."""
    before = len(web.requests())
    out = python(user, flags(dns, web.http, "/http"), """
import http.client, sys
c = http.client.HTTPConnection("example.test", int(sys.argv[1]), timeout=10)
for host in ("example.test", "other.test", "example.test"):
    c.request("GET", "/", headers={"Host": "%s:%s" % (host, sys.argv[1])})
    r = c.getresponse()
    print(r.status, r.read().decode().split(chr(10))[0])
    s = c.sock
""", web.http)
    lines = out.splitlines()
    assert lines[0] == lines[2] == "200 hello from nginx"
    assert lines[1].startswith("403 l7_http_host_allowlist_miss: http to other.test port %d: " % web.http)
    assert "--allow other.test:%d/http" % web.http in lines[1]
    assert decisions(user) == [ALLOWED, ("deny", "l7_http_host_allowlist_miss", "http", "other.test"), ALLOWED]
    assert len(web.requests()) == before + 2


def test_two_names_on_one_connection(ordinary, web, dns):
    out = python(ordinary, flags(dns, web.http, "/http", ("example.test", "other.test")), """
import socket, sys
s = socket.create_connection(("example.test", int(sys.argv[1])), 10)
ask = "GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n"
s.sendall("".join(ask % h for h in ("example.test", "other.test", "nobody.test", "example.test")).encode())
s.shutdown(socket.SHUT_WR)
got = b""
while (more := s.recv(65536)): got += more
print([l.split()[1] for l in got.decode().splitlines() if l.startswith("HTTP/1.1 ")])
""", web.http)
    assert out == "['200', '200', '403', '200']\n"
    assert [d[3] for d in decisions(ordinary)] == ["example.test", "other.test", "nobody.test", "example.test"]


def test_uploads(ordinary, echo, dns):
    """A body with Content-Length and Expect: 100-continue, and a chunked one, of 5 MB each."""
    text = """
import subprocess, sys, os, hashlib, json
data = os.urandom(1 << 20) * 5
open("/tmp/data", "wb").write(data)
for more in (["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]):
    r = subprocess.run(["curl", "-4sS", "-T", "/tmp/data", *more, "http://example.test:%s/up" % sys.argv[1]], capture_output=True)
    said = json.loads(r.stdout)
    print(said["length"] == len(data), said["sha256"] == hashlib.sha256(data).hexdigest(), said["headers"].get("Connection"))
"""
    assert python(ordinary, flags(dns, echo, "/http"), text, echo) == "True True None\n" * 3
    assert decisions(ordinary) == [ALLOWED] * 3


def test_hop_by_hop_fields_stay_here(ordinary, echo, dns):
    r = ordinary.ctl("run", *flags(dns, echo, "/http"), "--", "curl", "-4sS", "-H", "Connection: keep-alive, X-Hop", "-H",
                     "X-Hop: 1", "-H", "X-End: 2", "-H", "Keep-Alive: 3", "-H", "Proxy-Authorization: Basic eA==",
                     "http://example.test:%d/" % echo)
    assert set(json.loads(r.stdout)["headers"]) == {"Host", "User-Agent", "Accept", "X-End"}, r.stderr


def test_websocket(user, websocket, dns):
    out = python(user, flags(dns, websocket, "/http"), """
import base64, os, socket, sys
s = socket.create_connection(("example.test", int(sys.argv[1])), 10)
f = s.makefile("rwb")
f.write(b"GET /chat HTTP/1.1\\r\\nHost: example.test\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
        b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\\r\\n\\r\\n"); f.flush()
print(f.readline().split()[1].decode())
while f.readline().strip(): pass
for text in (b"one", b"two"):
    mask = os.urandom(4)
    f.write(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))); f.flush()
    head = f.read(2)
    print(f.read(head[1]).decode())
""", websocket)
    assert out == "101\none\ntwo\n"
    assert decisions(user) == [ALLOWED]


@pytest.mark.parametrize("request_text, status", [
    ("POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x", 403),
    ("GET / HTTP/1.1\r\nHost: example.test\r\nHost: other.test\r\n\r\n", 403),
    ("GET http://other.test/ HTTP/1.1\r\nHost: example.test\r\n\r\n", 403),
    ("GET / HTTP/1.1\r\nHost: example.test\r\nX: y\r\n folded\r\n\r\n", 403),
    ("GET / HTTP/1.1\r\nHost : example.test\r\n\r\n", 403),
    ("GET / HTTP/1.1\r\nX: y\rHost: example.test\r\n\r\n", 403),
    ("POST / HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: xchunked\r\n\r\n", 403),
])
def test_two_readings(ordinary, web, dns, request_text, status):
    """Behind a good request, where a smuggled one would be."""
    before = len(web.requests())
    out = python(ordinary, flags(dns, web.http, "/http"), """
import socket, sys
s = socket.create_connection(("example.test", int(sys.argv[1])), 10)
s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test\\r\\n\\r\\n" + sys.argv[2].encode())
got = b""
while (more := s.recv(65536)): got += more
print([l.split()[1] for l in got.decode().splitlines() if l.startswith("HTTP/1.1 ")])
""", web.http, request_text)
    assert out == "['200', '%d']\n" % status
    assert [(d[0], d[1]) for d in decisions(ordinary)] == [ALLOWED[:2], ("deny", "l7_name_conflict")]
    assert len(web.requests()) == before + 1


def test_connect_is_refused_with_words(ordinary, web, dns):
    r = ordinary.ctl("run", *flags(dns, web.http, "/http"), "--", "curl", "-4sS", "-p", "-x",
                     "http://example.test:%d" % web.http, "-w", "%{http_connect}", "http://example.test:%d/" % web.http)
    assert r.stdout.endswith("403"), (r.stdout, r.stderr)
    assert decisions(ordinary) == [("deny", "l7_unknown_protocol", "http", "example.test")]


# ---- h2c ----

@pytest.mark.parametrize("protocol", ["/h2c", ""])
def test_h2c_prior_knowledge(user, h2web, dns, protocol):
    r = user.ctl("run", *flags(dns, h2web.port, protocol), "--", "curl", "-4sS", "--http2-prior-knowledge", "-w",
                 "%{http_version}\n", "http://example.test:%d/" % h2web.port)
    assert r.stdout == "hello over h2c\n2\n", r.stderr
    assert decisions(user) == [ALLOWED_H2]
    assert user.verify().returncode == 0


def test_h2c_by_upgrade(ordinary, h2web, dns):
    """Only a rule for h2c: the HTTP/1 request that asks for it becomes stream 1."""
    r = ordinary.ctl("run", *flags(dns, h2web.port, "/h2c"), "--", "curl", "-4sS", "--http2", "-w", "%{http_version}\n",
                     "http://example.test:%d/" % h2web.port)
    assert r.stdout == "hello over h2c\n2\n", r.stderr
    assert decisions(ordinary) == [ALLOWED_H2]


def test_upgrade_is_not_taken_where_http_is_allowed(ordinary, web, dns):
    """`curl --http2` of a server that speaks HTTP/1 only: it may ignore the upgrade, and so it stays HTTP/1."""
    r = ordinary.ctl("run", *flags(dns, web.http), "--", "curl", "-4sS", "--http2", "-w", "%{http_version}\n",
                     "http://example.test:%d/" % web.http)
    assert r.stdout == "hello from nginx\n1.1\n", r.stderr
    assert decisions(ordinary) == [ALLOWED]


def test_h2c_rule_and_http_rule_are_apart(ordinary, web, h2web, dns):
    r = ordinary.ctl("run", *flags(dns, h2web.port, "/http"), "--", "curl", "-4sS", "--http2-prior-knowledge", "-w",
                     "%{http_code}", "http://example.test:%d/" % h2web.port)
    assert r.stdout.endswith("\n403") and "--allow example.test:%d/h2c" % h2web.port in r.stdout, r.stderr
    assert decisions(ordinary) == [("deny", "l7_h2_authority_allowlist_miss", "h2c", "example.test")]
    r = ordinary.ctl("run", *flags(dns, web.http, "/h2c"), "--", "curl", "-4sS", "-w", "%{http_code}",
                     "http://example.test:%d/" % web.http)
    assert r.stdout.endswith("\n403"), r.stderr


def test_h2c_bulk_in_parallel(ordinary, h2web, dns):
    """Downloads at once over one connection (nghttp fetches every URL of one host over one): windows, back-pressure."""
    urls = ["http://example.test:%d/big?%d" % (h2web.port, i) for i in range(6)]
    r = ordinary.ctl("run", *flags(dns, h2web.port, "/h2c"), "--", "nghttp", "--stat", "--null-out", *urls)
    assert r.returncode == 0, r.stderr
    lines = [l.split() for l in r.stdout.splitlines() if "/big?" in l]
    assert [(l[-3], l[-2]) for l in lines] == [("200", "6M")] * 6, r.stdout
    assert decisions(ordinary) == [ALLOWED_H2] * 6


def test_h2c_upload_and_trailers(ordinary, h2web, dns):
    """A body up through the windows; trailers behind it. nginx answers 405 to a POST of a file, after all of it."""
    r = ordinary.ctl("run", *flags(dns, h2web.port, "/h2c"), "--", "sh", "-c",
                     "head -c 3000000 /dev/zero > /tmp/d && nghttp -v --data=/tmp/d --trailer='x-sum: 1' "
                     "http://example.test:%d/" % h2web.port)
    assert ":status: 405" in r.stdout and "GOAWAY" in r.stdout, r.stdout[-3000:] + r.stderr
    assert "error_code=NO_ERROR" in r.stdout
    assert decisions(ordinary) == [ALLOWED_H2]


def test_h2c_server_that_speaks_http1(ordinary, web, dns):
    r = ordinary.ctl("run", *flags(dns, web.http, "/h2c"), "--", "curl", "-4sS", "--http2-prior-knowledge", "-w",
                     "%{http_code}", "http://example.test:%d/" % web.http)
    assert r.stdout.endswith("\n502"), (r.stdout, r.stderr)
    assert decisions(ordinary) == [ALLOWED_H2, ("deny", "l7_upstream_unreachable", "h2c", "example.test")]


# Literal fields without indexing and without Huffman (RFC 7541 section 6.2.2): enough for a client.
H2_CLIENT = """
import socket, struct, sys
def lit(n, v): return bytes([0, len(n)]) + n + bytes([len(v)]) + v
def frame(t, flags, sid, p=b""): return struct.pack(">I", len(p))[1:] + bytes([t, flags]) + struct.pack(">I", sid) + p
def ask(sid, fields): return frame(1, 5, sid, b"".join(lit(a.encode(), b.encode()) for a, b in fields))
def get(sid, authority):
    return ask(sid, [(":method", "GET"), (":scheme", "http"), (":path", "/")] + ([(":authority", authority)] if authority else []))
s = socket.create_connection(("example.test", int(sys.argv[1])), 10)
s.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + frame(4, 0, 0))
f = s.makefile("rb")
def answers(n):
    bodies, ended = {}, set()
    while len(ended) < n:
        h = f.read(9)
        if len(h) < 9: break
        t, flags, sid = h[3], h[4], struct.unpack(">I", h[5:])[0]
        p = f.read(int.from_bytes(h[:3], "big"))
        if t == 4 and not flags & 1: s.sendall(frame(4, 1, 0))
        if t == 0: bodies[sid] = bodies.get(sid, b"") + p
        if (t in (0, 1) and flags & 1) or t == 3: ended.add(sid)
    return [bodies.get(i, b"").decode().split(chr(10))[0].split(":")[0] for i in sorted(ended)]
"""


def test_h2c_second_stream_with_another_authority(user, h2web, dns):
    out = python(user, flags(dns, h2web.port, "/h2c"), H2_CLIENT + """
s.sendall(get(1, "example.test") + get(3, "other.test") + get(5, "") + get(7, "example.test"))
print(answers(4))
""", h2web.port)
    assert out == "['hello over h2c', 'l7_h2_authority_allowlist_miss', 'l7_h2_authority_missing', 'hello over h2c']\n"
    assert sorted(decisions(user), key=str) == sorted(
        [ALLOWED_H2, ("deny", "l7_h2_authority_allowlist_miss", "h2c", "other.test"),
         ("deny", "l7_h2_authority_missing", "h2c", None), ALLOWED_H2], key=str)


def test_h2c_two_names_and_two_readings(ordinary, h2web, dns):
    out = python(ordinary, flags(dns, h2web.port, "/h2c", ("example.test", "other.test")), H2_CLIENT + """
base = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.test")]
s.sendall(get(1, "example.test") + get(3, "other.test") + ask(5, base + [("host", "other.test")]) +
          ask(7, base + [("transfer-encoding", "chunked")]) + ask(9, base + [(":protocol", "websocket")]))
print(answers(5))
""", h2web.port)
    assert out == ("['hello over h2c', 'hello over h2c', 'l7_name_conflict', 'l7_h2_unparseable_headers', "
                   "'l7_unknown_protocol']\n")


def test_h2c_floods_end_the_connection(ordinary, h2web, dns):
    """Streams that are opened and taken back at once, and PINGs, beyond their limits: GOAWAY, and the cell goes on."""
    out = python(ordinary, flags(dns, h2web.port, "/h2c"), H2_CLIENT + """
def flood(make):
    global s, f
    try:
        for i in range(5000): s.sendall(make(i))
        while f.read(65536): pass
        print("ended")
    except OSError: print("ended")
    s = socket.create_connection(("example.test", int(sys.argv[1])), 10)
    s.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + frame(4, 0, 0))
    f = s.makefile("rb")
flood(lambda i: get(2 * i + 1, "example.test") + frame(3, 0, 2 * i + 1, struct.pack(">I", 8)))
flood(lambda i: frame(6, 0, 0, b"x" * 8))
s.sendall(get(1, "example.test"))
print(answers(1))
""", h2web.port)
    assert out == "ended\nended\n['hello over h2c']\n"
