# SPDX-License-Identifier: MIT
"""Operators beside the one that started the suite, who break the protocol: each loses its own connection, the suite and
its cell go on. And who gets to that socket at all."""
import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from conftest import ORDINARY_UID, User, kept, wait_for
from running import Running
from test_peers import EVERYWHERE, PEER

CLIENTS_MAX = 8  # LIMIT_POLICY_CLIENTS
PATIENCE_S = 20


@pytest.fixture(scope="module", params=["root", "ordinary"])
def running(request, world):
    for u in kept(User(request.param, 0 if request.param == "root" else ORDINARY_UID, world)):
        with Running(u, "--allow", "example.org", "--", "sh", "-c", "echo up; sleep 300") as r:
            r.run_id = u.last_log().name
            yield r


@pytest.fixture(scope="module")
def frames():
    r = subprocess.run([str(PEER), "frames"], capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in r.stdout.splitlines()]


class Operator:
    """One connection. The suite's socket has a path too long for its address: it is reached by its directory."""

    def __init__(self, running):
        where = os.open(running.user.state / "run" / running.run_id, os.O_PATH)
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(PATIENCE_S)
        self.s.connect("/proc/self/fd/%d/control" % where)
        os.close(where)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.s.close()

    def send(self, frame):
        data = bytes.fromhex(frame["bytes"])
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            socket.send_fds(self.s, [data], [null] * frame["fds"])
        finally:
            os.close(null)

    def heard(self):
        """All it says until it hangs up; no end within PATIENCE_S is an error."""
        said = []
        try:
            while data := self.s.recv(1 << 17):
                said.append(data)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return said


def good(frames, name):
    return next(f for f in frames if f["kind"] == "good" and f["what"].strip() == name)


def still_serves(running):
    r = running.user.ctl("policy", running.run_id)
    assert (r.returncode, r.stdout) == (0, "example.org:443/any\n"), r.stderr
    assert running.p.poll() is None


def test_every_broken_frame(running, frames):
    broken = [f for f in frames if f["kind"] != "good"]
    assert EVERYWHERE | {"too_few_fds"} <= {f["kind"] for f in broken}
    for f in broken:
        with Operator(running) as o:
            if not f["instead"]:
                o.send(good(frames, "hello"))
            o.send(f)
            assert len(o.heard()) <= 1, f["kind"] + f["what"]  # its hello, and nothing in answer
    wait_for(lambda: running.user.ctl("policy", running.run_id).returncode == 0)
    still_serves(running)


@pytest.mark.parametrize("row", ["CONTROL_RUN_REQ", "CONTROL_SIGNAL"])
def test_only_the_owner_runs_and_signals(running, frames, row):
    """In order by the table, but not for who came in over the socket."""
    with Operator(running) as o:
        o.send(good(frames, "hello"))
        o.send(good(frames, row))
        assert len(o.heard()) == 1
    still_serves(running)


def test_a_policy_request_for_another_run_is_answered(running, frames):
    """The same way in, with the one request that is allowed: what is cut above is cut for what it says."""
    with Operator(running) as o:
        o.send(good(frames, "hello"))
        o.send(good(frames, "CONTROL_POLICY_REQ"))
        assert o.s.recv(1 << 16)[:2] == b"\x95\x00"  # the hello
        assert o.s.recv(1 << 16)[:2] == b"\x94\x01"  # ERROR
    still_serves(running)


def test_a_crowd_of_operators(running):
    """More than there are places: the others get no word, and places that become free are taken again."""
    crowd = [Operator(running) for _ in range(CLIENTS_MAX)]
    assert all(o.s.recv(1 << 16) for o in crowd)
    for _ in range(2 * CLIENTS_MAX):
        with Operator(running) as o:
            assert o.heard() == []
    for o in crowd:
        o.s.close()
    wait_for(lambda: running.user.ctl("policy", running.run_id).returncode == 0)
    still_serves(running)


def test_the_way_to_the_socket_is_for_the_owner_only(running):
    at = running.user.state / "run" / running.run_id
    for path in (at.parent, at):
        s = path.stat()
        assert stat.S_IMODE(s.st_mode) == 0o700 and s.st_uid == running.user.uid, path
    s = (at / "control").stat()
    assert stat.S_ISSOCK(s.st_mode) and s.st_uid == running.user.uid
    assert stat.S_IMODE(s.st_mode) & 0o077 == 0


TRY_CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(20)
try:
    s.connect("/proc/self/fd/%s/control" % sys.argv[1])
    print(s.recv(4096))
except OSError as e:
    print(type(e).__name__)
"""


def test_another_uid_gets_no_word(running):
    """Even with an fd of the directory: the socket's mode refuses it; and where the mode let it in, the supervisor does."""
    at = running.user.state / "run" / running.run_id
    where = os.open(at, os.O_PATH)
    argv = [sys.executable, "-c", TRY_CONNECT, str(where), "64999"]

    def tries():
        return subprocess.run(argv, capture_output=True, text=True, pass_fds=[where]).stdout.strip()

    try:
        assert tries() == "PermissionError"
        os.chmod(at, 0o711)
        os.chmod(at / "control", 0o666)
        assert tries() == "b''"
    finally:
        os.chmod(at, 0o700)
        os.chmod(at / "control", 0o600)
        os.close(where)
    still_serves(running)


def test_all_that_leaves_the_log_whole(running):
    running.p.send_signal(signal.SIGTERM)
    running.p.wait(60)
    r = running.user.verify(running.user.last_log())
    assert r.returncode == 0, r.stdout + r.stderr
