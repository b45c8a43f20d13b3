# SPDX-License-Identifier: MIT
"""cellctl why: every denial with its reason, and the line that would allow it, which then does."""
import json
import shlex

import pytest

from conftest import types


def why(user, *args):
    r = user.ctl("why", *args, "--json")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def one(report, **want):
    """The one finding with these values."""
    found = [d for d in report["denials"] if all(d.get(k) == v for k, v in want.items())]
    assert len(found) == 1, (want, report["denials"])
    return found[0]


@pytest.fixture
def flags(allow, dns):
    return [*allow, "--allow-answer", "other.test:127.0.0.1", "--allow-answer", "other.test:::1"]


def curl(pki, port, name, scheme="https"):
    return "curl -sS -m 20 --cacert %s %s://%s:%d/" % (pki.ca, scheme, name, port)


def test_nothing_denied(user, allow, pki, web):
    assert user.ctl("run", *allow, "--", *shlex.split(curl(pki, web.tls, "example.test"))).returncode == 0
    r = user.ctl("why")
    assert r.returncode == 0 and r.stdout.rstrip().endswith("nothing was denied") and r.stderr == ""
    assert why(user)["denials"] == []


def test_the_line_it_prints_is_the_line_that_helps(user, flags, pki, web):
    """Denied; why; the same command with what it said; allowed."""
    command = shlex.split(curl(pki, web.tls, "other.test"))
    first = user.ctl("run", *flags, "--", *command)
    assert first.returncode != 0
    assert "cellctl why " in first.stderr
    d = one(why(user), kind="dns", reasonCode="dns_allowlist_miss")
    assert d["what"] == "DNS question other.test" and d["flag"] == "--allow other.test:443" and d["rule"]
    # The name first; then the port, which a DNS question does not tell.
    second = user.ctl("run", *flags, *d["flag"].split(), "--", *command)
    assert second.returncode != 0
    d = one(why(user), kind="l7")
    assert d["reasonCode"] in ("l7_sni_allowlist_miss", "l7_port_denied") and d["by"] == "proxyd"
    assert all("/curl (pid " in p for p in d["processes"])  # none where cell init could not say so in time
    assert d["spec"] == {"path": "spec.authority.egressRules", "entry": {"host": "other.test", "port": web.tls, "protocol": "tls"}}
    third = user.ctl("run", *flags, *d["flag"].split(), "--", *command)
    assert (third.returncode, third.stdout) == (0, "hello from nginx\n"), third.stderr


def test_the_entry_it_prints_is_the_entry_that_helps(user, flags, pki, web):
    command = shlex.split(curl(pki, web.http, "other.test", "http"))
    flags = [*flags, "--allow", "other.test:%d/tls" % web.http]
    assert user.ctl("run", *flags, "--", *command).stdout.startswith("l7_http_host_allowlist_miss")
    d = one(why(user), kind="l7", reasonCode="l7_http_host_allowlist_miss")
    spec = json.loads(user.ctl("run", *flags, "--print-spec", "--", *command).stdout)
    assert d["spec"]["path"] == "spec.authority.egressRules"
    spec["spec"]["authority"]["egressRules"].append(d["spec"]["entry"])
    r = user.ctl("run", user.file("spec.json", json.dumps(spec)))
    assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr


def test_private_answers(user, dns, pki, web):
    """The name is allowed, its address is not public: the flag lifts it, and only the operator a metadata address."""
    base = ["--dns", "127.0.0.1:%d" % dns.port, "--ro", pki.ca, "--allow", "example.test:%d" % web.tls,
            "--allow", "metadata.test", "--allow", "private.test"]
    user.ctl("run", *base, "--", "sh", "-c", "getent ahostsv4 metadata.test; getent ahostsv4 private.test; "
             "getent ahostsv4 example.test; true")
    report = why(user)
    d = one(report, what="DNS answer 10.1.2.3 for private.test")
    assert d["flag"] == "--allow-answer private.test:10.1.2.3" and d["reasonCode"] == "dns_rebind_rejected"
    assert d["spec"] == {"path": "spec.authority.dnsAuthority.rebindingPolicy.responseIpAllowlist",
                         "entry": "private.test:10.1.2.3"}
    d = one(report, what="DNS answer 169.254.169.254 for metadata.test")
    assert "flag" not in d and "spec" not in d and "only the operator's configuration" in d["never"]
    flag = one(report, what="DNS answer 127.0.0.1 for example.test")["flag"].split()
    r = user.ctl("run", *base, *flag, "--", *shlex.split(curl(pki, web.tls, "example.test")))
    assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr


