# SPDX-License-Identifier: MIT
"""independent.py LOG [--key VKEY] [--checkpoint FILE]: checks an evidence log with nothing of the suite's own code. Written from
docs/evidence.md and what it names; needs python3-cryptography, and zstd. Exits with 0, or says what is wrong and where and exits with 4."""
import base64, hashlib, json, re, subprocess, sys  # noqa: E401
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
PAYLOAD_TYPE, PREFIX = "https://cloudevents.io/verifiability/dsse/v0.1", "dev.cellos.events.cell."
CORE = ("id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time")
SIGNED, HIDDEN = ["sequence", "cellsequence", "runid"], re.compile(rb"[\0-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
LINE = re.compile(rb'(\{.*?),"data":(\{.*\})(?:,"dssematerial":"([A-Za-z0-9+/]*=*)")?\}\Z', re.S)
FORM = {"id": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        "sequence": r"\d{20}", "cellsequence": r"\d{20}", "type": re.escape(PREFIX) + ".+", "datacontenttype": "application/json"}
sha256 = lambda data: hashlib.sha256(data).digest()
b64 = lambda data: base64.b64encode(data).decode()
compact = lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
lines_of = lambda log: [line for *_, line in numbered_lines(log)]
leaf = lambda line: sha256(b"\0" + line)
digest = lambda e, names, *more: sha256(b"".join([sha256(e.get(n, "").encode()) for n in names] + [sha256(m) for m in more]))

def need(truth, what):
    if not truth:
        raise ValueError(what)

def unb64(text):
    raw = base64.b64decode(text, validate=True)
    need(b64(raw) == text, "base64 in another spelling")
    return raw

class Vkey:
    def __init__(self, text, begin="", end="9", revoked="9"):
        self.name, number, key = text.strip().split("+", 2)
        raw = unb64(key)
        self.public, self.keyid = raw[1:], "sha256:" + sha256(raw[1:]).hex()
        self.id = sha256(self.name.encode() + b"\n" + raw)[:4]
        need(raw[0] == 1 and self.id.hex() == number and self.name == "cellos.local/" + self.keyid[7:23], "not a verifier key of a log")
        self.key = Ed25519PublicKey.from_public_bytes(self.public)
        self.counts, self.vouches = lambda time: begin <= time <= end and time < revoked, lambda time: time <= end and time < revoked

def keys_of(log, trusted):  # the log's one key, or those of its keyset
    if not (log / "keyset").exists():
        return [Vkey(trusted or (log / "vkey").read_text())]
    old, past = {}, b""
    for line in (log / "keyset").read_bytes().split(b"\n")[:-1]:
        doc = json.loads(line)
        keys = {k["keyid"]: (Vkey(k["vkey"], k["notBefore"], k.get("notAfter", "9"), k.get("revokedAt", "9")), k["state"]) for k in doc["keys"]}
        need(compact(doc) == line and all(i == k.keyid for i, (k, _) in keys.items()), "a keyset in another spelling")
        need(not old or doc["previous"] == "sha256:" + sha256(past).hex(), "the keyset's chain is broken")
        for s in doc["signatures"]:
            {**old, **keys}[s["keyid"]][0].key.verify(unb64(s["sig"]), b"CellOS trust keyset v1\n" + line[:line.index(b',"signatures"')])
        own, before = ([known.get(s["keyid"], (0, 0))[1] for s in doc["signatures"]] for known in (keys, old))
        need("active" in own and (not old or {"active", "standby"} & set(before)), "a keyset not signed by its own key and one before it")
        need(old or not trusted or any(k.public == Vkey(trusted).public for k, _ in keys.values()), "a keyset of another key")
        old, past = keys, line
    return [k for k, _ in old.values()]

def check_event(line, *keys, signed=lambda key: None):
    """One line alone: its spelling, digests, signature (of a bare line: signed(key), if there is one). The event. Raises."""
    head, data, sealed = LINE.match(line).groups()
    e = json.loads(head + b"}")
    cell = "subject" in e
    order = ["specversion", "id", "source", "type", *["subject"] * cell, "time", "datacontenttype", "sequence", *SIGNED[1:] * cell]
    need(list(e) == order and compact(e) == head + b"}", "another spelling")
    need(all(re.fullmatch(form, e[name]) for name, form in FORM.items() if name in e) and not HIDDEN.search(data), "an attribute or data breaks its form")
    body = compact({"core": b64(digest(e, CORE, data)), "ext": b64(digest(e, SIGNED)), "signedextattrs": SIGNED})
    found = {k: signed(k) for k in keys if not sealed and signed(k)}
    if sealed is not None:
        (s,) = json.loads(unb64(sealed.decode()))["signatures"]
        found = {k: unb64(s["sig"]) for k in keys if k.keyid == s["keyid"]}
        envelope = {"payload": b64(body), "payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": s["keyid"], "sig": s["sig"]}]}
        need(found and b64(compact(envelope)) == sealed.decode(), "signed is another event, or by an unknown key")
    for key, signature in found.items():
        key.key.verify(signature, b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(body), body))
        need(key.counts(e["time"]), "its key did not count at that time")
    return {**e, "data": json.loads(data)}

def root(hashes):
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"")
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + root(hashes[:k]) + root(hashes[k:]))

