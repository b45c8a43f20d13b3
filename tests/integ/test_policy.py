# SPDX-License-Identifier: MIT
"""cellctl policy: the rules of a cell while it runs."""
import json
import os
import signal
import socket
import subprocess

import pytest

from conftest import ORDINARY_UID, User, kept, of_type, types, wait_for
from running import Running

SHELL = "echo up; while read -r line; do eval \"$line\" 2>&1; echo \"=$?\"; done"


class Shell(Running):
    """A cell with a shell in it that does as it is told, line by line."""

    def __init__(self, user, *args, **kw):
        super().__init__(user, *args, "--", "sh", "-c", SHELL, stdin=subprocess.PIPE, **kw)

    def do(self, line):
        """(exit status, output) of one line."""
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()
        out = []
        while True:
            got = self.p.stdout.readline().decode()
            assert got, "the cell ended: %s" % self.stderr()
            if got.startswith("="):
                return int(got[1:]), "".join(out)
            out.append(got)

    def leave(self):
        self.p.stdin.close()
        return self.p.wait(60)

    @property
    def run_id(self):
        return self.user.last_log().name


def fetch(web, pki, name="example.test"):
    return "curl -sS -m 20 --cacert %s https://%s:%d/" % (pki.ca, name, web.tls)


@pytest.fixture
def other(allow):
    """The common flags, and an answer for the other name, which no rule lists yet."""
    return [*allow, "--allow-answer", "other.test:127.0.0.1", "--allow-answer", "other.test:::1"]


def test_shows_the_rules(user, other, web):
    with Shell(user, *other, "--allow", "10.0.0.0/8:22/tcp", "--name", "abc") as cell:
        want = ["example.test:%d/any" % web.tls, "10.0.0.0/8:22/tcp"]
        for name in (cell.run_id, cell.run_id[-8:], "run-" + cell.run_id[-12:], user.last_log()):
            r = user.ctl("policy", name)
            assert (r.returncode, r.stdout.split(), r.stderr) == (0, want, "")
        r = user.ctl("policy", cell.run_id, "--json")
        assert json.loads(r.stdout) == {"connectionsCut": 0, "egressRules": [
            {"host": "example.test", "port": web.tls}, {"host": "10.0.0.0/8", "port": 22, "protocol": "tcp"}]}
        assert cell.leave() == 0
    assert "lifecycle.v1.policy_changed" not in types(user.events())


def test_adds_a_rule(user, other, web, pki):
    with Shell(user, *other) as cell:
        rule = "other.test:%d/tls" % web.tls
        assert cell.do(fetch(web, pki, "other.test"))[0] != 0
        r = user.ctl("policy", cell.run_id, "--add", rule)
        assert (r.returncode, r.stdout.split()) == (0, ["example.test:%d/any" % web.tls, rule]), r.stderr
        assert "0 connections were cut" in r.stderr
        assert cell.do(fetch(web, pki, "other.test")) == (0, "hello from nginx\n")
        assert cell.do(fetch(web, pki)) == (0, "hello from nginx\n")
        again = user.ctl("policy", cell.run_id, "--add", rule)  # it is there already: no second event
        assert (again.returncode, again.stdout) == (0, r.stdout)
        assert cell.leave() == 0
    events = user.events()
    (change,) = of_type(events, "lifecycle.v1.policy_changed")
    assert (change["added"], change["removed"], change["requestedByUid"]) == ([rule], [], user.uid)
    assert change["newPolicyDigest"].startswith("sha256:")
    decisions = [(e["action"], e.get("host")) for e in of_type(events, "observability.v1.l7_egress_decision")]
    assert ("allow", "other.test") in decisions
    kinds = types(events)
    first = next(i for i, e in enumerate(events) if e["data"].get("host") == "other.test" and e["data"].get("action") == "allow")
    changed = next(i for i, e in enumerate(events) if e["type"].endswith("policy_changed"))
    assert changed < first and "lifecycle.v1.destroyed" in kinds
    (home,) = of_type(events, "observability.v1.homeostasis")
    assert home["declaredEgressRules"] == 2 and home["unusedEgressRules"] == []
    assert home["exercisedEgressConnections"] == 2 and home["bytesReceived"] > 0 and home["bytesSent"] > 0
    assert user.verify().returncode == 0


