# SPDX-License-Identifier: MIT
"""Ends at the worst moment: signals and deaths in the middle of the start, readers that do not read, stopped processes."""
import contextlib
import ctypes
import glob
import os
import random
import signal
import socket
import subprocess
import time

import pytest

from conftest import PATIENCE, of_type, types, wait_for
from running import Running, stat

PR_SET_CHILD_SUBREAPER = 36


def children(pid):
    return [int(n) for n in os.listdir("/proc") if n.isdigit() and (s := stat(int(n))) and s[1] == pid]


def everything_below(pid):
    found, todo = [], [pid]
    while todo:
        more = children(todo.pop())
        found += more
        todo += more
    return [p for p in found if (s := stat(p)) and s[0] != "Z"]


def comm(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


SUITE = ("cellos-signerd", "cellos-supervis", "cellos-netd", "cellos-proxyd", "cellos-zygote", "exe", "cellos-init")


def reap_all():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


@pytest.fixture
def reaper():
    """What a killed cellctl leaves comes to us, not to the host's init, and can be seen."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


BROOD = "for i in 1 2 3 4; do (setsid sh -c 'trap \"\" TERM INT HUP; sleep 200' &); done; sleep 200"


@pytest.mark.parametrize("what", ["cellctl", "anyone"])
def test_killed_at_any_moment_nothing_stays(user, reaper, what):
    """kill -9 somewhere between fork and GO, of cellctl or of any process of the suite."""
    chance = random.Random(what + user.name)
    before = set(children(os.getpid()))
    for i in range(12):
        p = user.popen("run", "--ttl", "200", "--", "sh", "-c", BROOD, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        moment = chance.uniform(0, 0.13)
        time.sleep(moment)
        targets = [c for c in everything_below(p.pid) if what == "anyone" and comm(c) in SUITE]
        try:
            os.kill(chance.choice(targets) if targets else p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            p.poll()
            left = [c for c in set(children(os.getpid())) - before if c != p.pid or p.poll() is None]
            left = [c for c in left if (s := stat(c)) and s[0] != "Z"]
            if not left:
                break
            time.sleep(0.02)
        names = [comm(c) for c in left]
        for c in left:
            os.kill(c, signal.SIGKILL)
        p.wait(PATIENCE)
        reap_all()
        assert not left, (i, moment, names)
    for log in user.logs():
        if glob.glob(str(log / "checkpoint")):
            assert user.verify(log).returncode == 0


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
def test_no_signal_is_lost_before_the_start(ordinary, signum):
    """A terminal that is closed while the namespaces are made: the command must not go on alone for an hour."""
    chance = random.Random(signum)
    for _ in range(8):
        p = ordinary.popen("run", "--", "sleep", "60", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 0.1))
        p.send_signal(signum)
        assert p.wait(PATIENCE) in (125, 128 + signum, -signum)


def test_a_zygote_whose_supervisor_has_ended_says_nothing(ordinary):
    """A refused spec: the supervisor may be over before its zygote is up. cellctl's stderr is for the refusal."""
    ours, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    program, *args = ordinary.command("--zygote", os.getpid(), ordinary.uid, ordinary.uid, 0, 0, 0)
    args[args.index(ordinary.cellctl)] = str(ordinary.world / "bin/cellos-supervisor")
    p = subprocess.run(["bash", "-c", 'exec "$@" 3<&%d' % line.fileno(), "bash", program, *args], pass_fds=(line.fileno(),),
                       capture_output=True, timeout=PATIENCE)
    line.close()
    assert (p.returncode, p.stderr) == (1, b"")


def test_a_signal_beside_the_last_acknowledgement_is_not_lost(ordinary):
    """It reaches the supervisor in the same moment as signerd's word that lifecycle.started is durable."""
    for i in range(6):
        before = len(ordinary.logs()) if (ordinary.state / "log").exists() else 0
        p = ordinary.popen("run", "--", "sleep", "600", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_for(lambda: (ordinary.state / "log").exists() and len(ordinary.logs()) > before
                     and any("network_scope" in t for t in types(ordinary.events())))
            pids = {comm(c): c for c in children(p.pid)}
            time.sleep(0.01)
            os.kill(pids["cellos-signerd"], signal.SIGSTOP)
            time.sleep(0.5)  # what still can go on goes on, as far as it waits for signerd
            os.kill(pids["cellos-supervis"], signal.SIGSTOP)
            told = [lambda: os.kill(pids["cellos-signerd"], signal.SIGCONT), lambda: p.send_signal(signal.SIGQUIT)]
            for tell in told if i % 2 else reversed(told):
                tell()
                time.sleep(0.2)
            os.kill(pids["cellos-supervis"], signal.SIGCONT)
            assert p.wait(PATIENCE) in (125, 128 + signal.SIGQUIT)
            error = p.stderr.read()
            assert p.returncode != 125 or b"interrupted before the start" in error, error
        finally:
            p.kill()
            p.wait()
            p.stderr.close()


def test_what_the_caller_ignores_is_not_forwarded(ordinary):
    """nohup cellctl run ...: the terminal's end is not the cell's."""
    p = ordinary.popen("run", "--", "sh", "-c", "echo up; sleep 1; exit 7", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert p.stdout.readline() == b"up\n"
    p.send_signal(signal.SIGHUP)
    assert p.wait(PATIENCE) == 7
    p.stdout.close()


def full_pipe():
    r, w = os.pipe()
    os.set_blocking(w, False)
    for n in (4096, 1):
        try:
            while True:
                os.write(w, b"x" * n)
        except BlockingIOError:
            pass
    os.set_blocking(w, True)
    return r, w


def destroyed_in_time(user):
    wait_for(lambda: (user.state / "log").exists() and user.logs() and "lifecycle.v1.destroyed" in types(user.events()), PATIENCE)


@contextlib.contextmanager
def unread_stderr(user):
    """A run whose stderr nobody reads and that has lost its netd: (cellctl, the pipe's reading end)."""
    r, w = full_pipe()
    p = user.popen("run", "--", "sh", "-c", "echo up; sleep 60", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=w)
    os.close(w)
    try:
        assert p.stdout.readline() == b"up\n"
        yield p, r
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
        os.close(r)


def kill_netd(p):
    os.kill(next(c for c in children(p.pid) if comm(c) == "cellos-netd"), signal.SIGKILL)


def test_a_full_standard_error_stops_no_daemon(ordinary):
    """The workload has the same stderr and can fill it: the supervisor still ends the cell, with its last event, and
    cellctl the suite. Its own message waits for a reader, as long as nobody wants it to end."""
    with unread_stderr(ordinary) as (p, r):
        kill_netd(p)
        destroyed_in_time(ordinary)
        wait_for(lambda: not children(p.pid), PATIENCE)  # not even a zombie
        assert p.poll() is None
        said = b""
        while more := os.read(r, 65536):
            said += more
        assert b"netd died" in said
        assert p.wait(PATIENCE) == 125


def test_a_full_standard_error_holds_nobody_who_was_told_to_end(ordinary):
    """The signal comes when the cell has been ended, but cellctl does not know it yet: nobody else can obey it."""
    with unread_stderr(ordinary) as (p, _):
        p.send_signal(signal.SIGSTOP)
        kill_netd(p)
        destroyed_in_time(ordinary)
        wait_for(lambda: not everything_below(p.pid), PATIENCE)  # all that cellctl has to be told is on its way
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGCONT)
        assert p.wait(PATIENCE) == 125


@pytest.mark.parametrize("end", ["signal", "ttl"])
def test_events_that_nobody_reads_delay_no_end(ordinary, end):
    r, w = full_pipe()
    flags = ["--ttl", "1"] if end == "ttl" else []
    p = ordinary.popen("run", "--events", "-", *flags, "--", "sleep", "60", stdin=subprocess.DEVNULL, stdout=w, stderr=subprocess.DEVNULL)
    os.close(w)
    try:
        if end == "signal":
            wait_for(lambda: "sleep" in map(comm, everything_below(p.pid)), PATIENCE)  # the workload runs
            p.send_signal(signal.SIGTERM)
        destroyed_in_time(ordinary)
        os.set_blocking(r, True)  # and whoever reads late gets every line
        data = b""
        while more := os.read(r, 65536):
            data += more
        assert data.lstrip(b"x").count(b"\n") == len(ordinary.events())
        assert p.wait(PATIENCE) == (143 if end == "signal" else 124)
    finally:
        p.kill()
        p.wait()
        os.close(r)


def test_a_stopped_supervisor_prolongs_no_cell(ordinary):
    with Running(ordinary, "--ttl", "1", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done") as run:
        workload = run.workload
        run.kill("supervisor", signal.SIGSTOP)
        wait_for(lambda: not any((s := stat(p)) and s[0] not in "ZX" for p in workload), PATIENCE)
        run.kill("supervisor", signal.SIGCONT)
        assert run.end()[0] == 124
    assert of_type(ordinary.events(), "command.v1.completed")[0]["exitCode"] == -1
    assert ordinary.verify().returncode == 0


def test_a_closed_or_unread_standard_fd(ordinary):
    r, w = full_pipe()
    for name, kw, want in (("stdout full", {"stdout": w}, 124), ("stdin gone", {"preexec_fn": lambda: os.close(0)}, 124),
                           ("all gone", {"preexec_fn": lambda: os.closerange(0, 3)}, 124)):
        kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **kw}
        p = ordinary.popen("run", "--ttl", "1", "--", "sh", "-c", "while :; do echo x; sleep 0.01; done", **kw)
        assert p.wait(PATIENCE) in (want, 141), name  # 141: nobody will ever read
    os.close(r)
    os.close(w)
