# SPDX-License-Identifier: MIT
"""`cellctl work` and `cellctl submit` against a real nats-server: hosts in namespaces of their own share a queue; hosts,
suites and the server die in the middle; and nothing is answered before the log has it."""
import hashlib
import json
import os
import signal
import subprocess
import time
from collections import Counter

import pytest

from conftest import ORDINARY_UID, of_type, wait_for
from hosts import Fleet, Host, Nats, Tap, shell, spec
from running import argv0, children


def uid_of(name):
    return 0 if name == "root" else ORDINARY_UID


@pytest.fixture(params=["root", "ordinary"])
def fleet(request, world):
    f = Fleet(world, uid_of(request.param))
    yield f
    f.close()


@pytest.fixture
def nats():
    n = Nats()
    yield n
    n.stop()


@pytest.fixture(params=["root", "ordinary"])
def host(request, world):
    h = Host(request.param, uid_of(request.param), world)
    yield h
    h.end()
    subprocess.run(["rm", "-rf", str(h.home)], check=True)


@pytest.fixture
def root_host(world):
    h = Host("root", 0, world)
    yield h
    h.end()
    subprocess.run(["rm", "-rf", str(h.home)], check=True)


def files(host, specs):
    return [host.file("spec-%03d.json" % i, s) for i, s in enumerate(specs)]


def check_logs(hosts, results):
    """Every log verifies, and every result says what its host's log says."""
    ends = {h.name: h.ends() for h in hosts}
    for h in hosts:
        for log in h.logs():
            v = h.verify(log)
            assert v.returncode == 0, v.stderr
    log_of = {log.name: log for h in hosts for log in h.logs()}
    for r in {r["log"]["origin"]: r for r in results}.values():  # one of each log against its host's own word
        h = next(h for h in hosts if h.name == r["host"])
        v = h.verify(log_of[r["log"]["origin"].split("/")[-1]], "--checkpoint", h.file("checkpoint", r["checkpoint"]))
        assert v.returncode == 0 and "not excluded" not in v.stdout + v.stderr, v
    for r in results:
        end = ends[r["host"]][r["runId"]]
        assert end["outcome"] == ("succeeded" if r.get("exitCode") == 0 else "failed"), (r, end)
        assert r["checkpoint"].startswith(r["log"]["origin"] + "\n")


def over(client, stream="Q"):
    wait_for(lambda: client.waiting(stream) == 0)


# ---- many hosts, one queue ----

def test_two_hosts(fleet):
    a, b = fleet.hosts
    for h in fleet.hosts:
        h.work(fleet.nats, "--create", "--lease", "10", "--parallel", "3")
    r = a.submit(fleet.nats, "--wait", *files(a, [shell("job-%d" % i, "sleep 0.2; exit %d" % (i == 7)) for i in range(30)]))
    assert r.returncode == 1, r.stderr
    assert len(r.stdout.splitlines()) == 30 and sum(" exited 0 " in l for l in r.stdout.splitlines()) == 29
    c = fleet.nats.client()
    over(c)
    results = c.results("Q")
    assert Counter(x["job"] for x in results).most_common(1)[0][1] == 1 and len(results) == 30
    assert {x["delivery"] for x in results} == {1} and c.results("Q", final=False) == []
    assert {x["host"] for x in results} == {"host1", "host2"}
    check_logs(fleet.hosts, results)
    assert sum(len(h.ends()) for h in fleet.hosts) == 30
    assert [h.stop() for h in fleet.hosts] == [0, 0]
    assert [len(h.logs()) for h in fleet.hosts] == [1, 1]


