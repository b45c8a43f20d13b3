# SPDX-License-Identifier: MIT
"""Any process may die at any time, the disk may fill up, the log may be torn: nothing gets out, nothing acknowledged is
lost, nothing is left."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import evidence
from conftest import PATIENCE, SANITIZED, host_addresses, of_type, types, wait_for
from running import DAEMONS, Running, stat
from servers import Tcp, Udp, drip

# The workload of these tests: a long download from the allowed host, and over and over, by every way it can think of, an
# attempt at hosts it may not reach. Ignores SIGTERM: only a kill ends it.
RESTLESS = """
import os, signal, socket, sys, threading, time
port, bad_tcp, bad_udp, others = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def wander():
    while True:
        for target in [("127.0.0.1", bad_tcp), ("::1", bad_tcp), ("127.0.0.1", port), ("203.0.113.5", port),
                       *((a, bad_tcp) for a in others if a)]:
            try:
                s = socket.create_connection(target, 0.3)
                s.settimeout(0.3)
                s.sendall(b"GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n")
                s.recv(100)
                s.close()
            except OSError: pass
        for a in ["127.0.0.1", "203.0.113.5", *others]:
            try:
                s = socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_DGRAM)
                s.sendto(b"out", (a, bad_udp))
            except OSError: pass
        try: socket.getaddrinfo("other.test", bad_tcp)
        except OSError: pass
        time.sleep(0.02)
c = socket.create_connection(("example.test", port), 20)
c.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test:%d\\r\\n\\r\\n" % port)
assert c.recv(100).startswith(b"HTTP/1.1 200"), "no download"
for _ in range(2): threading.Thread(target=wander, daemon=True).start()
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(1)
print("up", flush=True)
while True:
    if not c.recv(4096): time.sleep(0.05)
"""


class Scene:
    """An allowed server that drips, and two places nobody may come to."""

    def __init__(self, dns):
        self.good, self.bad, self.udp = Tcp(drip), Tcp(hosts=("127.0.0.1", "::1")), Udp()
        self.others = []
        for a in host_addresses():
            try:
                self.others.append(Tcp(hosts=(a,), port=self.bad.port))
            except OSError:
                pass
        self.flags = ["--allow", "example.test:%d/http" % self.good.port, "--dns", "127.0.0.1:%d" % dns.port,
                      "--allow-answer", "example.test:127.0.0.1", "--allow-answer", "example.test:::1"]

    def argv(self, text=RESTLESS):
        return ["python3", "-c", text, str(self.good.port), str(self.bad.port), str(self.udp.port),
                ",".join(o.sockets[0].getsockname()[0] for o in self.others)]

    def untouched(self):
        return [len(s.peers) for s in (self.bad, *self.others)] + [len(self.udp.got)] == [0] * (2 + len(self.others))

    def close(self):
        for s in (self.good, self.bad, self.udp, *self.others):
            s.close()


@pytest.fixture
def scene(dns):
    s = Scene(dns)
    yield s
    s.close()


def log_is_good(user):
    """By the suite's own verifier. What was acknowledged (the lines given to --events) is a prefix of it."""
    r = user.verify()
    assert r.returncode == 0, r.stdout + r.stderr


@pytest.mark.parametrize("victim", [*DAEMONS, "zygote", "init", "cellctl"])
def test_kill_in_the_middle_of_a_run(user, scene, dns, victim):
    asked = len(dns.asked("other.test"))
    followed = user.home / "events.jsonl"
    with Running(user, "--events", followed, *scene.flags, "--", *scene.argv()) as r:
        time.sleep(0.3)
        r.look()
        assert len(r.workload) >= 2
        before = len(scene.good.peers)
        r.kill(victim)
        t = time.monotonic()
        code, _, err = r.end()
        assert code == (-9 if victim == "cellctl" else 125), (code, err)
        assert r.gone() is True, r.gone()
        assert time.monotonic() - t < (30 if SANITIZED else 15)
        assert victim == "cellctl" or "cellctl run: " in err
    connections = len(scene.good.peers)
    time.sleep(0.2)
    assert before >= 1 and len(scene.good.peers) == connections
    assert scene.untouched() and len(dns.asked("other.test")) == asked
    log_is_good(user)
    lines = evidence.lines_of(user.last_log())
    told = followed.read_bytes().split(b"\n")[:-1]
    assert lines[:len(told)] == told and len(told) >= 3
    order = types(user.events())
    assert "lifecycle.v1.started" in order
    assert any(e["action"] == "deny" for e in of_type(user.events(), "observability.v1.l7_egress_decision")), "it tried"
    if victim not in ("signerd", "supervisor"):  # who can still be told is told
        assert order[-1] == "lifecycle.v1.destroyed"
        destroyed = of_type(user.events(), "lifecycle.v1.destroyed")[0]
        assert (destroyed["outcome"], destroyed["terminalState"]) == ("failed", "forced")


