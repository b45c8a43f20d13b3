# SPDX-License-Identifier: MIT
"""Redaction by field name before sealing (vocabulary 9): what is left out was never in the log, the log says that it
was, and everything that reads logs copes."""
import json

import jsonschema
import pytest

from conftest import TREE, of_type, types

STAMPS = {"cellId", "specId", "runId"}


def config(user, log):
    return user.file("cellos.json", json.dumps({"apiVersion": "cellos.io/v1", "kind": "OperatorConfig", "spec": {"log": log}}))


def verified(user):
    r = user.verify()
    assert r.returncode == 0, r.stdout + r.stderr
    return user.events()


def raw(user):
    return b"".join(p.read_bytes() for p in user.last_log().glob("*.jsonl"))


@pytest.mark.parametrize("how", ["flag", "config", "config list"])
def test_defaults(user, how):
    flags = {"flag": ["--redact", "defaults"], "config": ["--config", config(user, {"redact": "defaults"})],
             "config list": ["--config", config(user, {"redact": ["argv", "path", "reason"]})]}[how]
    r = user.ctl("run", *flags, "--", "sh", "-c", "exit 3", "confidential")
    assert r.returncode == 3, r.stderr
    events = verified(user)
    assert of_type(events, "lifecycle.v1.started")[0]["redacted"] == ["argv", "path", "reason"]
    assert of_type(events, "command.v1.completed")[0]["argv"] == ["[redacted]"]
    assert of_type(events, "command.v1.completed")[0]["exitCode"] == 3
    assert of_type(events, "lifecycle.v1.destroyed")[0]["reason"] == "[redacted]"
    assert b"confidential" not in raw(user)


def test_nothing_unless_wanted(user):
    assert user.ctl("run", "--", "true").returncode == 0
    events = verified(user)
    assert "redacted" not in of_type(events, "lifecycle.v1.started")[0]
    assert b"[redacted]" not in raw(user)


def test_a_flag_counts_more_than_the_file(user):
    r = user.ctl("run", "--config", config(user, {"redact": "defaults"}), "--redact", "exitCode", "--", "true")
    assert r.returncode == 0, r.stderr
    completed, = of_type(verified(user), "command.v1.completed")
    assert completed["argv"] == ["true"] and completed["exitCode"] == "[redacted]"


def test_scalars_lists_objects_at_every_depth(user, allow, web):
    names = "argv,host,queryName,dnsApexes,egressRules,isolation,process,usage,data,packets,originalDestination,hostnameAllowlist"
    r = user.ctl("run", "--redact", names, *allow, "--", "sh", "-c",
                 "curl -ksS https://example.test:%d/; curl -sS https://denied.test/" % web.tls)
    assert "hello" in r.stdout, r.stderr
    events = verified(user)
    assert types(events)[-1] == "lifecycle.v1.destroyed"
    assert of_type(events, "observability.v1.network_scope")[0]["egressRules"] == ["[redacted]"]
    assert of_type(events, "observability.v1.network_scope")[0]["hostnameAllowlist"] == ["[redacted]"]
    assert of_type(events, "lifecycle.v1.started")[0]["isolation"] == {}
    flows = of_type(events, "observability.v1.network_flow_decision")
    assert flows and all(f["packets"] == "[redacted]" for f in flows)
    for answer in of_type(events, "observability.v1.dns_answer"):
        assert answer["queryName"] == "[redacted]"
        assert all(a["data"] == "[redacted]" for a in answer["answers"])
    decisions = of_type(events, "observability.v1.l7_egress_decision")
    assert decisions and all(d["host"] == "[redacted]" and d["process"] in ({}, "unknown") for d in decisions)
    for e in events:
        assert STAMPS <= set(e["data"]) or "subject" not in e
    assert b"denied.test" not in raw(user)


