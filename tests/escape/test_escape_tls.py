# SPDX-License-Identifier: MIT
"""ClientHellos made to show one name to the proxy and another to the server, and everything that only looks like TLS."""
import struct

import pytest

from conftest import of_type
from probe import inside
from wire import A, Resolver, Sink, record


def vec(n, data):
    return len(data).to_bytes(n, "big") + data


def sni(*names, kind=0, raw=None):
    body = raw if raw is not None else vec(2, b"".join(bytes([kind]) + vec(2, n) for n in names))
    return struct.pack(">H", 0) + vec(2, body)


def ext(number, data=b""):
    return struct.pack(">H", number) + vec(2, data)


def hello(*extensions, version=b"\3\3", session=b"", suites=b"\x13\x01", compression=b"\0", tail=b"", no_extensions=False):
    body = version + b"R" * 32 + vec(1, session) + vec(2, suites) + vec(1, compression)
    if not no_extensions:
        body += vec(2, b"".join(extensions))
    return b"\1" + vec(3, body + tail)


def rec(data, kind=22, version=b"\3\1"):
    return bytes([kind]) + version + vec(2, data)


def split(message, *sizes):
    """The message over several records of these sizes; the last takes the rest."""
    out, at = b"", 0
    for n in sizes:
        out += rec(message[at:at + n])
        at += n
    return out + rec(message[at:])


OK = sni(b"example.test")
EVIL = sni(b"evil.test")
GREASE = ext(0x0a0a)
PAD = ext(21, bytes(200))

GOOD = {
    "plain": rec(hello(OK)),
    "grease, padding": rec(hello(GREASE, PAD, OK, ext(0xff01, b"\0"))),
    "trailing dot": rec(hello(sni(b"example.test."))),
    "upper case": rec(hello(sni(b"EXAMPLE.Test"))),
    "two records": split(hello(OK), 30),
    "one byte records": split(hello(OK), *[1] * 60),
    "split in the name": split(hello(OK), len(hello(OK)) - 4),
    "byte by byte": [bytes([b]) for b in rec(hello(OK))],
    "12 KiB": rec(hello(ext(21, bytes(12000)), OK)),
    "tls 1.0": rec(hello(OK, version=b"\3\1"), version=b"\3\0"),
    "session id": rec(hello(OK, session=b"s" * 32)),
    "early data behind": rec(hello(OK)) + rec(b"early", kind=23),
    "plain text behind": [rec(hello(OK)), b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"],
    "a second hello behind": [rec(hello(OK)), rec(hello(EVIL))],
}
BAD = {
    "other name": rec(hello(EVIL)),
    "no name": rec(hello(GREASE)),
    "no extensions": rec(hello(no_extensions=True)),
    "empty name": rec(hello(sni(b""))),
    "empty list": rec(hello(sni(raw=b"\0\0"))),
    "empty extension": rec(hello(sni(raw=b""))),
    "two names in the list": rec(hello(sni(b"example.test", b"evil.test"))),
    "two names, other first": rec(hello(sni(b"evil.test", b"example.test"))),
    "same name twice": rec(hello(sni(b"example.test", b"example.test"))),
    "two extensions": rec(hello(OK, EVIL)),
    "two extensions, other first": rec(hello(EVIL, OK)),
    "two extensions, far apart": rec(hello(OK, PAD, GREASE, EVIL)),
    "other extension twice": rec(hello(OK, GREASE, GREASE)),
    "name type 1": rec(hello(sni(b"example.test", kind=1))),
    "name type 1 first": rec(hello(sni(raw=vec(2, b"\1" + vec(2, b"evil.test") + b"\0" + vec(2, b"example.test"))))),
    "bytes behind the list": rec(hello(sni(raw=vec(2, b"\0" + vec(2, b"example.test")) + b"evil"))),
    "list longer than the extension": rec(hello(sni(raw=b"\0\x40\0" + vec(2, b"example.test")))),
    "name longer than the list": rec(hello(sni(raw=b"\0\x0f\0\0\x40example.test"))),
    "nul inside": rec(hello(sni(b"example.test\0.evil.test"))),
    "nul behind": rec(hello(sni(b"example.test\0"))),
    "nul before": rec(hello(sni(b"\0example.test"))),
    "two dots behind": rec(hello(sni(b"example.test.."))),
    "dot before": rec(hello(sni(b".example.test"))),
    "empty label": rec(hello(sni(b"example..test"))),
    "underscore": rec(hello(sni(b"example_.test"))),
    "65 byte label": rec(hello(sni(b"a" * 65 + b".example.test"))),
    "254 bytes": rec(hello(sni(b".".join([b"a" * 60] * 4) + b".example.test"))),
    "sub domain": rec(hello(sni(b"a.example.test"))),
    "suffix": rec(hello(sni(b"notexample.test"))),
    "blank": rec(hello(sni(b"example.test "))),
    "port": rec(hello(sni(b"example.test:443"))),
    "utf-8": rec(hello(sni("exämple.test".encode()))),
    "full width": rec(hello(sni("ｅxample.test".encode()))),
    "kelvin sign": rec(hello(sni("example.test".replace("e", "\u212a").encode()))),
    "address": rec(hello(sni(b"127.0.0.1"))),
    "address 6": rec(hello(sni(b"::1"))),
    "address in hex": rec(hello(sni(b"0x7f000001"))),
    "wildcard": rec(hello(sni(b"*.test"))),
    "bytes behind the extensions": rec(hello(OK, tail=b"x")),
    "extension over the end": rec(hello(OK, struct.pack(">HH", 5, 400))),
    "two messages in the record": rec(hello(OK) + hello(EVIL)),
    "server hello": rec(b"\2" + hello(OK)[1:]),
    "session of 33": rec(hello(OK, session=b"s" * 33)),
    "odd suites": rec(hello(OK, suites=b"\x13\1\x13")),
    "no suites": rec(hello(OK, suites=b"")),
    "no compression": rec(hello(OK, compression=b"")),
    "version 2": rec(hello(OK, version=b"\2\0")),
    "record version 2": rec(hello(OK), version=b"\2\0"),
    "empty record first": rec(b"") + rec(hello(OK)),
    "empty record between": rec(hello(OK)[:20]) + rec(b"") + rec(hello(OK)[20:]),
    "alert between": rec(hello(OK)[:20]) + rec(b"\1\0", kind=21) + rec(hello(OK)[20:]),
    "ccs between": rec(hello(OK)[:20]) + rec(b"\1", kind=20) + rec(hello(OK)[20:]),
    "alert first": rec(b"\1\0", kind=21) + rec(hello(OK)),
    "sslv2 hello": b"\x80\x2e\1\3\1\0\x15\0\0\0\x10\0\0\5" + b"\0" * 18 + b"C" * 16,
    "record of 2^14+1": b"\x16\3\1\x40\1" + hello(OK) + bytes(16385),
    "hello of 17 KiB": split(hello(ext(21, bytes(16400)), OK), 9000),
    "hello of 16 MiB": rec(b"\1\xff\xff\xff" + hello(OK)[4:]),
    "heartbeat": rec(b"\1\x40\0", kind=24),
    "dtls": b"\x16\xfe\xfd" + b"\0" * 8 + vec(2, hello(OK)),
    "cut": rec(hello(OK))[:-3],
    "http on a tls rule": b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "proxy protocol": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + rec(hello(OK)),
    "one byte": b"\x16",
    "nothing": b"",
}

CLIENT = """
import binascii
from concurrent.futures import ThreadPoolExecutor
def one(job):
    number, pieces = job
    s = socket.create_connection(("198.51.100.7", %d))
    s.settimeout(2)
    got = b""
    try:
        for i, piece in enumerate(pieces):
            if i: time.sleep(0.3 if len(pieces) < 5 else 0.002)
            s.sendall(binascii.unhexlify(piece))
        s.shutdown(socket.SHUT_WR)
        while d := s.recv(65536): got += d
    except OSError as e:
        got += ("<%%s>" %% e).encode()
    s.close()
    return number, got.decode("latin1")
with ThreadPoolExecutor(16) as pool:
    out.update(pool.map(one, %r))
"""


def names_of(raw):
    """Every name that any reader could find: of all hellos at the front of the stream, over all records, all extensions."""
    message = b""
    while raw[:1] == b"\x16" and len(raw) >= 5:
        n = int.from_bytes(raw[3:5], "big")
        message, raw = message + raw[5:5 + n], raw[5 + n:]
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            break
    at = 4 + 34
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at:at + 2], "big")
    at += 1 + message[at] + 2
    found = []
    while at + 4 <= len(message):
        kind, n = struct.unpack(">HH", message[at:at + 4])
        if kind == 0:
            found.append(message[at + 9:at + 4 + n])
        at += 4 + n
    return found


