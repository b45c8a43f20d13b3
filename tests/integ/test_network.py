# SPDX-License-Identifier: MIT
"""What a cell may reach, and what it may not: with real curl, dig, nginx and dnsmasq."""
import pytest

from conftest import of_type, types


def curl(web, pki, *more, host="example.test", port=None, scheme="https"):
    return ["curl", "-sS", "--max-time", "10", "--cacert", str(pki.ca), *more, "%s://%s:%d/" % (scheme, host, port or web.tls)]


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_allowed_name_with_verified_certificate(user, allow, web, pki, family):
    r = user.ctl("run", *allow, "--", *curl(web, pki, family))
    assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr
    l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
    assert [(e["action"], e["reasonCode"], e["host"], e["port"]) for e in l7] == [
        ("allow", "l7_sni_allowlist_match", "example.test", web.tls)]
    assert l7[0]["dialedAddress"] == ("127.0.0.1:%d" if family == "-4" else "[::1]:%d") % web.tls or family == "-6"
    assert user.verify().returncode == 0


def test_unlisted_name_fails_at_dns_and_upstream_never_sees_it(user, allow, web, dns, pki):
    before = len(dns.asked("other.test"))
    r = user.ctl("run", *allow, "--", *curl(web, pki, host="other.test"))
    assert r.returncode == 6, r.stderr  # curl: could not resolve host
    assert len(dns.asked("other.test")) == before
    denied = [e for e in of_type(user.events(), "observability.v1.dns_query") if e["action"] == "deny"]
    assert denied and all(e["reasonCode"] == "dns_allowlist_miss" and e["queryName"] == "other.test" for e in denied)


def test_allowed_name_on_another_hosts_address_reaches_only_the_name(user, allow, web, pki):
    """The client insists on an address; the proxy dials the name it proves, never that address."""
    before = len(web.requests())
    r = user.ctl("run", *allow, "--", *curl(web, pki, "--resolve", "example.test:%d:203.0.113.7" % web.tls))
    assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr
    l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
    assert l7[0]["originalDestination"] == "203.0.113.7:%d" % web.tls
    assert "127.0.0.1" in l7[0]["dialedAddress"] or "::1" in l7[0]["dialedAddress"]
    assert len(web.requests()) == before + 1


def test_sni_of_another_name_is_denied_before_any_dial(user, allow, web, pki):
    before = len(web.requests())
    r = user.ctl("run", *allow, "--", *curl(web, pki, "--resolve", "other.test:%d:127.0.0.1" % web.tls, host="other.test"))
    assert r.returncode == 35, r.stderr  # curl: SSL connect error: the alert
    l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
    assert [(e["action"], e["reasonCode"], e["host"]) for e in l7] == [("deny", "l7_sni_allowlist_miss", "other.test")]
    assert "dialedAddress" not in l7[0]
    assert len(web.requests()) == before


@pytest.mark.parametrize("address", ["203.0.113.7", "[2001:db8::7]"])
def test_raw_ip_fails(user, allow, web, pki, address):
    r = user.ctl("run", *allow, "--", "curl", "-sSk", "--max-time", "10", "https://%s:%d/" % (address, web.tls))
    assert r.returncode == 35, r.stderr
    l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
    assert [(e["action"], e["reasonCode"]) for e in l7] == [("deny", "l7_sni_missing")]


def test_port_without_a_rule(user, allow, web, pki):
    r = user.ctl("run", *allow, "--", *curl(web, pki, "--resolve", "example.test:9:203.0.113.7", port=9))
    assert r.returncode != 0
    l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
    assert [(e["action"], e["reasonCode"]) for e in l7] == [("deny", "l7_port_denied")]


def test_http_host(user, web, dns, pki):
    flags = ["--allow", "example.test:%d/http" % web.http, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
             "example.test:127.0.0.1", "--allow-answer", "example.test:::1"]
    r = user.ctl("run", *flags, "--", "curl", "-sS", "http://example.test:%d/" % web.http)
    assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr
    r = user.ctl("run", *flags, "--", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: other.test",
                 "http://example.test:%d/" % web.http)
    assert r.stdout == "403"
    l7 = of_type(user.events(), "observability.v1.l7_egress_decision")
    assert [(e["action"], e["reasonCode"]) for e in l7] == [("deny", "l7_http_host_allowlist_miss")]


def test_http_rule_does_not_let_tls_through(user, web, dns, pki):
    flags = ["--allow", "example.test:%d/http" % web.tls, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
             "example.test:127.0.0.1", "--ro", pki.ca]
    assert user.ctl("run", *flags, "--", *curl(web, pki)).returncode == 35


def test_big_download_and_upload(user, allow, web, pki):
    r = user.ctl("run", *allow, "--", "sh", "-c",
                 "curl -sS --cacert %s https://example.test:%d/big | sha256sum" % (pki.ca, web.tls))
    import hashlib
    assert r.stdout.split()[0] == hashlib.sha256((web.dir / "html/big").read_bytes()).hexdigest(), r.stderr


