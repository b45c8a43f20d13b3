# SPDX-License-Identifier: MIT
"""What a run leaves behind: every line a CloudEvent, signed and counted, checkable without any code of the suite."""
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import jsonschema
import pytest

import evidence
from conftest import BIN, SANITIZED, TREE, of_type, types

VECTORS = TREE.parent / "shared" / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the folder ../shared/vectors is not there")
JS = Path(__file__).resolve().parent / "js"

# data of each type: what must be in it (the vocabulary, section 5), beside cellId, specId and runId
MUST_HAVE = {
    "lifecycle.v1.started": {"ttlSeconds", "backend", "specDigest", "isolation"},
    "lifecycle.v1.destroyed": {"outcome", "terminalState", "reason", "residueClass"},
    "command.v1.completed": {"argv", "exitCode", "durationMs"},
    "identity.v1.materialized": {"secrets", "delivery", "provenance"},
    "identity.v1.revoked": {"secrets", "delivery", "provenance"},
    "compliance.v1.summary": {"lifetimeTtlSeconds", "egressRuleCount", "commandExitCode"},
    "observability.v1.network_scope": {"egressRules", "hostnameAllowlist", "resolvers"},
    "observability.v1.network_enforcement": {"ruleSetDigest", "families", "mode", "applied"},
    "observability.v1.network_flow_decision": {"action", "reasonCode", "packets", "bytes", "rule"},
    "observability.v1.dns_query": {"queryName", "queryType", "action", "reasonCode"},
    "observability.v1.dns_answer": {"queryName", "queryType", "responseRcode", "answers", "resolverId", "latencyMicros"},
    "observability.v1.l7_egress_decision": {"action", "reasonCode", "protocol", "port", "originalDestination", "process"},
    "observability.v1.homeostasis": {"declaredEgressRules", "exercisedEgressConnections"},
    "observability.v1.syscall_denied": {"syscall", "count"},
    "evidence_bundle.v1.emitted": {"events"},
}
ROLE = {"observability.v1.network_enforcement": "netd", "observability.v1.network_flow_decision": "netd",
        "observability.v1.dns_query": "proxyd", "observability.v1.dns_answer": "proxyd",
        "observability.v1.l7_egress_decision": "proxyd"}


STARTED = 3  # the index of lifecycle.started in the log of `rich`: scope, materialized, enforcement come before


@pytest.fixture(scope="module")
def rich(world, web, dns, pki):
    """One run that says nearly everything a run can say. Its user."""
    from conftest import ORDINARY_UID, User, kept
    for u in kept(User("rich", ORDINARY_UID, world)):
        url = "https://example.test:%d/" % web.tls
        r = u.ctl("run", "--allow", "example.test:%d" % web.tls, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
                  "example.test:127.0.0.1", "--allow-answer", "example.test:::1", "--ro", pki.ca, "--secret", "token",
                  "--", "sh", "-c", "curl -sS --cacert %s %s; curl -sS https://other.test/; curl -ksS https://203.0.113.1:%d/; "
                  "python3 -c 'import socket; socket.socket(17, 3)'; exit 3" % (pki.ca, url, web.tls),
                  env={"CELLOS_SECRET_TOKEN": "x"})
        assert r.returncode == 3, r.stderr
        yield u


def suffix(event):
    return event["type"].removeprefix("dev.cellos.events.cell.")


def test_every_kind_of_event_is_there(rich):
    order = types(rich.events())
    assert set(MUST_HAVE) <= set(order)
    assert order[STARTED] == "lifecycle.v1.started"


def test_fields_of_the_vocabulary(rich):
    run = rich.last_log().name
    for e in rich.events():
        data = e["data"]
        want = MUST_HAVE[suffix(e)]
        assert want <= set(data), (suffix(e), want - set(data))
        assert data["runId"] == run == e["runid"] and e["subject"] == "urn:cellos:cell:" + data["cellId"]
        assert data["specId"] == data["cellId"]
        assert e["source"].split("/")[:3] == ["", "cellos", ROLE.get(suffix(e), "supervisor")]
        assert "exitCode" not in data or suffix(e) == "command.v1.completed"
        assert None not in data.values() and "" not in data.values(), "absent values are absent"


def test_attributes(rich):
    for e in rich.events():
        assert e["specversion"] == "1.0" and e["datacontenttype"] == "application/json"
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", e["id"])
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", e["time"])
        assert re.fullmatch(r"\d{20}", e["sequence"]) and re.fullmatch(r"\d{20}", e["cellsequence"])


def test_sequences_have_no_gap(rich):
    events = rich.events()
    assert [int(e["sequence"]) for e in events] == list(range(len(events)))
    assert [int(e["cellsequence"]) for e in events] == list(range(1, len(events) + 1))
    assert len({e["id"] for e in events}) == len(events)
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)


