# SPDX-License-Identifier: MIT
"""A log of some hundreds of events that signerd wrote, its key, and other states of it: cut, grown, forked."""
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conftest import BIN
from evidence import Vkey, b64, leaf, lines_of, root, unb64

FIRST = "00000000000000000000.jsonl"


class LongLog:
    def __init__(self, home, count):
        peer = BIN.parent / "bin-test/peer"
        assert peer.exists(), "make unit-build makes %s" % peer
        self.work = Path(tempfile.mkdtemp(prefix="long-", dir=home))
        r = subprocess.run([peer, "many", str(count), BIN, self.work], capture_output=True, text=True, timeout=300)
        assert r.returncode == 0, r.stderr
        self.log = self.work / "signerd-0/log"
        self.vkey = self.log / "vkey"
        self.origin = (self.log / "origin").read_text().strip()
        self.lines = lines_of(self.log)
        self.leaves = [leaf(l) for l in self.lines]
        self.events = [json.loads(l) for l in self.lines]
        seed = unb64((self.work / "signerd-0/keys/signing.key").read_text().strip())
        self.key = Ed25519PrivateKey.from_private_bytes(seed)

    def note(self, size, top=None, origin=None):
        """A checkpoint of the first size lines as signerd would sign it, or of whatever root and origin."""
        v = Vkey(self.vkey.read_text())
        text = "%s\n%d\n%s\n" % (origin or self.origin, size, b64(top or root(self.leaves[:size])))
        return "%s\n\u2014 %s %s\n" % (text, v.name, b64(v.id + self.key.sign(text.encode())))

    def file(self, size, top=None, origin=None):
        path = self.work / ("checkpoint-%d%s" % (size, "-other" if top or origin else ""))
        path.write_text(self.note(size, top, origin))
        return path

    def at(self, size):
        """A copy that ends after size lines."""
        copy = Path(tempfile.mkdtemp(prefix="cut-", dir=self.work)) / "log"
        copy.mkdir()
        for name in ("origin", "vkey"):
            shutil.copy(self.log / name, copy / name)
        self.grow(copy, size)
        return copy

    def grow(self, copy, size):
        (copy / FIRST).write_bytes(b"".join(l + b"\n" for l in self.lines[:size]))
        (copy / "checkpoint").write_text(self.note(size))
        return copy

    def whole(self):
        copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self.work)) / "log"
        shutil.copytree(self.log, copy)
        return copy
