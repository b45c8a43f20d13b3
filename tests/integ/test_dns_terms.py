# SPDX-License-Identifier: MIT
"""What a spec's dnsAuthority says about answers, in a whole suite: drift and rebinding, synthetic addresses, HTTPS records."""
import json
import socket
import struct
import threading

import pytest

from conftest import of_type


def wire(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"


class Resolver(threading.Thread):
    """Says to each question what `says` has for it: a list of rdata lists, the next one each time, the last one for ever."""

    def __init__(self, says, ttl):
        super().__init__(daemon=True)
        self.says, self.ttl = says, ttl
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]

    def answer(self, q):
        end = q.index(b"\0", 12) + 1
        name, (qtype,) = q[12:end].lower(), struct.unpack(">H", q[end:end + 2])
        turns = self.says.get((name, qtype), [[]])
        rdatas = turns.pop(0) if len(turns) > 1 else turns[0]
        head = q[:2] + struct.pack(">HHHHH", 0x8180, 1, len(rdatas), 0, 0)
        return head + q[12:end + 4] + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", qtype, 1, self.ttl, len(r)) + r for r in rdatas)

    def run(self):
        while True:
            try:
                q, peer = self.sock.recvfrom(4096)
                self.sock.sendto(self.answer(q), peer)
            except OSError:
                return


@pytest.fixture
def resolver():
    started = []

    def start(says, ttl=60):
        started.append(Resolver({(wire(n), t): v for (n, t), v in says.items()}, ttl))
        started[-1].start()
        return started[-1]
    yield start
    for r in started:
        r.sock.close()


def run(user, port, argv, rules=(), read_only=(), **dns):
    spec = {"apiVersion": "cellos.io/v1", "kind": "ExecutionCell",
            "spec": {"id": "dns-terms", "lifetime": {"ttlSeconds": 120}, "run": {"argv": argv},
                     "authority": {"secretRefs": [], "egressRules": list(rules), "filesystem": {"readOnly": list(read_only)},
                                   "dnsAuthority": {"hostnameAllowlist": ["example.test"], **dns, "resolvers": [
                                       {"resolverId": "r", "protocol": "do53-udp", "endpoint": "127.0.0.1:%d" % port}]}}}}
    return user.ctl("run", "-", input=json.dumps(spec))


def events(user, suffix):
    return of_type(user.events(), "observability.v1." + suffix)


A = lambda *last: [bytes([93, 184, 216, n]) for n in last]


def test_new_addresses_are_told_and_rejected(ordinary, resolver):
    r = resolver({("example.test", 1): [A(1), A(1, 2), A(3)]}, ttl=1)
    script = "for i in 1 2 3; do dig +tries=1 +noall +comments +answer example.test A; sleep 1.2; done"
    done = run(ordinary, r.port, ["sh", "-c", script], rebindingPolicy={"maxNovelIpsPerHostname": 1, "rejectOnRebind": True})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("status: NOERROR") == 2 and done.stdout.count("status: SERVFAIL") == 1
    drift = events(ordinary, "dns_authority_drift")
    assert [d["addresses"] for d in drift[:1]] == [["93.184.216.1", "93.184.216.2"]]
    assert drift[0]["previousDigest"] != drift[0]["currentDigest"] == drift[1]["previousDigest"]
    threshold = events(ordinary, "dns_authority_rebind_threshold")
    assert [(t["hostname"], t["novelAddresses"], t["maxNovelIpsPerHostname"]) for t in threshold] == [("example.test", 2, 1)]
    rejected = events(ordinary, "dns_authority_rebind_rejected")
    assert [(t["addresses"], t["resolverId"]) for t in rejected] == [(["93.184.216.3"], "r")]
    last = events(ordinary, "dns_answer")[-1]
    assert last["reasonCode"] == "dns_rebind_rejected" and last["removed"][0]["data"] == "93.184.216.3"
    assert ordinary.verify().returncode == 0


def test_synthetic_addresses_lead_to_the_name(ordinary, resolver, web, pki):
    r = resolver({("example.test", 1): [[bytes([127, 0, 0, 1])]]})
    script = "getent ahostsv4 example.test | head -1; curl -sS --max-time 10 --cacert %s https://example.test:%d/" % (pki.ca, web.tls)
    done = run(ordinary, r.port, ["sh", "-c", script], answerMode="synthetic", read_only=[str(pki.ca)],
               rules=[{"host": "example.test", "port": web.tls, "protocol": "tls"}],
               rebindingPolicy={"responseIpAllowlist": ["example.test:127.0.0.1"]})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("198.18.0.1 ") and done.stdout.endswith("hello from nginx\n")
    answer = [e for e in events(ordinary, "dns_answer") if e["queryType"] == "A"][0]
    assert answer["synthetic"] is True and answer["answers"][0]["data"] == "127.0.0.1"
    l7 = events(ordinary, "l7_egress_decision")
    assert [(e["action"], e["originalDestination"], e["dialedAddress"]) for e in l7] == [
        ("allow", "198.18.0.1:%d" % web.tls, "127.0.0.1:%d" % web.tls)]


def test_https_records_lose_ech_and_foreign_hints(ordinary, resolver):
    param = lambda key, value: struct.pack(">HH", key, len(value)) + value
    record = (b"\0\1\0" + param(1, b"\2h2") + param(4, bytes([93, 184, 216, 34, 10, 0, 0, 1])) + param(5, b"\0\4keys"))
    r = resolver({("example.test", 65): [[record]]})
    done = run(ordinary, r.port, ["dig", "+short", "+unknownformat", "example.test", "TYPE65"])
    assert done.returncode == 0, done.stderr
    expected = b"\0\1\0" + param(1, b"\2h2") + param(4, bytes([93, 184, 216, 34]))
    assert done.stdout.replace(" ", "").strip() == "\\#%d%s" % (len(expected), expected.hex().upper())
    answer = events(ordinary, "dns_answer")[0]
    assert answer["echRemoved"] is True and answer["hintsRemoved"] is True