def check_note(note, *keys):
    text, _, signatures = note.partition("\n\n")
    mine = [(k, unb64(s.split(" ")[2])) for s in signatures.splitlines() for k in keys if s.startswith("\u2014 %s " % k.name)]
    need(any(s[:4] == k.id for k, s in mine) and signatures.endswith("\n"), "not signed by the key")
    for k, s in mine:
        k.key.verify(s[4:], text.encode() + b"\n")
    origin, size, top, *_ = text.split("\n")
    return origin, int(size), unb64(top)

def numbered_lines(log):
    due = None
    for f in sorted(f for f in log.glob("*.jsonl*") if f.name[20:] == ".jsonl" or not f.with_suffix("").exists()):
        need(due in (None, int(f.name[:20])), "%s: line %s is due" % (f.name, due and due + 1))
        data = f.read_bytes() if f.suffix == ".jsonl" else subprocess.run(["zstd", "-dcq", f], check=True, capture_output=True).stdout
        *lines, rest = data.split(b"\n")
        due = int(f.name[:20]) + len(lines)
        for i, line in enumerate(lines):
            yield due - len(lines) + i, f, i, line
        need(not rest, "%s: line %d has no line feed" % (f.name, due + 1))

def pruned(log, n):  # the leaves of the first n lines, which retention took away, out of the tiles
    names = ["/".join("x" * (g < 2) + ("%09d" % i)[3 * g:3 * g + 3] for g in range(3) if g == 2 or i >= 1000 ** (2 - g)) for i in range(-(-n // 256))]
    tiles = [max((log / "tile/0").glob(t + "*/*"), key=lambda f: int(f.name)) if not (log / "tile/0" / t).exists() else log / "tile/0" / t for t in names]
    return [data[i:i + 32] for data in [b"".join(t.read_bytes() for t in tiles)] for i in range(0, 32 * n, 32)]

def check_order(n, e, runs, leaves, first):
    need(int(e["sequence"]) == n, "sequence is %s: a line is missing, repeated or moved" % e["sequence"])
    if e["type"] == PREFIX + "log.v1.recovered":
        need(e["data"]["previousSize"] == n and e["data"]["previousRoot"] == "sha256:" + root(leaves).hex(), "seals another past")
    if "subject" in e:
        subject, last = runs.get(e["runid"], (e["subject"], int(e["cellsequence"]) - 1 if first else 0))
        need(int(e["cellsequence"]) == last + 1 and e["subject"] == subject, "an event of its run is missing, or its cell is another")
        need(e["data"]["runId"] == e["runid"] and "urn:cellos:cell:" + e["data"]["cellId"] == subject, "data of another cell")
        runs[e["runid"]] = (subject, last + 1 if not e["type"].endswith("lifecycle.v1.destroyed") else -9)

def check_log(log, note=None, key=None, outside=None):
    """Everything. The events. Raises ValueError that says where."""
    where, events, leaves, runs, first = "keys", [], [], {}, 0
    try:
        keys, where = keys_of(log, key), "checkpoint"
        origin, size, _ = check_note(own := note or (log / "checkpoint").read_text(), *keys)
        need(origin == (log / "origin").read_text().rstrip("\n"), "of another log")
        for n, f, i, line in numbered_lines(log):
            where = "line %d (%s, line %d)" % (n + 1, f.name, i + 1)
            sides = {k: log / ("%s-%s.sig" % (f.name[:20], k.keyid[7:23])) for k in keys}
            signed = lambda k: sides[k].exists() and (s := sides[k].read_bytes()[64 * i:][:64]) and any(s) and s
            first, leaves = (first, leaves) if events else (n, pruned(log, n))
            events.append(check_event(line, *keys, signed=signed))
            check_order(n, events[-1], runs, leaves, first)
            alone = n + 1 == size or n < size and not line.endswith(b'"}') and not any(map(signed, keys))
            need(not alone or all(k.vouches(events[-1]["time"]) for k in keys if "\u2014 %s " % k.name in own), "the checkpoint's key did not count by then")
            leaves.append(leaf(line))
        says = [(e["data"]["firstIndex"] + e["data"]["lines"], e["data"]["root"]) for e in events if e["type"] == PREFIX + "log.v1.pruned"]
        need(not first or (first, "sha256:" + root(leaves[:first]).hex()) in says, "no log.v1.pruned accounts for %d lines" % first)
        for where, text in [("checkpoint", own), *[("checkpoint from outside", outside)] * bool(outside)]:
            name, size, top = check_note(text, *keys)
            need(size <= len(leaves), "the log is shorter: %d lines of %d" % (len(leaves), size))
            need(name == origin and root(leaves[:size]) == top, "signs another tree, or is of another log")
        return events
    except Exception as e:
        raise ValueError("%s: %s" % (where, str(e) or type(e).__name__)) from None

if __name__ == "__main__":
    flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    try:
        print("good: %d events" % len(check_log(Path(sys.argv[1]), key=flags.get("--key"), outside="--checkpoint" in flags and Path(flags["--checkpoint"]).read_text())))
    except (ValueError, IndexError) as bad:
        sys.exit(print(bad if len(sys.argv) > 1 else __doc__) or 4)