@pytest.mark.parametrize("victim", [*DAEMONS, "zygote"])
def test_kill_before_the_start(user, victim):
    """Killed while the cell is being made: nothing runs, nothing is left."""
    for delay in (0.0, 0.004, 0.012, 0.02):
        with Running(user, "--", "sh", "-c", "echo ran; sleep 0.5", wait=False) as r:
            wait_for(lambda: victim in r.look() or r.p.poll() is not None, 10)
            time.sleep(delay)
            r.look()
            if victim not in r.names:
                continue
            try:
                r.kill(victim)
            except ProcessLookupError:
                pass
            code, out, err = r.end()
            assert code in (0, 125), (code, err)
            assert r.gone() is True, r.gone()
            if (user.last_log() / "checkpoint").exists():
                log_is_good(user)


# ---- time ----

@pytest.mark.parametrize("stopped", ["supervisor", "init", "zygote", "netd"])
def test_a_stopped_process_does_not_prolong_a_cell(user, stopped):
    """The deadline is kept twice: by cell init and by the supervisor."""
    doc = json.loads(user.ctl("run", "--print-spec", "--ttl", "1", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done").stdout)
    doc["spec"]["run"].setdefault("limits", {})["gracefulShutdownSeconds"] = 1
    spec = user.file("stop.json", json.dumps(doc))
    with Running(user, spec) as r:
        t = time.monotonic()
        r.kill(stopped, signal.SIGSTOP)
        try:
            wait_for(lambda: not any((s := stat(p)) and s[0] != "Z" for p in r.workload), 40)
            assert time.monotonic() - t < 30  # it would go on for ever
        finally:
            try:
                r.kill(stopped, signal.SIGCONT)
            except ProcessLookupError:  # init, which the supervisor killed; the zygote, which dies with it
                assert stopped in ("init", "zygote")
        code, _, err = r.end()
        assert code in (124, 125), (code, err)
        assert r.gone() is True
    log_is_good(user)


def test_no_effect_without_evidence(user, scene, dns):
    """signerd is stopped: an allowed request is not forwarded, neither to the resolver nor to the host."""
    text = """
import socket, sys
print("up", flush=True)
sys.stdin.readline()
for attempt in range(2):
    try:
        s = socket.create_connection(("example.test", int(sys.argv[1])), 12)
        s.settimeout(12)
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test\\r\\n\\r\\n")
        print("answer", s.recv(20))
    except OSError as e: print("failed", e)
    try:
        s = socket.create_connection(("203.0.113.77", int(sys.argv[1])), 12)
        s.settimeout(12)
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test\\r\\n\\r\\n")
        print("answer", s.recv(20))
    except OSError as e: print("failed", e)
"""
    with Running(user, *scene.flags, "--", *scene.argv(text), stdin=subprocess.PIPE) as r:
        asked = len(dns.asked("example.test"))
        r.kill("signerd", signal.SIGSTOP)
        r.p.stdin.write(b"go\n")
        r.p.stdin.flush()
        time.sleep(4)
        assert len(dns.asked("example.test")) == asked and scene.good.peers == []
        time.sleep(4)
        assert len(dns.asked("example.test")) == asked and scene.good.peers == []
        r.kill("signerd", signal.SIGCONT)
        r.p.stdin.close()
        r.p.stdin = None
        code, out, err = r.end()
        assert r.gone() is True
        assert out.startswith("failed"), out
        assert code in (0, 125), (code, err)
        assert err or of_type(user.events(), "observability.v1.dns_answer"), "the refusal is said or sealed"
    log_is_good(user)


# ---- a full disk ----

FULL = r"""
set -e
state=$1; size=$2; uid=$3; out=$4; shift 4
mkdir -p "$state"
mount -t tmpfs -o size=$size,uid=$uid,gid=$uid,mode=700 tmpfs "$state"
echo "$state" >"$out/mounted"
set +e
"$@"
code=$?
cp -a "$state" "$out/state"
exit $code
"""


class Small:
    """A run whose state directory is a small tmpfs in a mount namespace of its own; a copy of it afterwards in out/state."""

    def __init__(self, user, size, *args):
        self.user = user
        self.out = Path(tempfile.mkdtemp(prefix="small-", dir=user.home))
        user.state.mkdir(parents=True)
        for p in (self.out, user.home / ".local", user.home / ".local/state", user.state):
            os.chown(p, user.uid, user.uid)
        cmd = ["unshare", "--mount", "--propagation", "private", "sh", "-c", FULL, "sh", str(user.state), size, str(user.uid),
               str(self.out), *user.command("run", *args)]
        self.err = tempfile.TemporaryFile()
        self.p = subprocess.Popen(cmd, env=user.env, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err)

    def fill(self):
        """Leaves no byte free."""
        path = Path("/proc/%d/root%s/filler" % (self.p.pid, self.user.state))
        with open(path, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(65536))
            except OSError:
                pass
            for n in (4096, 1):
                try:
                    while True:
                        f.write(bytes(n))
                except OSError:
                    pass

    def end(self):
        out, _ = self.p.communicate(timeout=PATIENCE)
        self.err.seek(0)
        return self.p.returncode, out.decode(), self.err.read().decode()

    def log(self):
        (log,) = (self.out / "state/log").iterdir()
        return log

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()


TALKS = """
import os, socket, sys, time
print("up", flush=True)
sys.stdin.readline()
import threading
def ask(i):
    for n in range(400):
        try: socket.getaddrinfo("name-%d-%d.test" % (i, n), 80)
        except OSError: pass
        time.sleep(0.01)
ts = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
for t in ts: t.start()
for t in ts: t.join()
try:
    s = socket.create_connection(("203.0.113.5", int(sys.argv[1])), 3)
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test\\r\\n\\r\\n")
    s.settimeout(3)
    s.recv(10)
except OSError: pass
time.sleep(20)
print("still here", flush=True)
"""


def test_full_disk_under_the_log(user, scene):
    """No event is acknowledged, the cell is ended, what there is verifies, and the last word is there."""
    with Small(user, "8m", *scene.flags, "--", *scene.argv(TALKS)) as r:
        assert r.p.stdout.readline() == b"up\n"
        r.fill()
        t = time.monotonic()
        r.p.stdin.write(b"go\n")
        r.p.stdin.close()
        r.p.stdin = None
        code, out, err = r.end()
        assert code == 125 and "still here" not in out, (code, out, err)
        assert "disk" in err or "No space" in err, err
        assert time.monotonic() - t < 20
        assert scene.good.peers == [], "an allowed dial without evidence"
        copy = user.ctl("verify", r.log())
        assert copy.returncode == 0, copy.stdout + copy.stderr
        events = user.events(r.log())
        assert types(events)[-1] == "lifecycle.v1.destroyed", types(events)
        assert of_type(events, "lifecycle.v1.destroyed")[0]["terminalState"] == "forced"
        assert len(evidence.check_log(r.log())) == len(events)


@pytest.mark.parametrize("size", ["4k", "64k", "256k"])
def test_disk_too_small_to_begin(user, size):
    with Small(user, size, "--", "sh", "-c", "echo ran") as r:
        code, out, err = r.end()
        assert code == 125 and out == "", (code, out, err)
        assert "space" in err.lower() or "disk" in err.lower() or "full" in err.lower(), err


# ---- a torn log, and signerd's next start on it ----

class Signerd:
    """cellos-signerd started on an existing log, by the same variables as systemd's."""

    def __init__(self, user, log):
        names = ["supervisor", "netd", "proxyd"]
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in names]
        self.lines = [a for a, _ in pairs]
        fds = [b.fileno() for _, b in pairs] + [os.open(user.state / "keys", os.O_RDONLY), os.open(log, os.O_RDONLY)]

        def become():
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
            if user.uid:
                os.setgroups([])
                os.setresgid(user.uid, user.uid, user.uid)
                os.setresuid(user.uid, user.uid, user.uid)
            os.environ.update(LISTEN_FDS="5", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=":".join(names + ["keys", "log"]))
            os.execv(user.world / "bin/cellos-signerd", ["cellos-signerd", "--mode", "embedded", "--origin-suffix", log.name])

        self.err = tempfile.TemporaryFile()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.dup2(self.err.fileno(), 2)
                become()
            finally:
                os._exit(99)
        for _, b in pairs:
            b.close()
        for fd in fds[3:]:
            os.close(fd)

    def end(self):
        """Waits for its hello (the log is open then) or its end; closes the lines. (exit status, stderr)"""
        self.lines[0].settimeout(PATIENCE)
        try:
            self.lines[0].recv(100)
            time.sleep(0.2)
        except OSError:
            pass
        for s in self.lines:
            s.close()
        end = time.monotonic() + PATIENCE
        while True:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        self.err.seek(0)
        return os.waitstatus_to_exitcode(code), self.err.read().decode()


@pytest.fixture
def finished(user):
    """A user with one finished run."""
    assert user.ctl("run", "--", "true").returncode == 0
    return user


def last_segment(log):
    return sorted(log.glob("*.jsonl"))[-1]


def half(lines):
    return lines[-1][:len(lines[-1]) // 2]


TORN = {
    "half a line": lambda lines: half(lines),
    "one byte": lambda lines: b"{",
    "garbage": lambda lines: os.urandom(3000),
    "garbage and line feeds": lambda lines: b"\n\n" + os.urandom(3000).replace(b"\0", b"\n"),
    "zeros": lambda lines: bytes(8192),
    "a line again": lambda lines: lines[-1] + b"\n",
    "a megabyte": lambda lines: b"x" * (1 << 20),
}


@pytest.mark.parametrize("tear", TORN)
def test_torn_tail_is_moved_away(finished, tear):
    """What stands behind the last checkpoint and is no event: the next start takes it away and says so, signed."""
    log, user = finished.last_log(), finished
    before = evidence.lines_of(log)
    tail = TORN[tear](before)
    with open(last_segment(log), "ab") as f:
        f.write(tail)
    code, err = Signerd(user, log).end()
    assert code == 0, err
    after = evidence.lines_of(log)
    assert after[:len(before)] == before and len(after) == len(before) + 1
    log_is_good(user)
    recovered = json.loads(after[-1])
    assert recovered["type"].endswith("log.v1.recovered") and recovered["data"]["tornBytes"] == len(tail)
    assert recovered["data"]["tornDigest"] == "sha256:" + evidence.sha256(tail).hex()
    assert recovered["data"]["previousSize"] == len(before)
    kept = [p.read_bytes() for p in (log / "torn").iterdir()]
    assert kept == [tail]


@pytest.mark.parametrize("loss", ["a byte", "a line", "everything", "the segment", "the checkpoint", "garbled checkpoint", "garbled line"])
def test_a_log_that_lost_something_is_not_continued(finished, loss):
    """Less than the checkpoint promises: exit 4, the file and the remedy named, nothing changed."""
    log, user = finished.last_log(), finished
    segment = last_segment(log)
    data = segment.read_bytes()
    if loss == "a byte":
        segment.write_bytes(data[:-1])
    elif loss == "a line":
        segment.write_bytes(data[:data.rindex(b"\n", 0, -1) + 1])
    elif loss == "everything":
        segment.write_bytes(b"")
    elif loss == "the segment":
        segment.unlink()
    elif loss == "the checkpoint":
        (log / "checkpoint").unlink()
    elif loss == "garbled checkpoint":
        (log / "checkpoint").write_bytes(b"hello\n")
    else:
        segment.write_bytes(data.replace(b'"runid"', b'"runix"', 1))
    now = {p: p.read_bytes() for p in log.rglob("*") if p.is_file()}
    assert user.verify().returncode == 4
    code, err = Signerd(user, log).end()
    if loss == "garbled line":  # an old line is not read again at start-up: verify is who sees it
        assert code in (0, 4), err
        assert user.verify().returncode == 4
        return
    assert code == 4, (code, err)
    assert "checkpoint" in err or ".jsonl" in err, err
    assert {p: p.read_bytes() for p in log.rglob("*") if p.is_file() and p.name != "checkpoint.spare"} == \
        {p: b for p, b in now.items() if p.name != "checkpoint.spare"}


def test_a_second_signer_on_the_same_log_is_refused(user):
    with Running(user, "--", "sh", "-c", "echo up; sleep 30") as r:
        code, err = Signerd(user, user.last_log()).end()
        assert code != 0 and err, (code, err)
        r.p.terminate()
        assert r.end()[0] == 143
    log_is_good(user)


def test_signerd_killed_again_and_again_under_load(user, scene):
    """Whenever it dies: what was acknowledged is there, what is there verifies, and the next start goes on."""
    text = """
import socket, sys, threading
print("up", flush=True)
def ask(i):
    n = 0
    while True:
        n += 1
        try: socket.getaddrinfo("a%d-%d.example.test" % (i, n), 80)
        except OSError: pass
for i in range(6): threading.Thread(target=ask, args=(i,)).start()
"""
    for delay in (0.05, 0.11, 0.23, 0.31):
        followed = user.home / "events.jsonl"
        with Running(user, "--events", followed, *scene.flags, "--", *scene.argv(text)) as r:
            time.sleep(delay)
            r.kill("signerd")
            assert r.end()[0] == 125
            assert r.gone() is True
        log = user.last_log()
        log_is_good(user)
        told = followed.read_bytes().split(b"\n")[:-1]
        code, err = Signerd(user, log).end()
        assert code == 0, err
        log_is_good(user)
        lines = evidence.lines_of(log)
        assert lines[:len(told)] == told
        assert len(evidence.check_log(log)) == len(lines) or json.loads(lines[-1]).get("runid") is None