def test_a_host_dies(fleet):
    a, b = fleet.hosts
    b.work(fleet.nats, "--create", "--lease", "3", "--parallel", "2")
    a.work(fleet.nats, "--lease", "3", "--parallel", "3")
    jobs = a.submit(fleet.nats, *files(b, [shell("job-%d" % i, "sleep 1") for i in range(14)])).stdout.split()
    c = fleet.nats.client()
    wait_for(lambda: a.ends() and len(of_type(a.all_events(), "lifecycle.v1.started")) > len(a.ends()))
    before = a.ends()
    a.die()
    over(c)
    wait_for(lambda: {x["job"] for x in c.results("Q")} == set(jobs))
    results = c.results("Q")
    # What the dead host had finished and told is not done again; what it had in hand is.
    again = [x for x in results if x["delivery"] > 1]
    assert 1 <= len(again) <= 3 and all(x["host"] == "host2" for x in again)
    told = {x["runId"] for x in results if x["host"] == "host1"}
    assert told <= set(a.ends()) and len(told) >= len(before) - 3
    per_job = Counter(x["job"] for x in results)
    assert all(n == 1 or any(x["host"] == "host1" for x in results if x["job"] == j) for j, n in per_job.items())
    check_logs(fleet.hosts, results)
    # The dead host comes back: an empty queue, and a log of its own for the new suite.
    a.work(fleet.nats)
    assert a.submit(fleet.nats, "--wait", files(a, [shell("last", "true")])[0]).returncode == 0
    assert a.stop() == 0 and len(a.logs()) == 2


def test_a_host_is_cut_off(fleet):
    """Its cable is out: its cell is over before the other host begins the job anew."""
    a, b = fleet.hosts
    a.work(fleet.nats, "--create", "--lease", "3", "--parallel", "1")
    c = fleet.nats.client()
    c.stored("cellos.work.Q", shell("cut", "sleep 4"), "cut")
    started = lambda h: of_type(h.all_events(), "lifecycle.v1.started")
    wait_for(lambda: started(a))
    b.work(fleet.nats, "--parallel", "1")
    fleet.cable(1, False)
    wait_for(lambda: a.ends())
    assert not started(b)
    wait_for(lambda: started(b))
    end, = a.ends().values()
    assert end["reason"].startswith("the lease of its job was lost") and end["terminalState"] == "forced"
    fleet.cable(1, True)
    over(c)
    assert [(x["host"], x["exitCode"]) for x in c.results("Q")] == [("host2", 0)]
    check_logs([b], c.results("Q"))
    wait_for(lambda: a.submit(fleet.nats, "--id", "after", "--wait", "--timeout", "5", files(a, [shell("after", "true")])[0]).returncode == 0, 60)
    assert a.stop() == 0 and a.verify().returncode == 0


def test_one_at_a_time(fleet):
    """A host takes no more than it has room for: what it does not take is there for the other."""
    for h in fleet.hosts:
        h.work(fleet.nats, "--create", "--lease", "10", "--parallel", "1")
    assert fleet.hosts[0].submit(fleet.nats, "--wait", *files(fleet.hosts[0], [shell("j%d" % i, "sleep 0.5") for i in range(4)])).returncode == 0
    c = fleet.nats.client()
    assert Counter(x["host"] for x in c.results("Q")) == {"host1": 2, "host2": 2}
    for h in fleet.hosts:
        kinds = [e["type"].split(".")[-1] for e in h.all_events() if e["type"].endswith(("lifecycle.v1.started", "lifecycle.v1.destroyed"))]
        assert kinds == ["started", "destroyed"] * 2


# ---- the order of things ----

def test_nothing_is_answered_before_the_log_has_it(nats, host):
    seen, wrong = [], []

    def durable_ends():
        n = 0
        for log in host.logs():
            size = int((log / "checkpoint").read_text().splitlines()[1])
            n += sum(e["type"].endswith("lifecycle.v1.destroyed") for e in host.events(log)[:size])
        return n

    def look():
        seen.append(1)
        if durable_ends() < len(seen):
            wrong.append(len(seen))

    tap = Tap(nats, look)
    host.work(nats, "--create", "--lease", "10", url=tap.url)
    r = host.submit(nats, "--wait", *files(host, [shell("j%d" % i, "exit 0") for i in range(12)]))
    assert r.returncode == 0
    wait_for(lambda: len(seen) == 12)
    assert wrong == []
    assert host.stop() == 0
    tap.close()