def test_removes_a_rule(user, other, web, pki):
    """What is open and fits no rule any more is cut; the next one is denied; the name is not resolved any more."""
    with Shell(user, *other) as cell:
        rule = "example.test:%d/any" % web.tls
        hold = ("(sleep 60 | openssl s_client -quiet -connect example.test:%d -servername example.test >/tmp/held 2>&1; "
                "echo over >/tmp/over) &" % web.tls)
        assert cell.do(fetch(web, pki))[0] == 0
        assert cell.do(hold)[0] == 0
        assert cell.do("i=0; while ! grep -q verify /tmp/held && [ $i -lt 200 ]; do i=$((i+1)); sleep 0.05; done; "
                       "grep -q verify /tmp/held")[0] == 0
        r = user.ctl("policy", cell.run_id, "--remove", rule)
        assert (r.returncode, r.stdout) == (0, ""), r.stderr
        assert "1 connection was cut" in r.stderr
        assert cell.do(fetch(web, pki))[0] != 0
        assert cell.do("getent hosts example.test")[0] != 0
        assert cell.leave() == 0
    events = user.events()
    (change,) = of_type(events, "lifecycle.v1.policy_changed")
    assert (change["added"], change["removed"]) == ([], [rule])
    assert any(e["action"] == "deny" and e.get("queryName") == "example.test"
               for e in of_type(events, "observability.v1.dns_query"))
    (home,) = of_type(events, "observability.v1.homeostasis")
    assert home["declaredEgressRules"] == 0 and home["exercisedEgressConnections"] == 2
    assert user.verify().returncode == 0


def test_use_of_rules_survives_changes(user, other, web, pki):
    """Rules keep their use although others before them go: what homeostasis calls unused is unused."""
    with Shell(user, "--allow", "first.test", *other, "--allow", "last.test") as cell:
        assert cell.do(fetch(web, pki))[0] == 0
        r = user.ctl("policy", cell.run_id, "--remove", "first.test", "--add", "more.test:99/tcp")
        assert r.returncode == 0, r.stderr
        assert cell.leave() == 0
    (home,) = of_type(user.events(), "observability.v1.homeostasis")
    assert home["unusedEgressRules"] == ["last.test:443/any", "more.test:99/tcp"]


@pytest.mark.parametrize("args,status,text", [
    (["--add", "a.test/ssh"], 3, "must be one of tls, https, http, h2c, quic, tcp, udp"),
    (["--add", "*.co.uk"], 3, "must not have a wildcard right below a public suffix"),
    (["--add", "169.254.169.254:80/http"], 3, 'is of the class "metadata", which no spec can allow'),
    (["--remove", "nosuch.test"], 3, "nosuch.test: no such rule"),
    (["--add"], 1, "--add needs a rule"),
    (["--frob"], 1, "unknown flag --frob"),
    (["--add", "x" * 400], 1, "must be HOST[:PORT[-PORT]][/PROTO]"),
])
def test_bad_rules_change_nothing(user, other, web, args, status, text):
    with Shell(user, *other) as cell:
        r = user.ctl("policy", cell.run_id, *args)
        assert r.returncode == status and text in r.stderr and r.stdout == ""
        assert user.ctl("policy", cell.run_id).stdout == "example.test:%d/any\n" % web.tls
        assert cell.leave() == 0
    assert "lifecycle.v1.policy_changed" not in types(user.events())


def test_an_operator_that_breaks_the_protocol_only_loses_its_line(user, other, web):
    """RUN is not for it, nor is anything that is no frame. The cell goes on."""
    with Shell(user, *other) as cell:
        path = user.state / "run" / cell.run_id / "control"
        assert path.is_socket() and path.parent.stat().st_mode & 0o777 == 0o700
        for frame in (b"\xff" * 9, b"", bytes([0x95, 2, 1, 0xa1, 0x61, 0xa1, 0x61, 0xc4, 0])):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.settimeout(20)
                where = os.open(path.parent, os.O_PATH)
                s.connect("/proc/self/fd/%d/control" % where)
                os.close(where)
                s.send(frame) if frame else s.shutdown(socket.SHUT_WR)
                try:
                    while s.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        assert user.ctl("policy", cell.run_id).stdout == "example.test:%d/any\n" % web.tls
        assert cell.do("echo still here") == (0, "still here\n")
        assert cell.leave() == 0


def test_only_so_many_operators_at_a_time(user, other, web):
    """Idle ones hold their places, and only those; the cell and its cellctl notice nothing."""
    with Shell(user, *other) as cell:
        where = os.open(user.state / "run" / cell.run_id, os.O_PATH)
        idle = []
        for _ in range(8):  # LIMIT_POLICY_CLIENTS
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.settimeout(20)
            s.connect("/proc/self/fd/%d/control" % where)
            assert s.recv(4096)  # its hello: it is in
            idle.append(s)
        r = user.ctl("policy", cell.run_id)
        assert r.returncode == 2 and "it serves as many operators as it may already" in r.stderr
        assert cell.do("echo still here") == (0, "still here\n")
        idle.pop().close()
        wait_for(lambda: user.ctl("policy", cell.run_id).returncode == 0)
        for s in idle:
            s.close()
        os.close(where)
        assert cell.leave() == 0


