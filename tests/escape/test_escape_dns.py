# SPDX-License-Identifier: MIT
"""DNS as a way out (names, cases, types, options as carriers of data) and as a way in (answers that lead to the host)."""
import socket
import struct

import pytest

from conftest import of_type
from probe import inside
from wire import A, AAAA, CNAME, HTTPS, Resolver, Sink, record, wire_name

CLIENT = """
import binascii
def ask(hexed, server="192.0.2.53", tcp=False, wait=1.0):
    message = binascii.unhexlify(hexed)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(wait)
    try:
        s.connect((server, 53))
        s.send(struct.pack(">H", len(message)) + message if tcp else message)
        got = s.recv(65535)
        return got[2:].hex() if tcp else got.hex()
    except OSError as e:
        return "<%s>" % (name(e.errno) if e.errno else e)
    finally:
        s.close()
def dial(host, port, first=b"GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n", wait=3.0):
    s = socket.create_connection(("198.51.100.7", port))
    s.settimeout(wait)
    try:
        s.sendall(first.replace(b"%s", host.encode()))
        return s.recv(4000).decode("latin1")
    except OSError as e:
        return "<%s>" % e
    finally:
        s.close()
"""


def query(name, qtype=A, qclass=1, flags=0x0100, counts=(1, 0, 0, 0), tail=b"", ident=b"\x12\x34"):
    wire = name if isinstance(name, bytes) else wire_name(name)
    return (ident + struct.pack(">H", flags) + struct.pack(">HHHH", *counts) + wire + struct.pack(">HH", qtype, qclass) +
            tail).hex()


def addresses(message):
    """Every address in any record of any section, wherever it stands."""
    if message.startswith("<") or len(message) < 24:
        return []
    m = bytes.fromhex(message)
    counts, at, found = struct.unpack(">HHHH", m[4:12]), 12, []

    def skip(at):
        while m[at] and m[at] < 192:
            at += 1 + m[at]
        return at + (2 if m[at] else 1)
    for _ in range(counts[0]):
        at = skip(at) + 4
    for _ in range(sum(counts[1:])):
        at = skip(at)
        rtype, _, _, n = struct.unpack(">HHIH", m[at:at + 10])
        data, at = m[at + 10:at + 10 + n], at + 10 + n
        if rtype in (A, AAAA):
            found.append(socket.inet_ntop(socket.AF_INET if rtype == A else socket.AF_INET6, data))
    return found


def run(user, resolver, text, *flags):
    out = inside(user, CLIENT + text, "--dns", "127.0.0.1:%d" % resolver.port, *flags, timeout=60)
    assert user.verify().returncode == 0
    return out, user.events()


@pytest.fixture
def sink():
    s = Sink(hosts=("127.0.0.1", "::1"), answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    yield s
    s.stop()


OPT = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 20) + struct.pack(">HH", 65001, 16) + b"SECRET-IN-OPTION"
NAMES = {  # what a cell with the rule example.test may not send
    "other apex": query("data.evil.test"), "below the name": query("data.example.test"), "above the name": query("test"),
    "suffix": query("xexample.test"), "root": query(b"\0"), "dot in a label": query(b"\x0cexample.test\0"),
    "dot in a label 2": query(b"\7example\4test\0".replace(b"\7example", b"\x09a.example"[:10])),
    "nul in a label": query(b"\x08example\0\4test\0"), "other class": query("example.test", qclass=3),
    "any": query("example.test", qtype=255), "txt": query("example.test", qtype=16), "axfr": query("example.test", qtype=252),
    "null": query("example.test", qtype=10), "mx": query("example.test", qtype=15), "srv": query("example.test", qtype=33),
    "type 65535": query("example.test", qtype=65535), "64 byte label": query(b"\x40" + b"a" * 64 + b"\0"),
    "pointer": query(b"\xc0\x0c"), "pointer forward": query(b"\xc0\x30"), "two questions": query(
        "example.test", counts=(2, 0, 0, 0), tail=wire_name("evil.test") + b"\0\1\0\1"),
    "second question behind": query("example.test", tail=wire_name("evil.test") + b"\0\1\0\1"),
    "a record in the answers": query("example.test", counts=(1, 1, 0, 0), tail=record("evil.test", A, "1.2.3.4")),
    "update": query("example.test", flags=0x2800), "notify": query("example.test", flags=0x2000),
    "a response": query("example.test", flags=0x8180), "short": "1234", "empty": "",
}


