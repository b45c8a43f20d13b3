# SPDX-License-Identifier: MIT
"""cellctl witness and verify --witness, against a witness written from the C2SP texts."""
import hashlib
import os
import shutil
import signal
import subprocess
import time

import pytest

from conftest import wait_for
from evidence import root, sha256
from witness import Refused, Server, Witness


@pytest.fixture
def witness(tmp_path, long_log):
    w = Witness()
    w.trust(long_log.log)
    w.server = Server(w, tmp_path / "w.sock")
    w.note = "witness.example_w1-%s.note" % w.id.hex()
    yield w
    w.server.stop()


def submit(quiet, log, w, *flags):
    return quiet("witness", log, "--to", w.server.to, "--key", w.vkey, *flags)


def test_growing_log(quiet, long_log, witness):
    log = long_log.at(1)
    for size in (1, 2, 255, 256, 300, 600, 600, 703):
        long_log.grow(log, size)
        r = submit(quiet, log, witness)
        assert r.returncode == 0 and "%d event" % size in r.stdout, r.stderr
        assert witness.seen[long_log.origin] == (size, root(long_log.leaves[:size]))
        note = (log / "witness" / witness.note).read_text()
        assert note.startswith(long_log.note(size)) and note.count("\u2014 witness.example/w1 ") == 1
        v = quiet("verify", log, "--key", long_log.vkey, "--witness", witness.vkey)
        assert v.returncode == 0 and "%d event" % size in v.stdout and "ago" in v.stdout or "just now" in v.stdout, v.stdout
    assert {p for p, _ in witness.requests} == {"/add-checkpoint"}
    assert len(witness.requests) == 8, "what was cosigned last is known: no 409 was needed"
    assert (log / "witness").stat().st_mode & 0o777 == 0o700


def test_conflict_is_followed(quiet, long_log, witness):
    """The witness has seen more than this log remembers: it says the size, and the proof is made from there."""
    log = long_log.at(600)
    assert submit(quiet, log, witness).returncode == 0
    shutil.rmtree(log / "witness")
    long_log.grow(log, 703)
    assert submit(quiet, log, witness).returncode == 0
    assert [b.split(b"\n")[0] for _, b in witness.requests] == [b"old 0", b"old 0", b"old 600"]


def test_rollback_is_found_out(quiet, long_log, witness):
    log = long_log.at(703)
    assert submit(quiet, log, witness).returncode == 0
    cut = long_log.at(500)
    r = submit(quiet, cut, witness)
    assert r.returncode == 4 and "703" in r.stderr and "500" in r.stderr, r.stderr
    assert not (cut / "witness").exists() and witness.seen[long_log.origin][0] == 703
    # the note that was kept is enough to see it, without the witness
    shutil.copytree(log / "witness", cut / "witness")
    r = quiet("verify", cut, "--key", long_log.vkey)
    assert r.returncode == 4 and "cut" in r.stdout and witness.note in r.stdout, r.stdout
    r = submit(quiet, cut, witness)
    assert r.returncode == 4


def test_fork_is_found_out(quiet, long_log, witness):
    """The witness was shown another tree under the same key."""
    log = long_log.at(600)
    witness.seen[long_log.origin] = 300, sha256(b"another history")
    r = submit(quiet, log, witness)
    assert r.returncode == 4 and "does not continue" in r.stderr, r.stderr
    witness.seen[long_log.origin] = 600, sha256(b"another history")
    assert submit(quiet, log, witness).returncode == 4
    # a note in witness/ of another history
    (log / "witness").mkdir()
    note = long_log.note(300, sha256(b"another history"))
    (log / "witness" / witness.note).write_text(note + witness.cosign(note))
    r = quiet("verify", log, "--key", long_log.vkey)
    assert r.returncode == 4 and witness.note in r.stdout, r.stdout
    r = submit(quiet, log, witness)
    assert r.returncode == 4 and "fork" in r.stderr, r.stderr


def test_witness_that_does_not_know_us(quiet, long_log, tmp_path):
    w = Witness()
    w.server = Server(w, tmp_path / "w.sock")
    try:
        r = submit(quiet, long_log.at(5), w)
        assert r.returncode == 2 and "does not know the log" in r.stderr
        w.logs[long_log.origin] = type("V", (), {"name": "x", "id": b"1234", "key": None})
        r = submit(quiet, long_log.at(5), w)
        assert r.returncode == 2 and "not the key" in r.stderr, r.stderr
    finally:
        w.server.stop()


@pytest.mark.parametrize("answer, status", [
    (b"", 4), (b"<html>", 4), (b"\xff\n", 4), (b"\xe2\x80\x94 a b\n", 4), (b"x" * 200000, 2),
    ("\u2014 other.example/w AAAAAAAAAAAAAAAA\n".encode(), 4)])
def test_answers_that_are_none(quiet, long_log, tmp_path, answer, status):
    w = Witness()
    w.server = Server(w, tmp_path / "w.sock", lambda body: answer)
    log = long_log.at(5)
    try:
        r = submit(quiet, log, w)
        assert r.returncode == status, r
        assert not (log / "witness").exists()
    finally:
        w.server.stop()


def test_conflict_without_end(quiet, long_log, tmp_path):
    w, sizes = Witness(), iter(range(1, 100))

    def answer(body):
        raise Refused(409, b"%d\n" % next(sizes), "text/x.tlog.size")
    w.server = Server(w, tmp_path / "w.sock", answer)
    try:
        assert submit(quiet, long_log.at(50), w).returncode == 2
        assert len(w.requests) == 2
    finally:
        w.server.stop()


