# SPDX-License-Identifier: MIT
"""Tampering with the log of a real run, in every way somebody thought of. cellctl verify and the independent verifier find each,
and both name the place; looking changes no byte."""
import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import forge
import independent
from conftest import User, kept

FIRST = "00000000000000000000.jsonl"


@pytest.fixture(scope="module")
def base(world):
    """A user with two runs, signed by one key: the logs (a, b)."""
    for u in kept(User("tamper", 0, world)):
        for _ in range(2):
            assert u.ctl("run", "--", "true").returncode == 0
        yield u


@pytest.fixture
def log(base):
    """A copy of the first log that may be damaged, and what was before."""
    where = Path(tempfile.mkdtemp(prefix="tampered-", dir=base.home))
    shutil.copytree(base.logs()[0], where / "log")
    yield where / "log"
    shutil.rmtree(where)


def lines(log):
    return (log / FIRST).read_bytes().split(b"\n")[:-1]


def put(log, new):
    (log / FIRST).write_bytes(b"".join(line + b"\n" for line in new))


def state(log):
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(log.rglob("*")) if p.is_file()}


def both(base, log, where):
    """Both verifiers say no, and both say where."""
    key = (base.state / "keys/signing.vkey").read_text()
    before = state(log)
    ours = base.ctl("verify", log, "--key", base.state / "keys/signing.vkey")
    theirs = subprocess.run([sys.executable, independent.__file__, log, "--key", key], capture_output=True, text=True, timeout=60)
    assert ours.returncode == 4, ours.stdout + ours.stderr
    assert theirs.returncode == 4, theirs.stdout + theirs.stderr
    assert re.search(where, ours.stdout + ours.stderr, re.I), ours.stdout + ours.stderr
    assert re.search(where, theirs.stdout, re.I), theirs.stdout
    assert state(log) == before, "verification writes"


def other(log, base):
    return lines(base.logs()[1])


