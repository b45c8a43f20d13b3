# SPDX-License-Identifier: MIT
"""What a key that does not count can make a verifier believe: in logs, parts of them and proofs. Nothing of its time, nothing else."""
import subprocess
import sys

import pytest

import forge
import independent

BEGIN, HOUR = 1790000000000, 3600 * 1000
RUN = forge.uuid7(BEGIN, 1)


def a_run(log, run=RUN, queries=5, after=10):
    forge.started(log, run, after=after)
    for i in range(queries):
        forge.query(log, run, "n%d.example.test" % i)
    forge.ended(log, run)
    return log


def write(tmp_path, log, text=None):
    path = log.write(tmp_path / "log")
    if text:
        (path / "keyset").write_bytes(text)
    return path


def revoked(stolen, new, at):
    first = [(stolen, {"state": "active"})]
    later = [(stolen, {"state": "revoked", "revokedAt": forge.rfc3339(at)}), (new, {"state": "active", "notBefore": forge.rfc3339(at)})]
    return forge.keyset(first, later, created=forge.rfc3339(at))


@pytest.fixture
def both(quiet, tmp_path):
    """cellctl and the independent verifier, under a pinned keyset."""
    def run(log, pin, *args):
        (tmp_path / "pin").write_bytes(pin)
        (log / "keyset").write_bytes(pin)
        ours = quiet("verify", log, "--keyset", tmp_path / "pin", *args)
        if not args:
            theirs = subprocess.run([sys.executable, independent.__file__, log], capture_output=True, text=True, timeout=60)
            assert theirs.returncode == ours.returncode, (theirs.stdout, ours.stdout, ours.stderr)
        return ours
    return run


@pytest.mark.parametrize("bare", [False, True])
def test_before_its_revocation_all_is_good(both, tmp_path, bare):
    key, new = forge.Key(), forge.Key()
    log = write(tmp_path, a_run(forge.Log(key, BEGIN, bare)))
    pin = revoked(key, new, BEGIN + HOUR)
    assert both(log, pin).returncode == 0
    r = both(log, pin, "--from", 2, "--to", 4)
    assert r.returncode == 0, r.stdout + r.stderr


@pytest.mark.parametrize("bare", [False, True])
def test_after_its_revocation_a_key_vouches_for_nothing(both, tmp_path, bare):
    key, new = forge.Key(), forge.Key()
    log = write(tmp_path, a_run(forge.Log(key, BEGIN, bare)))
    pin = revoked(key, new, BEGIN - HOUR)
    for part in ((), ("--from", 2, "--to", 4), ("--from", 0)):
        r = both(log, pin, *part)
        assert r.returncode == 4 and "revoked" in r.stdout, (part, r.stdout + r.stderr)


def test_lines_without_signatures_are_as_young_as_their_own_times(both, tmp_path):
    """seal: batch, the signatures left out: a thief writes events of today and puts one of yesterday at the end, which is the only
    one whose time the checkpoint is known to be younger than."""
    key, new = forge.Key(), forge.Key()
    log = a_run(forge.Log(key, BEGIN, True))
    log.now = BEGIN - 3 * HOUR
    a_run(log, forge.uuid7(BEGIN, 2))
    log = write(tmp_path, log)
    pin = revoked(key, new, BEGIN - HOUR)
    for part in ((), ("--from", 0), ("--from", 2, "--to", 4)):
        r = both(log, pin, *part)
        assert r.returncode == 4 and "revoked" in r.stdout, (part, r.stdout + r.stderr)


def test_an_ended_key(both, tmp_path):
    key = forge.Key()
    log = write(tmp_path, a_run(forge.Log(key, BEGIN, True)))
    pin = forge.keyset([(key, {"state": "active", "notAfter": forge.rfc3339(BEGIN - HOUR)})])
    for part in ((), ("--from", 2, "--to", 4)):
        r = both(log, pin, *part)
        assert r.returncode == 4 and "ended" in r.stdout, (part, r.stdout + r.stderr)


def rotated(tmp_path):
    """A log under a key that was rotated in the middle of it: the checkpoint is of the newer one."""
    old, new = forge.Key(), forge.Key()
    log = a_run(forge.Log(old, BEGIN))
    log.key, log.now = new, BEGIN + 2 * HOUR
    a_run(log, forge.uuid7(BEGIN, 2))
    path = write(tmp_path, log)
    at = BEGIN + HOUR
    pin = forge.keyset([(old, {"state": "active"})], [(old, {"state": "retired"}), (new, {"state": "active", "notBefore": forge.rfc3339(at)})],
                       created=forge.rfc3339(at))
    return path, pin, log


def test_a_newer_key_vouches_for_the_place_of_an_older_event(both, quiet, tmp_path):
    path, pin, log = rotated(tmp_path)
    (path / "vkey").write_text(log.key.vkey + "\n")
    assert both(path, pin).returncode == 0
    r = both(path, pin, "--from", 1, "--to", 4)
    assert r.returncode == 0, r.stdout
    proof = tmp_path / "proof"
    r = quiet("prove", 3, path, "-o", proof)
    assert r.returncode == 0, r.stderr
    r = quiet("verify", proof, "--keyset", tmp_path / "pin")
    assert r.returncode == 0, r.stdout + r.stderr


def test_signatures_that_were_left_out_are_told_with_what_that_means(quiet, tmp_path):
    """The past written again with today's key, without signatures of its own: nobody can tell it from one whose signatures were lost."""
    old, new = forge.Key(), forge.Key()
    log = a_run(forge.Log(new, BEGIN, True))
    path = write(tmp_path, log)
    at = BEGIN + HOUR
    (path / "keyset").write_bytes(forge.keyset([(old, {"state": "active"})], [(old, {"state": "retired"}), (new, {"state": "active", "notBefore": forge.rfc3339(at)})],
                                               created=forge.rfc3339(at)))
    r = quiet("verify", path, "--keyset", path / "keyset")
    assert "9 of them are older than the key" in r.stdout.replace("\n", " "), r.stdout


def test_a_keyset_that_goes_wrong_behind_the_key_is_not_passed_over(quiet, tmp_path):
    """--key: the key's own keyset counts too, with its revocations; a version that nobody could sign does not make it another's."""
    key, other = forge.Key(), forge.Key()
    log = write(tmp_path, a_run(forge.Log(key, BEGIN)))
    good = revoked(key, other, BEGIN - HOUR)
    stray = forge.keyset([(other, {"state": "active"})], [(other, {"state": "active"})]).splitlines(True)[1]
    for text, status in ((good, 4), (good + stray, 4), (forge.keyset([(other, {"state": "active"})]), 0)):
        (log / "keyset").write_bytes(text)
        r = quiet("verify", log, "--key", key.vkey)
        assert r.returncode == status, r.stdout + r.stderr
