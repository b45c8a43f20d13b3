# SPDX-License-Identifier: MIT
"""QUIC and raw UDP out of a cell: a real QUIC client in it (ngtcp2 with GnuTLS), real servers on the host's loopback."""
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from conftest import PATIENCE, free_port, of_type, wait_for
from probe import inside

assert shutil.which("gtlsclient"), "gtlsclient is missing: make deps (package ngtcp2-client)"
SERVER = shutil.which("gtlsserver", path="/usr/sbin:/usr/bin")
assert SERVER, "gtlsserver is missing: make deps (package ngtcp2-server)"
L7 = "observability.v1.l7_egress_decision"


class Echo:
    """UDP on both loopbacks: answers each datagram with what came, n times over when it asks for "xN"."""

    def __init__(self, port=0):
        self.got, self.sockets = [], []
        for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.bind((host, port))
            port = s.getsockname()[1]
            self.sockets.append(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()
        self.port = port

    def _serve(self, s):
        try:
            while True:
                data, peer = s.recvfrom(65536)
                if data == b"stop":
                    return
                self.got.append(data)
                s.sendto(b"y" * int(data[1:]) if data[:1] == b"x" else data, peer)
        except OSError:
            pass

    def close(self):
        for s in self.sockets:
            s.sendto(b"stop", s.getsockname())
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def udp_bound(port):
    """Whether somebody has this UDP port on both loopbacks."""
    return all(any(int(line.split()[1].rsplit(":", 1)[1], 16) == port for line in Path(table).read_text().splitlines()[1:])
               for table in ("/proc/net/udp", "/proc/net/udp6"))


class Quic:
    """gtlsserver on 127.0.0.1 and [::1] with example.test's certificate."""

    def __init__(self, world, pki, *options):
        self.dir = Path(tempfile.mkdtemp(prefix="quic-", dir=world))
        self.port = free_port(socket.SOCK_DGRAM)
        (self.dir / "hello.txt").write_text("hello over quic\n")
        (self.dir / "big.bin").write_bytes(os.urandom(1 << 20) * 4)
        self.log = open(self.dir / "log", "wb")
        self.processes = [subprocess.Popen(
            [SERVER, "-d", str(self.dir), "--no-quic-dump", "--no-http-dump", *options, host, str(self.port),
             str(pki.dir / "example.test.key"), str(pki.dir / "example.test.pem")], stdout=self.log, stderr=self.log)
            for host in ("127.0.0.1", "::1")]
        wait_for(lambda: udp_bound(self.port))

    def stop(self):
        for p in self.processes:
            p.terminate()
            p.wait(10)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()


@pytest.fixture(scope="module")
def quic(world, pki):
    with Quic(world, pki) as q:
        yield q


def names(dns, *rules, answer="example.test"):
    """Flags: these rules, our resolver, loopback answers for the name."""
    allowed = [x for r in rules for x in ("--allow", r)]
    return [*allowed, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer", answer + ":127.0.0.1", "--allow-answer",
            answer + ":::1"]


def get(port, path="hello.txt", host="example.test", options="", show="cat", limit=60):
    """The shell line that fetches a file over HTTP/3 and shows it. (This client does not listen to ICMP: limit.)"""
    return ["sh", "-c", "timeout %d gtlsclient -q --timeout=30s --exit-on-all-streams-close --no-quic-dump --no-http-dump %s "
            "--download=/tmp %s %d https://%s:%d/%s >/tmp/log 2>&1; s=$?; [ -f /tmp/%s ] || tail -n 30 /tmp/log >&2; "
            "%s /tmp/%s && exit $s" % (limit, options, host, port, host, port, path, path, show, path)]


def decisions(user):
    return of_type(user.events(), L7)


def named(user, decision, program):
    """Who did it. PID 1 of a root caller's cell may not be allowed to look: then it says so, and never guesses."""
    who = decision["process"]
    return who == "unknown" and user.uid == 0 or program in os.path.basename(who["exe"])


# ---- QUIC ----

def test_quic_by_name(user, dns, quic):
    r = user.ctl("run", *names(dns, "example.test:%d/quic" % quic.port), "--", *get(quic.port))
    assert (r.returncode, r.stdout) == (0, "hello over quic\n"), r.stderr
    l7 = decisions(user)
    assert [(e["action"], e["reasonCode"], e["protocol"], e["host"], e["port"]) for e in l7] == [
        ("allow", "l7_quic_allowlist_match", "quic", "example.test", quic.port)]
    assert l7[0]["dialedAddress"] in ("127.0.0.1:%d" % quic.port, "[::1]:%d" % quic.port)
    assert l7[0]["originalDestination"] == l7[0]["dialedAddress"]  # one of the name's addresses, and the client's own choice
    assert l7[0]["rule"] == "example.test:%d/quic" % quic.port
    assert named(user, l7[0], "gtlsclient")
    assert user.verify().returncode == 0


def test_quic_transfer(user, dns, quic):
    r = user.ctl("run", *names(dns, "example.test:%d/quic" % quic.port), "--", *get(quic.port, "big.bin", show="sha256sum"))
    assert r.stdout.split()[:1] == [hashlib.sha256((quic.dir / "big.bin").read_bytes()).hexdigest()], r.stderr
    sums = of_type(user.events(), "observability.v1.homeostasis")[0]
    assert sums["exercisedEgressConnections"] == 1 and sums["unusedEgressRules"] == []


@pytest.mark.parametrize("what,server,client", [
    ("Retry: another connection id and a token", ["-V"], ""),
    ("HelloRetryRequest: a second ClientHello", ["--groups=-GROUP-ALL:+GROUP-SECP521R1"], ""),
    ("lost and repeated packets", ["--tx-loss=0.1"], "--tx-loss=0.1"),
    ("the connection id of the client is empty", [], "--scid=''"),
    ("the client keeps its keys young", [], "--key-update=1ms"),
])
def test_quic_handshakes(ordinary, world, pki, dns, what, server, client):
    with Quic(world, pki, *server) as q:
        r = ordinary.ctl("run", *names(dns, "example.test:%d/quic" % q.port), "--", *get(q.port, options=client))
        log = (q.dir / "log").read_text(errors="replace")
    assert r.stdout == "hello over quic\n", what + r.stderr
    assert [e["action"] for e in decisions(ordinary)] == ["allow"]
    if "-V" in server:
        assert "Retry" in log or "type=R" in log, log[:2000]


def test_quic_other_name(user, dns, quic):
    """The allowed name's address, another name in the hello."""
    r = user.ctl("run", *names(dns, "example.test:%d/quic" % quic.port), "--", "sh", "-c",
                 "timeout 2 gtlsclient -q --exit-on-all-streams-close localhost %d https://localhost/hello.txt" % quic.port)
    assert "hello over quic" not in r.stdout
    l7 = decisions(user)
    assert {(e["action"], e["reasonCode"], e["host"]) for e in l7} == {("deny", "l7_quic_allowlist_miss", "localhost")}
    assert all("dialedAddress" not in e for e in l7)


def test_quic_needs_a_rule_of_its_own(user, dns, quic):
    """A rule without a protocol is for what proves its name over TCP."""
    r = user.ctl("run", *names(dns, "example.test:%d" % quic.port), "--", *get(quic.port, limit=2))
    assert "hello over quic" not in r.stdout
    assert {(e["action"], e["reasonCode"], e["protocol"], e["host"]) for e in decisions(user)} == {
        ("deny", "l7_quic_allowlist_miss", "quic", "example.test")}


def test_quic_unknown_version(user, dns, quic):
    r = user.ctl("run", *names(dns, "example.test:%d/quic" % quic.port), "--", *get(quic.port, options="-v 0x1a2a3a4a", limit=2))
    assert "hello over quic" not in r.stdout
    assert {(e["action"], e["reasonCode"]) for e in decisions(user)} == {("deny", "l7_unknown_protocol")}


def test_quic_private_answer(user, dns):
    port = free_port(socket.SOCK_DGRAM)
    r = user.ctl("run", "--allow", "private.test:%d/quic" % port, "--dns", "127.0.0.1:%d" % dns.port, "--", *get(port, host="private.test"))
    assert r.returncode != 0
    assert any(x["reasonCode"] == "dns_rebind_rejected" for a in of_type(user.events(), "observability.v1.dns_answer")
               for x in a.get("removed", []))


# ---- raw UDP ----

TALK = """
def talk(host, port, data=b"ping", n=1):
    '''What came back, or the error's name.'''
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.connect((host, port))
    try:
        for _ in range(n): s.send(data)
        return s.recv(65536).decode()
    except OSError as e:
        return "<" + (name(e.errno) if e.errno else str(e)) + ">"
"""


def test_raw_literal_both_families(user):
    with Echo() as e:
        out = inside(user, TALK + "out['4'] = talk('127.0.0.1', %d); out['6'] = talk('::1', %d, b'six')" % (e.port, e.port),
                     "--allow", "127.0.0.1:%d/udp" % e.port, "--allow", "[::1]:%d/udp" % e.port)
    assert out == {"4": "ping", "6": "six"}
    l7 = decisions(user)
    assert [(x["action"], x["reasonCode"], x["protocol"]) for x in l7] == [("allow", "l7_pinned_address_match", "udp")] * 2
    assert [x["dialedAddress"] for x in l7] == ["127.0.0.1:%d" % e.port, "[::1]:%d" % e.port]
    assert all(named(user, x, "python3") for x in l7), l7


def test_raw_name_only_after_its_answer(user, dns):
    with Echo() as e:
        out = inside(user, TALK + """
out["before"] = talk("127.0.0.1", {0})
out["addresses"] = sorted({{a[4][0] for a in socket.getaddrinfo("example.test", {0}, type=socket.SOCK_DGRAM)}})
out["after"] = [talk(a, {0}) for a in out["addresses"]]
""".format(e.port), *names(dns, "example.test:%d/udp" % e.port))
    assert out["before"] == "<ECONNREFUSED>"
    assert out["addresses"] == ["127.0.0.1", "::1"] and out["after"] == ["ping", "ping"]
    l7 = decisions(user)
    assert [(x["action"], x["reasonCode"]) for x in l7] == [("deny", "l7_pinned_address_miss")] + [("allow", "l7_pinned_address_match")] * 2
    assert [x.get("host") for x in l7] == [None, "example.test", "example.test"]


def test_raw_big_datagrams(user):
    sizes = [1, 1472, 1473, 9000, 65000]
    with Echo() as e:
        out = inside(user, TALK + "out['n'] = [[len(talk(h, %d, b'x%%d' %% n)) for n in %r] for h in ('127.0.0.1', '::1')]" % (e.port, sizes),
                     "--allow", "127.0.0.1:%d/udp" % e.port, "--allow", "[::1]:%d/udp" % e.port)
    assert out["n"] == [sizes, sizes]


def test_denied_datagrams_are_answered_and_counted(user):
    """Every one gets its error at once; the log has a few of them and the number of the rest."""
    with Echo() as e:
        out = inside(user, TALK + """
out["errors"] = [talk("203.0.113.9", %d) for _ in range(5)] + [talk("2001:db8::9", %d)]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.connect(("203.0.113.9", %d))
out["one"] = [attempt(lambda: (s.send(b"x"), s.recv(9))) for _ in range(50)]
""" % (e.port, e.port, e.port), "--allow", "example.test:%d" % e.port)
        assert e.got == []
    assert out["errors"] == ["<ECONNREFUSED>"] * 6 and out["one"] == ["ECONNREFUSED"] * 50
    events = user.events()
    denied = of_type(events, L7)
    assert {(x["action"], x["reasonCode"], x["protocol"]) for x in denied} == {("deny", "l7_unknown_protocol", "udp")}
    lost = sum(g["lost"] for g in of_type(events, "observability.v1.gap") if g["cause"] == "denial_rate")
    assert len(denied) + lost == 56 and lost > 0


def test_nobody_listens(user):
    port = free_port(socket.SOCK_DGRAM)
    out = inside(user, TALK + "out['r'] = [talk('127.0.0.1', %d), talk('::1', %d)]" % (port, port),
                 "--allow", "127.0.0.1:%d/udp" % port, "--allow", "[::1]:%d/udp" % port)
    assert out["r"] == ["<ECONNREFUSED>"] * 2
    assert [x["action"] for x in decisions(user)] == ["allow", "allow"]


def test_addresses_no_rule_can_open(user):
    out = inside(user, TALK + "out['r'] = [talk('169.254.169.254', 80), talk('10.1.2.3', 80)]", "--allow", "169.254.0.0/16:80/udp",
                 "--allow", "10.0.0.0/8:80/udp")
    assert out["r"] == ["<ECONNREFUSED>"] * 2
    assert [(x["action"], x["reasonCode"]) for x in decisions(user)] == [("deny", "l7_destination_denied")] * 2


def test_two_cells_do_not_share_flows(user):
    """The same client port and the same destination in two cells: two flows, each with its own answers."""
    with Echo() as e:
        text = TALK + """
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.bind(("", 40000)); s.connect(("127.0.0.1", %d))
s.send(%%r); out["r"] = s.recv(100).decode()
""" % e.port
        results = {}

        def one(word):
            results[word] = inside(user, text % word.encode(), "--allow", "127.0.0.1:%d/udp" % e.port)["r"]
        threads = [threading.Thread(target=one, args=(w,)) for w in ("first", "second")]
        [t.start() for t in threads]
        [t.join(PATIENCE) for t in threads]
    assert results == {"first": "first", "second": "second"}
