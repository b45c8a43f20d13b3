#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the golden ClientHellos beside this file. curl, openssl s_client and gnutls-cli are recorded: each connects
to a listener here, which keeps what comes first. Go's, Chromium's and Firefox's are built in the order and with the
values that those clients send (Go 1.22 crypto/tls, Chromium 124, Firefox 125), with fixed bytes where they are random."""
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent


def record(name, argv):
    """What this client says first."""
    server = socket.create_server(("127.0.0.1", 0))
    got = []

    def serve():
        peer, _ = server.accept()
        peer.settimeout(2)
        data = b""
        while len(data) < 5 or len(data) < 5 + struct.unpack(">H", data[3:5])[0]:
            part = peer.recv(65536)
            if not part:
                break
            data += part
        got.append(data)
        peer.close()

    t = threading.Thread(target=serve)
    t.start()
    subprocess.run([a.format(port=server.getsockname()[1]) for a in argv], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10, check=False)
    t.join()
    (HERE / name).write_bytes(got[0])


def vec(n, data):
    return len(data).to_bytes(n, "big") + data


def u16(*values):
    return b"".join(struct.pack(">H", v) for v in values)


def ext(kind, data=b""):
    return u16(kind) + vec(2, data)


def sni(name):
    return ext(0, vec(2, b"\0" + vec(2, name.encode())))


def alpn(*names):
    return ext(16, vec(2, b"".join(vec(1, n.encode()) for n in names)))


def shares(*pairs):
    return ext(51, vec(2, b"".join(u16(g) + vec(2, k) for g, k in pairs)))


def hello(suites, extensions, session=bytes(range(32))):
    body = b"\x03\x03" + bytes(range(100, 132)) + vec(1, session) + vec(2, u16(*suites)) + b"\x01\x00"
    return b"\x01" + vec(3, body + vec(2, b"".join(extensions)))


def records(message, size=16384):
    return b"".join(b"\x16\x03\x01" + vec(2, message[i:i + size]) for i in range(0, len(message), size))


KEY = bytes(range(32))
SIGNATURES = ext(13, vec(2, u16(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)))

GO = hello(
    [0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC009, 0xC013, 0xC00A, 0xC014, 0x1301, 0x1302, 0x1303],
    [sni("go.example.test"), ext(5, b"\1\0\0\0\0"), ext(10, vec(2, u16(29, 23, 24, 25))), ext(11, b"\1\0"), SIGNATURES,
     ext(65281, b"\0"), alpn("h2", "http/1.1"), ext(18), ext(43, vec(1, u16(0x0304, 0x0303))),
     shares((29, KEY))])

# GREASE (RFC 8701), a permuted order, X25519Kyber768Draft00, ALPS, a GREASE ECH (outer, "an outer hello with ECH is
# judged by its outer name and flagged").
CHROMIUM_SUITES = [0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014,
                   0x009C, 0x009D, 0x002F, 0x0035]


def chromium(name, kyber, extra=()):
    keys = [(0x9A9A, b"\0")] + ([(0x6399, KEY + bytes(1184))] if kyber else []) + [(29, KEY)]
    groups = [0x9A9A] + ([0x6399] if kyber else []) + [29, 23, 24]
    return hello(CHROMIUM_SUITES, [
        ext(0x3A3A), ext(11, b"\1\0"), ext(23), ext(0xFE0D, b"\0\0\1\0\1\x42" + vec(2, KEY) + vec(2, bytes(144))),
        ext(43, vec(1, u16(0x5A5A, 0x0304, 0x0303))), ext(18), ext(35), alpn("h2", "http/1.1"),
        ext(17513, vec(2, vec(1, b"h2"))), shares(*keys), ext(27, b"\2\0\2"), ext(10, vec(2, u16(*groups))), SIGNATURES,
        sni(name), ext(65281, b"\0"), ext(5, b"\1\0\0\0\0"), ext(45, b"\1\1"), ext(0xBABA, b"\0"), *extra])


FIREFOX = hello(
    [0x1301, 0x1303, 0x1302, 0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0xC02C, 0xC030, 0xC00A, 0xC009, 0xC013, 0xC014, 0x009C,
     0x009D, 0x002F, 0x0035],
    [sni("firefox.example.test"), ext(23), ext(65281, b"\0"), ext(10, vec(2, u16(29, 23, 24, 25, 256, 257))),
     ext(11, b"\1\0"), ext(35), alpn("h2", "http/1.1"), ext(5, b"\1\0\0\0\0"),
     ext(34, vec(2, u16(0x0403, 0x0503, 0x0603, 0x0203))), shares((29, KEY), (23, b"\4" + bytes(64))),
     ext(43, vec(1, u16(0x0304, 0x0303))), SIGNATURES, ext(45, b"\1\1"), ext(28, u16(0x4001))])

# A resumed session with early data behind the hello: pre_shared_key must be last (RFC 8446 section 4.2.11).
PSK = vec(2, vec(2, b"ticket" * 20) + bytes(4)) + vec(2, vec(1, bytes(32)))
EARLY = hello([0x1301], [sni("early.example.test"), ext(10, vec(2, u16(29))), SIGNATURES, shares((29, KEY)),
                         ext(43, vec(1, u16(0x0304))), ext(45, b"\1\1"), ext(42), ext(41, PSK)])
BUILT = {
    "go": records(GO),
    "chromium": records(chromium("chromium.example.test", False)),
    "chromium_kyber": records(chromium("kyber.example.test", True)),
    "chromium_padded": records(chromium("padded.example.test", False, [ext(21, bytes(190))])),
    "firefox": records(FIREFOX),
    "early_data": records(EARLY) + b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03" + vec(2, bytes(200)),
    "tiny_records": records(GO, 7),
}


def main():
    for name, data in BUILT.items():
        (HERE / name).write_bytes(data)
    if sys.argv[1:] == ["built"]:
        return
    record("curl", ["curl", "-sk", "--resolve", "curl.example.test:{port}:127.0.0.1",
                    "https://curl.example.test:{port}/"])
    record("openssl", ["openssl", "s_client", "-connect", "127.0.0.1:{port}", "-servername", "openssl.example.test"])
    record("gnutls", ["gnutls-cli", "--insecure", "--sni-hostname=gnutls.example.test", "-p", "{port}", "127.0.0.1"])
    record("gnutls_tls12", ["gnutls-cli", "--insecure", "--priority=NORMAL:-VERS-TLS1.3",
                            "--sni-hostname=gnutls.example.test", "-p", "{port}", "127.0.0.1"])


main()
