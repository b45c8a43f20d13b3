# SPDX-License-Identifier: MIT
"""A cell whose names are resolved over TLS and HTTPS and validated: with a real unbound before a real nsd, zones that
ldns signed, and a test CA laid over the host's bundle in a mount namespace of the run's own."""
import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, User, free_port, kept, listening, of_type, wait_for

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
HEAD = """$ORIGIN %s.
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 300
@ IN NS ns
ns IN A 127.0.0.1
www IN A 127.0.0.1
"""


class Secure:
    """nsd with signed.test, tampered.test (changed after it was signed) and plain.test; unbound hands it on by UDP,
    TCP, TLS and HTTPS and validates nothing itself."""

    ZONES = ("signed.test", "tampered.test", "plain.test")

    def __init__(self, world, pki):
        self.dir = Path(tempfile.mkdtemp(prefix="secure-", dir=world))
        self.nsd_port, self.port, self.dot, self.doh = (free_port() for _ in range(4))
        self.pki = pki
        self.dir.chmod(0o755)
        self.anchors = self.dir / "anchors"
        self.anchors.write_text("; the keys of our zones\n")
        self.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
                 "-out", "csr.pem", "-subj", "/CN=dns", "-addext", "subjectAltName=DNS:dns.test,IP:127.0.0.1")
        self.run("openssl", "x509", "-req", "-in", "csr.pem", "-CA", pki.ca, "-CAkey", pki.dir / "ca.key", "-CAcreateserial",
                 "-out", "cert.pem", "-days", "2", "-copy_extensions", "copy")
        for zone in self.ZONES:
            (self.dir / (zone + ".zone")).write_text(HEAD % zone)
        for zone in self.ZONES[:2]:
            key = self.run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone).strip()
            self.run("ldns-signzone", "-f", zone + ".zone", zone + ".zone", key)
            self.anchors.write_text(self.anchors.read_text() + self.run("ldns-key2ds", "-n", "-2", key + ".key"))
        bad = self.dir / "tampered.test.zone"
        bad.write_text(bad.read_text().replace("www.tampered.test.\t300\tIN\tA\t127.0.0.1", "www.tampered.test.\t300\tIN\tA\t127.0.0.66"))
        assert "127.0.0.66" in bad.read_text()
        self.anchors.chmod(0o644)
        self.processes = [self.nsd(), self.unbound()]

    def run(self, *args):
        return subprocess.run([str(a) for a in args], cwd=self.dir, check=True, capture_output=True, text=True).stdout

    def start(self, port, *args):
        p = subprocess.Popen(args, cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(port))
        return p

    def nsd(self):
        zones = "".join("zone:\n name: %s\n zonefile: %s.zone\n" % (z, z) for z in self.ZONES)
        (self.dir / "nsd.conf").write_text("""server:
 ip-address: 127.0.0.1
 port: %d
 server-count: 1
 username: ""
 chroot: ""
 database: ""
 pidfile: "%s/nsd.pid"
 zonelistfile: "%s/zone.list"
 xfrdfile: "%s/xfrd.state"
 xfrdir: "%s"
 zonesdir: "%s"
 rrl-ratelimit: 0
remote-control:
 control-enable: no
%s""" % (self.nsd_port, self.dir, self.dir, self.dir, self.dir, self.dir, zones))
        return self.start(self.nsd_port, "/usr/sbin/nsd", "-d", "-c", "nsd.conf")

    def unbound(self):
        stubs = "".join("stub-zone:\n name: %s\n stub-addr: 127.0.0.1@%d\n" % (z, self.nsd_port) for z in self.ZONES)
        (self.dir / "unbound.conf").write_text("""server:
 username: ""
 chroot: ""
 directory: "%s"
 pidfile: "%s/unbound.pid"
 use-syslog: no
 num-threads: 1
 do-ip6: no
 module-config: "iterator"
 do-not-query-localhost: no
 local-zone: "test." transparent
 local-data: "dns.test. 60 IN A 127.0.0.1"
 interface: 127.0.0.1@%d
 interface: 127.0.0.1@%d
 interface: 127.0.0.1@%d
 tls-port: %d
 https-port: %d
 tls-service-key: "key.pem"
 tls-service-pem: "cert.pem"
remote-control:
 control-enable: no
%s""" % (self.dir, self.dir, self.port, self.dot, self.doh, self.dot, self.doh, stubs))
        return self.start(self.dot, "/usr/sbin/unbound", "-d", "-c", "unbound.conf")

    def stop(self):
        for p in self.processes:
            p.terminate()
            p.wait(10)

    def resolver(self, protocol, dnssec=None, name=None, **more):
        r = {"resolverId": "up-" + protocol, "protocol": protocol}
        if protocol == "doh":
            r["endpoint"] = "https://127.0.0.1:%d/dns-query" % self.doh
        else:
            r["endpoint"] = "127.0.0.1:%d" % (self.dot if protocol == "dot" else self.port)
        if name:
            r["tlsServerName"] = name
        if dnssec is not None:
            r["dnssec"] = {"validate": True, "failClosed": dnssec, "trustAnchorsPath": str(self.anchors)}
        return {**r, **more}


