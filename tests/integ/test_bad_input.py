# SPDX-License-Identifier: MIT
"""Broken, huge, deep and hostile input, and hosts that lack something: one clear sentence, the right exit status, nothing
started, nothing lost."""
import copy
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PATIENCE, User, kept, of_type, types

GOOD = {
    "apiVersion": "cellos.io/v1", "kind": "ExecutionCell",
    "spec": {
        "id": "good-1",
        "authority": {
            "secretRefs": [],
            "egressRules": [{"host": "example.test", "port": 8443, "protocol": "tls"}],
            "egressQuota": {"maxConnections": 10, "maxBytes": 1000000, "maxBytesPerSecond": 100000},
            "cdnAuthority": {"providers": [{"providerId": "p", "hostnamePatterns": ["*.edge.test"]}]},
            "dnsAuthority": {
                "resolvers": [{"resolverId": "r1", "protocol": "do53-udp", "endpoint": "127.0.0.1:5353"},
                              {"resolverId": "r2", "protocol": "dot", "endpoint": "127.0.0.1:853", "tlsServerName": "dns.test"}],
                "hostnameAllowlist": ["example.test"], "allowedQueryTypes": ["A"], "answerMode": "real",
                "refreshPolicy": {"minTtlSeconds": 1, "maxStaleSeconds": 60, "strategy": "manual"},
                "rebindingPolicy": {"responseIpAllowlist": ["example.test:127.0.0.1"], "maxNovelIpsPerHostname": 9,
                                    "rejectOnRebind": True}},
            "filesystem": {"root": "host", "readOnly": ["/usr/share"], "readWrite": []}},
        "lifetime": {"ttlSeconds": 60},
        "run": {"argv": ["true"], "workingDirectory": "/tmp", "timeoutMs": 5000, "limits": {"gracefulShutdownSeconds": 1}},
        "correlation": {"tenantId": "t1", "labels": {"a": "b"}},
    },
}


def good(**changes):
    doc = copy.deepcopy(GOOD)
    for path, value in changes.items():
        at = doc
        *parents, last = path.split("__")
        for p in parents:
            at = at[p]
        at[last] = value
    return doc


def as_bytes(doc):
    return doc if isinstance(doc, bytes) else json.dumps(doc).encode()


def printed(stderr):
    """The violations cellctl printed: path and message."""
    return [tuple(l.split(": ", 1)) for l in stderr.splitlines() if not l.startswith("cellctl")]


def refused(user, doc):
    """Exit 3; one rejection, which is all there is in a log that verifies. Its violations."""
    doc = as_bytes(doc)
    r = user.ctl("run", "-", input=doc, text=False)
    err = r.stderr.decode()
    assert r.returncode == 3, (r.returncode, err)
    assert not re.search(r"[^\x20-\x7e\n]", err), "what the document says must be escaped: %r" % err
    assert types(user.events()) == ["lifecycle.v1.rejected"]
    data = of_type(user.events(), "lifecycle.v1.rejected")[0]
    violations = data["violations"]
    assert violations and all(v["path"] and v["rule"] and v["message"] for v in violations)
    assert [v["path"] for v in violations] == [p for p, _ in printed(err)][:len(violations)]
    assert user.verify().returncode == 0
    v = user.ctl("validate", "-", input=doc, text=False)
    assert v.returncode == 3, (v.returncode, v.stderr)
    return violations


def test_the_good_one_is_good(user):
    r = user.ctl("run", "-", input=json.dumps(GOOD))
    assert r.returncode == 0, r.stderr


