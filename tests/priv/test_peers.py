# SPDX-License-Identifier: MIT
"""Every daemon alone, among siblings that break the protocol (peer.c): the line is cut, the reason is logged, nobody
crashes, and whom the line was not about goes on as before."""
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import BIN

PEER = BIN.parent / "bin-test" / "peer"
# A daemon whose supervisor breaks the protocol ends with a failure; signerd goes on for the other two. The supervisor of
# an embedded suite ends with any of its siblings.
EXIT = {
    ("signerd", "supervisor"): 0, ("signerd", "netd"): 0, ("signerd", "proxyd"): 0,
    ("netd", "supervisor"): 1, ("netd", "signerd"): 0, ("netd", "proxyd"): 0,
    ("proxyd", "supervisor"): 1, ("proxyd", "signerd"): 0, ("proxyd", "netd"): 0,
    ("supervisor", "control"): 1, ("supervisor", "netd"): 1, ("supervisor", "proxyd"): 1, ("supervisor", "signerd"): 1,
    ("zygote", "line"): 1,
}
ALIVE = {
    ("signerd", "supervisor"): {"netd", "proxyd"}, ("signerd", "netd"): {"supervisor", "proxyd"},
    ("signerd", "proxyd"): {"supervisor", "netd"},
    ("netd", "signerd"): {"supervisor", "proxyd"}, ("netd", "proxyd"): {"supervisor"},
    ("proxyd", "signerd"): {"supervisor"}, ("proxyd", "netd"): {"supervisor"},
}
EVERYWHERE = {"unknown_id", "repeated_hello", "wrong_version", "wrong_interface", "wrong_role", "before_hello", "wrong_side",
              "oversized", "too_many_fds", "fds_with_hello", "truncated", "trailing", "garbage", "bad_field"}


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="cellos-peer-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def peer(*args, timeout=300):
    assert PEER.exists(), "make unit-build makes %s" % PEER
    r = subprocess.run([str(PEER), *map(str, args)], capture_output=True, text=True, timeout=timeout)
    assert r.returncode == 0, r.stderr
    return [json.loads(line) for line in r.stdout.splitlines()]


@pytest.fixture(scope="module")
def cases():
    """What peer did to each daemon, once a daemon."""
    done = {}

    def of(daemon):
        if daemon not in done:
            path = Path(tempfile.mkdtemp(prefix="cellos-peer-"))
            try:
                done[daemon] = peer("hostile", daemon, BIN, path)
            finally:
                shutil.rmtree(path, ignore_errors=True)
        return done[daemon]

    return of


def named(cases):
    return ["%(line)s: %(kind)s: %(what)s: %(log)s" % c for c in cases]


@pytest.mark.parametrize("daemon,line", EXIT)
def test_every_kind_was_tried(cases, daemon, line):
    kinds = {c["kind"] for c in cases(daemon) if c["line"] == line}
    wanted = set(EVERYWHERE)
    if daemon in ("netd", "proxyd") and line == "supervisor" or daemon == "zygote" or line == "control":
        wanted.add("too_few_fds")
    if daemon == "signerd" and line != "supervisor":
        wanted.add("role_without_right")
    if line == "signerd" or (daemon, line) == ("proxyd", "netd") or daemon == "supervisor" and line != "control":
        wanted.add("unasked_reply")
    if (daemon, line) == ("proxyd", "netd"):
        wanted.remove("bad_field")  # netd's one answer has no field
    assert wanted <= kinds, wanted - kinds


@pytest.mark.parametrize("daemon,line", EXIT)
def test_the_line_is_cut(cases, daemon, line):
    assert named(c for c in cases(daemon) if c["line"] == line and not (c["greeted"] and c["cut"])) == []


@pytest.mark.parametrize("daemon,line", EXIT)
def test_no_crash_and_no_hang(cases, daemon, line):
    assert named(c for c in cases(daemon) if c["line"] == line and (c["signal"] or c["late"])) == []
    assert {c["exit"] for c in cases(daemon) if c["line"] == line} == {EXIT[daemon, line]}


