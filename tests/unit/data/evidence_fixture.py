#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes evidence_fixture.json: tree heads, tiles, a checkpoint and a sealed event computed by nothing of ours, only
hashlib, base64 and the openssl command line. Run it by hand; the result is committed."""
import base64
import hashlib
import json
import subprocess
import tempfile


def sha(b):
    return hashlib.sha256(b).digest()


def mth(leaves):
    """RFC 6962 section 2.1, word for word."""
    n = len(leaves)
    if n == 0:
        return sha(b"")
    if n == 1:
        return sha(b"\0" + leaves[0])
    k = 1
    while k * 2 < n:
        k *= 2
    return sha(b"\1" + mth(leaves[:k]) + mth(leaves[k:]))


SEED = sha(b"cellos test key")  # of no use to anybody
PKCS8 = bytes.fromhex("302e020100300506032b657004220420") + SEED


def openssl(*args, **kw):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **kw).stdout


def sign(message):
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as msg:
        key.write(PKCS8)
        key.flush()
        msg.write(message)
        msg.flush()
        return openssl("pkeyutl", "-sign", "-keyform", "DER", "-inkey", key.name, "-rawin", "-in", msg.name)


def b64(b):
    return base64.b64encode(b).decode()


PUBLIC = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", input=PKCS8)[-32:]
LEAVES = [b"leaf-%d" % i for i in range(600)]
# The leaves of the reference implementation of Certificate Transparency (merkle_tree_test).
CT = [bytes.fromhex(h) for h in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                 "606162636465666768696a6b6c6d6e6f"]]

name = "cellos.local/" + sha(PUBLIC).hex()[:16]
keyid = sha(name.encode() + b"\n\x01" + PUBLIC)[:4]
text = "%s/0198c0de-0000-7000-8000-000000000001\n300\n%s\n" % (name, b64(mth(LEAVES[:300])))
note = text + "\n\u2014 %s %s\n" % (name, b64(keyid + sign(text.encode())))

event = {
    "id": "0198c0de-0000-7000-8000-000000000002",
    "source": "/cellos/proxyd/host-1",
    "specversion": "1.0",
    "type": "dev.cellos.events.cell.observability.v1.dns_query",
    "datacontenttype": "application/json",
    "dataschema": "",
    "subject": "urn:cellos:cell:web-1",
    "time": "2026-11-23T05:10:00Z",
}
data = ('{"cellId":"web-1","specId":"web-1","runId":"0198c0de-0000-7000-8000-000000000001","queryName":"example.test",'
        '"queryType":"A","action":"allow","reasonCode":"dns_allowlist_match"}')
ext = {"sequence": "%020d" % 7, "cellsequence": "%020d" % 3, "runid": "0198c0de-0000-7000-8000-000000000001"}
core = sha(b"".join(sha(event[k].encode()) for k in (
    "id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time")) + sha(data.encode()))
material = '{"core":"%s","ext":"%s","signedextattrs":["sequence","cellsequence","runid"]}' % (
    b64(core), b64(sha(b"".join(sha(v.encode()) for v in ext.values()))))
ptype = "https://cloudevents.io/verifiability/dsse/v0.1"
pae = b"DSSEv1 %d %s %d %s" % (len(ptype), ptype.encode(), len(material), material.encode())
dsse = '{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"sha256:%s","sig":"%s"}]}' % (
    b64(material.encode()), ptype, sha(PUBLIC).hex(), b64(sign(pae)))
line = ('{"specversion":"1.0","id":"%(id)s","source":"%(source)s","type":"%(type)s","subject":"%(subject)s","time":"%(time)s",'
        '"datacontenttype":"application/json",' % event
        + '"sequence":"%(sequence)s","cellsequence":"%(cellsequence)s","runid":"%(runid)s",' % ext
        + '"data":%s,"dssematerial":"%s"}' % (data, b64(dsse.encode())))
assert json.loads(line)["data"]["queryType"] == "A"

json.dump({
    "seed": SEED.hex(),
    "public": PUBLIC.hex(),
    "ct_roots": [mth(CT[:n]).hex() for n in range(len(CT) + 1)],
    "roots": {str(n): mth(LEAVES[:n]).hex() for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 300, 511, 512, 513, 600)},
    "tile_0_000": sha(b"".join(sha(b"\0" + l) for l in LEAVES[:256])).hex(),
    "tile_1_hashes": [mth(LEAVES[:256]).hex(), mth(LEAVES[256:512]).hex()],
    "vkey": "%s+%s+%s" % (name, keyid.hex(), b64(b"\1" + PUBLIC)),
    "checkpoint": note,
    "material": material,
    "line": line,
    "leaf": sha(b"\0" + line.encode()).hex(),
}, open("evidence_fixture.json", "w"), indent=1, ensure_ascii=True)
