# SPDX-License-Identifier: MIT
"""The host behind its own global addresses, and everything else in the cell's network that is not a name."""
import ctypes
import subprocess
import threading

import pytest

from conftest import of_type, types
from probe import inside
from test_escape_dns import CLIENT
from wire import A, AAAA, Resolver, Sink, record

CLONE_NEWNET = 0x40000000
V4, V6 = "93.184.216.34", "2a00:1450:4001::22"


def elsewhere(work):
    """Runs work() in a network namespace of its own: a host with two global addresses, and nothing outside."""
    failed = []

    def body():
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(CLONE_NEWNET) == 0
            for line in ("link set lo up", "addr add %s/32 dev lo" % V4, "addr add %s/128 dev lo nodad" % V6):
                subprocess.run(["ip", *line.split()], check=True)
            work()
        except BaseException as e:
            failed.append(e)
    t = threading.Thread(target=body)
    t.start()
    t.join()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("kind", ["names", "names with every answer but its own", "prefix", "prefix6"])
def test_the_hosts_own_global_addresses(user, kind):
    def work():
        sink = Sink(hosts=(V4, V6), answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        resolver = Resolver(lambda n, t, k: ([record(n, t, V4 if t == A else V6)] if t in (A, AAAA) else [], []))
        rule = {"prefix": "93.184.216.32/28", "prefix6": "[2a00:1450:4001::/48]"}.get(kind, "host.test")
        more = ["--allow-answer", "host.test:10.0.0.0/8"] if "every" in kind else []
        try:
            out = inside(user, CLIENT + """
out["dials"] = []
for address, host in ((%r, %r), (%r, "[%s]"), ("198.51.100.7", "host.test")):
    s = socket.create_connection((address, %d)); s.settimeout(3)
    try:
        s.sendall(("GET / HTTP/1.1\\r\\nHost: " + host + "\\r\\n\\r\\n").encode()); out["dials"].append(s.recv(200).decode())
    except OSError as e: out["dials"].append(str(e))
""" % (V4, V4, V6, V6, sink.port), "--allow", "%s:%d/http" % (rule, sink.port), "--dns", "127.0.0.1:%d" % resolver.port, *more)
        finally:
            resolver.stop()
        arrived = sink.take()
        sink.stop()
        assert arrived == [], (arrived, out)
        assert not any(" 200 " in d for d in out["dials"]), out
        l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
        assert len(l7) == 3 and all(e["action"] == "deny" for e in l7), l7
        assert any(e["reasonCode"] == "l7_destination_denied" for e in l7)
    elsewhere(work)


def test_the_same_address_when_it_is_listed(ordinary):
    """The other side of the coin: what is written into the spec word for word works."""
    def work():
        sink = Sink(hosts=(V4,), answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        out = inside(ordinary, CLIENT + "s = socket.create_connection((%r, %d)); s.sendall(b'GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n'); "
                     "out['got'] = s.recv(100).decode()" % (V4, sink.port, V4), "--allow", "%s:%d/http" % (V4, sink.port))
        assert " 200 " in out["got"] and len(sink.take()) == 1
        sink.stop()
    elsewhere(work)


LITERALS = ["0.0.0.0", "127.0.0.1", "127.9.9.9", "10.0.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "224.0.0.1",
            "255.255.255.255", "10.88.0.2", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:0:7f00:1::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1",
            "fd00:ce11::2"]


def test_no_literal_gets_through(user):
    """Whatever address a socket takes: TCP on the one allowed port and on others, UDP, and the proxy's own sockets."""
    sink = Sink(hosts=("127.0.0.1", "::1"), answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    udp = Resolver(lambda n, t, k: ([], []))
    try:
        out = inside(user, """
out["tcp"], out["udp"] = {}, {}
for text in %r:
    for port in (%d, 1, %d):
        try:
            family, _, _, _, sa = socket.getaddrinfo(text, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
            s = socket.socket(family); s.settimeout(0.4); s.connect(sa)
            s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test\\r\\n\\r\\n"); got = s.recv(300).decode("latin1")
        except OSError as e: got = "<%%s>" %% e
        out["tcp"]["%%s %%d" %% (text, port)] = got
        try:
            family, _, _, _, sa = socket.getaddrinfo(text, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
            s = socket.socket(family, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.settimeout(0.05)
            s.sendto(b"x" * 30, sa); got = s.recv(300).decode("latin1")
        except OSError as e: got = "<%%s>" %% e
        out["udp"]["%%s %%d" %% (text, port)] = got
""" % (LITERALS, sink.port, udp.port), "--allow", "example.test:%d/http" % sink.port, "--dns", "127.0.0.1:%d" % udp.port, timeout=120)
    finally:
        udp.stop()
    assert sink.take() == []
    sink.stop()
    assert not any(" 200 " in v for v in out["tcp"].values()), out["tcp"]
    assert all(v.startswith("<") for v in out["udp"].values()), out["udp"]
    assert all(e["action"] == "deny" for e in of_type(user.events(), "observability.v1.l7_egress_decision"))


def test_every_protocol_stays_inside(user):
    """Sockets of every kind the filter lets through, marks, transparency, raw headers, other devices: no right and no effect."""
    out = inside(user, """
for what, family, kind, protocol in (("mptcp", 2, 1, 262), ("udplite", 2, 2, 136), ("sctp", 2, 1, 132), ("smc", 2, 1, 256),
                                     ("l2tp", 2, 2, 115), ("ping", 2, 2, 1), ("ping6", 10, 2, 58), ("raw", 2, 3, 255), ("packet", 17, 3, 768),
                                     ("vsock", 40, 1, 0), ("alg", 38, 5, 0), ("xdp", 44, 3, 0), ("netfilter", 16, 3, 12), ("bluetooth", 31, 1, 0),
                                     ("can", 29, 3, 1), ("tipc", 30, 5, 0), ("rds", 21, 5, 0), ("qrtr", 42, 2, 0), ("kcm", 41, 2, 0)):
    try:
        s = socket.socket(family, kind, protocol)
    except OSError as e:
        out[what] = name(e.errno); continue
    s.settimeout(0.5)
    try:
        if kind == 1: s.connect(("198.51.100.9", 9))
        else: s.sendto(b"x", ("198.51.100.9", 9))
        out[what] = "through" if s.recv(1) else "<closed>"
    except OSError as e: out[what] = "<%s>" % e
s = socket.socket()
for what, level, option, value in (("mark", 1, 36, 0x43), ("transparent", 0, 19, 1), ("freebind", 0, 15, 1), ("priority", 1, 12, 7),
                                   ("device", 1, 25, b"eth0"), ("rcvbufforce", 1, 33, 1 << 30), ("repair", 6, 19, 1), ("ulp", 6, 31, b"tls")):
    out["option " + what] = attempt(s.setsockopt, level, option, value)
out["low port"] = attempt(socket.socket(socket.AF_INET6).bind, ("::", 53))
out["proxy port"] = attempt(socket.socket(socket.AF_INET6).bind, ("::", 1))
t = socket.socket(); t.bind(("93.184.216.34", 8080)); t.listen()
out["foreign bind"] = attempt(socket.create_connection, ("93.184.216.34", 8080), 1)
""", timeout=60)
    for what in ("sctp", "smc", "l2tp", "ping", "ping6", "raw", "packet", "vsock", "alg", "xdp", "netfilter", "bluetooth", "can", "tipc", "rds",
                 "qrtr", "kcm"):
        assert out[what].startswith("E") or "through" not in out[what], (what, out[what])
    assert not [w for w, v in out.items() if v == "through"], out
    for what in ("mark", "transparent", "rcvbufforce", "repair"):
        assert out["option " + what] == "EPERM", (what, out)
    assert out["low port"] == out["proxy port"] == "EACCES", out
    assert {f["rule"] for f in of_type(user.events(), "observability.v1.network_flow_decision")} >= {"other_protocol", "unmatched", "sent"}


def test_nothing_before_go_nothing_after_the_end(ordinary):
    """A descendant that outlives the command, connections under way, a listener's queue: all end with the command."""
    sink = Sink(answer=b"x")
    resolver = Resolver(lambda n, t, k: ([record(n, A, "127.0.0.1")] if t == A else [], []))
    try:
        inside(ordinary, """
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in range(1, 64):
            try: signal.signal(s, signal.SIG_IGN)
            except (OSError, ValueError): pass
        n = 0
        while True:
            s = socket.create_connection(("198.51.100.7", %d))
            s.sendall(b"POST / HTTP/1.1\\r\\nHost: example.test\\r\\nContent-Length: 99999999\\r\\n\\r\\n")
            if s.recv(1): os.write(w, b"x")
            for i in range(1000): s.sendall(b"%%08d\\n" %% n); n += 1
    os._exit(0)
os.wait(); os.read(r, 1)
""" % sink.port, "--allow", "example.test:%d/http" % sink.port, "--dns", "127.0.0.1:%d" % resolver.port, "--allow-answer",
                     "example.test:127.0.0.1")
    finally:
        resolver.stop()
    first = sink.take()
    assert first and sink.take() == []  # nothing more after cellctl has returned
    sink.stop()
    log = ordinary.events()
    order = types(log)
    assert order.index("lifecycle.v1.started") < order.index("observability.v1.l7_egress_decision") < order.index("lifecycle.v1.destroyed")
    assert order[-1] == "lifecycle.v1.destroyed" and ordinary.verify().returncode == 0
