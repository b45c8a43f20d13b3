# SPDX-License-Identifier: MIT
"""cellctl prove and what `cellctl verify` makes of its files, far from the log they are of."""
import base64
import json
import os
import shutil

import pytest

from evidence import Vkey, check_event, check_note, leaf, sha256, unb64


def proof_of(quiet, log, event, *flags):
    r = quiet("prove", event, log, *flags)
    assert r.returncode == 0, r.stderr
    return r.stdout


def path_root(at, size, hashed, path):
    """RFC 9162 2.1.3.2."""
    fn, sn, r = at, size - 1, hashed
    for p in path:
        assert sn > 0
        if fn & 1 or fn == sn:
            r = sha256(b"\1" + p + r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\1" + r + p)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return r


def check_alone(text, vkey):
    """What the file says, with nothing of ours. The event's index and the tree's size."""
    proof = json.loads(text)
    assert proof["cellosProof"] == 1
    head, _, note = proof["tlogProof"].partition("\n\n")
    first, index, *path = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1" and index.startswith("index ")
    _, size, top = check_note(note, vkey)
    event = check_event(proof["line"].encode(), vkey)
    line = proof["line"]
    if proof["seal"] == "batch":
        line = line[:line.rindex(',"dssematerial":"')] + "}"
    assert path_root(int(index[6:]), size, leaf(line.encode()), [unb64(p) for p in path]) == top
    assert int(event["sequence"]) == int(index[6:])
    return int(index[6:]), size


@pytest.mark.parametrize("at", [0, 1, 255, 256, 257, 511, 512, 699, 702])
def test_proof_holds_anywhere(quiet, long_log, tmp_path, at):
    file = tmp_path / "event.proof.json"
    assert quiet("prove", at, long_log.log, "-o", file).returncode == 0
    assert check_alone(file.read_text(), Vkey(long_log.vkey.read_text())) == (at, 703)
    assert json.loads(file.read_text())["line"].encode() == long_log.lines[at]
    r = quiet("verify", file, "--key", long_log.vkey)
    assert r.returncode == 0 and "event %d of 703" % at in r.stdout, r.stdout + r.stderr
    r = quiet("verify", "-", "--key", long_log.vkey, input=file.read_text())
    assert r.returncode == 0, r.stdout


def test_names_of_an_event(quiet, long_log):
    event = long_log.events[321]
    by_sequence = proof_of(quiet, long_log.log, 321)
    assert proof_of(quiet, long_log.log, event["id"]) == by_sequence
    assert proof_of(quiet, long_log.log, event["sequence"]) == by_sequence
    assert proof_of(quiet, long_log.log, "%s:%d" % (event["runid"], int(event["cellsequence"]))) == by_sequence
    assert proof_of(quiet, long_log.log, "%s:%d" % (event["runid"][-6:], int(event["cellsequence"]))) == by_sequence
    for bad, status in (("703", 2), (long_log.events[3]["id"][:-1] + "x", 1), ("nonsense", 1), ("abcdef:0", 1),
                        ("abcdef01:4", 2), ("01a00000-0000-7000-8000-000000000000", 2)):
        r = quiet("prove", bad, long_log.log)
        assert r.returncode == status and r.stderr and not r.stdout, (bad, r)


def test_self_declared_is_said(quiet, long_log, tmp_path):
    file = tmp_path / "p"
    assert quiet("prove", 5, long_log.log, "-o", file).returncode == 0
    r = quiet("verify", file)
    assert r.returncode == 0 and "self-declared" in r.stdout, r.stdout


def rewrap(text, **changes):
    return json.dumps({**json.loads(text), **changes}, separators=(",", ":"), ensure_ascii=False)


def test_every_change_is_seen(quiet, long_log, tmp_path):
    text = proof_of(quiet, long_log.log, 300)
    proof = json.loads(text)
    tlog = proof["tlogProof"]
    other = json.loads(proof_of(quiet, long_log.log, 301))
    head, _, note = tlog.partition("\n\n")
    path = head.split("\n")
    swapped = "\n".join(path[:2] + [path[3], path[2]] + path[4:]) + "\n\n" + note
    flipped = base64.b64encode(bytes([unb64(path[2])[0] ^ 1]) + unb64(path[2])[1:]).decode()
    changed = {
        "the event": rewrap(text, line=proof["line"].replace("claims-1", "claims-2")),
        "another event": rewrap(text, line=other["line"]),
        "another's path": rewrap(text, tlogProof=other["tlogProof"]),
        "its index": rewrap(text, tlogProof=tlog.replace("index 300", "index 301")),
        "a hash": rewrap(text, tlogProof=tlog.replace(path[2], flipped)),
        "two hashes": rewrap(text, tlogProof=swapped),
        "a hash less": rewrap(text, tlogProof="\n".join(path[:-1]) + "\n\n" + note),
        "a hash more": rewrap(text, tlogProof="\n".join(path + [path[-1]]) + "\n\n" + note),
        "the size": rewrap(text, tlogProof=tlog.replace("\n703\n", "\n702\n")),
        "the signature": rewrap(text, tlogProof=tlog[:-12] + "AAAAAAAAAA=\n"),
        "the seal": rewrap(text, seal="batch"),
        "no seal": rewrap(text, seal="none"),
        "another version": rewrap(text, cellosProof=2),
        "cut": text[:-30],
    }
    for what, bad in changed.items():
        file = tmp_path / "bad"
        file.write_text(bad)
        r = quiet("verify", file, "--key", long_log.vkey)
        assert r.returncode == 4, (what, r.stdout, r.stderr)


def test_another_key_is_not_believed(quiet, long_log, user, tmp_path):
    assert user.ctl("run", "--", "true").returncode == 0
    file = tmp_path / "p"
    assert quiet("prove", 5, long_log.log, "-o", file).returncode == 0
    assert quiet("verify", file, "--key", user.last_log() / "vkey").returncode == 4


def test_damaged_tiles_do_not_spoil_a_proof(quiet, long_log, tmp_path):
    """A tile is a cache: the proof is made from the lines, and verify names the tile."""
    log = long_log.whole()
    tile = log / "tile/0/001"
    tile.write_bytes(bytes(8192))
    file = tmp_path / "p"
    assert quiet("prove", 300, log, "-o", file).returncode == 0
    assert quiet("verify", file, "--key", long_log.vkey).returncode == 0
    r = quiet("verify", log, "--key", long_log.vkey)
    assert r.returncode == 4 and "tile/0/001" in r.stdout, r.stdout
    tile.write_bytes((long_log.log / "tile/0/001").read_bytes()[:-1])
    assert "tile/0/001" in quiet("verify", log, "--key", long_log.vkey).stdout
    shutil.rmtree(log / "tile")
    assert quiet("prove", 300, log, "-o", file).returncode == 0
    r = quiet("verify", log, "--key", long_log.vkey)
    assert r.returncode == 0 and "tiles missing" in r.stdout, r.stdout


def test_tampered_log_gives_no_proof(quiet, long_log):
    log = long_log.whole()
    segment = next(log.glob("*.jsonl"))
    lines = segment.read_bytes().split(b"\n")
    lines[5] = lines[5].replace(b"allow", b"alloW", 1)
    assert lines[5] != long_log.lines[5]
    segment.write_bytes(b"\n".join(lines))
    r = quiet("prove", 5, log)
    assert r.returncode == 4 and not r.stdout, r
    assert quiet("prove", 6, log).returncode == 0, "the tiles still know the tree that was signed"


def test_tlog_proof_alone(quiet, long_log, tmp_path):
    text = proof_of(quiet, long_log.log, 700, "--tlog-proof")
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 700\n")
    file, event, other = tmp_path / "x.tlog-proof", tmp_path / "event", tmp_path / "other"
    file.write_text(text)
    event.write_bytes(long_log.lines[700] + b"\n")
    other.write_bytes(long_log.lines[699] + b"\n")
    assert quiet("verify", file, "--event", event, "--key", long_log.vkey).returncode == 0
    assert quiet("verify", file, "--event", other, "--key", long_log.vkey).returncode == 4
    assert quiet("verify", file, "--key", long_log.vkey).returncode == 1
    assert quiet("verify", file, "--event", event).returncode == 1, "it brings no key along"


def test_seal_batch(user, quiet, tmp_path):
    """The leaf is the bare line; the file holds the sealed event all the same."""
    assert user.ctl("run", "--seal", "batch", "--", "true").returncode == 0
    log = user.last_log()
    vkey = Vkey((log / "vkey").read_text())
    file = tmp_path / "p"
    r = user.ctl("prove", 1, log)
    assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout)["seal"] == "batch"
    index, size = check_alone(r.stdout, vkey)
    assert index == 1
    file.write_text(r.stdout)
    assert quiet("verify", file, "--key", log / "vkey").returncode == 0
    file.write_text(rewrap(r.stdout, seal="event"))
    assert quiet("verify", file, "--key", log / "vkey").returncode == 4
    v = quiet("verify", log, "--key", log / "vkey")
    assert v.returncode == 0 and "no signature" not in v.stdout, v.stdout


