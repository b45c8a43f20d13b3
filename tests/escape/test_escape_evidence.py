# SPDX-License-Identifier: MIT
"""Logs that lie. The forger has the files, never the key; every one of these must be seen by `cellctl verify`."""
import base64
import fcntl
import os
import shutil
import socket
import subprocess

import pytest

from conftest import of_type


@pytest.fixture
def log(ordinary):
    assert ordinary.ctl("run", "--name", "first", "--", "sh", "-c", "exit 3").returncode == 3
    return ordinary.last_log()


def duplicate(log, to):
    subprocess.run(["cp", "-a", str(log), str(to)], check=True)


def segment(log):
    return sorted(log.glob("*.jsonl"))[0]


def lines(log):
    return segment(log).read_bytes().split(b"\n")[:-1]


def put(log, new):
    segment(log).write_bytes(b"".join(l + b"\n" for l in new))


def change(old, new, which=b"command.v1.completed"):
    def forge(log):
        got = lines(log)
        i = [n for n, l in enumerate(got) if which in l][0]
        assert old in got[i]
        got[i] = got[i].replace(old, new, 1)
        put(log, got)
    return forge


def swap(log):
    got = lines(log)
    got[3], got[4] = got[4], got[3]
    put(log, got)


def signatures_swapped(log):
    got = lines(log)
    a, b = (l.index(b',"dssematerial"') for l in got[2:4])
    got[2], got[3] = got[2][:a] + got[3][b:], got[3][:b] + got[2][a:]
    put(log, got)


def base64_not_strict(log):
    got = lines(log)
    head, tail = got[2].split(b'"dssematerial":"')
    got[2] = head + b'"dssematerial":"' + tail[:-2].rstrip(b"=") + b'"}'
    if got[2] == lines(log)[2]:
        got[2] = got[2][:-2] + b'\\n"}'
    put(log, got)


def envelope_respelled(log):
    """The signed envelope with a blank: the same JSON, other bytes."""
    got = lines(log)
    head, tail = got[2].split(b'"dssematerial":"')
    inner = base64.b64decode(tail[:-2])
    got[2] = head + b'"dssematerial":"' + base64.b64encode(inner.replace(b":", b": ", 1)) + b'"}'
    put(log, got)