def test_what_a_job_leaves(nats, host):
    """Output in files, bounded; ids from the publisher, the spec, or the stream; nothing on stdin."""
    host.work(nats, "--create", "--lease", "10", "--output-max", "1000", "--output-keep", "2")
    c = nats.client()
    c.stored("cellos.work.Q", shell("a", "head -c 5000 /dev/zero; wc -c >&2"), "nightly/7")
    c.stored("cellos.work.Q", shell("b", "kill -9 $$", correlation={"externalRunId": "ext-9"}))
    c.stored("cellos.work.Q", shell("c", "no-such-command"))
    c.stored("cellos.work.Q", spec("d", "/no/such/file"))
    over(c)
    wait_for(lambda: len(c.results("Q")) == 4)
    r = {x["job"]: x for x in c.results("Q")}
    assert set(r) == {"nightly/7", "ext-9", "Q:3", "Q:4"}
    a = r["nightly/7"]
    assert a["outcome"] == "exited" and a["exitCode"] == 0 and a["output"] == {"stdoutBytes": 1000, "stderrBytes": 2, "droppedBytes": 4000}
    out = host.state / "work" / a["runId"]
    assert (out / "stdout").stat().st_size == 1000 and (out / "stderr").read_text() == "0\n"
    assert (out / "stdout").stat().st_mode & 0o777 == 0o600 and out.stat().st_mode & 0o777 == 0o700
    assert r["ext-9"]["outcome"] == "signaled" and r["ext-9"]["signal"] == 9 and r["ext-9"]["externalRunId"] == "ext-9"
    assert r["Q:3"]["exitCode"] == 127 and r["Q:4"]["outcome"] == "notFound"
    for _ in range(3):
        assert host.submit(nats, "--wait", files(host, [shell("e", "exit 0")])[0]).returncode == 0
    assert len(list((host.state / "work").iterdir())) <= 5  # never fewer than can run at once, and the one that begins
    assert host.stop() == 0
    ends = host.ends()
    assert ends[r["ext-9"]["runId"]]["reason"] == "the command was ended by a signal"


def test_bad_specs(nats, host):
    host.work(nats, "--create", "--lease", "10")
    c = nats.client()
    bad = ["", "{", "[]", "\0\xff", json.dumps({"apiVersion": "cellos.io/v1"}), spec("../x", "/bin/true"), shell("x", "true", ttl=0), "x" * 1000000]
    for i, text in enumerate(bad):
        c.stored("cellos.work.Q", text.encode("latin-1"), "bad-%d" % i)
    over(c)
    wait_for(lambda: len(c.results("Q")) == len(bad))
    ends = host.ends()
    for r in c.results("Q"):
        assert r["outcome"] == "rejected" and r["final"] and r["violations"] and r["delivery"] == 1, r
        assert [v["message"] for v in ends[r["runId"]]["violations"]] == [v["message"] for v in r["violations"]]
    r = host.submit(nats, "--wait", files(host, [spec("../x", "/bin/true")])[0])
    assert r.returncode == 3 and "rejected" in r.stdout
    assert host.submit(nats, "--wait", files(host, [shell("good", "true")])[0]).returncode == 0
    assert host.stop() == 0
    for log in host.logs():
        assert host.verify(log).returncode == 0


def test_one_id_runs_once_at_a_time(nats, host):
    """The same spec many times: a host runs one cell of an id at a time, and gives none of them back."""
    host.work(nats, "--create", "--lease", "10")
    r = host.submit(nats, "--wait", *[host.file("same.json", shell("same", "sleep 0.1"))] * 6)
    assert r.returncode == 0 and len(r.stdout.splitlines()) == 6
    c = nats.client()
    assert {x["delivery"] for x in c.results("Q")} == {1} and c.results("Q", final=False) == []
    # A cell of that id which is not the worker's: it waits for that one too.
    with host.popen("run", host.file("same2.json", shell("same", "sleep 3")), stdin=subprocess.DEVNULL) as other:
        wait_for(lambda: len(host.logs()) == 2 and of_type(host.events(), "lifecycle.v1.started"))
        assert host.submit(nats, "--wait", "--timeout", "20", host.file("same.json", shell("same", "true"))).returncode == 0
        assert other.wait(10) == 0
    assert len(c.results("Q")) == 7 and c.results("Q", final=False) == []
    assert host.stop() == 0


# ---- what dies ----

