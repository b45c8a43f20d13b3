# SPDX-License-Identifier: MIT
"""The list: every way out of a cell that we know of, tried from inside (attempts.py), each of which must fail and leave its
event. One cell as root and one as an ordinary user run the whole list; each row below is a test of its own."""
import json
import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, User, host_addresses, kept, of_type
from wire import A, AAAA, Resolver, Sink, record

MARK = "escape-3f9c1b"
HERE = Path(__file__).resolve().parent
ADDRESSES = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "8.8.8.8",
             "::1", "::", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:0:7f00:1::1",
             "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1%lo"]


def l7(**want):
    return lambda events: [e for e in of_type(events, "observability.v1.l7_egress_decision") if e["action"] == "deny" and
                           all(e.get(k) == v if k != "to" else e["originalDestination"].startswith(v) for k, v in want.items())]


def dns(name, reason="dns_allowlist_miss", kind=None):
    return lambda events: [e for e in of_type(events, "observability.v1.dns_query") if e["action"] == "deny" and e["reasonCode"] == reason and
                           (name is None or e.get("queryName") == name) and (kind is None or e.get("queryType") == kind)]


def flow(destination):
    return lambda events: [e for e in of_type(events, "observability.v1.network_flow_decision") if e["action"] == "deny" and
                           e.get("destination", "").startswith(destination)]


def call(name, family=None):
    return lambda events: [e for e in of_type(events, "observability.v1.syscall_denied") if e["syscall"] == name and
                           (family is None or e.get("family") == family)]


REFUSED = lambda got: got.startswith("<") or int(got[6:8], 16) & 0xf == 5
NOTHING = lambda got: got in ("", []) or (isinstance(got, str) and got.startswith("<"))
SILENT = lambda got: isinstance(got, str) and MARK not in got and " 200 " not in got.splitlines()[0] if got else True
ERROR = lambda got: isinstance(got, str) and got.startswith("<")
ALERT = lambda got: NOTHING(got) or got.startswith("\x15\3")
FORBIDDEN = lambda got: NOTHING(got) or got.startswith("HTTP/1.1 403") or got.startswith("HTTP/1.1 40")
ONE_ANSWER = lambda got: got.count("HTTP/1.1 200") <= 1
# Nothing is asked of the suite here, so there is nothing it could record: the door is not there.
NO_DOOR = None