@pytest.fixture(scope="module")
def secure(world, pki):
    s = Secure(world, pki)
    yield s
    s.stop()


class Trusting(User):
    """A user whose runs see the test CA as the host's bundle."""

    def command(self, *args):
        return ["unshare", "-m", "--propagation", "private", "sh", "-c",
                "mount --bind %s %s && exec \"$@\"" % (self.ca, BUNDLE), "sh", *super().command(*args)]


@pytest.fixture(params=["root", "ordinary"])
def trusting(request, world, pki):
    u = Trusting(request.param, 0 if request.param == "root" else ORDINARY_UID, world)
    u.ca = pki.ca
    yield from kept(u)


def spec(resolvers, *argv):
    return json.dumps({"apiVersion": "cellos.io/v1", "kind": "ExecutionCell", "spec": {
        "id": "transport", "lifetime": {"ttlSeconds": 60}, "run": {"argv": list(argv)},
        "authority": {"secretRefs": [], "dnsAuthority": {
            "resolvers": resolvers, "hostnameAllowlist": ["www." + z for z in Secure.ZONES],
            "rebindingPolicy": {"responseIpAllowlist": ["www.%s:127.0.0.1" % z for z in Secure.ZONES]}}}}})


def look(*names):
    """One line for each name: the code, and the address where there is one."""
    return ["sh", "-c", "for n in %s; do dig +tries=1 +time=6 A $n | awk -v n=$n '/status:/{s=$6} $4==\"A\"{a=$5} END{print n, s, a}'; done"
            % " ".join(names)]


@pytest.mark.parametrize("protocol", ["do53-udp", "do53-tcp", "dot", "doh"])
def test_every_transport_and_validation(trusting, secure, protocol):
    r = trusting.ctl("run", "-", input=spec([secure.resolver(protocol, dnssec=False)],
                                            *look("www.signed.test", "www.tampered.test", "www.plain.test")))
    assert r.returncode == 0, r.stderr
    assert r.stdout.split("\n")[:3] == ["www.signed.test NOERROR, 127.0.0.1", "www.tampered.test SERVFAIL, ",
                                        "www.plain.test NOERROR, 127.0.0.1"], r.stdout
    events = trusting.events()
    answers = {e["queryName"]: e for e in of_type(events, "observability.v1.dns_answer")}
    assert answers["www.signed.test"]["resolverId"] == "up-" + protocol
    assert answers["www.tampered.test"]["reasonCode"] == "dns_dnssec_failed"
    failed = of_type(events, "observability.v1.dns_authority_dnssec_failed")
    assert [(e["hostname"], e["dnssecStatus"]) for e in failed] == [("www.tampered.test", "bogus")]
    assert trusting.verify().returncode == 0


def test_unsigned_is_refused_under_fail_closed(trusting, secure):
    r = trusting.ctl("run", "-", input=spec([secure.resolver("dot", dnssec=True, name="dns.test")],
                                            *look("www.signed.test", "www.plain.test")))
    assert r.stdout.split("\n")[:2] == ["www.signed.test NOERROR, 127.0.0.1", "www.plain.test SERVFAIL, "], r.stderr
    failed = of_type(trusting.events(), "observability.v1.dns_authority_dnssec_failed")
    assert [(e["hostname"], e["dnssecStatus"]) for e in failed] == [("www.plain.test", "insecure")]


@pytest.mark.parametrize("protocol", ["dot", "doh"])
def test_a_certificate_for_another_name_is_not_believed(trusting, secure, protocol):
    wrong = secure.resolver(protocol, name="other.test")
    r = trusting.ctl("run", "-", input=spec([wrong], *look("www.plain.test")))
    assert r.stdout == "www.plain.test SERVFAIL, \n", r.stderr
    assert "hostname mismatch" in r.stderr
    # and the next resolver is asked instead
    r = trusting.ctl("run", "-", input=spec([wrong, secure.resolver("do53-udp")], *look("www.plain.test")))
    assert r.stdout == "www.plain.test NOERROR, 127.0.0.1\n", r.stderr
    answers = of_type(trusting.events(), "observability.v1.dns_answer")
    assert answers[0]["resolverId"] == "up-do53-udp"


def test_the_hosts_own_bundle_does_not_know_our_ca(user, secure):
    r = user.ctl("run", "-", input=spec([secure.resolver("dot")], *look("www.plain.test")))
    assert r.stdout == "www.plain.test SERVFAIL, \n", r.stderr
    assert "certificate" in r.stderr or "CA bundle" in r.stderr
