# SPDX-License-Identifier: MIT
"""cellctl consistency: growth is shown, cuts and forks are named."""
import json

import pytest

from evidence import root, sha256, unb64
from witness import consistent


@pytest.mark.parametrize("old", [0, 1, 2, 255, 256, 257, 512, 700, 703])
def test_growth(quiet, long_log, tmp_path, old):
    proof = tmp_path / "proof"
    r = quiet("consistency", long_log.file(old), long_log.log, "--key", long_log.vkey, "-o", proof)
    assert r.returncode == 0 and "continues" in r.stdout, r.stdout + r.stderr
    assert root(long_log.leaves[:old]).hex() in r.stdout
    # with nothing of ours
    said = json.loads(proof.read_text())
    head = said["addCheckpoint"].partition("\n\n")[0].split("\n")
    assert head[0] == "old %d" % old and said["oldCheckpoint"] == long_log.note(old)
    assert consistent(old, root(long_log.leaves[:old]), 703, root(long_log.leaves), [unb64(h) for h in head[1:]])
    for check in (("consistency", "--proof", proof), ("verify", proof)):
        r = quiet(*check, "--key", long_log.vkey)
        assert r.returncode == 0 and "703 events" in r.stdout, r.stdout + r.stderr


def test_two_checkpoints_of_the_past(quiet, long_log):
    r = quiet("consistency", long_log.file(100), long_log.file(400), long_log.log, "--key", long_log.vkey)
    assert r.returncode == 0 and "100 events" in r.stdout and "400 events" in r.stdout, r.stdout + r.stderr


def test_fork_names_both(quiet, long_log):
    other = sha256(b"another history")
    r = quiet("consistency", long_log.file(300, other), long_log.log, "--key", long_log.vkey)
    assert r.returncode == 4
    for part in ("fork", "300", "703", other.hex(), root(long_log.leaves[:300]).hex(), root(long_log.leaves).hex()):
        assert part in r.stderr, (part, r.stderr)


def test_rollback(quiet, long_log):
    r = quiet("consistency", long_log.file(703), long_log.at(500), "--key", long_log.vkey)
    assert r.returncode == 4 and "cut" in r.stderr and "703" in r.stderr and "500" in r.stderr, r.stderr


def test_same_size_another_root(quiet, long_log):
    r = quiet("consistency", long_log.file(703, sha256(b"x")), long_log.log, "--key", long_log.vkey)
    assert r.returncode == 4 and "fork" in r.stderr


def test_not_ours(quiet, long_log, user):
    assert user.ctl("run", "--", "true").returncode == 0
    theirs = user.last_log() / "checkpoint"
    assert quiet("consistency", theirs, long_log.log, "--key", long_log.vkey).returncode == 4
    r = quiet("consistency", long_log.file(5, origin="cellos.local/other"), long_log.log, "--key", long_log.vkey)
    assert r.returncode == 4 and "cellos.local/other" in r.stderr


def test_proof_that_was_changed(quiet, long_log, tmp_path):
    proof = tmp_path / "proof"
    assert quiet("consistency", long_log.file(300), long_log.log, "--key", long_log.vkey, "-o", proof).returncode == 0
    said = json.loads(proof.read_text())
    lines = said["addCheckpoint"].split("\n")
    for bad in ({"oldCheckpoint": long_log.note(299)}, {"oldCheckpoint": long_log.note(300, sha256(b"x"))},
                {"addCheckpoint": "\n".join(["old 299"] + lines[1:])}, {"addCheckpoint": "\n".join(lines[:1] + lines[2:])},
                {"addCheckpoint": "\n".join(lines[:1] + [lines[2], lines[1]] + lines[3:])}, {"addCheckpoint": ""},
                {"cellosConsistency": 2}):
        proof.write_text(json.dumps({**said, **bad}))
        r = quiet("consistency", "--proof", proof, "--key", long_log.vkey)
        assert r.returncode == 4, (bad, r.stdout, r.stderr)


def test_without_tiles(quiet, long_log):
    assert quiet("consistency", long_log.file(300), long_log.at(600), "--key", long_log.vkey).returncode == 0


def test_usage(quiet, long_log, tmp_path):
    assert quiet("consistency").returncode == 1
    assert quiet("consistency", "--proof", "x", "y").returncode == 1
    assert quiet("consistency", tmp_path / "none", long_log.log).returncode == 2


def test_whose_word_it_is(quiet, long_log):
    """Without a key it is the log's own word, which is said."""
    r = quiet("consistency", long_log.file(100), long_log.log)
    assert r.returncode == 0 and "self-declared key" in r.stdout, r.stdout
    r = quiet("consistency", long_log.file(100), long_log.log, "--key", long_log.vkey)
    assert r.returncode == 0 and "(given)" in r.stdout and "self-declared" not in r.stdout, r.stdout
