# SPDX-License-Identifier: MIT
"""Requests that two readers may read differently. Whatever arrives at the server must be one request, for the allowed host,
with nothing behind it; everything else must be a denial in the log."""
import re

import pytest

from conftest import of_type
from probe import inside
from wire import A, Resolver, Sink, record

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
GET = b"GET /%d HTTP/1.1\r\n"
E = b"Host: example.test\r\n"
X = b"Host: evil.test\r\n"
POST = b"POST /%d HTTP/1.1\r\n" + E
EVIL = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"
PORT = b"@PORT@"

# name -> bytes; %d becomes the payload's number, @PORT@ the port. A list is sent piece by piece with pauses.
GOOD = {
    "plain": GET + E + b"\r\n",
    "port named": GET + b"Host: example.test:" + PORT + b"\r\n\r\n",
    "trailing dot": GET + b"Host: example.test.\r\n\r\n",
    "upper case": GET + b"HOST: EXAMPLE.TEST\r\n\r\n",
    "absolute form": b"GET http://example.test:" + PORT + b"/%d HTTP/1.1\r\nHost: example.test:" + PORT + b"\r\n\r\n",
    "body of its length": POST + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL.replace(b"%", b"%%"),
    "chunked": POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(EVIL) + EVIL + b"\r\n0\r\n\r\n",
    "chunk extension": POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n",
    "trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: " + b"evil\r\n\r\n",
    "pipelined": GET + E + b"\r\n" + EVIL,
    "pipelined later": [GET + E + b"\r\n", EVIL],
    "pipelined behind a body": POST + b"Content-Length: 2\r\n\r\nhi" + EVIL,
    "pipelined behind chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + EVIL,
    "keep-alive": [GET + E + b"Connection: keep-alive\r\nKeep-Alive: timeout=9\r\n\r\n", EVIL],
    "upgrade h2c": GET + E + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "upgrade websocket": [GET + E + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"\x81\x05evil!"],
    "connection names host": GET + E + b"Connection: close, Host\r\n\r\n",
    "connection names length": POST + b"Connection: Content-Length\r\nContent-Length: 2\r\n\r\nhi" + EVIL,
    "h2 preface behind a request": [GET + E + b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "body that breaks off": POST + b"Content-Length: 9999\r\n\r\n" + EVIL,
    "byte by byte": [bytes([b]) for b in GET % 77 + E + b"\r\n"],
}
BAD = {
    "other host": GET + X + b"\r\n",
    "no host": GET + b"\r\n",
    "empty host": GET + b"Host:\r\n\r\n",
    "two hosts": GET + E + X + b"\r\n",
    "two hosts, other first": GET + X + E + b"\r\n",
    "same host twice": GET + E + E + b"\r\n",
    "host list": GET + b"Host: example.test, evil.test\r\n\r\n",
    "other port": GET + b"Host: example.test:1\r\n\r\n",
    "port overflow": GET + b"Host: example.test:" + b"%d\r\n\r\n" % (65536 + 80),
    "port sign": GET + b"Host: example.test:+" + PORT + b"\r\n\r\n",
    "user part": GET + b"Host: example.test@evil.test\r\n\r\n",
    "user part the other way": GET + b"Host: evil.test@example.test\r\n\r\n",
    "userinfo port": GET + b"Host: example.test:" + PORT + b"@evil.test\r\n\r\n",
    "blank in host": GET + b"Host: example.test evil.test\r\n\r\n",
    "nul in host": GET + b"Host: example.test\0.evil.test\r\n\r\n",
    "percent in host": GET + b"Host: example%%2etest\r\n\r\n",
    "path in host": GET + b"Host: example.test/evil.test\r\n\r\n",
    "backslash": GET + b"Host: example.test\\evil.test\r\n\r\n",
    "utf-8": GET + b"Host: example.test\xe2\x80\xa4evil\r\n\r\n",
    "underscore": GET + b"Host: example_test\r\n\r\n",
    "65 byte label": GET + b"Host: " + b"a" * 65 + b".example.test\r\n\r\n",
    "address": GET + b"Host: 127.0.0.1\r\n\r\n",
    "address as a number": GET + b"Host: 2130706433\r\n\r\n",
    "sub domain": GET + b"Host: a.example.test\r\n\r\n",
    "suffix only": GET + b"Host: notexample.test\r\n\r\n",
    "absolute other": b"GET http://evil.test/%d HTTP/1.1\r\n" + E + b"\r\n",
    "absolute allowed, host other": b"GET http://example.test/%d HTTP/1.1\r\n" + X + b"\r\n",
    "absolute user": b"GET http://example.test@evil.test/%d HTTP/1.1\r\n" + E + b"\r\n",
    "absolute backslash": b"GET http://example.test\\@evil.test/%d HTTP/1.1\r\n" + E + b"\r\n",
    "absolute https": b"GET https://example.test/%d HTTP/1.1\r\n" + E + b"\r\n",
    "absolute ftp": b"GET ftp://example.test/%d HTTP/1.1\r\n" + E + b"\r\n",
    "authority form": b"GET evil.test:80 HTTP/1.1\r\n" + E + b"\r\n",
    "connect": b"CONNECT example.test:" + PORT + b" HTTP/1.1\r\n" + E + b"\r\n",
    "connect lower": b"connect example.test:" + PORT + b" HTTP/1.1\r\n" + E + b"\r\n",
    "asterisk": b"GET * HTTP/1.1\r\n" + E + b"\r\n",
    "cl and te": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + EVIL,
    "te and cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + EVIL,
    "te twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + EVIL,
    "te list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + EVIL,
    "te identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi" + EVIL,
    "te vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + EVIL,
    "te quoted": POST + b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + EVIL,
    "te in 1.0": b"POST /%d HTTP/1.0\r\n" + E + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + EVIL,
    "cl twice": POST + b"Content-Length: 0\r\nContent-Length: 60\r\n\r\n" + EVIL,
    "cl twice the same": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "cl list": POST + b"Content-Length: 0, 60\r\n\r\n" + EVIL,
    "cl plus": POST + b"Content-Length: +60\r\n\r\n" + EVIL,
    "cl hex": POST + b"Content-Length: 0x3c\r\n\r\n" + EVIL,
    "cl minus": POST + b"Content-Length: -1\r\n\r\n" + EVIL,
    "cl huge": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + EVIL,
    "cl blank inside": POST + b"Content-Length: 1 2\r\n\r\n" + EVIL,
    "blank before the colon": GET + b"Host : example.test\r\n" + X + b"\r\n",
    "te blank before the colon": POST + b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + EVIL,
    "folded host": GET + b"Host:\r\n example.test\r\n\r\n",
    "folded line": GET + E + b"X-A: b\r\n\tc\r\n\r\n",
    "folded te": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "first line blank": b"\r\n" + GET + E + b"\r\n",
    "leading blank": b" " + GET + E + b"\r\n",
    "bare lf": b"GET /%d HTTP/1.1\nHost: example.test\n\n",
    "bare lf in a field": GET + E + b"X-A: b\nHost: evil.test\r\n\r\n",
    "bare cr in a field": GET + E + b"X-A: b\rHost: evil.test\r\n\r\n",
    "cr cr lf": GET + b"Host: example.test\r\r\n\r\n",
    "lf cr": GET + b"Host: example.test\n\r\n\r",
    "nul in a field": GET + E + b"X-A: b\0c\r\n\r\n",
    "line without a colon": GET + E + b"nonsense\r\n\r\n",
    "empty field name": GET + E + b": x\r\n\r\n",
    "http/0.9": b"GET /%d\r\n",
    "http/0.9 and more": b"GET /%d\r\n" + E + b"\r\n",
    "http/1.2": b"GET /%d HTTP/1.2\r\n" + E + b"\r\n",
    "http/2.0": b"GET /%d HTTP/2.0\r\n" + E + b"\r\n",
    "lower case version": b"GET /%d http/1.1\r\n" + E + b"\r\n",
    "two blanks": b"GET  /%d HTTP/1.1\r\n" + E + b"\r\n",
    "tab": b"GET\t/%d\tHTTP/1.1\r\n" + E + b"\r\n",
    "blank behind the version": b"GET /%d HTTP/1.1 \r\n" + E + b"\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "binary": bytes(range(256)),
    "head of 17 KiB": GET + E + b"X-A: " + b"a" * 17000 + b"\r\n\r\n",
    "smtp-like": b"EHLO example.test\r\n" + E + b"\r\n",
}
# Their head is good, but what follows breaks the framing: the request may begin to arrive, what follows must not.
CUT = {
    "chunk size twice": POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nh\r\n0\r\n\r\n" + EVIL,
    "chunk size bare lf": POST + b"Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n" + EVIL,
    "chunk size sign": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\nhi\r\n0\r\n\r\n" + EVIL,
    "chunk size overflow": POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff2\r\nhi\r\n0\r\n\r\n" + EVIL,
    "chunk data too long": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n0\r\n\r\n" + EVIL,
    "chunk extension lf": POST + b"Transfer-Encoding: chunked\r\n\r\n2;a\nhi\r\n0\r\n\r\n" + EVIL,
    "chunk end bare lf": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\n0\r\n\r\n" + EVIL,
}

CLIENT = """
import binascii
from concurrent.futures import ThreadPoolExecutor
def one(job):
    number, pieces = job
    s = socket.create_connection(("198.51.100.7", %d))
    s.settimeout(3)
    got = b""
    try:
        for i, piece in enumerate(pieces):
            if i: time.sleep(0.3 if len(pieces) < 5 else 0.002)
            s.sendall(binascii.unhexlify(piece))
        if len(pieces) < 5 and number %% 2: s.shutdown(socket.SHUT_WR)
        while d := s.recv(65536): got += d
    except OSError as e:
        got += ("<%%s>" %% e).encode()
    s.close()
    return number, got.decode("latin1")
with ThreadPoolExecutor(16) as pool:
    out.update(pool.map(one, %r))
"""


@pytest.fixture(scope="module")
def sink():
    s = Sink(answer=OK)
    yield s
    s.stop()


@pytest.fixture(scope="module")
def resolver():
    r = Resolver(lambda name, t, n: ([record(name, A, "127.0.0.1")], []) if t == A else ([], []))
    yield r
    r.stop()


def flags(sink, resolver):
    return ["--allow", "example.test:%d/http" % sink.port, "--dns", "127.0.0.1:%d" % resolver.port, "--allow-answer",
            "example.test:127.0.0.1"]


def attack(user, sink, resolver, payloads):
    """Sends them all from one cell; what the client got by name, what arrived, the decisions."""
    listed = []
    for number, (name, pieces) in enumerate(payloads.items()):
        pieces = [pieces] if isinstance(pieces, bytes) else pieces
        port = str(sink.port).encode()
        pieces = [p.replace(PORT, port).replace(b"/%d", b"/%d" % number).replace(b"%%", b"%") for p in pieces]
        listed.append((number, [p.hex() for p in pieces]))
    sink.take()
    out = inside(user, CLIENT % (sink.port, listed), *flags(sink, resolver), timeout=120)
    log = user.events()
    assert user.verify().returncode == 0
    events = of_type(log, "observability.v1.l7_egress_decision")
    lost = sum(e["lost"] for e in of_type(log, "observability.v1.gap"))
    return {name: out[str(n)] for n, name in enumerate(payloads)}, sink.take(), events, lost


FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*[\x20-\x7e\t]*[ \t]*")


def one_request(raw, port):
    """None when raw is exactly one strict request (perhaps not complete) for the allowed host, else what is wrong."""
    head, end, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if not end:
        return "no whole head"
    if not re.fullmatch(rb"[A-Z]+ (/|http://example\.test(:%d)?/)[\x21-\x7e]* HTTP/1\.[01]" % port, lines[0]):
        return "request line"
    if any(not FIELD.fullmatch(line) for line in lines[1:]):
        return "field"
    fields = [(n.lower(), v.strip()) for n, _, v in (line.partition(b":") for line in lines[1:])]
    names = [n for n, _ in fields]
    values = dict(fields)
    if names.count(b"host") != 1 or not re.fullmatch(rb"example\.test\.?(:%d)?" % port, values[b"host"].lower()):
        return "host"
    if values.get(b"connection", b"close") not in (b"close", b"Upgrade") or names.count(b"connection") > 1:
        return "connection"
    if {b"http2-settings", b"keep-alive"} & set(names) or values.get(b"upgrade", b"websocket") != b"websocket":
        return "upgrade"
    if b"transfer-encoding" in names:
        if names.count(b"transfer-encoding") > 1 or b"content-length" in names or values[b"transfer-encoding"] != b"chunked":
            return "two framings"
        while body:
            m = re.match(rb"([0-9a-fA-F]{1,15})([;\t ][^\r\n]*)?\r\n", body)
            if not m:
                return None if re.fullmatch(rb"[0-9a-fA-F]{1,15}([;\t ][^\r\n]*)?\r?", body) else "chunk size"
            size, body = int(m[1], 16), body[m.end():]
            if size == 0:
                rest = re.sub(rb"\A(%s\r\n)*\r\n" % FIELD.pattern, b"", body)
                return "behind the last chunk" if rest and rest != body else None
            if len(body) > size and not b"\r\n".startswith(body[size:size + 2]):
                return "chunk end"
            body = body[size + 2:]
        return None
    return None if len(body) <= int(values.get(b"content-length", b"0")) else "behind the body"


def test_what_arrives_is_one_request_for_the_allowed_host(ordinary, sink, resolver):
    answers, arrived, events, lost = attack(ordinary, sink, resolver, GOOD)
    arrived = [raw for raw in arrived if raw]  # nothing needs to come of a body that breaks off
    for raw in arrived:
        assert one_request(raw, sink.port) is None, (one_request(raw, sink.port), raw)
        assert b"evil" not in raw.partition(b"\r\n\r\n")[0] and b"smuggled" not in raw.partition(b"\r\n\r\n")[0], raw
    assert len(arrived) in (len(GOOD) - 1, len(GOOD)), (len(arrived), answers)
    assert sum(e["action"] == "allow" for e in events) == len(GOOD)


def test_nothing_arrives_of_what_can_be_read_in_two_ways(ordinary, sink, resolver):
    answers, arrived, events, lost = attack(ordinary, sink, resolver, BAD)
    assert arrived == [], arrived
    assert [n for n, got in answers.items() if "200 OK" in got] == []
    assert [e for e in events if e["action"] != "deny"] == []
    assert len(events) + lost == len(BAD), (answers, [e["reasonCode"] for e in events])


def test_broken_framing_ends_the_connection(ordinary, sink, resolver):
    answers, arrived, events, lost = attack(ordinary, sink, resolver, CUT)
    for raw in arrived:
        assert b"evil" not in raw, raw
        assert one_request(raw, sink.port) is None, raw