def test_references_point_at_real_events(rich):
    events = rich.events()
    for ref in of_type(events, "evidence_bundle.v1.emitted")[0]["events"]:
        assert suffix(events[ref["sequence"]]) == ref["type"]


@needs_vectors
def test_schema(rich):
    schema = json.loads((VECTORS / "cloudevents.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    for e in rich.events():
        validator.validate(e)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**rich.events()[0], "id": ""})


@needs_vectors
def test_this_checker_agrees_with_the_published_vectors():
    """The README beside the vectors says which of them hold."""
    cases = {c["case"]: c for c in json.loads((VECTORS / "cloudevents-verifiability.json").read_text())["cases"]}

    def signed(case):
        envelope = json.loads(base64.b64decode(cases[case]["dssematerial"]))
        payload = envelope["payload"]
        body = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)).rstrip(b"="))
        return body if isinstance(body, dict) else json.loads(base64.b64decode(body))
    e = cases["5"]["event"]
    raw = base64.b64decode(json.loads(base64.b64decode(cases["5"]["dssematerial"]))["payload"])
    core = json.loads(raw if raw.startswith(b"{") else base64.b64decode(raw))["core"]
    assert evidence.b64(evidence.core_digest(e, base64.b64decode(e["data_base64"]))) == core


def test_independent_verification(rich):
    """Signatures, digests, tree, checkpoint: by independent.py alone."""
    events = evidence.check_log(rich.last_log())
    assert len(events) == len(rich.events()) > 20


def test_independent_checker_sees_changes(rich):
    """The checker itself is checked: one changed byte anywhere in a line and it says no."""
    log = rich.last_log()
    vkey = evidence.Vkey((log / "vkey").read_text())
    line = evidence.lines_of(log)[STARTED]
    evidence.check_event(line, vkey)
    for old, new in ((b'"sequence":"0000000000000000000', b'"sequence":"1000000000000000000'), (b'"ttlSeconds":3600', b'"ttlSeconds":3601'),
                     (b"/cellos/supervisor/", b"/cellos/proxyd/"), (b'"data":{', b'"data":{ ')):
        assert line.count(old) == 1
        with pytest.raises(Exception):
            evidence.check_event(line.replace(old, new), vkey)


def test_checkpoint_given_to_the_caller_verifies(user):
    note = user.home / "note"
    assert user.ctl("run", "--checkpoint", note, "--", "true").returncode == 0
    assert evidence.check_log(user.last_log(), note.read_text())


def test_tiles_hold_the_tree(rich):
    """C2SP tlog-tiles: level 0 is the leaves."""
    log = rich.last_log()
    leaves = [evidence.leaf(l) for l in evidence.lines_of(log)]
    partial = log / "tile/0/000.p" / str(len(leaves))
    assert partial.read_bytes() == b"".join(leaves)


def test_every_run_has_a_log_of_its_own_and_one_key(user):
    for _ in range(3):
        assert user.ctl("run", "--", "true").returncode == 0
    logs = user.logs()
    assert len(logs) == 3 and len({(l / "vkey").read_text() for l in logs}) == 1
    assert len({(l / "origin").read_text() for l in logs}) == 3
    assert user.ctl("verify", user.state / "log").returncode == 0
    assert (user.state / "keys/signing.key").stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode((user.state / "keys/signing.key").read_text())) == 32
    for p in [user.state / "keys", *logs]:
        assert p.stat().st_mode & 0o777 == 0o700, p
    for p in logs[0].rglob("*"):
        assert p.stat().st_mode & 0o077 == 0, p