def test_poison(nats, root_host):
    """A spec that was given out too often is not tried again: it is kept as a dead letter, exact to the byte."""
    host, c = root_host, nats.client()
    host.work(nats, "--create", "--lease", "3", "--max-deliver", "2")
    assert host.stop() == 0
    text = shell("poison", "true")
    c.stored("cellos.work.Q", text, "p1")
    for _ in range(2):
        reply, body = c.pull("Q")
        assert body.decode() == text
        c.ask(reply, "-NAK")
    host.work(nats, "--max-deliver", "2")
    over(c)
    wait_for(lambda: c.results("Q"))
    r, = c.results("Q")
    assert r["job"] == "p1" and r["outcome"] == "dead" and r["delivery"] == 3 and "runId" not in r
    subject, headers, body = c.messages("CELLOS_DEAD")[0]
    assert subject == "cellos.work.dead" and body.decode() == text and "dead:p1" in headers
    assert "dead letter" in host.said() and host.ends() == {}
    assert host.stop() == 0


def test_a_dead_letter_that_nobody_keeps(nats, root_host):
    """Then the spec stays where it is."""
    host, c = root_host, nats.client()
    host.work(nats, "--create", "--lease", "3")
    assert host.stop() == 0
    c.stored("cellos.work.Q", shell("poison", "true"), "p1")
    c.ask(c.pull("Q")[0], "-NAK")
    host.work(nats, "--max-deliver", "1", "--dead", "nowhere.dead")
    wait_for(lambda: "no stream keeps dead letters (nowhere.dead)" in host.said())
    assert host.stop() == 0
    assert c.waiting("Q") == 1 and c.results("Q") == []


def daemon(host, name):
    return next(p for p in children().get(host.pid(), []) if argv0(p) == "cellos-" + name)


@pytest.mark.parametrize("name", ["signerd", "supervisor", "netd", "proxyd"])
def test_the_suite_dies(nats, root_host, name):
    host, c = root_host, nats.client()
    host.work(nats, "--create", "--lease", "10")
    c.stored("cellos.work.Q", shell("s", "[ -e /tmp/x ] || sleep 2"), "s1")
    wait_for(lambda: of_type(host.all_events(), "lifecycle.v1.started"))
    os.kill(daemon(host, name), signal.SIGKILL)
    wait_for(lambda: "the suite failed: cellos-" in host.said())
    wait_for(lambda: c.results("Q"))
    r, = c.results("Q")
    assert r["delivery"] == 2 and r["exitCode"] == 0
    attempt, = c.results("Q", final=False)
    assert attempt["outcome"] == "suiteFailed" and attempt["runId"] != r["runId"] and not attempt["final"]
    assert len(host.logs()) == 2
    over(c)
    assert host.stop() == 0
    assert host.ends()[r["runId"]]["outcome"] == "succeeded"
    v = host.verify(host.logs()[-1])
    assert v.returncode == 0, v.stderr


def test_the_server_dies(nats, host):
    """Killed and started again with its store, twice: every job is done; cells go on meanwhile."""
    host.work(nats, "--create", "--lease", "8", "--parallel", "2")
    jobs = host.submit(nats, *files(host, [shell("j%d" % i, "sleep 0.4") for i in range(12)])).stdout.split()
    for n in (2, 5):
        wait_for(lambda: len(host.ends()) >= n)
        nats.kill()
        time.sleep(0.5)
        nats.start()
    c = nats.client()
    wait_for(lambda: {x["job"] for x in c.results("Q")} == set(jobs), 40)
    # Not over(c): a server that was killed may have forgotten that it removed a message, though not that it was answered.
    left = c.request("$JS.API.CONSUMER.INFO.Q.cellos-work")
    assert left["num_pending"] == 0
    assert all(x["exitCode"] == 0 for x in c.results("Q")) and "connected again" in host.said()
    assert "lease" not in host.said().split("\n", 1)[1]
    check_logs_of(host, c)
    assert host.stop() == 0


def check_logs_of(host, c):
    ends = host.ends()
    assert all(ends[x["runId"]]["outcome"] == "succeeded" for x in c.results("Q"))
    for log in host.logs():
        assert host.verify(log).returncode == 0