def test_no_data_leaves_in_names(ordinary):
    """Through whatever server, over UDP and TCP: only the listed name is ever asked, and in one spelling."""
    resolver = Resolver(lambda n, t, k: ([record(n, A, "127.0.0.1")], []))
    allowed = [query("eXaMpLe.TeSt"), query("EXAMPLE.test", counts=(1, 0, 0, 1), tail=OPT), query("example.test", AAAA)]
    try:
        out, log = run(ordinary, resolver, """
out["bad"] = [ask(q, tcp=tcp, wait=0.15) for q in %r for tcp in (False, True)]
out["good"] = [ask(q, server) for q in %r for server in ("192.0.2.53", "127.0.0.1", "8.8.8.8")]
""" % (list(NAMES.values()), allowed), "--allow", "example.test:443", "--allow-answer", "example.test:127.0.0.1")
    finally:
        resolver.stop()
    assert all(not a.startswith("<") for a in out["good"]), out["good"]
    assert {n for n, t in resolver.asked} == {"example.test"}, resolver.asked  # byte for byte: no case to write data in
    assert {t for n, t in resolver.asked} <= {A, AAAA}
    assert [a for q in out["bad"] for a in addresses(q)] == []
    queries = of_type(log, "observability.v1.dns_query")
    assert sum(e["action"] == "deny" for e in queries) + sum(e["lost"] for e in of_type(log, "observability.v1.gap")) >= \
        2 * (len(NAMES) - 3), len(queries)


def test_no_option_leaves(ordinary):
    """What the resolver gets is made anew: no byte of the cell's message but the name."""
    packets = []

    class Recording(Resolver):
        def _serve(self):
            while True:
                try:
                    message, peer = self.sock.recvfrom(4096)
                except OSError:
                    return
                packets.append(message)
                self.sock.sendto(message[:2] + b"\x81\x83" + message[4:6] + bytes(6) + message[12:message.index(b"\0", 12) + 5], peer)
    resolver = Recording(None)
    try:
        run(ordinary, resolver, "out['x'] = [ask(%r), ask(%r)]" % (
            query("example.test", counts=(1, 0, 0, 1), tail=OPT, flags=0x01f0), query("example.test", AAAA, ident=b"ID")),
            "--allow", "example.test:443")
    finally:
        resolver.stop()
    assert packets
    for p in packets:
        assert b"SECRET" not in p and p[2:4] in (b"\1\0", b"\1\x20") and p[4:6] == b"\0\1", p
    assert len({p[:2] for p in packets}) == len(packets) or len(packets) < 2


PUBLIC = "93.184.216.34"
INWARD = ["127.0.0.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "169.254.169.254",
          "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
          "255.255.255.255", "203.0.113.1"]
INWARD6 = ["::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1",
           "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001::80ff:fffe", "fe80::1", "fec0::1", "fc00::1",
           "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1", "::ffff:0:7f00:1", "5f00::1", "4000::1"]


def inward_answers(name, t, k):
    kind = name.split(".")[0]
    if kind == "alone":
        return [record(name, t, a) for a in (INWARD if t == A else INWARD6 if t == AAAA else [])], []
    if kind == "mixed":
        more = [record(name, t, a) for a in (INWARD if t == A else INWARD6 if t == AAAA else [])]
        return ([record(name, A, PUBLIC)] if t == A else []) + more, []
    if kind == "chain":
        return [record(name, CNAME, "secret.internal")] + ([record("secret.internal", A, "10.0.0.1")] if t == A else []), []
    if kind == "loop":
        return [record(name, CNAME, "b.test"), record("b.test", CNAME, name), record("b.test", A, "127.0.0.1")], []
    if kind == "beside":
        return [record(name, A, PUBLIC), record("localhost", A, "127.0.0.1"), record("evil.test", A, PUBLIC)], \
            [record(name, A, "127.0.0.1"), record("glue.test", AAAA, "::1")]
    if kind == "other":
        return [record("evil.test", A, PUBLIC)], []
    if kind == "swapped":  # an IPv4 address as AAAA, an IPv6 one as A
        return [record(name, A if t == AAAA else AAAA, "127.0.0.1" if t == AAAA else "::1")], []
    if kind == "hints" and t == HTTPS:
        return [record(name, HTTPS, b"\0\1\0" + struct.pack(">HH", 4, 4) + bytes([127, 0, 0, 1]))], []
    return [], []


KINDS = ["alone", "mixed", "chain", "loop", "beside", "other", "swapped", "hints"]


def test_no_answer_leads_inward(ordinary, sink):
    resolver = Resolver(inward_answers)
    text = """
for kind in %r:
    out[kind] = [ask(q) for q in %r[kind]]
    out["dial " + kind] = dial(kind + ".in.test", %d)
""" % (KINDS, {k: [query(k + ".in.test", t) for t in (A, AAAA, HTTPS)] for k in KINDS}, sink.port)
    try:
        out, log = run(ordinary, resolver, text, "--allow", "*.in.test:%d/http" % sink.port)
    finally:
        resolver.stop()
    assert sink.take() == []
    for kind in KINDS:
        assert {a for m in out[kind] for a in addresses(m)} <= {PUBLIC}, (kind, [addresses(m) for m in out[kind]])
        assert " 200 " not in out["dial " + kind]
    l7 = of_type(log, "observability.v1.l7_egress_decision")
    assert all(e["dialedAddress"] == "%s:%d" % (PUBLIC, sink.port) for e in l7 if e["action"] == "allow"), l7
    removed = [r["data"] for e in of_type(log, "observability.v1.dns_answer") for r in e.get("removed", [])]
    assert set(INWARD) <= set(removed) and len(set(removed) & set(INWARD6)) >= len(INWARD6) - 2


