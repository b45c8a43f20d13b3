# SPDX-License-Identifier: MIT
"""Several cells in one suite: what one of them does to the proxy, the network daemon and the log must not be felt by the
others, and one cell's authority is never another's. Driven by tests/bench/cells, which is to a suite what cellctl is, for
more than one cell."""
import json
import subprocess
import time

import pytest

from conftest import ORDINARY_UID, PATIENCE, User, kept
from probe import script
from servers import Tcp

# Half of them answered, so that everything a cell can do to a proxy goes on at once: names that are denied, connections that
# say nothing, connections to a port without a rule, datagrams, and an allowed server that it never reads from.
HOSTILE = """
import itertools, threading
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("192.0.2.53", 53)); s.setblocking(False)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setblocking(False)
held = []
print("up", flush=True)
for i in itertools.count():
    for f in (lambda: s.send(b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + bytes([6]) + b"%06d" % (i % 1000000) + b"\\4evil\\0\\0\\1\\0\\1"),
              lambda: s.recv(4096), lambda: u.sendto(b"x" * 100, ("203.0.113.9", 4000 + i % 1000))):
        try: f()
        except OSError: pass
    try:
        c = socket.socket(); c.setblocking(False); held.append(c); c.connect(("198.51.100.%d" % (i % 250 + 1), PORT + i % 2))
    except OSError: pass
    if len(held) > 200:
        for c in held: c.close()
        held.clear()
"""
POLITE = """
import http.client
print("up", flush=True)
good = 0
for i in range(ROUNDS):
    c = http.client.HTTPConnection("example.test", PORT, timeout=20)
    c.request("GET", "/"); r = c.getresponse()
    good += r.status == 200 and r.read() == b"ok"
    c.close()
print("good %d" % good, flush=True)
"""
OTHER = """
got = []
for name in ("example.test", "other.test"):
    try: socket.getaddrinfo(name, PORT); got.append(name)
    except OSError: pass
print("resolves", *got, flush=True)
"""


def http(c):
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Suite:
    def __init__(self, user):
        self.user, self.n = user, 0
        command = [c if not c.endswith("/cellctl") else c[:-len("cellctl")] + "bench-cells" for c in user.command()]
        self.p = subprocess.Popen(command, env=user.env, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.pids = list(map(int, self.line("pids").split()))

    def line(self, word):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            text = self.p.stdout.readline()
            if not text:
                raise AssertionError("the suite ended")
            if text.startswith(word):
                return text[len(word):].strip()
        raise AssertionError("no line " + word)

    def begin(self, name, text, rules, dns):
        self.n += 1
        names = sorted({r["host"] for r in rules})
        spec = {"id": name, "authority": {"secretRefs": [], "egressRules": rules, "dnsAuthority": {
            "resolvers": [{"resolverId": "test", "protocol": "do53-udp", "endpoint": "127.0.0.1:%d" % dns.port}], "hostnameAllowlist": names,
            "rebindingPolicy": {"responseIpAllowlist": ["%s:127.0.0.1" % n for n in names] + ["%s:::1" % n for n in names]}}},
            "lifetime": {"ttlSeconds": 300}, "run": {"argv": ["/usr/bin/python3", "-c", script(text)]}}
        path = self.user.file("spec-%d.json" % self.n, json.dumps({"apiVersion": "cellos.io/v1", "kind": "ExecutionCell", "spec": spec}))
        self.p.stdin.write("%s\n" % path)
        self.p.stdin.flush()

    def stop(self):
        self.p.stdin.close()
        self.p.stdout.read()
        return self.p.wait(PATIENCE)


@pytest.fixture(params=["root", "ordinary"])
def suite(request, world):
    users = kept(User(request.param, 0 if request.param == "root" else ORDINARY_UID, world))
    s = Suite(next(users))
    yield s
    if s.p.poll() is None:
        s.stop()
    next(users, None)


@pytest.fixture
def server():
    s = Tcp(http, hosts=("127.0.0.1", "::1"))
    yield s
    s.close()


def rule(port, host="example.test"):
    return [{"host": host, "port": port, "protocol": "http"}]


def of_cell(events, name, suffix):
    return [e["data"] for e in events if e["type"].endswith(suffix) and e["data"].get("cellId") == name]


def test_a_hostile_neighbour(suite, server, dns):
    """Three cells do everything a cell can do, without a pause; the fourth one is served each time."""
    for i in range(3):
        suite.begin("hostile-%d" % i, HOSTILE.replace("PORT", str(server.port)), rule(server.port), dns)
        suite.line("up")
    suite.begin("polite", POLITE.replace("PORT", str(server.port)).replace("ROUNDS", "40"), rule(server.port), dns)
    suite.line("up")
    assert suite.line("good") == "40"
    assert suite.line("ended").endswith("exited")
    suite.stop()
    events = suite.user.events()
    allowed = [e for e in of_cell(events, "polite", "l7_egress_decision") if e["action"] == "allow"]
    assert len(allowed) == 40
    assert of_cell(events, "polite", "observability.v1.gap") == []
    assert any(of_cell(events, "hostile-%d" % i, "observability.v1.gap") for i in range(3))
    assert suite.user.verify().returncode == 0


def test_authority_is_each_cells_own(suite, server, dns):
    """The same resolvers, and so the same cache: what one may ask the other still may not."""
    suite.begin("first", OTHER.replace("PORT", str(server.port)), rule(server.port), dns)
    assert suite.line("resolves") == "example.test"
    suite.begin("second", OTHER.replace("PORT", str(server.port)), rule(server.port, "other.test"), dns)
    assert suite.line("resolves") == "other.test"
    suite.begin("third", OTHER.replace("PORT", str(server.port)), rule(server.port) + rule(server.port, "other.test"), dns)
    assert suite.line("resolves") == "example.test other.test"
    suite.stop()
    events = suite.user.events()
    denied = {n: {e["queryName"] for e in of_cell(events, n, "dns_query") if e["action"] == "deny"} for n in ("first", "second", "third")}
    assert denied == {"first": {"other.test"}, "second": {"example.test"}, "third": set()}