def test_a_lost_lease(nats, host):
    """The server is silent for longer than a lease: the cell is over before the lease is, and its log says why."""
    host.work(nats, "--create", "--lease", "6")
    c = nats.client()
    c.stored("cellos.work.Q", shell("l", "sleep 9"), "l1")
    wait_for(lambda: of_type(host.all_events(), "lifecycle.v1.started"))
    time.sleep(0.5)
    nats.p.send_signal(signal.SIGSTOP)
    silent = time.monotonic()
    wait_for(lambda: host.ends(), 40)
    assert time.monotonic() - silent < 6
    first, = host.ends().values()
    assert first["reason"] == "the lease of its job was lost: another host may have it now" and first["terminalState"] == "forced"
    time.sleep(3)
    nats.p.send_signal(signal.SIGCONT)
    wait_for(lambda: c.results("Q"), 40)
    r, = c.results("Q")
    assert r["exitCode"] == 0 and r["delivery"] >= 2 and r["runId"] != first["runId"]
    over(c)
    assert "its lease could not be renewed in time" in host.said()
    assert host.stop() == 0
    for log in host.logs():
        assert host.verify(log).returncode == 0


def test_results_that_nobody_keeps(nats, root_host):
    """The evidence is the log: a job is done all the same, and the operator hears of it once."""
    host, c = root_host, nats.client()
    host.work(nats, "--create", "--lease", "10", "--results", "kept.results")
    assert host.stop() == 0
    c.request("$JS.API.STREAM.DELETE.Q_RESULTS")
    host.work(nats, "--results", "nowhere.results")
    for i in range(3):
        c.stored("cellos.work.Q", shell("n%d" % i, "true"))
    over(c)
    assert host.said().count("no stream keeps results (nowhere.results.>)") == 1
    assert host.stop() == 0
    host.work(nats, "--results", "none")
    c.stored("cellos.work.Q", shell("n", "true"))
    over(c)
    assert "no stream" not in host.said() and host.stop() == 0
    assert len(host.ends()) == 4


def test_a_lease_is_renewed(nats, root_host):
    """A cell that lives longer than a lease keeps it."""
    host, c = root_host, nats.client()
    host.work(nats, "--create", "--lease", "2")
    assert host.submit(nats, "--wait", files(host, [shell("long", "sleep 5")])[0]).returncode == 0
    r, = c.results("Q")
    assert r["delivery"] == 1 and c.results("Q", final=False) == []
    assert host.stop() == 0


# ---- the end ----

def test_stop_lets_cells_finish(nats, host):
    host.work(nats, "--create", "--lease", "10")
    c = nats.client()
    c.stored("cellos.work.Q", shell("s", "sleep 1.5"), "s1")
    wait_for(lambda: of_type(host.all_events(), "lifecycle.v1.started"))
    os.kill(host.pid(), signal.SIGTERM)
    wait_for(lambda: "stopping: 1 running cell" in host.said())
    c.stored("cellos.work.Q", shell("t", "true"), "t1")
    assert host.p.wait(10) == 0
    assert [x["job"] for x in c.results("Q")] == ["s1"] and c.waiting("Q") == 1


@pytest.mark.parametrize("how", ["grace", "again"])
def test_stop_gives_back(nats, host, how):
    host.work(nats, "--create", "--lease", "10", "--grace", "1" if how == "grace" else "60")
    c = nats.client()
    c.stored("cellos.work.Q", shell("s", "sleep 30"), "s1")
    wait_for(lambda: of_type(host.all_events(), "lifecycle.v1.started"))
    os.kill(host.pid(), signal.SIGTERM)
    if how == "again":
        time.sleep(0.2)
        os.kill(host.pid(), signal.SIGTERM)
    assert host.p.wait(25) == 0  # before the job ends by itself, and the longer grace
    assert c.results("Q") == [] and c.waiting("Q") == 1
    attempt, = c.results("Q", final=False)
    assert attempt["outcome"] == "stopped"
    end, = host.ends().values()
    assert end["reason"] == "the host stops: its job goes to another one"
    assert json.loads(c.pull("Q")[1])["spec"]["id"] == "s"  # at once, not after the lease
    assert host.verify().returncode == 0


# ---- words ----