ROWS = {
    "dns: a name that is not listed": (REFUSED, dns("unlisted.evil.test")),
    "dns: another server": (REFUSED, dns("server4.evil.test")),
    "dns: another server, IPv6": (REFUSED, dns("server6.evil.test")),
    "dns: another server over TCP": (lambda got: got.startswith("<") or int(got[10:12], 16) & 0xf == 5, dns("stream.evil.test")),
    "dns: the host's stub": (REFUSED, dns("stub.evil.test")),
    "dns: data below an allowed name": (REFUSED, dns("c2vjcmv0.example.test")),
    "dns: a type that carries text": (REFUSED, dns("example.test", "dns_type_denied", "TXT")),
    "dns: a zone transfer": (lambda got: got.startswith("<") or int(got[10:12], 16) & 0xf == 5, dns("example.test", "dns_type_denied", "AXFR")),
    "dns: any": (REFUSED, dns("example.test", "dns_type_denied", "ANY")),
    "dns: a reverse name": (REFUSED, dns("1.0.0.10.in-addr.arpa")),
    "dns: two questions": (ERROR, dns(None, "malformed_query")),
    "dns: no message": (ERROR, dns(None, "malformed_query")),
    "dns: port 5353": (ERROR, l7(to="8.8.8.8:5353")),
    "dns: multicast": (ERROR, flow("224.0.0.251")),
    "dot: port 853": (NOTHING, l7(to="9.9.9.9:853", reasonCode="l7_port_denied", protocol="unknown")),
    "doq: port 853": (ERROR, l7(to="9.9.9.9:853", protocol="udp")),
    "doh: a resolver's name": (ALERT, l7(host="cloudflare-dns.com", reasonCode="l7_sni_allowlist_miss")),
    "doh: in the clear": (FORBIDDEN, l7(host="dns.google.test", reasonCode="l7_http_host_allowlist_miss")),
    "doh: by an address": (FORBIDDEN, l7(to="1.0.0.1:")),
    "tcp to an unlisted address on an allowed port": (NOTHING, l7(to="198.51.100.9:", reasonCode="l7_unknown_protocol")),
    "http to the metadata address": (FORBIDDEN, l7(to="169.254.169.254:", host="169.254.169.254")),
    "http to the metadata address by a listed name": (FORBIDDEN, l7(host="metadata.test", reasonCode="l7_destination_denied")),
    "udp: an allowed name's port": (ERROR, l7(protocol="udp", to="198.51.100.80:")),
    "udp: a datagram in fragments": (ERROR, l7(port=22001)),
    "udp: broadcast": (ERROR, flow("255.255.255.255")),
    "udp: broadcast of a network": (ERROR, l7(port=22003)),
    "udp: multicast": (ERROR, flow("239.1.2.3")),
    "udp: multicast, IPv6": (ERROR, flow("[ff02::1]")),
    "tcp: an allowed name on another port": (NOTHING, l7(port=22006, reasonCode="l7_port_denied")),
    "tls: another name": (ALERT, l7(host="sni.evil.test", reasonCode="l7_sni_allowlist_miss")),
    "tls: no name": (ALERT, l7(to="198.51.100.2:", reasonCode="l7_sni_missing")),
    "tls: an address as name": (ALERT, l7(to="198.51.100.3:")),
    "tls: two names": (ALERT, l7(to="198.51.100.4:", reasonCode="l7_name_conflict")),
    "tls: a NUL in the name": (ALERT, l7(to="198.51.100.5:", reasonCode="l7_name_conflict")),
    "tls: only a record header": (ALERT, l7(to="198.51.100.6:")),
    "tls: below the name": (ALERT, l7(host="x.example.test", reasonCode="l7_sni_allowlist_miss")),
    "tls: on the port for http": (ALERT, l7(to="198.51.100.8:")),
    "http: another host": (FORBIDDEN, l7(host="host.evil.test", reasonCode="l7_http_host_allowlist_miss")),
    "http: no host": (FORBIDDEN, l7(to="198.51.100.12:", reasonCode="l7_http_host_missing")),
    "http: two hosts": (FORBIDDEN, l7(to="198.51.100.13:", reasonCode="l7_name_conflict")),
    "http: fronting by an absolute URI": (FORBIDDEN, l7(to="198.51.100.14:")),
    "http: another port in Host": (FORBIDDEN, l7(to="198.51.100.15:", reasonCode="l7_name_conflict")),
    "http: CONNECT": (FORBIDDEN, l7(to="198.51.100.16:")),
    "http: a second request": (ONE_ANSWER, l7(to="198.51.100.17:", host="second.evil.test")),
    "http: a pipelined request": (ONE_ANSWER, l7(to="198.51.100.18:", host="pipelined.evil.test")),
    "http: smuggled behind a length": (FORBIDDEN, l7(to="198.51.100.19:", reasonCode="l7_name_conflict")),
    "http: another protocol": (NOTHING, l7(to="198.51.100.20:", reasonCode="l7_unknown_protocol")),
    "http: a client that says nothing": (NOTHING, l7(to="198.51.100.21:", reasonCode="l7_peek_timeout")),
    "h2c: another authority": (SILENT, l7(host="stream.evil.test", reasonCode="l7_h2_authority_allowlist_miss")),
    "h2c: a second stream": (SILENT, l7(host="stream2.evil.test", reasonCode="l7_h2_authority_allowlist_miss")),
    "h2c: no authority": (SILENT, l7(to="198.51.100.33:", reasonCode="l7_h2_authority_missing")),
    "h2c: authority against host": (SILENT, l7(to="198.51.100.34:", reasonCode="l7_name_conflict")),
    "h2c: extended CONNECT": (SILENT, l7(to="198.51.100.35:")),
    "h2c: broken header block": (SILENT, l7(to="198.51.100.36:", reasonCode="l7_h2_unparseable_headers")),
    "quic: no rule": (ERROR, l7(to="198.51.100.41:443")),
    "quic: on the port for tls": (ERROR, l7(to="198.51.100.42:")),
    **{"tcp to " + a: (NOTHING, l7(port=20000 + i)) for i, a in enumerate(ADDRESSES)},
    **{"udp to " + a: (ERROR, l7(port=21000 + i)) for i, a in enumerate(ADDRESSES)},
    **{"socket: " + n: (ERROR, call("socket")) for n in (
        "raw, IPv4", "raw ICMP", "raw, IPv6", "packet", "packet, cooked", "vsock", "vsock, datagram", "kernel crypto", "XDP", "Bluetooth",
        "CAN", "TIPC", "RDS", "key management", "nftables", "audit", "uevents", "socket diagnostics", "SCTP", "DCCP", "KCM", "QIPCRTR",
        "SMC")},
    "call: a user namespace": (ERROR, call("unshare")), "call: a network namespace": (ERROR, call("unshare")),
    "call: a user namespace by clone": (ERROR, call("clone")), "call: io_uring": (ERROR, call("io_uring_setup")),
    "call: bpf": (ERROR, call("bpf")), "call: userfaultfd": (ERROR, call("userfaultfd")), "call: perf": (ERROR, call("perf_event_open")),
    "call: the keyring": (ERROR, call("keyctl")), "call: the keyring, a key": (ERROR, call("add_key")),
    "inherited fds": (NOTHING, NO_DOOR), "the host's abstract sockets": (ERROR, NO_DOOR), "the host's socket files": (ERROR, NO_DOOR),
    "an fd of the host by SCM_RIGHTS": (ERROR, NO_DOOR), "links and routes as the cell's root": (ERROR, NO_DOOR),
    "the network of PID 1 and of the host": (NOTHING, NO_DOOR),
}