@pytest.mark.parametrize("daemon,line", EXIT)
def test_the_reason_is_logged(cases, daemon, line):
    silent = [c for c in cases(daemon) if c["line"] == line and not c["log"].strip()]
    assert named(silent) == []
    control = [c for c in cases(daemon) if any(ord(x) < 32 and x != "\n" for x in c["log"])]
    assert named(control) == [], "what a peer sent must be escaped"


@pytest.mark.parametrize("daemon,line", ALIVE)
def test_the_others_are_still_served(cases, daemon, line):
    wrong = [c for c in cases(daemon) if c["line"] == line and set(c["alive"]) != ALIVE[daemon, line]]
    assert named(wrong) == []


def test_versions_are_named(cases):
    for daemon in {d for d, _ in EXIT} - {"zygote"}:
        for c in cases(daemon):
            if c["kind"] == "wrong_version":
                assert "version" in c["log"] and c["what"].split()[1] in c["log"], c


def test_silent_and_vanished_siblings(directory):
    """Nobody waits for ever for a hello, and nobody outlives the ones it serves."""
    for c in peer("crowd", BIN, directory):
        assert c["signal"] == 0 and not c["late"], c
        assert c["kind"] == "gone" or c["cut"], c


# ---- who may say what: the column "emitted by" of the vocabulary, and the states of a cell ----
BEFORE, DURING, AFTER = {"opened"}, {"started"}, {"ended"}
ANY = BEFORE | DURING | AFTER
MAY = {
    "lifecycle.v1.started": {"supervisor": BEFORE},
    "lifecycle.v1.destroyed": {"supervisor": ANY},
    "lifecycle.v1.rejected": {"supervisor": BEFORE},
    "command.v1.completed": {"supervisor": DURING},
    "identity.v1.materialized": {"supervisor": BEFORE | DURING},
    "identity.v1.revoked": {"supervisor": ANY},
    "compliance.v1.summary": {"supervisor": ANY},
    "observability.v1.network_scope": {"supervisor": BEFORE},
    "observability.v1.network_enforcement": {"netd": BEFORE},
    "observability.v1.network_flow_decision": {"netd": ANY},
    "observability.v1.dns_query": {"proxyd": DURING | AFTER},
    "observability.v1.dns_answer": {"proxyd": DURING | AFTER},
    "observability.v1.l7_egress_decision": {"proxyd": DURING | AFTER},
    "observability.v1.homeostasis": {"supervisor": DURING | AFTER},
    "observability.v1.gap": {"supervisor": ANY, "netd": ANY, "proxyd": ANY},
    "evidence_bundle.v1.emitted": {"supervisor": ANY},
    "lifecycle.v1.residue_removed": {"supervisor": ANY, "netd": ANY},
    "observability.v1.syscall_denied": {"supervisor": DURING | AFTER},
    "lifecycle.v1.policy_changed": {"supervisor": DURING | AFTER},
    **{"observability.v1.dns_authority_" + what: {"proxyd": DURING | AFTER}
       for what in ("drift", "rebind_threshold", "rebind_rejected", "dnssec_failed")},
    "log.v1.claim_refused": {},
    "log.v1.recovered": {},
    "log.v1.pruned": {},
    "log.v1.keyset_changed": {},
}


def test_who_may_say_what(directory, root_user):
    rows = peer("claims", BIN, directory)
    assert {r["type"] for r in rows} == set(MAY)
    assert len(rows) == len(MAY) * 3 * 5
    for r in rows:
        states = MAY[r["type"]].get(r["role"])
        want = "authority" if states is None else "ok" if r["state"] in states else "state"
        assert r["answer"] == want, r
    log = directory / "signerd-0" / "log"
    r = root_user.verify(log, "--key", directory / "signerd-0" / "keys" / "signing.vkey")
    assert r.returncode == 0, r.stdout + r.stderr
    events = root_user.events(log)
    refused = [e["data"] for e in events if e["type"].endswith("log.v1.claim_refused")]
    assert sum(r["count"] for r in refused) == sum(r["answer"] != "ok" for r in rows)
    assert {r["role"] for r in refused} == {"supervisor", "netd", "proxyd"}
    said = [e for e in events if e["source"].split("/")[2] != "signerd"]
    for e in said:
        suffix = e["type"].removeprefix("dev.cellos.events.cell.")
        assert e["source"].split("/")[2] in MAY[suffix], e