@pytest.mark.parametrize("args, status, text", [
    (["work"], 1, "--nats URL is missing"),
    (["work", "--nats", "nats://127.0.0.1:1"], 1, "--stream NAME is missing"),
    (["work", "--nats", "nats://127.0.0.1:1", "--stream", "a.b"], 1, "--stream must be 1 to 32"),
    (["work", "--nats", "http://x", "--stream", "a"], 1, "is no NATS server"),
    (["work", "--nats", "nats://u:p@h", "--stream", "a"], 1, "would be seen by everybody"),
    (["work", "--nats", "nats://h", "--stream", "a", "--lease", "1"], 1, "--lease must be a number from 2 to 3600"),
    (["work", "--nats", "nats://h", "--stream", "a", "--dead", "a.>"], 1, "--dead must be a subject"),
    (["work", "--nats", "nats://h", "--stream", "a", "--evidence", "x"], 1, "must be strict or async"),
    (["work", "--nats", "nats://h", "--stream", "a", "--leese", "3"], 1, "unknown flag"),
    (["work", "--nats", "nats://h", "--stream", "a", "x.json"], 1, "specs come from the queue"),
    (["work", "--nats", "nats://h", "--stream"], 1, "--stream needs a value"),
    (["submit", "--nats", "nats://h", "--stream", "a"], 1, "documents are needed"),
    (["submit", "--nats", "nats://h", "--stream", "a", "--id", "x", "a", "b"], 1, "--id is for one document"),
    (["submit", "--nats", "nats://127.0.0.1:1", "--stream", "a", "/dev/null"], 2, "failed"),
])
def test_usage(ordinary, args, status, text):
    r = ordinary.ctl(*args)
    assert r.returncode == status and text in r.stderr, r.stderr


def test_a_queue_that_is_not_one(nats, ordinary):
    url = ["--nats", nats.url, "--stream", "Q"]
    r = ordinary.ctl("work", *url)
    assert r.returncode == 2 and "make the stream" in r.stderr, r.stderr
    c = nats.client()
    c.request("$JS.API.STREAM.CREATE.Q", json.dumps({"name": "Q", "subjects": ["q.>"]}))
    r = ordinary.ctl("submit", *url, ordinary.file("s.json", shell("s", "true")))
    assert r.returncode == 2 and "--subject" in r.stderr
    c.request("$JS.API.CONSUMER.DURABLE.CREATE.Q.mine", json.dumps({"stream_name": "Q", "config": {
        "durable_name": "mine", "ack_policy": "explicit", "ack_wait": 7 * 10 ** 9}}))
    r = ordinary.ctl("work", *url, "--consumer", "mine", "--lease", "9")
    assert r.returncode == 2 and "has a lease of 7 seconds" in r.stderr
    r = ordinary.ctl("submit", *url, "--subject", "q.x", "--id", "one", ordinary.file("s.json", shell("s", "true")))
    assert r.returncode == 0 and r.stdout == "one\n"
    r = ordinary.ctl("submit", *url, "--subject", "q.x", "--id", "one", ordinary.file("s.json", shell("s", "true")))
    assert r.returncode == 0 and "already" in r.stderr and c.waiting("Q") == 1


def test_an_id_that_comes_back_has_its_own_result(nats, ordinary):
    """A nightly job has the same id every night: --wait does not take the result of the last one for that of this one."""
    c, url = nats.client(), ["--nats", nats.url, "--stream", "Q"]
    c.request("$JS.API.STREAM.CREATE.Q", json.dumps({"name": "Q", "subjects": ["cellos.work.Q"], "retention": "workqueue", "duplicate_window": 10 ** 8}))
    c.request("$JS.API.STREAM.CREATE.Q_RESULTS", json.dumps({"name": "Q_RESULTS", "subjects": ["cellos.results.Q.>"]}))
    subject = "cellos.results.Q.%s.final" % hashlib.sha256(b"nightly").hexdigest()[:32]
    result = lambda code: c.stored(subject, json.dumps({"job": "nightly", "outcome": "exited", "exitCode": code, "final": True}))
    file = ordinary.file("s.json", shell("s", "true"))
    result(7)
    r = ordinary.ctl("submit", *url, "--id", "nightly", "--wait", "--timeout", "2", file)
    assert r.returncode == 124 and "1 of 1 jobs are not over" in r.stderr, r.stdout + r.stderr
    time.sleep(0.3)
    p = ordinary.popen("submit", *url, "--id", "nightly", "--wait", "--timeout", "20", file, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: c.waiting("Q") == 2)
    result(5)
    said, _ = p.communicate(timeout=30)
    assert p.returncode == 5 and "exited 5" in said, said