def test_two_first_runs_at_once_make_one_key(user):
    ps = [user.popen("run", "--", "true", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(6)]
    for p in ps:
        _, err = p.communicate(timeout=120)
        assert p.returncode == 0, err
    assert len({(l / "vkey").read_text() for l in user.logs()}) == 1 and len(user.logs()) == 6
    assert user.ctl("verify", user.state / "log").returncode == 0


@pytest.fixture
def copied(rich):
    """A copy of the log that may be damaged."""
    base = Path(tempfile.mkdtemp(prefix="damaged-", dir=rich.home))
    shutil.copytree(rich.last_log(), base / "log")
    for root, dirs, files in os.walk(base):
        for name in (*dirs, *files):
            os.chown(os.path.join(root, name), rich.uid, rich.uid)
    os.chown(base, rich.uid, rich.uid)
    return base / "log"


def segment(log):
    return log / "00000000000000000000.jsonl"


def damage_lines(log, change):
    """change gets the list of lines and changes it."""
    lines = segment(log).read_bytes().split(b"\n")[:-1]
    change(lines)
    segment(log).write_bytes(b"".join(l + b"\n" for l in lines))


def swap(lines):
    lines[3], lines[4] = lines[4], lines[3]


def edit(number, old, new):
    def change(lines):
        assert old in lines[number]
        lines[number] = lines[number].replace(old, new)
    return change


def resign(lines):
    """The envelope of another line: validly signed, of something else."""
    a = json.loads(lines[6])
    b = json.loads(lines[7])
    lines[6] = lines[6].replace(a["dssematerial"].encode(), b["dssematerial"].encode())


DAMAGE = {
    "a changed value": (edit(STARTED, b'"ttlSeconds":3600', b'"ttlSeconds":3601'), STARTED),
    "a changed role": (edit(STARTED, b"/cellos/supervisor/", b"/cellos/netd/"), STARTED),
    "a changed time": (edit(5, b'"time":"20', b'"time":"21'), 5),
    "a blank": (edit(4, b'"data":{', b'"data": {'), 4),
    "a carriage return": (edit(4, b'"}', b'"}\r'), 4),
    "a changed sequence": (edit(5, b'"sequence":"00000000000000000005"', b'"sequence":"00000000000000000006"'), 5),
    "another signature": (resign, 6),
    "no json": (lambda lines: lines.__setitem__(8, b"hello"), 8),
    "an empty line": (lambda lines: lines.insert(9, b""), 9),
    "swapped lines": (swap, 3),
    "a missing line": (lambda lines: lines.pop(7), 7),
    "a line twice": (lambda lines: lines.insert(6, lines[5]), 6),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_its_line_named(rich, copied, name):
    change, number = DAMAGE[name]
    assert rich.ctl("verify", copied).returncode == 0
    damage_lines(copied, change)
    r = rich.ctl("verify", copied)
    assert r.returncode == 4, r.stdout
    assert re.search(r"\bline %d\b" % (number + 1), r.stdout + r.stderr), r.stdout + r.stderr


def test_cut_at_the_end(rich, copied):
    damage_lines(copied, lambda lines: lines.pop())
    assert rich.ctl("verify", copied).returncode == 4


def test_added_at_the_end(rich, copied):
    damage_lines(copied, lambda lines: lines.append(lines[-1]))
    r = rich.ctl("verify", copied)
    assert r.returncode == 4, r.stdout


def test_rolled_back_with_its_checkpoint(rich, copied, user):
    """An older but consistent log can only be told by a checkpoint from outside."""
    note = user.home / "note"
    assert user.ctl("run", "--checkpoint", note, "--", "true").returncode == 0
    r = rich.ctl("verify", copied)
    assert r.returncode == 0 and "rollback and truncation not excluded" in r.stdout
    shutil.copy(note, rich.home / "foreign")
    os.chown(rich.home / "foreign", rich.uid, rich.uid)
    assert rich.ctl("verify", "--checkpoint", rich.home / "foreign", copied).returncode == 4
    own = rich.home / "own"
    shutil.copy(copied / "checkpoint", own)
    os.chown(own, rich.uid, rich.uid)
    r = rich.ctl("verify", "--checkpoint", own, copied)
    assert r.returncode == 0 and "rollback and truncation not excluded" not in r.stdout, r.stdout


@pytest.mark.parametrize("how", ["missing", "empty", "changed size", "changed root", "changed signature", "another log's"])
def test_damaged_checkpoint(rich, copied, how):
    path = copied / "checkpoint"
    text = path.read_text()
    origin, size, root, *rest = text.split("\n")
    if how == "missing":
        path.unlink()
    else:
        path.write_text({"empty": "", "changed size": "\n".join([origin, str(int(size) - 1), root, *rest]),
                         "changed root": "\n".join([origin, size, evidence.b64(bytes(32)), *rest]),
                         "changed signature": text[:-10] + "AAAAAAA=\n",
                         "another log's": text.replace(origin, origin[:-1] + ("1" if origin[-1] == "0" else "0"))}[how])
    r = rich.ctl("verify", copied)
    assert r.returncode == 4, (how, r.stdout, r.stderr)


def test_log_signed_by_somebody_else(rich, copied, user):
    """A log whose key is not the trusted one is said to be that, whatever it declares."""
    assert user.ctl("run", "--", "true").returncode == 0
    key = rich.home / "other.vkey"
    shutil.copy(user.last_log() / "vkey", key)
    os.chown(key, rich.uid, rich.uid)
    assert rich.ctl("verify", "--key", key, copied).returncode == 4
    other = user.ctl("verify", user.last_log(), env={"XDG_STATE_HOME": str(user.home / "nothing")})
    assert other.returncode == 0 and "self-declared" in other.stdout, other.stdout


def test_hostile_log_does_not_reach_the_terminal(rich, copied):
    """A log is foreign text for who reads it."""
    damage_lines(copied, lambda lines: lines.__setitem__(3, b'{"specversion":"1.0","id":"\x1b]0;owned\x07"}'))
    for verb in ("verify", "events"):
        r = rich.ctl(verb, copied, text=False)
        assert b"\x1b" not in r.stdout + r.stderr and b"\x07" not in r.stdout + r.stderr, verb


def test_javascript_sdk_parses_every_event(rich):
    """The CloudEvents SDK from npm; without a registry this one test fails."""
    work = Path(tempfile.mkdtemp(prefix="cellos-js-"))
    try:
        for name in ("package.json", "parse.mjs"):
            shutil.copy(JS / name, work / name)
        env = {**os.environ, "npm_config_cache": str(work / "cache"), "npm_config_update_notifier": "false"}
        made = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], cwd=work, env=env,
                              capture_output=True, text=True, timeout=180)
        assert made.returncode == 0, "npm install: is a registry reachable? " + made.stderr[-2000:]
        logs = [str(p) for p in sorted(rich.last_log().glob("*.jsonl"))]
        r = subprocess.run(["node", "parse.mjs", *logs], cwd=work, capture_output=True, text=True, timeout=120)
        assert r.returncode == 0, r.stderr
        assert int(r.stdout) == len(rich.events())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def test_a_hundred_thousand_events(root_user, record_property):
    """Claimed by tests/priv/peer as fast as signerd takes them. How long signing and verifying took is told, not judged."""
    count = 100_000 if not SANITIZED else 5_000
    peer = BIN.parent / "bin-test/peer"
    assert peer.exists(), "make unit-build makes %s" % peer
    work = Path(tempfile.mkdtemp(prefix="many-", dir=root_user.home))
    t = time.monotonic()
    r = subprocess.run([peer, "many", str(count), BIN, work], capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    signing = time.monotonic() - t
    t = time.monotonic()
    v = root_user.verify(work / "signerd-0/log", "--key", work / "signerd-0/keys/signing.vkey")
    verifying = time.monotonic() - t
    assert v.returncode == 0, v.stdout
    lines = evidence.lines_of(work / "signerd-0/log")
    assert len(lines) == count + 3
    assert [json.loads(l)["sequence"] for l in lines[-3:]] == ["%020d" % n for n in range(count, count + 3)]
    record_property("signing_seconds", signing)
    record_property("verifying_seconds", verifying)
    print("%d events: %.1f s to claim, sign and store, %.1f s to verify" % (count, signing, verifying))


def test_segments_closed_compressed_and_pruned(root_user):
    """A confined signerd does it beside its commits: nothing of what is left, or was, is in doubt afterwards."""
    count = 20_000
    peer = BIN.parent / "bin-test/peer"
    work = Path(tempfile.mkdtemp(prefix="segments-", dir=root_user.home))
    r = subprocess.run([peer, "many", str(count), BIN, work, "--segment-bytes", "1048576", "--retain-bytes", "3000000"],
                       capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    log, key = work / "signerd-0/log", work / "signerd-0/keys/signing.vkey"
    segments = evidence.segments_of(log)
    first = min(segments)
    assert first > 0 and any(p.suffix == ".zst" for p in segments.values())
    lines = evidence.lines_of(log, first)
    events = [json.loads(l) for l in lines]
    assert any(e["type"].endswith("lifecycle.v1.destroyed") for e in events)
    pruned = [e["data"] for e in events if e["type"].endswith("log.v1.pruned")]
    assert pruned[-1]["firstIndex"] + pruned[-1]["lines"] == first and pruned[-1]["reason"] == "retainBytes"
    v = root_user.verify(log, "--key", key)
    assert v.returncode == 0 and "the first %d events went by retention" % first in v.stdout, v.stdout
    # The same by hand, from docs/evidence.md: the tiles stand for what is gone.
    tiles = b"".join((log / ("tile/0/%03d" % n)).read_bytes() for n in range((first + 255) // 256))
    leaves = [tiles[32 * i:32 * i + 32] for i in range(first)] + [evidence.leaf(l) for l in lines]
    origin, size, top = evidence.check_note((log / "checkpoint").read_text(), evidence.Vkey(key.read_text()))
    assert size == len(leaves) and evidence.root(leaves) == top
    assert pruned[-1]["root"] == "sha256:" + evidence.root(leaves[:first]).hex()
    shown = root_user.ctl("events", log, "--json")
    assert shown.returncode == 0 and len(shown.stdout.splitlines()) == len(lines), shown.stderr
    tile = log / "tile/0/000"
    good = tile.read_bytes()
    tile.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    v = root_user.verify(log, "--key", key)
    assert v.returncode == 4 and "tile/0/000" in v.stdout, v.stdout
    tile.write_bytes(good)
    oldest = segments.pop(first)
    oldest.unlink()
    v = root_user.verify(log, "--key", key)
    assert v.returncode == 4 and "lines %d to %d are missing" % (first + 1, min(segments)) in v.stdout, v.stdout