DEEP = 100_000
BROKEN = {
    "empty": (b"", "not-empty"),
    "blank": (b"  \n\t ", "syntax"),
    "text": (b"hello", "syntax"),
    "half": (json.dumps(GOOD).encode()[:-7], "syntax"),
    "trailing text": (json.dumps(GOOD).encode() + b"{}", "syntax"),
    "trailing nul": (json.dumps(GOOD).encode() + b"\0", "nul"),
    "duplicate key": (b'{"apiVersion":"cellos.io/v1","apiVersion":"cellos.io/v1","kind":"ExecutionCell","spec":{}}', "syntax"),
    "nul in a string": (json.dumps(good(spec__id="a\0b")).encode(), "syntax"),
    "not utf-8": (json.dumps(GOOD).encode().replace(b"good-1", b"go\xff\xfe-1"), "utf-8"),
    "surrogate": (json.dumps(GOOD).encode().replace(b"good-1", b"go\\ud800-1"), "syntax"),
    "byte order mark": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "syntax"),
    "comment": (b"// hello\n" + json.dumps(GOOD).encode(), "syntax"),
    "single quotes": (str(GOOD).encode(), "syntax"),
    "deep arrays": (b"[" * DEEP, "depth"),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "depth"),
    "deep inside": (json.dumps(GOOD).encode().replace(b'"good-1"', b"[" * DEEP + b"]" * DEEP), "depth"),
    "one byte too long": (json.dumps(GOOD).encode().ljust((1 << 20) + 1), "size"),
    "a long string": (b'"' + b"a" * (3 << 20) + b'"', "size"),
    "huge number": (json.dumps(GOOD).encode().replace(b"8443", b"9" * 400), "syntax"),
    "million quotes": (b'"' * 999_999, "syntax"),
    "backslashes": (b'"' + b"\\" * 999_999, "syntax"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_documents_that_are_no_documents(user, name):
    doc, rule = BROKEN[name]
    t = time.monotonic()
    violations = refused(user, doc)
    assert [(v["path"], v["rule"]) for v in violations] == [("document", rule)]
    if rule in ("syntax", "depth", "nul"):
        assert re.search(r"line \d+, column \d+", violations[0]["message"])
    assert time.monotonic() - t < 20


def test_exactly_one_mebibyte_is_accepted(user):
    assert user.ctl("validate", "-", input=json.dumps(GOOD).encode().ljust(1 << 20), text=False).returncode == 0


def test_wrong_shape_at_the_top(user):
    for doc in (b"null", b"1", b"[]", b'"x"', b"true", b"{}", b'{"spec":null}', b'{"spec":[]}'):
        assert refused(user, doc)


WRONG = {
    "spec.surprise": ({"spec__surprise": 1}, "spec.surprise"),
    "id with a slash": ({"spec__id": "../../x"}, "spec.id"),
    "id too long": ({"spec__id": "a" * 129}, "spec.id"),
    "id empty": ({"spec__id": ""}, "spec.id"),
    "id with dots": ({"spec__id": "a..b"}, "spec.id"),
    "ttl zero": ({"spec__lifetime__ttlSeconds": 0}, "spec.lifetime.ttlSeconds"),
    "ttl negative": ({"spec__lifetime__ttlSeconds": -1}, "spec.lifetime.ttlSeconds"),
    "ttl a float": ({"spec__lifetime__ttlSeconds": 1.5}, "spec.lifetime.ttlSeconds"),
    "ttl a string": ({"spec__lifetime__ttlSeconds": "60"}, "spec.lifetime.ttlSeconds"),
    "ttl too long": ({"spec__lifetime__ttlSeconds": 31_536_001}, "spec.lifetime.ttlSeconds"),
    "argv empty": ({"spec__run__argv": []}, "spec.run.argv"),
    "argv[0] empty": ({"spec__run__argv": [""]}, "spec.run.argv[0]"),
    "argv a string": ({"spec__run__argv": "true"}, "spec.run.argv"),
    "argv of numbers": ({"spec__run__argv": ["echo", 1]}, "spec.run.argv[1]"),
    "argv too many": ({"spec__run__argv": ["a"] * 4097}, "spec.run.argv"),
    "wildcard in the middle": ({"spec__authority__egressRules": [{"host": "a.*.test", "port": 1}]}, "spec.authority.egressRules[0].host"),
    "wildcard of a suffix": ({"spec__authority__egressRules": [{"host": "*.com", "port": 1}]}, "spec.authority.egressRules[0].host"),
    "only a star": ({"spec__authority__egressRules": [{"host": "*", "port": 1}]}, "spec.authority.egressRules[0].host"),
    "non-ascii host": ({"spec__authority__egressRules": [{"host": "b\u00fccher.test", "port": 1}]}, "spec.authority.egressRules[0].host"),
    "metadata address": ({"spec__authority__egressRules": [{"host": "169.254.169.254", "port": 80}]}, "spec.authority.egressRules[0].host"),
    "mapped metadata": ({"spec__authority__egressRules": [{"host": "::ffff:169.254.169.254", "port": 80}]}, "spec.authority.egressRules[0].host"),
    "port zero": ({"spec__authority__egressRules": [{"host": "a.test", "port": 0}]}, "spec.authority.egressRules[0].port"),
    "port too high": ({"spec__authority__egressRules": [{"host": "a.test", "port": 65536}]}, "spec.authority.egressRules[0].port"),
    "port range backwards": ({"spec__authority__egressRules": [{"host": "a.test", "port": "9-8"}]}, "spec.authority.egressRules[0].port"),
    "unknown protocol": ({"spec__authority__egressRules": [{"host": "a.test", "port": 1, "protocol": "ftp"}]}, "spec.authority.egressRules[0].protocol"),
    "metadata answer": ({"spec__authority__dnsAuthority__rebindingPolicy__responseIpAllowlist": ["a.test:169.254.169.254"]},
                        "spec.authority.dnsAuthority.rebindingPolicy.responseIpAllowlist[0]"),
    "resolver without a port": ({"spec__authority__dnsAuthority__resolvers": [{"resolverId": "a", "protocol": "do53-udp", "endpoint": "127.0.0.1"}]},
                                "spec.authority.dnsAuthority.resolvers[0].endpoint"),
    "doq": ({"spec__authority__dnsAuthority__resolvers": [{"resolverId": "a", "protocol": "doq", "endpoint": "127.0.0.1:853"}]},
            "spec.authority.dnsAuthority.resolvers[0].protocol"),
    "doh by http": ({"spec__authority__dnsAuthority__resolvers": [{"resolverId": "a", "protocol": "doh", "endpoint": "http://1.1.1.1/q"}]},
                    "spec.authority.dnsAuthority.resolvers[0].endpoint"),
    "failClosed of nothing": ({"spec__authority__dnsAuthority__resolvers": [
        {"resolverId": "a", "protocol": "do53-udp", "endpoint": "127.0.0.1:53", "dnssec": {"validate": False, "failClosed": True}}]},
        "spec.authority.dnsAuthority.resolvers[0].dnssec.failClosed"),
    "anchors that are not there": ({"spec__authority__dnsAuthority__resolvers": [
        {"resolverId": "a", "protocol": "do53-udp", "endpoint": "127.0.0.1:53",
         "dnssec": {"validate": True, "failClosed": True, "trustAnchorsPath": "/nonexistent/anchors"}}]},
        "spec.authority.dnsAuthority.resolvers[0].dnssec.trustAnchorsPath"),
    "anchors that are a device": ({"spec__authority__dnsAuthority__resolvers": [
        {"resolverId": "a", "protocol": "do53-udp", "endpoint": "127.0.0.1:53",
         "dnssec": {"validate": True, "failClosed": True, "trustAnchorsPath": "/dev/zero"}}]},
        "spec.authority.dnsAuthority.resolvers[0].dnssec.trustAnchorsPath"),
    "anchors that are none": ({"spec__authority__dnsAuthority__resolvers": [
        {"resolverId": "a", "protocol": "do53-udp", "endpoint": "127.0.0.1:53",
         "dnssec": {"validate": True, "failClosed": True, "trustAnchorsPath": "/etc/hostname"}}]},
        "spec.authority.dnsAuthority.resolvers[0].dnssec.trustAnchorsPath"),
    "quota of nothing": ({"spec__authority__egressQuota": {"maxBytes": 0}}, "spec.authority.egressQuota.maxBytes"),
    "cdn of everybody": ({"spec__authority__cdnAuthority__providers": [{"providerId": "p", "hostnamePatterns": ["*.com"]}]},
                         "spec.authority.cdnAuthority.providers[0].hostnamePatterns[0]"),
    "the whole file system": ({"spec__authority__filesystem__readWrite": ["/"]}, "spec.authority.filesystem.readWrite[0]"),
    "not built yet": ({"spec__run__backend": "gvisor"}, "spec.run.backend"),
    "tenant with a blank": ({"spec__correlation__tenantId": "a b"}, "spec.correlation.tenantId"),
    "secret twice": ({"spec__authority__secretRefs": ["a", "a"]}, "spec.authority.secretRefs[1]"),
    "terminal codes in a key": ({"spec__\x1b]0;owned\x07": 1}, 'spec["'),
    "line feeds in a value": ({"spec__id": "x\n\ncellctl: all is well"}, "spec.id"),
    "a key of one mebibyte": ({"spec__" + "k" * 900_000: 1}, "spec."),
    "right to left": ({"spec__\u202eevil": 1}, 'spec["'),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named_by_path(user, name):
    changes, path = WRONG[name]
    violations = refused(user, good(**changes))
    assert any(v["path"].startswith(path) for v in violations), violations


def test_foreign_bytes_are_escaped_once(user):
    """In what is printed as in what is logged: one backslash, not the escape of one."""
    doc = good(**{"spec__a\x07b": 1})
    r = user.ctl("run", "-", input=json.dumps(doc))
    assert r.returncode == 3 and 'spec["a\\x07b"]: unknown key' in r.stderr, r.stderr


OPERATOR = {"apiVersion": "cellos.io/v1", "kind": "OperatorConfig", "spec": {}}
OPERATOR_WRONG = {
    "no document": (b"", "document: line 1, column 1: unexpected token near end of file"),
    "half": (b'{"apiVersion":', "document: line 1"),
    "another kind": ({"kind": "ExecutionCell"}, 'kind: must be "OperatorConfig"'),
    "unknown key": ({"spec": {"netwrok": {}}}, 'spec.netwrok: unknown key, did you mean "network"?'),
    "unknown mode": ({"spec": {"network": {"mode": "bridge"}}}, "spec.network.mode: must be one of intercept, none, routed"),
    "routed without a pool": ({"spec": {"network": {"mode": "routed"}}}, "spec.network.routedPool: is required"),
    "a proxy's name": ({"spec": {"network": {"upstreamProxy": {"kind": "socks5", "endpoint": "proxy:1080"}}}},
                       "spec.network.upstreamProxy.endpoint: must be IP:PORT"),
    "any address": ({"spec": {"network": {"metadataAddresses": ["10.0.0.1"]}}}, "spec.network.metadataAddresses[0]: must be 169.254.169.254"),
    "a quota of 0": ({"spec": {"network": {"quota": {"maxConnections": 0}}}}, "spec.network.quota.maxConnections: must be between 1 and 1024"),
    "a relative file": ({"spec": {"network": {"caFile": "ca.pem"}}}, "spec.network.caFile: must be an absolute path"),
    "evidence": ({"spec": {"evidence": 1}}, "spec.evidence: must be a string, not an integer"),
}


@pytest.mark.parametrize("name", OPERATOR_WRONG)
def test_a_wrong_operator_configuration_starts_nothing(user, name):
    doc, text = OPERATOR_WRONG[name]
    path = user.file("operator.json", doc.decode() if isinstance(doc, bytes) else json.dumps({**OPERATOR, **doc}))
    r = user.ctl("run", "--config", path, "--", "true")
    assert r.returncode == 125 and text in r.stderr, r.stderr
    assert not user.state.exists() or not user.logs()


def test_an_operator_configuration_that_is_not_there(user):
    r = user.ctl("run", "--config", "/nonexistent/cellos.json", "--", "true")
    assert r.returncode == 125 and "cannot read the operator's configuration /nonexistent/cellos.json" in r.stderr


def test_all_violations_are_told(user):
    doc = good(spec__id="!", spec__lifetime__ttlSeconds=0, spec__run__argv=[], spec__run__backend="x", spec__more=1)
    paths = {v["path"] for v in refused(user, doc)}
    assert {"spec.id", "spec.lifetime.ttlSeconds", "spec.run.argv", "spec.run.backend", "spec.more"} <= paths


def test_thousands_of_violations(user):
    """A hundred are listed; that there were more is said."""
    doc = good(spec__authority__egressRules=[{"host": "*", "port": 0, "wrong": "x" * 90} for _ in range(1000)])
    violations = refused(user, doc)
    assert 20 <= len(violations) <= 100
    data = of_type(user.events(), "lifecycle.v1.rejected")[0]
    if len(violations) < 100:
        assert data["violationsTruncated"] and data["violationsCount"] >= 100 and data["violationsDigest"].startswith("sha256:")


def nodes(value, path=()):
    yield path
    if isinstance(value, dict):
        for k in value:
            yield from nodes(value[k], path + (k,))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from nodes(v, path + (i,))


def test_every_place_with_every_wrong_kind(ordinary):
    """Systematically: each value of a full document replaced by each other kind of value; the answer is always 0 or 3."""
    wrong = [None, True, -1, 2**63 - 1, -2**63, 1.5, "", "x" * 70000, "\u0000", "\ud83d\ude00", [], {}, [[]], [{}], {"": {}}]
    for path in nodes(GOOD):
        if not path:
            continue
        for w in wrong:
            doc = copy.deepcopy(GOOD)
            at = doc
            for p in path[:-1]:
                at = at[p]
            at[path[-1]] = w
            r = ordinary.ctl("validate", "-", input=json.dumps(doc))
            assert r.returncode in (0, 3), (path, w, r.returncode, r.stderr)
            if r.returncode == 3:
                first = next((p for p in path if not isinstance(p, int)), "")
                assert any(p.startswith(first) or p == "document" for p, _ in printed(r.stdout)), (path, w, r.stdout)


def test_values_of_the_vocabulary_that_must_be_there(ordinary):
    for path in ("apiVersion", "kind", "spec", "spec.id", "spec.authority", "spec.authority.secretRefs", "spec.lifetime.ttlSeconds",
                 "spec.run.argv"):
        doc = copy.deepcopy(GOOD)
        at = doc
        *parents, last = path.split(".")
        for p in parents:
            at = at[p]
        del at[last]
        r = ordinary.ctl("validate", "-", input=json.dumps(doc))
        assert r.returncode == 3 and path in [p for p, _ in printed(r.stdout)], (path, r.stdout)


# ---- the command line ----

@pytest.mark.parametrize("flags", [
    ["--allow", ""], ["--allow", "http://example.test/"], ["--allow", "exa mple.test"], ["--allow", "::1:443"], ["--allow", "a.test:0"],
    ["--allow", "a.test:99999"], ["--allow", "a.test:1-0"], ["--allow", "a.test/none"], ["--dns", "not-an-address"], ["--dns", "1.2.3.4:x"],
    ["--ttl", "0"], ["--ttl", "-1"], ["--ttl", "1s"], ["--ttl", "99999999999999999999"], ["--name", "../x"], ["--name", ""],
    ["--evidence", "none"], ["--allow-answer", "a.test"], ["--allow-answer", "a.test:169.254.169.254.1"], ["--unknown"], ["--ro"],
    ["--ro", "/no/such/path"], ["--rw", "/no/such/path"], ["--secret", "not a name"]], ids=" ".join)
def test_wrong_flags(user, flags):
    r = user.ctl("run", *flags, "--", "true")
    assert r.returncode in (3, 125), (r.returncode, r.stderr)
    assert len(r.stderr.splitlines()) <= 3 and r.stderr.startswith("cellctl") or r.returncode == 3, r.stderr
    if r.returncode == 125:
        assert not (user.state / "log").exists() or not user.logs(), "nothing was started"


def test_missing_document(user):
    for path in ("/no/such/spec.json", "/", str(user.home)):
        r = user.ctl("run", path)
        assert r.returncode == 125 and path in r.stderr, (path, r.stderr)


def test_a_document_that_never_ends(user):
    r = user.ctl("run", "/dev/zero")
    assert r.returncode == 3 and "document" in r.stderr, r.stderr
    p = user.popen("run", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(64):
            p.stdin.write(b" " * (1 << 16))
    except BrokenPipeError:
        pass
    p.stdin.close()
    p.stdin = None
    assert p.communicate(timeout=PATIENCE)[1] and p.returncode == 3


def test_events_to_where_nobody_may_write(user):
    for path in ("/no/such/dir/events", str(user.home), "/proc/self/events"):
        r = user.ctl("run", "--events", path, "--", "true")
        assert r.returncode == 125 and path in r.stderr, (path, r.returncode, r.stderr)
        assert not (user.state / "log").exists() or not user.logs(), "opened before the start"


def test_events_to_a_full_disk(user):
    """The workload's outcome stands; that the copy is not whole is said, and where the events are."""
    r = user.ctl("run", "--events", "/dev/full", "--", "sh", "-c", "exit 6")
    assert r.returncode in (6, 125) and "--events" in r.stderr and str(user.last_log()) in r.stderr, (r.returncode, r.stderr)
    assert user.verify().returncode == 0


def test_events_to_a_reader_that_goes_away(user):
    """The workload's outcome does not hang on who reads the events; what was lost is said."""
    p = user.popen("run", "--events", "-", "--", "sh", "-c", "sleep 0.3; exit 5", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE)
    p.stdout.close()
    p.stdout = None
    _, err = p.communicate(timeout=PATIENCE)
    assert p.returncode in (5, 125), (p.returncode, err)
    assert user.verify().returncode == 0 and types(user.events())[-1] == "lifecycle.v1.destroyed"


def test_unreadable_path(ordinary):
    """Only the ordinary user can be denied a path."""
    for flag in ("--ro", "--rw"):
        r = ordinary.ctl("run", flag, "/root", "--", "ls", "/root")
        assert r.returncode in (3, 125) and "/root" in r.stderr and r.stdout == "", (r.returncode, r.stderr)


def test_closed_standard_fds(user):
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        args = " ".join(map(str, user.command("run", "--", "sh", "-c", "'ls /proc/self/fd >/tmp/x; exit 4'")))
        r = subprocess.run(["sh", "-c", "exec %s %s" % (args, closed)], env=user.env, cwd="/", capture_output=True, timeout=PATIENCE)
        assert r.returncode == 4, (closed, r)


# ---- hosts that lack something ----

NO_NAMESPACES = "mount -t tmpfs tmpfs /run 2>/dev/null; echo 0 >/proc/sys/user/max_user_namespaces || exit 99; exec setpriv --ambient-caps -all --inh-caps -all \"$@\""


@pytest.mark.parametrize("mapped", ["as-root", "as-itself"])
def test_no_user_namespaces(ordinary, mapped):
    """A host (here: an outer user namespace) that allows none: 125, and what to do about it."""
    wrap = ["unshare", "--user", "--mount", "--map-root-user"] if mapped == "as-root" else \
        ["unshare", "--user", "--map-user=61000", "--map-group=61000", "--keep-caps"]
    cmd = ordinary.command("run", "--", "true")
    at = cmd.index(ordinary.cellctl)
    r = subprocess.run([*cmd[:at], *wrap, "sh", "-c", NO_NAMESPACES, "sh", *cmd[at:]], env=ordinary.env, cwd="/",
                       capture_output=True, text=True, timeout=PATIENCE)
    assert r.returncode == 125, (r.returncode, r.stderr)
    assert "namespace" in r.stderr and re.search(r"max_user_namespaces|cellctl doctor|userns", r.stderr), r.stderr
    r = subprocess.run([*cmd[:at], *wrap, "sh", "-c", NO_NAMESPACES, "sh", ordinary.cellctl, "doctor"], env=ordinary.env, cwd="/",
                       capture_output=True, text=True, timeout=PATIENCE)
    assert r.returncode != 0 and "namespace" in r.stdout + r.stderr, (r.returncode, r.stdout, r.stderr)


def test_state_directory_cannot_be_written(user):
    blocked = user.home / "blocked"
    if user.uid:
        blocked.mkdir()
        os.chown(blocked, 0, 0)
        blocked.chmod(0o555)
    else:
        blocked.write_text("a file")
    r = user.ctl("run", "--", "true", env={"XDG_STATE_HOME": str(blocked)})
    assert r.returncode == 125 and str(blocked) in r.stderr, (r.returncode, r.stderr)


def test_state_directory_made_of_links(user):
    """A link where a state directory belongs is not followed to somebody else's files."""
    elsewhere = user.home / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, user.uid, user.uid)
    state = user.home / "s/cellos"
    state.mkdir(parents=True)
    (state / "keys").symlink_to(elsewhere)
    for p in (user.home / "s", state):
        os.chown(p, user.uid, user.uid)
    r = user.ctl("run", "--", "true", env={"XDG_STATE_HOME": str(user.home / "s")})
    assert r.returncode == 125 and "keys" in r.stderr, (r.returncode, r.stderr)
    assert list(elsewhere.iterdir()) == []


def test_no_home(ordinary):
    """uid 61000 has no row in passwd either."""
    env = {k: v for k, v in ordinary.env.items() if k != "HOME"}
    r = subprocess.run(ordinary.command("run", "--", "true"), env=env, cwd="/", capture_output=True, text=True, timeout=PATIENCE)
    assert r.returncode == 125 and "HOME" in r.stderr and "XDG_STATE_HOME" in r.stderr, r.stderr
    r = ordinary.ctl("run", "--", "true", env={"HOME": "relative/home"})
    assert r.returncode == 125 and "HOME" in r.stderr, (r.returncode, r.stderr)


@pytest.mark.parametrize("damage", ["garbage", "empty", "short", "readable by others", "a directory", "a link"])
def test_damaged_key(user, damage):
    """signerd refuses a key it cannot trust; nothing is started, nothing is overwritten."""
    assert user.ctl("run", "--", "true").returncode == 0
    key = user.state / "keys/signing.key"
    before = key.read_bytes()
    if damage == "readable by others":
        key.chmod(0o644)
    elif damage in ("a directory", "a link"):
        key.rename(key.with_name("kept"))
        key.mkdir() if damage == "a directory" else key.symlink_to("kept")
    else:
        key.write_bytes({"garbage": b"!" * len(before), "empty": b"", "short": before[:20]}[damage])
        os.chown(key, user.uid, user.uid)
    kept_bytes = None if key.is_dir() else key.read_bytes()
    r = user.ctl("run", "--", "sh", "-c", "echo ran")
    assert r.returncode == 125 and r.stdout == "", (r.returncode, r.stdout, r.stderr)
    assert "key" in r.stderr, r.stderr
    assert key.is_dir() or key.read_bytes() == kept_bytes


class Elsewhere(User):
    """cellctl copied to another place, with the daemons one wants."""

    def __init__(self, user, programs):
        super().__init__("elsewhere", user.uid, user.world)
        self.bin = self.home / "bin"
        self.bin.mkdir()
        for p in programs:
            shutil.copy2(user.world / "bin" / p, self.bin / p)
        self.cellctl = str(self.bin / "cellctl")


ALL = ["cellctl", "cellos-supervisor", "cellos-netd", "cellos-proxyd", "cellos-signerd"]


def test_daemons_are_missing(user):
    for u in kept(Elsewhere(user, ["cellctl"])):
        r = u.ctl("run", "--", "true")
        assert r.returncode == 125 and "cellos-supervisor" in r.stderr, (r.returncode, r.stderr)


@pytest.mark.parametrize("missing", ALL[1:])
@pytest.mark.parametrize("how", ["absent", "not executable", "fails"])
def test_one_daemon_is_missing(user, missing, how):
    for u in kept(Elsewhere(user, ALL)):
        path = u.bin / missing
        if how == "absent":
            path.unlink()
        elif how == "not executable":
            path.chmod(0o644)
        else:
            path.write_text("#!/bin/sh\nexit 1\n")
        t = time.monotonic()
        r = u.ctl("run", "--", "sh", "-c", "echo ran")
        assert r.returncode == 125 and r.stdout == "", (r.returncode, r.stdout, r.stderr)
        assert missing in r.stderr if how != "fails" else "cellctl run: " in r.stderr, r.stderr
        assert time.monotonic() - t < 15


def test_verify_of_what_is_no_log(user):
    for path in ("/no/such/dir", "/etc", str(user.home)):
        assert user.ctl("verify", path).returncode in (1, 2, 4)
    assert user.ctl("events", "/no/such/dir").returncode in (1, 2)


def test_limits_that_cannot_be_enforced_are_refused(user):
    """Never ignored: without a memory controller the spec is refused; with one it is obeyed."""
    r = user.ctl("run", "--memory", "64M", "--", "python3", "-c", "bytearray(512 << 20); print('got it')")
    assert "got it" not in r.stdout
    assert r.returncode in (3, 137, 1), (r.returncode, r.stderr)
    if r.returncode == 3:
        assert "spec.run.limits" in r.stderr and "memory" in r.stderr
        assert types(user.events()) == ["lifecycle.v1.rejected"]
    assert user.verify().returncode == 0