class Unix:
    """A stream socket in the abstract space and as a file, and a datagram one; keeps what comes."""

    def __init__(self, world):
        self.abstract, self.seen, self.sockets = MARK + os.urandom(6).hex(), [], []
        self.path = str(Path(tempfile.mkdtemp(prefix="unix-", dir=world)) / "s")
        for kind, address in ((socket.SOCK_STREAM, "\0" + self.abstract), (socket.SOCK_STREAM, self.path),
                              (socket.SOCK_DGRAM, "\0" + self.abstract + "-dgram")):
            s = socket.socket(socket.AF_UNIX, kind)
            s.bind(address)
            self.sockets.append(s)
            threading.Thread(target=self.serve, args=(s, kind), daemon=True).start()
        os.chmod(self.path, 0o777)

    def serve(self, s, kind):
        try:
            if kind == socket.SOCK_STREAM:
                s.listen()
                s.accept()
            else:
                s.recv(100)
            self.seen.append(kind)
        except OSError:
            pass

    def stop(self):
        for s in self.sockets:
            s.close()


@pytest.fixture(scope="module", params=["root", "ordinary"])
def tried(request, world):
    """(outcomes, events, what arrived anywhere)"""
    users = kept(User(request.param, 0 if request.param == "root" else ORDINARY_UID, world))
    user = next(users)
    hosts = ("127.0.0.1", "::1", *host_addresses())
    http = Sink(hosts=hosts, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    tls, h2c = Sink(hosts=hosts), Sink(hosts=hosts)
    names = {"example.test": ("127.0.0.1", "::1"), "metadata.test": ("169.254.169.254", "fd00:ec2::254")}
    resolver = Resolver(lambda n, t, k: ([record(n, t, names[n.lower()][t == AAAA])] if n.lower() in names and t in (A, AAAA) else [], []))
    unix = Unix(world)
    setup = {"http": http.port, "tls": tls.port, "h2c": h2c.port, "mark": MARK, "own": "198.51.100.80", "addresses": ADDRESSES,
             "abstract": unix.abstract, "path": unix.path}
    program = user.file("attempts.py", (HERE / "attempts.py").read_text())
    flags = ["--dns", "127.0.0.1:%d" % resolver.port, "--ro", program]
    for rule in ("example.test:%d/http" % http.port, "metadata.test:%d/http" % http.port, "example.test:%d/tls" % tls.port,
                 "example.test:%d/h2c" % h2c.port):
        flags += ["--allow", rule]
    for answer in ("example.test:127.0.0.1", "example.test:::1", "metadata.test:0.0.0.0/0"):
        flags += ["--allow-answer", answer]
    r = user.ctl("run", *flags, "--", "python3", program, json.dumps(setup), timeout=180)
    arrived = {"http": http.take(), "tls": tls.take(), "h2c": h2c.take(), "unix": unix.seen, "asked": resolver.asked}
    for server in (http, tls, h2c, resolver, unix):
        server.stop()
    assert r.returncode == 0, r.stdout + r.stderr
    assert user.verify().returncode == 0
    yield json.loads(r.stdout.splitlines()[-1]), user.events(), arrived
    next(users, None)


def test_the_list_is_whole(tried):
    outcomes, _, _ = tried
    assert set(outcomes) == set(ROWS)
    assert len(ROWS) >= 60


@pytest.mark.parametrize("name", ROWS)
def test_attempt(tried, name):
    outcomes, events, _ = tried
    failed, event = ROWS[name]
    got = outcomes[name]
    assert failed(got), got
    if event is not NO_DOOR:
        assert event(events), "no event of it: %r" % got


def test_nothing_arrived(tried):
    """Whatever the cell believes: what the servers, the resolver and the host's sockets saw."""
    _, _, arrived = tried
    for got in arrived["http"] + arrived["tls"] + arrived["h2c"]:
        assert b"evil" not in got and b"SSH" not in got, got
    assert all(MARK.encode() not in got for got in arrived["http"] + arrived["tls"]), arrived
    assert arrived["unix"] == []
    assert {n.lower() for n, _ in arrived["asked"]} <= {"example.test", "metadata.test"}
    assert {t for _, t in arrived["asked"]} <= {A, AAAA}