@pytest.fixture(scope="module")
def sink():
    s = Sink(answer=b"\x15\3\3\0\2\2\x28")
    yield s
    s.stop()


@pytest.fixture(scope="module")
def resolver():
    r = Resolver(lambda name, t, n: ([record(name, A, "127.0.0.1")], []) if t == A else ([], []))
    yield r
    r.stop()


def attack(user, sink, resolver, payloads, rule="/tls"):
    listed = [(n, [p.hex() for p in ([v] if isinstance(v, bytes) else v)]) for n, v in enumerate(payloads.values())]
    sink.take()
    out = inside(user, CLIENT % (sink.port, listed), "--allow", "example.test:%d%s" % (sink.port, rule), "--dns",
                 "127.0.0.1:%d" % resolver.port, "--allow-answer", "example.test:127.0.0.1", timeout=120)
    log = user.events()
    assert user.verify().returncode == 0
    events = of_type(log, "observability.v1.l7_egress_decision")
    lost = sum(e["lost"] for e in of_type(log, "observability.v1.gap"))
    return {name: out[str(n)] for n, name in enumerate(payloads)}, sink.take(), events, lost


def test_what_arrives_names_the_allowed_host_alone(ordinary, sink, resolver):
    answers, arrived, events, lost = attack(ordinary, sink, resolver, GOOD)
    assert len(arrived) == len(GOOD), answers
    for raw in arrived:
        assert [n.lower().rstrip(b".") for n in names_of(raw)] == [b"example.test"], raw
    assert sum(e["action"] == "allow" for e in events) == len(GOOD)


@pytest.mark.parametrize("rule", ["/tls", ""])
def test_nothing_arrives_of_what_can_be_read_in_two_ways(ordinary, sink, resolver, rule):
    bad = {k: v for k, v in BAD.items() if rule or not k.startswith("http on")}
    answers, arrived, events, lost = attack(ordinary, sink, resolver, bad, rule)
    assert arrived == [], arrived
    assert [e for e in events if e["action"] != "deny"] == []
    assert len(events) + lost == len(bad), sorted(e["reasonCode"] for e in events)