def test_readers_cope(user):
    r = user.ctl("run", "--redact", "defaults,host,queryName,answers,violations,isolation,resolvers,egressRules,packets,reasonCode,"
                 "port,exitCode,usage,durationMs,bytesSent,applied,rules,ttlSeconds",
                 "--", "sh", "-c", "curl -sS https://denied.test/; exit 3")
    assert r.returncode == 3
    log = user.last_log()
    shown = user.ctl("events", log)
    assert shown.returncode == 0 and "redacted=[argv, path, reason, host" in shown.stdout, shown.stdout
    assert "argv=[[redacted]] exitCode=[redacted] durationMs=[redacted]" in shown.stdout
    why = user.ctl("why", log)
    assert why.returncode == 0 and "--allow [redacted]" not in why.stdout, why.stdout
    audit = user.home / "audit.json"
    assert user.ctl("report", log, "-o", user.home / "report.html", "--audit", audit).returncode == 0
    jsonschema.validate(json.loads(audit.read_text()), json.loads((TREE / "docs/audit.schema.json").read_text()))
    references = of_type(user.events(), "evidence_bundle.v1.emitted")[0]["events"]
    by = {int(e["sequence"]): e["type"] for e in user.events()}
    assert references and all(by[ref["sequence"]].endswith(ref["type"]) for ref in references)


def test_why_says_that_it_cannot_know(user):
    user.ctl("run", "--redact", "queryName", "--", "curl", "-sS", "https://denied.test/")
    r = user.ctl("why", user.last_log())
    assert "it was redacted" in r.stdout and "--allow" not in r.stdout, r.stdout


@pytest.mark.parametrize("names,says", [
    ("argvv", 'no event has a field "argvv": did you mean "argv"?'),
    ("cellId", '"cellId" cannot be redacted: it repeats the signed subject'),
    ("previousRoot", "verification reads them"),
    ("action", "it is what was decided"),
    ("outcome", "it is how the run ended"),
    ("argv,,path", 'no event has a field ""'),
    ("", 'no event has a field ""'),
])
def test_names_that_are_refused(user, names, says):
    r = user.ctl("run", "--redact", names, "--", "sh", "-c", "echo ran")
    assert r.returncode == 125 and r.stdout == "" and says in r.stderr, r.stderr
    r = user.ctl("run", "--config", config(user, {"redact": names.split(",")}), "--", "sh", "-c", "echo ran")
    assert r.returncode == 125 and r.stdout == "" and "spec.log.redact" in r.stderr, r.stderr


def test_signerd_itself_refuses_a_wrong_name(user):
    import subprocess
    from conftest import BIN
    r = subprocess.run([BIN / "cellos-signerd", "--mode", "embedded", "--redact", "argvv"], capture_output=True, text=True,
                       timeout=20, env={})
    assert r.returncode != 0


def test_a_quota_ends_decisions_and_not_the_log(user, allow, web):
    """More events than an operator lets a cell fill the log with: refused, counted exactly, denied; the end is there."""
    cfg = config(user, {"quota": {"maxEventsPerSecond": 1, "maxEvents": 40}})
    n = 30
    r = user.ctl("run", "--config", cfg, *allow, "--", "sh", "-c",
                 "for i in $(seq %d); do curl -ksS -o /dev/null -w '%%{exitcode} ' -m 5 https://example.test:%d/; done" % (n, web.tls))
    codes = r.stdout.split()
    assert len(codes) == n and codes.count("0") < n, r.stdout
    events = verified(user)
    assert types(events)[-1] == "lifecycle.v1.destroyed"
    refused = [e for e in of_type(events, "log.v1.claim_refused") if e["role"] == "proxyd"]
    assert refused and all(e["reason"].startswith("quota: more events") for e in refused)
    allowed = [d for d in of_type(events, "observability.v1.l7_egress_decision") if d["action"] == "allow"]
    assert codes.count("0") <= len(allowed)  # what went out is in the log
    lost = sum(g["lost"] for g in of_type(events, "observability.v1.gap") if g["cause"] == "unacknowledged")
    assert lost == sum(e["count"] for e in refused if e["type"] != "observability.v1.gap")
    # netd's counters and the supervisor's end are not proxyd's quota
    assert of_type(events, "observability.v1.network_flow_decision") and of_type(events, "command.v1.completed")
    assert of_type(events, "lifecycle.v1.destroyed")[0]["outcome"] in ("succeeded", "failed")