def test_an_answer_that_changes_between_question_and_dial(ordinary, sink):
    """Rebinding: public for the cell, loopback for the proxy's own question a moment later, with a TTL of 0."""
    resolver = Resolver(lambda n, t, k: ([record(n, A, PUBLIC if k == 0 else "127.0.0.1", ttl=0)] if t == A else [], []))
    try:
        out, log = run(ordinary, resolver, """
out["first"] = ask(%r)
out["dial"] = [dial("example.test", %d) for _ in range(3)]
""" % (query("example.test"), sink.port), "--allow", "example.test:%d/http" % sink.port)
    finally:
        resolver.stop()
    assert addresses(out["first"]) == [PUBLIC]
    assert sink.take() == []
    assert all("403" in d and "--allow-answer" in d for d in out["dial"]), out["dial"]
    assert any(e["reasonCode"] == "dns_rebind_rejected" for e in of_type(log, "observability.v1.dns_answer"))


def test_metadata_addresses_cannot_be_allowed(ordinary):
    for answer in ("example.test:169.254.169.254", "example.test:fd00:ec2::254"):
        r = ordinary.ctl("run", "--allow", "example.test", "--allow-answer", answer, "--", "true")
        assert r.returncode in (3, 125), (answer, r.returncode, r.stderr)
    resolver = Resolver(lambda n, t, k: ([record(n, A, "169.254.169.254")] if t == A else
                                         [record(n, AAAA, "64:ff9b::a9fe:a9fe")] if t == AAAA else [], []))
    try:  # a wide prefix contains it, and still does not mean it
        out, log = run(ordinary, resolver, "out['a'] = [ask(q) for q in %r]\nout['dial'] = dial('example.test', 80)" % [
            query("example.test"), query("example.test", AAAA)], "--allow", "example.test:80/http", "--allow-answer",
            "example.test:0.0.0.0/0", "--allow-answer", "example.test:::/0")
    finally:
        resolver.stop()
    assert [a for m in out["a"] for a in addresses(m)] == []
    assert "403" in out["dial"]
    assert [e for e in of_type(log, "observability.v1.l7_egress_decision") if e["action"] == "allow"] == []


def test_a_spoofed_answer_is_not_taken(ordinary, sink):
    """Answers with another id, question, or without the response bit, each before the real one."""
    def answer(name, t, k):
        return None

    class Spoofing(Resolver):
        def _serve(self):
            while True:
                try:
                    m, peer = self.sock.recvfrom(4096)
                except OSError:
                    return
                good = m[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + m[12:m.index(b"\0", 12) + 5]
                evil = record("example.test", A, "127.0.0.1")
                other_id = bytes([m[0] ^ 1]) + m[1:2]
                for fake in (other_id + good[2:] + evil, good[:2] + b"\x01\x80" + good[4:] + evil,
                             good[:12] + wire_name("evil.test") + b"\0\1\0\1" + evil, good[:12] + good[12:-4] + b"\0\x1c\0\1" + evil,
                             good[:4] + b"\0\2" + good[6:] + evil):
                    self.sock.sendto(fake, peer)
                self.sock.sendto(good + record("example.test", A, PUBLIC), peer)
    resolver = Spoofing(answer)
    try:
        out, log = run(ordinary, resolver, "out['a'] = ask(%r, wait=4)" % query("example.test"), "--allow",
                       "example.test:%d/http" % sink.port, "--allow-answer", "example.test:127.0.0.1")
    finally:
        resolver.stop()
    assert addresses(out["a"]) == [PUBLIC]


def test_slow_dns_clients_do_not_stop_the_proxys_own_questions(ordinary, sink):
    resolver = Resolver(lambda n, t, k: ([record(n, A, "127.0.0.1")] if t == A else [], []))
    try:
        out, log = run(ordinary, resolver, """
slow = []
for i in range(60):
    s = socket.create_connection(("192.0.2.53", 53)); s.sendall(b"\\0\\x30" + b"x" * (i %% 40)); slow.append(s)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(3000): u.sendto(b"\\1\\2" + bytes.fromhex(%r)[2:], ("192.0.2.53", 53))
t = time.monotonic()
out["dial"] = dial("example.test", %d)
out["took"] = time.monotonic() - t
""" % (query("evil.test"), sink.port), "--allow", "example.test:%d/http" % sink.port, "--allow-answer", "example.test:127.0.0.1")
    finally:
        resolver.stop()
    assert " 200 " in out["dial"] and out["took"] < 2.5, out
    assert sum(e["lost"] for e in of_type(log, "observability.v1.gap")) > 100