def test_changes_from_many_sides(user, other, web, pki):
    """Each is done whole, one after the other, or refused because another one is under way; the log has all that were done."""
    with Shell(user, *other) as cell:
        asked = [user.popen("policy", cell.run_id, "--add", "n%d.test:443/tls" % i, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True) for i in range(6)]
        done = 0
        for p in asked:
            _, err = p.communicate(timeout=60)
            assert p.returncode == 0 or "another change is under way" in err, err
            done += p.returncode == 0
        assert done >= 1
        rules = user.ctl("policy", cell.run_id).stdout.split()
        assert len(rules) == 1 + done
        assert cell.do(fetch(web, pki))[0] == 0
        assert cell.leave() == 0
    added = [r for e in of_type(user.events(), "lifecycle.v1.policy_changed") for r in e["added"]]
    assert sorted(added) == sorted(rules[1:])


def test_others_cannot(world, other):
    """Neither finds another user's run; the directory lets nobody in; who gets a descriptor of the socket is turned away."""
    for root in kept(User("root", 0, world)):
        for ordinary in kept(User("ordinary", ORDINARY_UID, world)):
            with Shell(root, *other) as cell:
                state = str(root.state)
                r = ordinary.ctl("policy", cell.run_id)
                assert r.returncode == 2 and "no run of this user" in r.stderr
                r = ordinary.ctl("policy", state + "/run/" + cell.run_id, "--add", "a.test")
                assert r.returncode == 2 and "cannot open" in r.stderr
                assert answer_as(ORDINARY_UID, root.state / "run" / cell.run_id) == b""
                assert answer_as(0, root.state / "run" / cell.run_id) != b""
                assert cell.leave() == 0


def answer_as(uid, directory):
    """What the supervisor says to a peer of this uid that gets past the directory's mode; b"" = nothing."""
    directory.chmod(0o755)
    (directory / "control").chmod(0o777)  # the peer's uid alone decides
    fd = os.open(directory, os.O_PATH)
    code = ("import os,socket,sys\nos.setgroups([]); os.setgid(%d); os.setuid(%d)\n"
            "s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.settimeout(20)\n"
            "s.connect('/proc/self/fd/%d/control')\n"
            "try: got=s.recv(4096)\nexcept ConnectionResetError: got=b''\n"
            "sys.stdout.buffer.write(got)" % (uid, uid, fd))
    try:
        return subprocess.run(["/usr/bin/python3", "-c", code], pass_fds=[fd], check=True, stdout=subprocess.PIPE,
                              timeout=60).stdout
    finally:
        os.close(fd)


def test_a_dead_run(user, allow, web):
    with Shell(user, *allow) as cell:
        run = cell.run_id
        assert cell.leave() == 0
    assert not (user.state / "run" / run).exists()
    for word in (run, run[-8:], user.last_log()):
        r = user.ctl("policy", word)
        assert r.returncode == 2 and "the run %s has ended: its policy cannot be changed any more" % run in r.stderr
    r = user.ctl("policy", "0000000000")
    assert r.returncode == 2 and "no run of this user is called 0000000000" in r.stderr
    assert user.ctl("policy").returncode == 1


def test_a_killed_cellctl_leaves_nothing_for_long(user, allow):
    """Its socket is found dead by cellctl policy, and removed by the next run; so is the id of a killed supervisor."""
    cell = Shell(user, *allow, "--name", "killed-one")
    run = cell.run_id
    with cell:
        os.kill(cell.names["supervisor"], signal.SIGKILL)
        cell.p.kill()
        cell.p.wait(20)
        r = None

        def refused():
            nonlocal r
            r = user.ctl("policy", run)
            return "nobody listens any more" in r.stderr
        wait_for(refused)
        assert r.returncode == 2
    assert (user.state / "run" / run).exists() and (user.state / "ids/killed-one").exists()
    assert user.ctl("run", "--", "true").returncode == 0
    assert not (user.state / "run" / run).exists() and not (user.state / "ids/killed-one").exists()
    removed = of_type(user.events(), "lifecycle.v1.residue_removed")
    assert {"kind": "cell-id", "name": "killed-one"}.items() <= max(removed, key=lambda e: e["name"] == "killed-one").items()


def test_no_network_has_no_rules_to_add(user):
    with Shell(user, "--network", "none") as cell:
        assert user.ctl("policy", cell.run_id).stdout == ""
        r = user.ctl("policy", cell.run_id, "--add", "a.test")
        assert r.returncode == 2 and "the cell has no network (mode none)" in r.stderr
        assert cell.leave() == 0
    (scope,) = of_type(user.events(), "observability.v1.network_scope")
    assert scope["mode"] == "none"
