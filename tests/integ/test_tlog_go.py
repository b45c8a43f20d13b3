# SPDX-License-Identifier: MIT
"""`cellctl tiles` read by the code of the Go checksum database (golang.org/x/mod/sumdb), and our proofs checked by it."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from evidence import sha256

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def tlogcheck(tmp_path_factory):
    if not shutil.which("go"):
        pytest.fail("go is not there: packaging/deps install")
    work = tmp_path_factory.mktemp("go")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(work / "cache"), "GOFLAGS": "",
           "GOPROXY": "off", "HOME": str(work)}
    r = subprocess.run(["go", "build", "-o", work / "tlogcheck", HERE / "go/tlogcheck.go"], env=env, capture_output=True,
                       text=True, timeout=300)
    assert r.returncode == 0, r.stderr

    def run(*args):
        return subprocess.run([work / "tlogcheck", *map(str, args)], capture_output=True, text=True, timeout=120)
    yield run
    shutil.rmtree(work / "cache", ignore_errors=True)


def test_whole_log(quiet, long_log, tlogcheck, tmp_path):
    tree = tmp_path / "tree"
    assert quiet("tiles", long_log.log, tree).returncode == 0
    old = [f for n in (1, 255, 256, 257, 513, 703) for f in ("-old", long_log.file(n))]
    r = tlogcheck(long_log.vkey, tree, *old)
    assert r.returncode == 0 and r.stdout == "703\n", r.stderr
    assert tlogcheck(long_log.vkey, tree, "-old", long_log.file(300, sha256(b"x"))).returncode == 1


def test_growing_tree(quiet, long_log, tlogcheck, tmp_path):
    """Written again and again as the log grows: every state is a whole tlog-tiles log."""
    log, tree, before = long_log.at(1), tmp_path / "tree", None
    for size in (1, 2, 255, 256, 257, 511, 512, 600, 703):
        long_log.grow(log, size)
        r = quiet("tiles", log, tree)
        assert r.returncode == 0, r.stderr
        r = tlogcheck(long_log.vkey, tree, *(["-old", long_log.file(before)] if before else []))
        assert r.returncode == 0 and r.stdout == "%d\n" % size, (size, r.stderr)
        before = size
    untouched = (tree / "tile/0/000").stat().st_mtime_ns
    assert quiet("tiles", log, tree).returncode == 0
    assert (tree / "tile/0/000").stat().st_mtime_ns == untouched
    bundle = (tree / "tile/entries/000").read_bytes()
    assert bundle == b"".join(len(l).to_bytes(2, "big") + l for l in long_log.lines[:256])


def test_proofs_of_ours(quiet, long_log, tlogcheck, tmp_path):
    tree, args = tmp_path / "tree", []
    assert quiet("tiles", long_log.log, tree).returncode == 0
    for n in (0, 1, 255, 256, 400, 702):
        proof, event = tmp_path / ("%d.tlog-proof" % n), tmp_path / ("%d.json" % n)
        assert quiet("prove", n, long_log.log, "--tlog-proof", "-o", proof).returncode == 0
        event.write_bytes(long_log.lines[n])
        args += ["-proof", proof, event]
    for n in (1, 2, 255, 256, 300, 702, 703):
        file, request = tmp_path / "c", tmp_path / ("%d.request" % n)
        assert quiet("consistency", long_log.file(n), long_log.log, "--key", long_log.vkey, "-o", file).returncode == 0
        request.write_text(json.loads(file.read_text())["addCheckpoint"])
        args += ["-extends", request, long_log.file(n)]
    r = tlogcheck(long_log.vkey, tree, *args)
    assert r.returncode == 0, r.stderr
    event.write_bytes(long_log.lines[701])
    assert tlogcheck(long_log.vkey, tree, "-proof", proof, event).returncode == 1, "it can say no"


def test_damage_in_the_tree_is_seen(quiet, long_log, tlogcheck, tmp_path):
    tree = tmp_path / "tree"
    assert quiet("tiles", long_log.log, tree).returncode == 0
    entries = tree / "tile/entries/001"
    entries.write_bytes(entries.read_bytes().replace(b"allow", b"alloW", 1))
    assert tlogcheck(long_log.vkey, tree).returncode == 1


def test_tree_of_another_log_is_not_touched(quiet, long_log, tmp_path):
    tree = tmp_path / "tree"
    assert quiet("tiles", long_log.at(600), tree).returncode == 0
    kept = (tree / "checkpoint").read_text()
    r = quiet("tiles", long_log.at(500), tree)
    assert r.returncode == 4 and "cut" in r.stderr, r.stderr
    fork = long_log.at(650)
    (fork / "checkpoint").write_text(long_log.note(650, os.urandom(32)))
    assert quiet("tiles", fork, tree).returncode == 4
    (tree / "checkpoint").write_text(long_log.note(5, origin="cellos.local/other"))
    assert quiet("tiles", long_log.at(650), tree).returncode == 4
    (tree / "checkpoint").write_text(kept)
    assert quiet("tiles", long_log.at(650), tree).returncode == 0


def test_damaged_tiles_of_the_log_are_not_published(quiet, long_log, tlogcheck, tmp_path):
    """Upper tiles are made from what was written, not copied."""
    log, tree = long_log.whole(), tmp_path / "tree"
    for tile in (log / "tile").rglob("*"):
        if tile.is_file():
            tile.write_bytes(os.urandom(tile.stat().st_size))
    assert quiet("tiles", log, tree).returncode == 0
    assert tlogcheck(long_log.vkey, tree).returncode == 0


def test_truncated_log_is_not_published(quiet, long_log, tmp_path):
    log, tree = long_log.at(600), tmp_path / "tree"
    segment = next(log.glob("*.jsonl"))
    segment.write_bytes(b"".join(l + b"\n" for l in long_log.lines[:590]))
    r = quiet("tiles", log, tree)
    assert r.returncode == 4 and not (tree / "checkpoint").exists(), r.stderr