def test_signature_over_something_else(quiet, long_log, tmp_path):
    w = Witness()
    w.server = Server(w, tmp_path / "w.sock", lambda body: w.cosign(long_log.note(4)).encode())
    try:
        r = submit(quiet, long_log.at(5), w)
        assert r.returncode == 4 and "does not verify" in r.stderr, r.stderr
    finally:
        w.server.stop()


def test_nobody_there(quiet, long_log, tmp_path):
    r = quiet("witness", long_log.at(5), "--to", "unix:%s" % (tmp_path / "none"), "--key", Witness().vkey)
    assert r.returncode == 2 and "no answer" in r.stderr


def test_quorum(quiet, long_log, tmp_path):
    log = long_log.at(400)
    witnesses = [Witness("witness.example/w%d" % i) for i in range(3)]
    for i, w in enumerate(witnesses[:2]):
        w.trust(long_log.log)
        w.when = int(time.time()) - [7200, 90][i]
        w.server = Server(w, tmp_path / ("%d.sock" % i))
        assert submit(quiet, log, w).returncode == 0
        w.server.stop()
    flags = [f for w in witnesses for f in ("--witness", w.vkey)]
    r = quiet("verify", log, "--key", long_log.vkey, *flags)
    assert r.returncode == 4 and "2 of 3 witnesses, 3 wanted" in r.stdout, r.stdout
    r = quiet("verify", log, "--key", long_log.vkey, *flags, "--quorum", 2)
    assert r.returncode == 0 and "2 hours ago" in r.stdout and "1 minute ago" in r.stdout, r.stdout
    assert quiet("verify", log, "--key", long_log.vkey, *flags, "--quorum", 4).returncode == 1
    # the proof takes all cosignatures along
    proof = tmp_path / "proof"
    assert quiet("prove", 7, log, "-o", proof).returncode == 0
    assert quiet("verify", proof, "--key", long_log.vkey, *flags, "--quorum", 2).returncode == 0
    assert quiet("verify", proof, "--key", long_log.vkey, *flags).returncode == 4
    (kept,) = tmp_path.glob("proof")
    kept.write_text(kept.read_text().replace(witnesses[0].name, witnesses[2].name))
    assert quiet("verify", proof, "--key", long_log.vkey, *flags, "--quorum", 2).returncode == 4


def test_cosignature_that_was_changed(quiet, long_log, witness):
    log = long_log.at(400)
    assert submit(quiet, log, witness).returncode == 0
    note = log / "witness" / witness.note
    note.write_text(note.read_text()[:-10] + "AAAAAAAA=\n")
    r = quiet("verify", log, "--key", long_log.vkey, "--witness", witness.vkey)
    assert r.returncode == 4, r.stdout


def test_file_drop(quiet, long_log, witness, tmp_path):
    log, drop = long_log.at(300), tmp_path / "drop"
    drop.mkdir()
    name = hashlib.sha256(long_log.origin.encode()).hexdigest()

    def call():
        return quiet("witness", log, "--to", drop, "--key", witness.vkey)
    r = call()
    assert r.returncode == 2 and "waits" in r.stderr
    request = drop / (name + ".request")
    answer = witness.add_checkpoint(request.read_bytes())
    long_log.grow(log, 600)  # meanwhile
    (drop / (name + ".cosignature")).write_text(answer)
    r = call()
    assert r.returncode == 0 and "300 events" in r.stdout, r.stderr
    assert list(drop.iterdir()) == []
    assert call().returncode == 2
    assert request.read_text().startswith("old 300\n")
    (drop / (name + ".cosignature")).write_text(witness.add_checkpoint(request.read_bytes()))
    assert call().returncode == 0
    # a 409 by hand
    shutil.rmtree(log / "witness")
    assert call().returncode == 2 and request.read_text().startswith("old 0\n")
    (drop / (name + ".size")).write_text("600\n")
    assert call().returncode == 2 and request.read_text().startswith("old 600\n")
    # a foreign one
    (drop / (name + ".cosignature")).write_text(Witness().cosign(long_log.note(600)))
    assert call().returncode == 4


def test_every(root_user, long_log, witness):
    log = long_log.at(100)
    p = root_user.popen("witness", log, "--to", witness.server.to, "--key", witness.vkey, "--every", 1,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: witness.seen.get(long_log.origin, (0,))[0] == 100)
        witness.logs, kept = {}, witness.logs  # it fails for a while
        wait_for(lambda: len(witness.requests) >= 3)
        witness.logs = kept
        long_log.grow(log, 200)
        wait_for(lambda: witness.seen[long_log.origin][0] == 200)
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=10)
        assert p.returncode == 0 and "200 events cosigned" in out and "does not know" in err, (p.returncode, out, err)
    finally:
        if p.poll() is None:
            p.kill()
            p.communicate()


def test_usage(quiet, long_log, witness):
    for args in ((), (long_log.log,), (long_log.log, "--to", "x"), (long_log.log, "--to", "x", "--key", "y"),
                 (long_log.log, "--to", "x", "--key", long_log.vkey),
                 (long_log.log, "--to", "x", "--key", witness.vkey, "--every", "0")):
        assert quiet("witness", *args).returncode == 1, args
    assert os.listdir(long_log.log).count("witness") == 0