def test_private_answer_is_refused_unless_listed(user, web, dns, pki):
    flags = ["--allow", "private.test:%d" % web.tls, "--dns", "127.0.0.1:%d" % dns.port]
    r = user.ctl("run", *flags, "--", *curl(web, pki, host="private.test"))
    assert r.returncode == 6, r.stderr
    answers = of_type(user.events(), "observability.v1.dns_answer")
    assert any(x["reasonCode"] == "dns_rebind_rejected" for a in answers for x in a.get("removed", [])), answers


def test_metadata_address_cannot_be_listed(user, web, dns, pki):
    flags = ["--allow", "metadata.test:80/http", "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
             "metadata.test:169.254.169.254"]
    r = user.ctl("run", *flags, "--", "curl", "-sS", "--max-time", "5", "http://metadata.test/")
    assert r.returncode in (3, 6), (r.returncode, r.stderr)


def test_dns_over_tcp_and_to_any_server(user, allow, dns):
    r = user.ctl("run", *allow, "--", "dig", "+tcp", "+short", "+time=3", "+tries=1", "@9.9.9.9", "example.test", "A")
    assert r.stdout == "127.0.0.1\n", r.stderr
    r = user.ctl("run", *allow, "--", "dig", "+short", "+time=3", "+tries=1", "@2620:fe::fe", "example.test", "AAAA")
    assert r.stdout == "::1\n", r.stderr


def test_dns_refused_type_and_name(user, allow, dns):
    before = len(dns.queries())
    r = user.ctl("run", *allow, "--", "dig", "+time=3", "+tries=1", "example.test", "TXT")
    assert "status: REFUSED" in r.stdout
    r = user.ctl("run", *allow, "--", "dig", "+time=3", "+tries=1", "nobody.test", "A")
    assert "status: REFUSED" in r.stdout
    assert len(dns.queries()) == before


def test_dns_upstream_away_is_servfail(user, web, pki):
    from conftest import free_port
    import socket
    flags = ["--allow", "example.test:%d" % web.tls, "--dns", "127.0.0.1:%d" % free_port(socket.SOCK_DGRAM)]
    r = user.ctl("run", *flags, "--", "dig", "+time=8", "+tries=1", "example.test", "A")
    assert "status: SERVFAIL" in r.stdout, r.stdout
    assert any(a["responseRcode"] == "SERVFAIL" for a in of_type(user.events(), "observability.v1.dns_answer"))


def test_own_server_on_loopback_is_untouched(user):
    r = user.ctl("run", "--", "python3", "-c", """
import socket
s = socket.create_server(("127.0.0.1", 8080)); c = socket.create_connection(("127.0.0.1", 8080), 3)
a, _ = s.accept(); c.sendall(b"mine"); print(a.recv(9))""")
    assert (r.returncode, r.stdout) == (0, "b'mine'\n"), r.stderr


def test_host_services_are_out_of_reach(user, web):
    """A server on the host's loopback is not the cell's loopback."""
    r = user.ctl("run", "--", "curl", "-sS", "--max-time", "5", "http://127.0.0.1:%d/" % web.http)
    assert r.returncode != 0
    assert "hello from nginx" not in r.stdout


def test_udp_and_ping_go_nowhere(user, allow):
    r = user.ctl("run", *allow, "--", "python3", "-c", """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("203.0.113.9", 443)); s.send(b"x")
try: print(s.recv(9))
except OSError as e: print(type(e).__name__)""")
    assert r.stdout in ("ConnectionRefusedError\n", "TimeoutError\n"), (r.stdout, r.stderr)
    r = user.ctl("run", *allow, "--", "python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")
    assert "PermissionError" in r.stderr or "Operation not permitted" in r.stderr


def test_counters_are_in_the_log_zero_rows_too(user, allow, web, pki):
    user.ctl("run", *allow, "--", *curl(web, pki))
    flows = of_type(user.events(), "observability.v1.network_flow_decision")
    assert any(f["packets"] > 0 for f in flows) and any(f["packets"] == 0 for f in flows)
    assert {"action", "reasonCode", "rule", "chain", "packets", "bytes"} <= set(flows[0])


def test_order_of_events(user, allow, web, pki):
    user.ctl("run", *allow, "--", *curl(web, pki, "-4"))
    events = user.events()
    order = types(events)
    assert order[0] == "observability.v1.network_scope"
    assert order.index("observability.v1.network_enforcement") < order.index("lifecycle.v1.started")
    assert order.index("lifecycle.v1.started") < order.index("observability.v1.dns_query")
    assert order.index("observability.v1.dns_query") < order.index("observability.v1.dns_answer")
    assert order.index("observability.v1.dns_answer") < order.index("observability.v1.l7_egress_decision")
    assert order.index("observability.v1.l7_egress_decision") < order.index("command.v1.completed")
    assert order[-1] == "lifecycle.v1.destroyed"
    assert [int(e["sequence"]) for e in events] == list(range(len(events)))
    assert [int(e["cellsequence"]) for e in events] == list(range(1, len(events) + 1))
    assert len({e["id"] for e in events}) == len(events)