def forged(line):
    """Another value, signed by a key made for it, under the key id that is expected."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    head, data, sealed = independent.LINE.match(line).groups()
    e, data = json.loads(head + b"}"), data.replace(b'"true"', b'"evil"')
    keyid = json.loads(base64.b64decode(sealed))["signatures"][0]["keyid"]
    body = independent.compact({"core": independent.b64(independent.digest(e, independent.CORE, data)),
                                "ext": independent.b64(independent.digest(e, independent.SIGNED)), "signedextattrs": independent.SIGNED})
    pae = b"DSSEv1 %d %s %d %s" % (len(independent.PAYLOAD_TYPE), independent.PAYLOAD_TYPE.encode(), len(body), body)
    sig = independent.b64(Ed25519PrivateKey.generate().sign(pae))
    envelope = {"payload": independent.b64(body), "payloadType": independent.PAYLOAD_TYPE, "signatures": [{"keyid": keyid, "sig": sig}]}
    return head + b',"data":' + data + b',"dssematerial":"' + base64.b64encode(independent.compact(envelope)) + b'"}'


def bare(line):
    return line[:line.index(b',"dssematerial"')] + b"}"


LINES = {  # what becomes of the lines, and which is the first that is wrong
    "removed": lambda l, o: (l[:4] + l[5:], 5),
    "repeated": lambda l, o: (l[:5] + l[4:], 6),
    "reordered": lambda l, o: (l[:4] + [l[5], l[4]] + l[6:], 5),
    "forged": lambda l, o: (l[:6] + [forged(l[6])] + l[7:], 7),
    "its signature taken off": lambda l, o: (l[:2] + [bare(l[2])] + l[3:], 3),
    "all signatures taken off": lambda l, o: ([bare(x) for x in l], 1),
    "of another log": lambda l, o: (l[:3] + [o[3]] + l[4:], 4),
    "two logs spliced": lambda l, o: (l[:5] + o[5:], 6),
    "a blank": lambda l, o: (l[:3] + [l[3].replace(b'"data":{', b'"data": {')] + l[4:], 4),
    "another role": lambda l, o: (l[:1] + [l[1].replace(b"/cellos/netd/", b"/cellos/proxyd/")] + l[2:], 2),
    "an earlier time": lambda l, o: (l[:7] + [re.sub(rb'"time":"2', b'"time":"1', l[7])] + l[8:], 8),
    "the last, cut": lambda l, o: (l[:-1] + [l[-1][:-3]], len(l)),
}


@pytest.mark.parametrize("how", LINES)
def test_lines(base, log, how):
    new, bad = LINES[how](lines(log), other(log, base))
    assert new != lines(log)
    put(log, new)
    # without the tiles a signature that was taken off shows in the tree alone: the independent verifier reads no tiles
    both(base, log, r"line %d\b|signs another tree" % bad if "taken off" in how else r"line %d\b" % bad)


def test_one_bit_anywhere(base, log):
    """Three bytes of every line; the unit test does all of them."""
    text = bytearray((log / FIRST).read_bytes())
    number, starts = 0, [0] + [m.end() for m in re.finditer(rb"\n", bytes(text))]
    for number, (start, end) in enumerate(zip(starts, starts[1:])):
        for at in (start, (start + end) // 2, end - 1):
            text[at] ^= 4
            (log / FIRST).write_bytes(text)
            r = base.ctl("verify", log)
            assert r.returncode == 4 and re.search(r"\bline %d\b" % (number + 1), r.stdout + r.stderr), (at, r.stdout + r.stderr)
            with pytest.raises(ValueError, match=r"line %d\b" % (number + 1)):
                independent.check_log(log)
            text[at] ^= 4


def test_tail_dropped(base, log):
    put(log, lines(log)[:-2])
    both(base, log, "shorter")


FILES = {"segment": (FIRST, r"line 1\b"), "checkpoint": ("checkpoint", "checkpoint"), "origin": ("origin", "checkpoint")}


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_log_of_the_same_key(base, log, name):
    """Validly signed, every one of them."""
    file, where = FILES[name]
    shutil.copy(base.logs()[1] / file, log / file)
    both(base, log, where if name != "segment" else where + "|another tree|shorter")


def test_checkpoint_from_outside_tells_a_rolled_back_log(base, log, world):
    """The tail is dropped with its checkpoint; only what was kept elsewhere tells."""
    for u in kept(User("rolled", 0, world)):
        assert u.ctl("run", "--", "true").returncode == 0
        (early,) = u.logs()
        kept_note = log.parent / "note"
        shutil.copy(early / "checkpoint", kept_note)
        rolled = log.parent / "rolled"
        shutil.copytree(early, rolled)
        text = rolled / FIRST
        text.write_bytes(b"".join(line + b"\n" for line in lines(early)[:-4]))
        r = u.ctl("verify", rolled, "--checkpoint", kept_note)
        assert r.returncode == 4
        with pytest.raises(ValueError):
            independent.check_log(rolled, outside=kept_note.read_text())


def test_signed_again_by_another_key(base, log, world):
    """A whole log, consistent in itself, by a key that is not the trusted one."""
    for u in kept(User("stranger", 0, world)):
        assert u.ctl("run", "--", "true").returncode == 0
        shutil.rmtree(log)
        shutil.copytree(u.last_log(), log)
        both(base, log, "checkpoint|keyset")


@pytest.mark.parametrize("hidden", ["\u007f", "\u009b31m", "\u2028", "\u061c", "\u202e", "\u2066"])
def test_what_could_break_a_terminal_is_escaped_or_no_event(base, tmp_path, hidden):
    """Whoever has a key may sign such a line; it still is none of a log, and no tool prints it."""
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    log.raw = True
    forge.started(log, run)
    forge.query(log, run, "evil" + hidden + ".test", "deny")
    forge.ended(log, run)
    path = log.write(tmp_path / "log", run)
    ours = base.ctl("verify", path, "--key", log.key.vkey)
    theirs = subprocess.run([sys.executable, independent.__file__, path], capture_output=True, text=True, timeout=60)
    assert ours.returncode == theirs.returncode == 4 and "line 3 " in ours.stdout and "line 3 " in theirs.stdout, ours.stdout + theirs.stdout
    for verb in (["events", path, "--json"], ["events", path], ["why", path], ["prove", "2", path]):
        r = base.ctl(*verb)
        assert r.returncode == 4 and hidden not in r.stdout + r.stderr, (verb, r)


def test_why_does_not_print_what_the_events_hide(base, tmp_path):
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    forge.query(log, run, "evil\u009b31m\u202e.test", "deny")
    forge.ended(log, run)
    r = base.ctl("why", log.write(tmp_path / "log", run))
    assert r.returncode == 0 and not any(c in r.stdout for c in "\u009b\u202e"), r.stdout