def test_addresses_get_the_name_they_were_answered_for(user, flags, web):
    """A connection that proves no name: the rule is for the name that the cell had resolved."""
    code = ("import socket\n"
            "a=socket.getaddrinfo('example.test', %d, socket.AF_INET, socket.SOCK_STREAM)[0][4]\n"
            "s=socket.create_connection(a); s.settimeout(20); s.sendall(b'\\x00\\x01\\x02 no protocol at all\\r\\n')\n"
            "try: s.recv(1)\nexcept OSError: pass\n" % web.tls)
    user.ctl("run", *flags, "--", "/usr/bin/python3", "-c", code)
    d = one(why(user), reasonCode="l7_unknown_protocol")
    assert d["flag"] == "--allow example.test:%d/tcp" % web.tls
    assert d["what"].endswith("(an address of example.test)")


def test_what_no_rule_can_allow(user, flags):
    code = ("import socket\n"
            "for f in (socket.AF_VSOCK, socket.AF_PACKET):\n"
            "    try: socket.socket(f, socket.SOCK_STREAM)\n"
            "    except OSError: pass\n"
            "s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for i in range(3):\n"
            "    try: s.sendto(b'x', ('224.0.0.251', 5353))\n"
            "    except OSError: pass\n")
    user.ctl("run", *flags, "--", "/usr/bin/python3", "-c", code)
    report = why(user)
    for family in ("AF_VSOCK", "AF_PACKET"):
        d = one(report, kind="syscall", what="system call socket %s" % family)
        assert d["never"] and "flag" not in d
    flows = [d for d in report["denials"] if d["kind"] == "flow"]
    assert sum(d["count"] for d in flows) == 3
    assert all("several hosts" in d["never"] and "spec" not in d for d in flows), flows


def test_groups_and_counts(user, flags):
    code = "for i in 1 2 3 4 5; do getent hosts nope.test; done; getent hosts nope2.test; true"
    user.ctl("run", *flags, "--name", "counted", "--", "sh", "-c", code)
    report = why(user, "counted")
    assert report["cellId"] == "counted" and report["ended"]
    d = one(report, what="DNS question nope.test")
    assert d["count"] >= 5 and d["first"].endswith("Z")
    text = user.ctl("why", "counted").stdout
    assert "%d times, first %s" % (d["count"], d["first"]) in text
    assert "add        --allow nope.test:443" in text
    assert 'in a spec  spec.authority.egressRules: {"host": "nope.test", "port": 443}' in text


def test_a_refused_spec(user):
    r = user.ctl("run", "--allow", "*.co.uk", "--", "true")
    assert r.returncode == 3
    report = why(user)
    d = one(report, kind="spec")
    assert d["what"] == "spec.authority.egressRules[0].host" and "public suffix" in d["reason"]


def test_names_of_runs(user):
    r = user.ctl("run", "--", "true")
    assert r.returncode == 0
    log = user.last_log()
    for word in (log.name, log.name[-6:], "run-" + log.name[-12:], log):
        assert why(user, word)["runId"] == log.name
    for args, status in ((["nosuch"], 2), (["--frob"], 1), (["a", "b"], 1), (["/nonexistent/x"], 2)):
        r = user.ctl("why", *args)
        assert r.returncode == status and r.stderr and not r.stdout
    assert "lifecycle.v1.destroyed" in types(user.events())


def test_foreign_text_is_escaped(user, flags):
    """A name that a workload chose cannot reach the operator's terminal as it is."""
    code = ("import socket,struct\n"
            "q=struct.pack('>6H',1,256,1,0,0,0)+b'\\x07\\x1b[31mab'+b'\\x04test\\x00'+struct.pack('>2H',1,1)\n"
            "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5); s.sendto(q,('127.0.0.1',53))\n"
            "try: s.recv(512)\nexcept OSError: pass\n")
    user.ctl("run", *flags, "--", "/usr/bin/python3", "-c", code)
    r = user.ctl("why", text=False)
    assert r.returncode == 0 and b"\x1b" not in r.stdout
    assert "ab.test" in r.stdout.decode()
