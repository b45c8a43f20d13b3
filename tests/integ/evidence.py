# SPDX-License-Identifier: MIT
"""Checks a log with nothing of the suite's own code: written from the texts of the CloudEvents verifiability extension,
DSSE 1.0.2, RFC 6962 and the C2SP formats, with python3-cryptography."""
import base64
import hashlib
import json
import re
import subprocess

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PAYLOAD_TYPE = "https://cloudevents.io/verifiability/dsse/v0.1"
CORE = ("id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time")
DATA = re.compile(rb',"data":(\{.*\}),"dssematerial":"[A-Za-z0-9+/=]*"\}\Z', re.S)


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text, validate=True)


def core_digest(attributes, data):
    return sha256(b"".join(sha256(attributes.get(a, "").encode()) for a in CORE) + sha256(data))


def ext_digest(attributes, names):
    return sha256(b"".join(sha256(attributes[n].encode()) for n in names))


def pae(payload_type, body):
    t = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(t), t, len(body), body)


class Vkey:
    """C2SP signed-note: name+id+base64(0x01 || key)."""

    def __init__(self, text):
        self.name, number, key = text.strip().split("+", 2)
        raw = unb64(key)
        assert raw[0] == 1 and len(raw) == 33
        self.public = raw[1:]
        self.id = sha256(self.name.encode() + b"\n" + raw)[:4]
        assert self.id.hex() == number
        self.key = Ed25519PublicKey.from_public_bytes(self.public)
        assert self.name == "cellos.local/" + sha256(self.public).hex()[:16]


def check_event(line, vkey):
    """One line: envelope, signature, digests. Raises; returns the event."""
    event = json.loads(line)
    material = event["dssematerial"]
    envelope = json.loads(unb64(material))
    assert set(envelope) == {"payload", "payloadType", "signatures"}
    assert envelope["payloadType"] == PAYLOAD_TYPE
    body = unb64(envelope["payload"])
    (signature,) = envelope["signatures"]
    assert signature["keyid"] == "sha256:" + sha256(vkey.public).hex()
    vkey.key.verify(unb64(signature["sig"]), pae(PAYLOAD_TYPE, body))
    signed = json.loads(body)
    assert set(signed) == {"core", "ext", "signedextattrs"}
    assert signed["signedextattrs"] == ["sequence", "cellsequence", "runid"]
    assert signed["core"] == b64(core_digest(event, DATA.search(line)[1]))
    attributes = {n: event.get(n, "") for n in signed["signedextattrs"]}
    assert signed["ext"] == b64(ext_digest(attributes, signed["signedextattrs"]))
    return event


def leaf(data):
    return sha256(b"\0" + data)


def root(hashes):
    """RFC 6962 2.1, as it is written there."""
    n = len(hashes)
    if n == 0:
        return sha256(b"")
    if n == 1:
        return hashes[0]
    k = 1 << (n - 1).bit_length() - 1
    return sha256(b"\1" + root(hashes[:k]) + root(hashes[k:]))


def check_note(note, vkey):
    """A signed checkpoint: (origin, size, root)."""
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    good = 0
    for line in signatures.splitlines():
        dash, name, sig = line.split(" ")
        raw = unb64(sig)
        if dash == "\u2014" and name == vkey.name and raw[:4] == vkey.id:
            vkey.key.verify(raw[4:], text.encode())
            good += 1
    assert good == 1
    origin, size, top = text.splitlines()
    return origin, int(size), unb64(top)


def segment_bytes(path):
    """A segment's content: a closed one is compressed, with the tool everybody has."""
    if path.suffix != ".zst":
        return path.read_bytes()
    return subprocess.run(["zstd", "-q", "-d", "-c", str(path)], stdout=subprocess.PIPE, check=True).stdout


def segments_of(log):
    """The files of a log's segments, by the index of their first line; where there are two forms the plain one."""
    return {int(p.name[:20]): p for pattern in ("*.jsonl.zst", "*.jsonl") for p in sorted(log.glob(pattern))}


def lines_of(log, first=0):
    """The exact lines of a log, in order; first: what is left behind what was pruned."""
    lines = []
    for index, segment in sorted(segments_of(log).items()):
        assert index == first + len(lines) and segment.name[:20] == "%020d" % index
        data = segment_bytes(segment)
        assert data == b"" or data.endswith(b"\n")
        lines += data.split(b"\n")[:-1]
    return lines


def check_log(log, note=None):
    """Everything. Returns the events."""
    vkey = Vkey((log / "vkey").read_text())
    origin, size, top = check_note(note or (log / "checkpoint").read_text(), vkey)
    assert origin == (log / "origin").read_text().strip()
    lines = lines_of(log)
    assert size == len(lines)
    assert root([leaf(l) for l in lines]) == top
    return [check_event(l, vkey) for l in lines]
