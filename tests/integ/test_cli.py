# SPDX-License-Identifier: MIT
"""cellctl as its users see it: exit codes, stdio, signals, documents, help."""
import fcntl
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import TREE, of_type, types, wait_for


def test_exit_status_is_the_workloads(user):
    assert user.ctl("run", "--", "sh", "-c", "exit 0").returncode == 0
    assert user.ctl("run", "--", "sh", "-c", "exit 42").returncode == 42
    done = of_type(user.events(), "command.v1.completed")[0]
    assert done["exitCode"] == 42 and done["argv"] == ["sh", "-c", "exit 42"] and "signal" not in done


def test_death_by_signal(user):
    r = user.ctl("run", "--", "sh", "-c", "kill -9 $$")
    assert r.returncode == 137, r.stderr
    done = of_type(user.events(), "command.v1.completed")[0]
    assert done["exitCode"] == -1 and done["signal"] == 9


def test_not_found_and_not_executable(user):
    assert user.ctl("run", "--", "no-such-program-here").returncode == 127
    done = of_type(user.events(), "command.v1.completed")[0]
    assert done["exitCode"] == -1 and "No such file" in done["spawnError"]
    assert user.ctl("run", "--", "/etc/hostname").returncode == 126


def test_stdio_passes_through(user):
    r = user.ctl("run", "--", "sh", "-c", "cat; echo err >&2", input="through\n")
    assert (r.returncode, r.stdout, r.stderr) == (0, "through\n", "err\n")


def test_only_three_fds(user):
    r = user.ctl("run", "--", "sh", "-c", "ls -l /proc/self/fd | awk '{print $9}' | sort -n | tr '\\n' ' '")
    assert r.stdout.split() == ["0", "1", "2", "3"], r.stdout  # 3 is ls's own directory fd


def test_environment_is_cleared(user):
    r = user.ctl("run", "--", "env", env={"LD_PRELOAD": "", "FOO": "bar"})
    assert r.stdout.splitlines() == ["PATH=/usr/bin:/bin:/usr/local/bin"]


def test_timeout_ends_every_process(user):
    doc = json.loads(user.ctl("run", "--print-spec", "--", "sh", "-c", "(trap '' TERM; sleep 77) & trap '' TERM; sleep 77").stdout)
    doc["spec"]["run"]["timeoutMs"] = 700
    doc["spec"]["run"].setdefault("limits", {})["gracefulShutdownSeconds"] = 1
    t = time.monotonic()
    r = user.ctl("run", "-", input=json.dumps(doc))
    assert r.returncode == 124, r.stderr
    assert 0.6 < time.monotonic() - t < 20
    done = of_type(user.events(), "command.v1.completed")[0]
    assert done["exitCode"] == -1 and "timeoutMs" in done["spawnError"]
    left = subprocess.run(["pgrep", "-f", "sleep 77"], capture_output=True, text=True).stdout
    assert left == ""


def test_ttl_wins_when_smaller(user):
    r = user.ctl("run", "--ttl", "1", "--", "sleep", "60")
    assert r.returncode == 124, r.stderr
    assert "ttlSeconds" in of_type(user.events(), "command.v1.completed")[0]["spawnError"]


