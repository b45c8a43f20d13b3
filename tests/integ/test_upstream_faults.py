# SPDX-License-Identifier: MIT
"""Resolvers and servers that lose, repeat, lie, stall and break off: what the cell sees of it, which event says so, and that
the run ends in order. Each fault is a row; the resolver is scripted, the proxy under test is the real one."""
import socket
import struct
import threading
import time

import pytest

from conftest import of_type
from probe import inside

A, NOERROR, SERVFAIL = 1, 0, 2
ADDRESS = "127.0.0.1"


def wire_name(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l) + b"\0"


def question_of(message):
    at = 12
    while message[at]:
        at += 1 + message[at]
    return message[12:at + 5]


def answer(message, address=ADDRESS, ident=None, question=None, flags=0x8180, count=1):
    q = question or question_of(message)
    record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 60, 4) + socket.inet_aton(address)
    return (ident or message[:2]) + struct.pack(">HHHHH", flags, 1, count, 0, 0) + q + record * count


class Resolver:
    """One port, UDP and TCP. udp(message, how often it was asked) gives the datagrams to send; tcp(message) the bytes of the
    stream, length included."""

    def __init__(self, udp, tcp=None):
        self.udp, self.tcp, self.asked, self.streams = udp, tcp, 0, 0
        while True:
            self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.s.bind((ADDRESS, 0))
            self.port = self.s.getsockname()[1]
            self.listener = socket.socket()
            try:
                self.listener.bind((ADDRESS, self.port))
                break
            except OSError:
                self.s.close()
                self.listener.close()
        self.listener.listen(16)
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def serve_udp(self):
        while True:
            try:
                message, peer = self.s.recvfrom(4096)
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self.reply, args=(message, peer, self.asked), daemon=True).start()

    def reply(self, message, peer, nth):
        for part in self.udp(message, nth) or ():
            try:
                self.s.sendto(part, peer)
            except OSError:
                return

    def serve_tcp(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            self.streams += 1
            c.settimeout(10)
            try:
                head = c.recv(2)
                message = c.recv(struct.unpack(">H", head)[0])
                c.sendall(self.tcp(message) if self.tcp else b"")
            except (OSError, struct.error):
                pass
            c.close()

    def stop(self):
        self.s.close()
        self.listener.close()


def framed(message):
    return struct.pack(">H", len(message)) + message


def slowly(seconds, parts):
    time.sleep(seconds)
    return parts


TRUNCATED = lambda m: answer(m, flags=0x8380, count=0)
DNS = {  # name: (udp, tcp, rcode that the cell sees, reasonCode of dns_answer)
    "the first packet is lost": (lambda m, n: [answer(m)] if n > 1 else [], None, NOERROR, "dns_allowlist_match"),
    "every answer comes twice": (lambda m, n: [answer(m), answer(m)], None, NOERROR, "dns_allowlist_match"),
    "a spoofed id before the answer": (lambda m, n: [answer(m, "203.0.113.66", bytes([m[0] ^ 1, m[1]])), answer(m)], None, NOERROR, "dns_allowlist_match"),
    "an answer to another question before it": (
        lambda m, n: [answer(m, "203.0.113.66", question=wire_name("other.test") + b"\0\1\0\1"), answer(m)], None, NOERROR, "dns_allowlist_match"),
    "a late answer": (lambda m, n: slowly(1.2, [answer(m)]), None, NOERROR, "dns_allowlist_match"),
    "no answer at all": (lambda m, n: [], None, SERVFAIL, "dns_upstream_timeout"),
    "only answers to other questions": (
        lambda m, n: [answer(m, question=wire_name("other.test") + b"\0\1\0\1")] * 80, None, SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
    "garbage behind the right id": (lambda m, n: [m[:2] + b"\x81\x80" + b"\xff" * 40], None, SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
    "an answer cut in the middle": (lambda m, n: [answer(m)[:-3]], None, SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
    "more records promised than sent": (
        lambda m, n: [answer(m)[:6] + b"\0\x05" + answer(m)[8:]], None, SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
    "a refusal": (lambda m, n: [answer(m, flags=0x8185, count=0)], None, SERVFAIL, "dns_upstream_failure"),
    "truncated, and whole over TCP": (lambda m, n: [TRUNCATED(m)], lambda m: framed(answer(m)), NOERROR, "dns_allowlist_match"),
    "truncated, and TCP breaks off": (lambda m, n: [TRUNCATED(m)], lambda m: framed(answer(m))[:-4], SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
    "truncated, and TCP says nothing": (lambda m, n: [TRUNCATED(m)], lambda m: slowly(4, b""), SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
    "truncated, and TCP promises 64 KiB": (lambda m, n: [TRUNCATED(m)], lambda m: b"\xff\xff" + answer(m), SERVFAIL, ("dns_upstream_failure", "dns_upstream_timeout")),
}

ASK = """
import binascii
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20)
s.connect(("192.0.2.53", 53)); s.send(binascii.unhexlify(%r))
out["got"] = s.recv(4096).hex()
"""
QUERY = (b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + wire_name("example.test") + b"\0\1\0\1").hex()


@pytest.mark.parametrize("fault", DNS)
def test_a_resolver_that(ordinary, fault):
    udp, tcp, rcode, reason = DNS[fault]
    resolver = Resolver(udp, tcp)
    try:
        out = inside(ordinary, ASK % QUERY, "--allow", "example.test", "--dns", "%s:%d" % (ADDRESS, resolver.port), "--allow-answer",
                     "example.test:" + ADDRESS)
    finally:
        resolver.stop()
    got = bytes.fromhex(out["got"])
    assert got[3] & 0xf == rcode, out
    assert b"\xcb\x00\x71\x42" not in got  # what the liar says
    if rcode == NOERROR:
        assert socket.inet_aton(ADDRESS) in got
    events = ordinary.events()
    queries = [e for e in of_type(events, "observability.v1.dns_query") if e["queryName"] == "example.test"]
    answers = of_type(events, "observability.v1.dns_answer")
    assert [e["action"] for e in queries] == ["allow"]
    assert len(answers) == 1 and answers[0]["reasonCode"] in ([reason] if isinstance(reason, str) else reason), answers
    assert ordinary.verify().returncode == 0


def test_answers_in_the_other_order(ordinary):
    """Two questions at once, answered the second one first: each gets its own."""
    lock = threading.Lock()
    resolver = Resolver(lambda m, n: None)
    peers = []

    def reply(message, peer, nth):
        with lock:
            peers.append((message, peer))
            if len(peers) < 2:
                return
            for m, p in reversed(peers):
                resolver.s.sendto(answer(m, "127.0.0.%d" % (1 + (b"other" in m.lower()))), p)
    resolver.reply = reply
    try:
        out = inside(ordinary, """
import binascii
for name in ("example", "other"):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.connect(("192.0.2.53", 53))
    s.send(b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + bytes([len(name)]) + name.encode() + b"\\4test\\0\\0\\1\\0\\1"); out[name] = s
out = {n: s.recv(4096).hex() for n, s in out.items()}
""", "--allow", "example.test", "--allow", "other.test", "--dns", "%s:%d" % (ADDRESS, resolver.port), "--allow-answer", "example.test:127.0.0.0/8",
                     "--allow-answer", "other.test:127.0.0.0/8")
    finally:
        resolver.stop()
    assert "7f000001" in out["example"] and "7f000002" in out["other"], out


# ---- servers ----

def reset(c):
    c.recv(100)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half(c):
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")


def stall(c):
    c.recv(4096)
    time.sleep(30)


def nonsense(c):
    c.recv(4096)
    c.sendall(b"\0\1\2\3" * 100)


def never_closes(c):
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    time.sleep(30)


FETCH = """
s = socket.create_connection(("198.51.100.1", %d)); s.settimeout(3)
s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test\\r\\n\\r\\n")
got = b""
try:
    while part := s.recv(4096): got += part
    out["end"] = "end of stream"
except OSError as e: out["end"] = type(e).__name__
out["got"] = got.decode("latin1")
"""


@pytest.mark.parametrize("talk,expected,ends", [
    (reset, lambda g: " 200 " not in g, None), (half, lambda g: g.endswith("half"), None),
    (stall, lambda g: g == "", "TimeoutError"), (nonsense, lambda g: " 200 " not in g, None),
    (never_closes, lambda g: g.endswith("ok"), None)], ids=["reset", "half", "stall", "nonsense", "never closes"])
def test_a_server_that(ordinary, dns, talk, expected, ends):
    """The cell gets what came and no made-up end; the decision is in the log, and the run ends with the workload."""
    from servers import Tcp
    server = Tcp(talk, hosts=("127.0.0.1",))
    began = time.monotonic()
    try:
        out = inside(ordinary, FETCH % server.port, "--allow", "example.test:%d/http" % server.port, "--dns", "127.0.0.1:%d" % dns.port,
                     "--allow-answer", "example.test:127.0.0.1", timeout=40)
    finally:
        server.close()
    assert expected(out["got"]), out
    assert ends is None or out["end"] == ends, out
    assert time.monotonic() - began < 25  # nobody waits for the server's thirty seconds
    decisions = of_type(ordinary.events(), "observability.v1.l7_egress_decision")
    assert [e["action"] for e in decisions][:1] == ["allow"], decisions
    assert ordinary.verify().returncode == 0


def test_a_server_that_is_not_there(ordinary, dns):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    out = inside(ordinary, FETCH % port, "--allow", "example.test:%d/http" % port, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
                 "example.test:127.0.0.1", timeout=40)
    assert out["got"].startswith("HTTP/1.1 502"), out
    reasons = [e["reasonCode"] for e in of_type(ordinary.events(), "observability.v1.l7_egress_decision")]
    assert reasons[-1] == "l7_upstream_unreachable"