def test_signature_of_a_bare_line(user, quiet):
    """What idle time signed is part of what verify checks."""
    assert user.ctl("run", "--seal", "batch", "--", "true").returncode == 0
    log = user.last_log()
    (sidecar,) = log.glob("*.sig")
    data = bytearray(sidecar.read_bytes())
    data[64 * 2 + 5] ^= 4
    sidecar.write_bytes(bytes(data))
    r = quiet("verify", log, "--key", log / "vkey")
    assert r.returncode == 4 and "line 3 " in r.stdout, r.stdout
    data[64 * 2:64 * 3] = bytes(64)
    sidecar.write_bytes(bytes(data))
    r = quiet("verify", log, "--key", log / "vkey")
    assert r.returncode == 0 and "1 line has no signature of its own" in r.stdout, r.stdout
    assert "idle time" in user.ctl("prove", 2, log).stderr


def test_output_is_whole_or_not_there(quiet, long_log, tmp_path):
    assert quiet("prove", 3, long_log.log, "-o", tmp_path / "no/such/place").returncode == 2
    assert quiet("prove", 3, long_log.log, "-o", tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_output_replaces_files_only(quiet, long_log, tmp_path):
    """As root a device would be gone, and so would a link: /dev/stdout is one."""
    fifo, link, target = tmp_path / "fifo", tmp_path / "link", tmp_path / "target"
    os.mkfifo(fifo)
    target.write_text("kept")
    link.symlink_to(target)
    for verb in (["prove", 3, long_log.log], ["consistency", long_log.file(5), long_log.log], ["report", long_log.log]):
        for out in (fifo, link):
            r = quiet(*verb, "-o", out)
            assert r.returncode == 2 and "no file" in r.stderr, (verb, r.stdout + r.stderr)
    assert fifo.is_fifo() and link.is_symlink() and target.read_text() == "kept" and len(list(tmp_path.iterdir())) == 3


def test_tiles_are_not_written_into_a_log(quiet, long_log):
    """Not into a live one, whose checkpoint could become an older one, and not into a copy."""
    log = long_log.at(300)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in log.iterdir())
    assert quiet("tiles", log, log).returncode == 1
    assert quiet("tiles", long_log.log, log).returncode == 1
    assert sorted((p.name, p.stat().st_mtime_ns) for p in log.iterdir()) == before
