# SPDX-License-Identifier: MIT
"""Logs under a key of the test's own, in the suite's form: for runs that would take hours, values no cell can bring forth,
and times of one's choice."""
import json
import re
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from independent import CORE, PAYLOAD_TYPE, SIGNED, b64, digest, leaf, root, sha256

TYPE = "dev.cellos.events.cell."


def uuid7(ms, n):
    h = "%012x" % ms
    return "%s-%s-7%03x-8%03x-%012x" % (h[:8], h[8:], n & 0xfff, n >> 12 & 0xfff, n)


def rfc3339(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


class Key:
    def __init__(self):
        self.private = Ed25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.name = "cellos.local/" + sha256(self.public).hex()[:16]
        self.keyid = "sha256:" + sha256(self.public).hex()
        raw = b"\x01" + self.public
        self.id = sha256(self.name.encode() + b"\n" + raw)[:4]
        self.vkey = "%s+%s+%s" % (self.name, self.id.hex(), b64(raw))


def keyset(*versions, created="2026-01-01T00:00:00Z"):
    """A keyset file. A version: a list of (Key, {member: value}) with state, and notBefore where it is not the beginning; the
    active keys of it and of the version before sign it."""
    out, before = [], None
    for n, keys in enumerate(versions, 1):
        text = '{"keyset":"cellos.keyset/v1","version":%d,' % n
        if out:
            text += '"previous":"sha256:%s",' % sha256(out[-1]).hex()
        docs = [{"keyid": k.keyid, "vkey": k.vkey, "notBefore": d.get("notBefore", "1970-01-01T00:00:00Z"),
                 **{m: d[m] for m in ("notAfter", "state", "revokedAt") if m in d}} for k, d in keys]
        text += '"created":"%s","keys":%s' % (created, json.dumps(docs, separators=(",", ":")))
        active = next(k for k, d in keys if d["state"] == "active")
        sigs = [{"keyid": k.keyid, "sig": b64(k.private.sign(b"CellOS trust keyset v1\n" + text.encode()))}
                for k in dict.fromkeys([before or active, active])]
        out.append((text + ',"signatures":%s}' % json.dumps(sigs, separators=(",", ":"))).encode())
        before = active
    return b"".join(line + b"\n" for line in out)


class Log:
    """add() events, then write() them into a directory."""

    raw = False  # True: with characters that signerd would escape

    def __init__(self, key=None, start_ms=1790000000000, bare=False):
        self.key, self.now, self.bare = key or Key(), start_ms, bare
        self.lines, self.cells = [], {}

    def add(self, suffix, data, run=None, cell="web", role="supervisor", after=10):
        """run: its id, or None for an event of the log itself; after: milliseconds since the event before."""
        self.now += after
        n = len(self.lines)
        e = {"specversion": "1.0", "id": uuid7(self.now, n), "source": "/cellos/%s/host" % role, "type": TYPE + suffix}
        if run:
            e["subject"] = "urn:cellos:cell:" + cell
        e |= {"time": rfc3339(self.now), "datacontenttype": "application/json", "sequence": "%020d" % n}
        if run:
            self.cells[run] = self.cells.get(run, 0) + 1
            e |= {"cellsequence": "%020d" % self.cells[run], "runid": run}
            data = {"cellId": cell, "specId": cell, "runId": run, **data}
        raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if not self.raw:
            raw = re.sub("[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", lambda m: "\\u%04x" % ord(m[0]), raw)
        raw = raw.encode()
        line = json.dumps(e, separators=(",", ":")).encode()[:-1] + b',"data":' + raw
        if not self.bare:
            line += b',"dssematerial":"' + self._material(e, raw) + b'"'
        self.lines.append(line + b"}")

    def _material(self, e, raw):
        body = ('{"core":"%s","ext":"%s","signedextattrs":["sequence","cellsequence","runid"]}'
                % (b64(digest(e, CORE, raw)), b64(digest(e, SIGNED)))).encode()
        sig = self.key.private.sign(b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(body), body))
        return b64(('{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}'
                    % (b64(body), PAYLOAD_TYPE, self.key.keyid, b64(sig))).encode()).encode()

    def write(self, path, suffix=None, size=None):
        """size: what the checkpoint covers, all unless it says less."""
        path.mkdir(exist_ok=True)
        origin = self.key.name + ("/" + suffix if suffix else "")
        size = len(self.lines) if size is None else size
        (path / ("%020d.jsonl" % 0)).write_bytes(b"".join(l + b"\n" for l in self.lines))
        (path / "origin").write_text(origin + "\n")
        (path / "vkey").write_text(self.key.vkey + "\n")
        text = "%s\n%d\n%s\n" % (origin, size, b64(root([leaf(l) for l in self.lines[:size]])))
        sig = self.key.private.sign(text.encode())
        (path / "checkpoint.new").write_text(text + "\n\u2014 %s %s\n" % (self.key.name, b64(self.key.id + sig)))
        (path / "checkpoint.new").rename(path / "checkpoint")
        return path


def started(log, run, **kw):
    log.add("observability.v1.network_scope", {"mode": "intercept", "egressRules": [{"host": "example.test", "port": "443", "protocol": "any"}],
            "hostnameAllowlist": ["example.test"], "allowedQueryTypes": ["A"], "resolvers": []}, run, **kw)
    log.add("lifecycle.v1.started", {"ttlSeconds": 60, "backend": "process", "specDigest": "sha256:" + "0" * 64, "evidence": "strict",
            "isolation": {"namespaces": ["user", "net"], "cgroup": "v2", "seccomp": "core", "landlock": "abi 4", "uidMap": "1000 -> host 1"}}, run, **kw)


def query(log, run, name="example.test", action="allow", **kw):
    reason = "dns_allowlist_match" if action == "allow" else "dns_allowlist_miss"
    log.add("observability.v1.dns_query", {"queryName": name, "queryType": "A", "action": action, "reasonCode": reason, "origin": "cell"},
            run, role="proxyd", **kw)


def ended(log, run, argv=("true",), outcome="succeeded", **kw):
    log.add("command.v1.completed", {"argv": list(argv), "exitCode": 0 if outcome == "succeeded" else 1, "durationMs": 5}, run, **kw)
    log.add("lifecycle.v1.destroyed", {"outcome": outcome, "terminalState": "clean", "reason": "the command ended", "residueClass": "none"}, run, **kw)