@pytest.mark.parametrize("signum,status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_signals_are_forwarded(user, signum, status):
    p = user.popen("run", "--", "sh", "-c", "echo up; exec sleep 30", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE)
    assert p.stdout.readline() == b"up\n"
    p.send_signal(signum)
    p.communicate(timeout=30)
    assert p.returncode == status


def test_second_interrupt_kills(user):
    p = user.popen("run", "--", "sh", "-c", "trap '' INT; echo up; while :; do sleep 1; done", stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == b"up\n"
    p.send_signal(signal.SIGINT)
    time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=30)
    assert p.returncode == 137
    assert of_type(user.events(), "lifecycle.v1.destroyed")[0]["terminalState"] == "forced"


def test_document_file_and_stdin(user):
    doc = user.ctl("run", "--print-spec", "--name", "doc-1", "--", "cat").stdout
    path = user.file("spec.json", doc)
    assert user.ctl("validate", path).returncode == 0
    r = user.ctl("run", path, input="from stdin\n")
    assert (r.returncode, r.stdout) == (0, "from stdin\n"), r.stderr
    r = user.ctl("run", "-", input=doc)
    assert (r.returncode, r.stdout) == (0, ""), r.stderr  # the document took stdin: the workload reads /dev/null
    assert of_type(user.events(), "lifecycle.v1.started")[0]["cellId"] == "doc-1"


def test_spec_without_run(user):
    doc = json.loads(user.ctl("run", "--print-spec", "--", "true").stdout)
    del doc["spec"]["run"]
    assert user.ctl("run", "-", input=json.dumps(doc)).returncode == 0
    order = types(user.events())
    assert "lifecycle.v1.started" in order and "command.v1.completed" not in order
    assert order[-1] == "lifecycle.v1.destroyed"


def test_events_flag_and_verb(user):
    out = user.home / "events.jsonl"
    assert user.ctl("run", "--events", out, "--", "true").returncode == 0
    log = user.last_log()
    lines = b"".join(p.read_bytes() for p in sorted(log.glob("*.jsonl")))
    assert out.read_bytes() == lines
    assert user.ctl("events", log, "--json", text=False).stdout == lines
    timeline = user.ctl("events", log).stdout
    assert "started" in timeline and "destroyed" in timeline and "\x1b" not in timeline


def test_checkpoint_flag_and_verify(user):
    ck = user.home / "head"
    assert user.ctl("run", "--checkpoint", ck, "--", "true").returncode == 0
    assert ck.read_text() == (user.last_log() / "checkpoint").read_text()
    assert user.ctl("verify", user.last_log(), "--checkpoint", ck).returncode == 0


def test_secrets_reach_only_the_workload(user):
    token = "s3cr3t-value-for-this-test"
    path = user.file("token", token + "-file\n", 0o600)
    r = user.ctl("run", "--secret", "env-token", "--secret", "disk-token", "--", "sh", "-c", 'echo "$env_token $disk_token"',
                 env={"CELLOS_SECRET_ENV_TOKEN": token, "CELLOS_SECRET_FILE_DISK_TOKEN": str(path)})
    assert (r.returncode, r.stdout) == (0, "%s %s-file\n" % (token, token)), r.stderr
    raw = b"".join(p.read_bytes() for p in user.last_log().rglob("*") if p.is_file())
    assert token.encode() not in raw
    kinds = types(user.events())
    assert "identity.v1.materialized" in kinds and "identity.v1.revoked" in kinds


def test_missing_secret(user):
    r = user.ctl("run", "--secret", "nothing", "--", "true")
    assert r.returncode == 125 and "CELLOS_SECRET_NOTHING" in r.stderr
    kinds = types(user.events())
    assert "lifecycle.v1.started" not in kinds and kinds[-1] == "lifecycle.v1.destroyed"


def test_doctor(user):
    r = user.ctl("doctor")
    assert r.returncode == 0, r.stdout + r.stderr
    for word in ("namespaces", "nft", "cgroup", "Landlock", "seccomp"):
        assert word.lower() in r.stdout.lower()


def test_version_and_help(user):
    assert (TREE / "VERSION").read_text().strip() in user.ctl("version").stdout
    for verb in ("run", "validate", "verify", "events", "why", "report", "policy", "doctor", "version"):
        r = user.ctl(verb, "--help")
        assert r.returncode == 0 and r.stdout.startswith("usage: cellctl " + verb), r.stdout
    assert user.ctl("rnu").returncode == 1
    assert user.ctl("run").returncode == 125


def scope_of(user):
    return of_type(user.events(), "observability.v1.network_scope")[0]


def test_network_none(user):
    """No socket, no proxy: nothing answers, and the events say why."""
    r = user.ctl("run", "--network", "none", "--allow", "example.test", "--", "sh", "-c",
                 "ls /sys/class/net; getent hosts example.test; echo $?")
    assert (r.returncode, r.stdout) == (0, "lo\n2\n"), r.stderr
    assert scope_of(user)["mode"] == "none"
    enforcement, = of_type(user.events(), "observability.v1.network_enforcement")
    assert enforcement["mode"] == "none" and enforcement["applied"]
    assert not of_type(user.events(), "observability.v1.dns_query")
    assert user.verify().returncode == 0


def test_network_routed_needs_root_and_a_pool(ordinary, root_user):
    r = root_user.ctl("run", "--network", "routed", "--", "true")
    assert r.returncode == 125 and "spec.network.routedPool: is required" in r.stderr
    config = ordinary.file("operator.json", json.dumps({"apiVersion": "cellos.io/v1", "kind": "OperatorConfig", "spec": {
        "network": {"mode": "routed", "routedPool": "10.213.0.0/16"}}}))
    r = ordinary.ctl("run", "--config", config, "--", "true")
    assert r.returncode == 125 and "needs root" in r.stderr


def test_operator_configuration(user, web, dns, pki, allow):
    """What the operator says holds for the cell; a flag of the run goes before the file."""
    config = user.file("operator.json", json.dumps({"apiVersion": "cellos.io/v1", "kind": "OperatorConfig", "spec": {
        "evidence": "async", "network": {"mode": "none"}}}))
    assert user.ctl("run", "--config", config, *allow, "--", "true").returncode == 0
    assert scope_of(user)["mode"] == "none"
    assert of_type(user.events(), "lifecycle.v1.started")[0]["evidence"] == "async"
    r = user.ctl("run", "--config", config, "--network", "intercept", "--evidence", "strict", *allow, "--", "curl", "-sS",
                 "--cacert", pki.ca, "https://example.test:%d/" % web.tls)
    assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr
    assert scope_of(user)["mode"] == "intercept"
    assert of_type(user.events(), "lifecycle.v1.started")[0]["evidence"] == "strict"


def test_metadata_only_where_the_operator_says_so(user):
    config = user.file("operator.json", json.dumps({"apiVersion": "cellos.io/v1", "kind": "OperatorConfig", "spec": {
        "network": {"metadataAddresses": ["169.254.169.254"]}}}))
    r = user.ctl("run", "--allow", "169.254.169.254:80/http", "--", "true")
    assert r.returncode == 3 and 'is of the class "metadata", which no spec can allow' in r.stderr
    assert user.ctl("run", "--config", config, "--allow", "169.254.169.254:80/http", "--", "true").returncode == 0
    r = user.ctl("run", "--config", config, "--allow", "100.100.100.200:80/http", "--", "true")
    assert r.returncode == 3


def test_trust_anchors_are_read_with_the_callers_rights(user):
    """The file travels with the document; one that the caller may not read is a violation."""
    anchors = user.file("anchors", ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n")
    doc = {"apiVersion": "cellos.io/v1", "kind": "ExecutionCell", "spec": {
        "id": "anchored", "lifetime": {"ttlSeconds": 60}, "run": {"argv": ["true"]},
        "authority": {"secretRefs": [], "dnsAuthority": {"hostnameAllowlist": [], "resolvers": [
            {"resolverId": "r", "protocol": "do53-udp", "endpoint": "127.0.0.1:53",
             "dnssec": {"validate": True, "failClosed": True, "trustAnchorsPath": str(anchors)}}]}}}}
    r = user.ctl("run", "-", input=json.dumps(doc))
    assert r.returncode == 0, r.stderr
    resolver, = scope_of(user)["resolvers"]
    assert resolver["dnssecValidate"] and resolver["dnssecFailClosed"]
    assert user.ctl("validate", "-", input=json.dumps(doc)).returncode == 0
    anchors.unlink()
    for verb in ("run", "validate"):
        r = user.ctl(verb, "-", input=json.dumps(doc))
        assert r.returncode == 3 and "cannot read %s: No such file" % anchors in r.stderr
        assert "trustAnchorsPath: the file was not readable" in r.stderr + r.stdout


def test_verbose_shows_steps(user):
    r = user.ctl("run", "-v", "--", "true")
    assert r.returncode == 0 and "making namespaces" in r.stderr and "destroyed" in r.stderr


def test_busy_id(user):
    p = user.popen("run", "--name", "busy-1", "--", "sh", "-c", "echo up; exec sleep 20", stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == b"up\n"
    r = user.ctl("run", "--name", "busy-1", "--", "true")
    assert r.returncode == 3 and "spec.id" in r.stderr, r.stderr
    p.terminate()
    p.communicate(timeout=30)
    assert user.ctl("run", "--name", "busy-1", "--", "true").returncode == 0


def test_rejected_spec_is_evidence(user):
    r = user.ctl("run", "-", input='{"apiVersion":"cellos.io/v1","kind":"ExecutionCell","spec":{"id":"x","surprise":1}}')
    assert r.returncode == 3 and "spec.surprise" in r.stderr and "spec.authority" in r.stderr
    kinds = types(user.events())
    assert kinds == ["lifecycle.v1.rejected"]
    rejected = of_type(user.events(), "lifecycle.v1.rejected")[0]
    assert {"path", "rule", "message"} == set(rejected["violations"][0]) and len(rejected["violations"]) >= 3
    assert user.verify().returncode == 0


def test_nothing_is_left_behind(user):
    def daemons():
        return subprocess.run(["pgrep", "-fc", str(user.world / "bin/cellos-")], capture_output=True, text=True).stdout
    before = daemons()
    assert user.ctl("run", "--", "true").returncode == 0
    wait_for(lambda: daemons() == before)
    assert not any((user.state / "ids").iterdir()) or user.uid == 0


def test_a_stopped_sweeper_delays_a_run_and_ends_none(user):
    """What another run that tidies up holds for a moment, a busy machine may let it hold for long."""
    assert user.ctl("run", "--", "true").returncode == 0
    place, stop, held = user.state / "run", threading.Event(), []

    def sweeper():
        while not stop.is_set():
            for name in set(os.listdir(place)) - set(held):
                try:
                    fd = os.open(place / name, os.O_RDONLY | os.O_DIRECTORY)
                except OSError:
                    continue
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held.append(name)
                    time.sleep(0.3)
                except BlockingIOError:
                    pass
                os.close(fd)

    thread = threading.Thread(target=sweeper)
    thread.start()
    try:
        for _ in range(40):
            r = user.ctl("run", "--", "true")
            assert r.returncode == 0, r.stderr
            if held:
                break
        assert held
    finally:
        stop.set()
        thread.join()


def test_many_at_once_and_every_log_is_whole(user):
    """The events of an end race with one another under load: none may be left out, whoever comes first."""
    for _ in range(5):
        runs = [user.popen("run", "--secret", "tok", "--", "true", env={"CELLOS_SECRET_TOK": "x"},
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(8)]
        for p in runs:
            _, err = p.communicate(timeout=60)
            assert p.returncode == 0, err
    for log in user.logs():
        kinds = types(user.events(log))
        assert kinds[-1] == "lifecycle.v1.destroyed"
        assert {"command.v1.completed", "identity.v1.revoked", "compliance.v1.summary",
                "observability.v1.homeostasis", "evidence_bundle.v1.emitted"} <= set(kinds)
    assert user.ctl("verify").returncode == 0