FORGERIES = {
    "exit code": change(b'"exitCode":3', b'"exitCode":0'),
    "a second key in data": change(b'"exitCode":3', b'"exitCode":3,"exitCode":0'),
    "key by an escape": change(b'"exitCode":3', b'"exit\\u0043ode":3'),
    "number spelled otherwise": change(b'"exitCode":3', b'"exitCode":3.0'),
    "blank in data": change(b'"exitCode":3', b'"exitCode": 3'),
    "a second data": change(b',"dssematerial"', b',"data":{},"dssematerial"'),
    "another attribute": change(b',"data":', b',"traceparent":"00","data":'),
    "time with a fraction": change(b'Z"', b'.000Z"'),
    "time zone": change(b'Z"', b'+00:00"'),
    "time a second later": lambda log: change(b":%s" % lines(log)[2].split(b'"time":"')[1][17:19], b":61")(log),
    "source": change(b"/cellos/supervisor/", b"/cellos/netd/"),
    "type": change(b"command.v1.completed", b"command.v1.complete"),
    "subject": change(b"urn:cellos:cell:first", b"urn:cellos:cell:other"),
    "cellsequence": change(b'"cellsequence":"000', b'"cellsequence":"100'),
    "sequence as a number": change(b'"sequence":"00000000000000000004"', b'"sequence":4', b'"sequence":"00000000000000000004"'),
    "upper case run id": lambda log: change(lines(log)[2].split(b'"runid":"')[1][:36], lines(log)[2].split(b'"runid":"')[1][:36].upper())(log),
    "crlf": lambda log: put(log, [l + b"\r" for l in lines(log)]),
    "byte order mark": lambda log: put(log, [b"\xef\xbb\xbf" + lines(log)[0], *lines(log)[1:]]),
    "an empty line": lambda log: put(log, [*lines(log)[:2], b"", *lines(log)[2:]]),
    "one left out": lambda log: put(log, [l for l in lines(log) if b"command.v1.completed" not in l]),
    "one twice": lambda log: put(log, lines(log)[:3] + lines(log)[2:]),
    "two swapped": swap,
    "last ones cut": lambda log: put(log, lines(log)[:-2]),
    "signatures swapped": signatures_swapped,
    "base64 not strict": base64_not_strict,
    "envelope respelled": envelope_respelled,
    "no checkpoint": lambda log: (log / "checkpoint").unlink(),
    "checkpoint is a link": lambda log: ((log / "checkpoint").rename(log.parent / "c"), (log / "checkpoint").symlink_to(log.parent / "c")),
    "checkpoint of another size": lambda log: (log / "checkpoint").write_text((log / "checkpoint").read_text().replace("\n", "\n1", 1)),
    "checkpoint with one more line": lambda log: (log / "checkpoint").write_text(
        (log / "checkpoint").read_text().replace("\n\n", "\nmore\n\n", 1)),
    "origin": lambda log: (log / "origin").write_text("cellos.local/0000000000000000\n"),
    "segment renamed": lambda log: segment(log).rename(log / ("%020d.jsonl" % 1)),
    "segment is a link": lambda log: (segment(log).rename(log.parent / "s"), (log / ("%020d.jsonl" % 0)).symlink_to(log.parent / "s")),
    "segment is a fifo": lambda log: (segment(log).unlink(), os.mkfifo(log / ("%020d.jsonl" % 0))),
    "an empty log": lambda log: put(log, []),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_seen(ordinary, log, name):
    assert ordinary.verify(log).returncode == 0
    FORGERIES[name](log)
    r = ordinary.verify(log)
    if name in ("segment is a link", "segment is a fifo"):  # not even looked into
        assert r.returncode == 2 and "cannot read" in r.stderr
    else:
        assert r.returncode == 4 and "BAD" in r.stdout, (r.returncode, r.stdout, r.stderr)


def test_the_log_of_another_run_in_its_place(ordinary, log):
    """Every line, the tree and the checkpoint are right, but it is not the evidence of that run."""
    assert ordinary.ctl("run", "--name", "second", "--", "true").returncode == 0
    second = ordinary.last_log()
    shutil.rmtree(second)
    duplicate(log, second)
    assert ordinary.verify(second).returncode == 4
    r = ordinary.ctl("verify")
    assert r.returncode == 4 and "is of run %s" % log.name in r.stdout, r.stdout
    copy = log.parent.parent / "copy"
    duplicate(log, copy)
    assert ordinary.verify(copy).returncode == 0  # a copy may be called what one likes


def test_a_log_under_another_key(ordinary, log, world):
    """Complete and right in itself, but signed by a key of the forger's: with a key to trust it is refused."""
    forger = ordinary.home / "forger"
    forger.mkdir()
    os.chown(forger, ordinary.uid, ordinary.uid)
    r = ordinary.ctl("run", "--name", "first", "--", "true", env={"XDG_STATE_HOME": str(forger)})
    assert r.returncode == 0
    forged = next((forger / "cellos/log").iterdir())
    assert ordinary.verify(forged).returncode == 4
    r = ordinary.verify(forged, "--key", forger / "cellos/keys/signing.vkey")
    assert r.returncode == 0
    r = ordinary.ctl("verify", forged, env={"XDG_STATE_HOME": "/nonexistent"})
    assert r.returncode == 0 and "self-declared" in r.stdout


def test_rollback_is_seen_with_a_checkpoint_from_outside(ordinary, log):
    outside = ordinary.home / "outside"
    kept = lines(log)
    shutil.copy(log / "checkpoint", outside)
    os.chown(outside, ordinary.uid, ordinary.uid)
    assert ordinary.verify(log, "--checkpoint", outside).returncode == 0
    put(log, kept[:-1])
    assert ordinary.verify(log, "--checkpoint", outside).returncode == 4


def test_what_a_workload_calls_itself_is_only_text(ordinary):
    """Escapes for terminals, borders of lines, directions of writing: in argv, in names it asks for."""
    evil = ["\x1b[31m\x1b]0;t\x07", "\u202e\u2066\u200e", "\u009b31m", "a\nb\r\u2028c", "\x7f\x00"[:1], '","exitCode":0,"x":"']
    r = ordinary.ctl("run", "--", "sh", "-c", "exit 5", *evil)
    assert r.returncode == 5
    done = of_type(ordinary.events(), "command.v1.completed")[0]
    assert done["argv"][3:] == evil and done["exitCode"] == 5
    shown = ordinary.ctl("events", ordinary.last_log()).stdout + ordinary.ctl("events", "--json", ordinary.last_log()).stdout
    assert not [c for c in shown if c != "\n" and (ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c in "\u2028\u2029\u202e\u2066\u200e")]
    assert ordinary.verify().returncode == 0


def test_two_signers_of_one_log(ordinary, log, world):
    """The second one refuses, and the log stays what it is."""
    keys, before = ordinary.state / "keys", segment(log).read_bytes()
    dirs = [os.open(p, os.O_RDONLY | os.O_DIRECTORY) for p in (keys, log)]
    fcntl.flock(dirs[1], fcntl.LOCK_EX)  # as the first one holds it
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
    fds = [b.fileno() for _, b in pairs] + dirs

    def place():
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
    p = subprocess.run(["sh", "-c", "LISTEN_PID=$$ exec setpriv --reuid %d --regid %d --clear-groups %s --mode embedded --origin-suffix %s"
                        % (ordinary.uid, ordinary.uid, world / "bin/cellos-signerd", log.name)],
                       env={"LISTEN_FDS": "5", "LISTEN_FDNAMES": "supervisor:netd:proxyd:keys:log", "PATH": "/usr/bin:/bin"},
                       preexec_fn=place, close_fds=False, capture_output=True, text=True, timeout=20)
    for fd in dirs:
        os.close(fd)
    assert p.returncode != 0 and "another signerd has this log" in p.stderr, p.stderr
    assert segment(log).read_bytes() == before and ordinary.verify(log).returncode == 0


def test_keys_where_others_may_write(ordinary, log):
    """Whoever can rename a file there can have their key used and believed."""
    (ordinary.state / "keys").chmod(0o777)
    r = ordinary.ctl("run", "--", "true")
    assert r.returncode == 125 and "nobody else may write" in r.stderr, r.stderr
    r = ordinary.verify(log)
    assert "self-declared" in r.stdout  # and not: "of this user's state"
    (ordinary.state / "keys").chmod(0o700)
    assert ordinary.ctl("run", "--", "true").returncode == 0
