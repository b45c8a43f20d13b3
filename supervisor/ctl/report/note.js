/* SPDX-License-Identifier: MIT */
/* Verifier keys and the checkpoint: C2SP signed-note and tlog-checkpoint. */

const KEY_NAME = /^[!-*,-~]{1,128}$/; /* printable ASCII without blank and plus */
const NOTE_DASH = "\u2014 ";

/* "<name>+<8 hex>+<base64(0x01 || public)>" -> {text, name, id, keyid, public, key}. The id must be that of name and key. */
async function openVkey(text) {
  const m = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/.exec(text);
  if (!m || !KEY_NAME.test(m[1])) throw new Err("not a verifier key (name+id+base64)");
  const raw = fromBase64(m[3]);
  if (raw.length !== 33 || raw[0] !== 1) throw new Err("not an Ed25519 verifier key");
  const id = toHex((await sha256(joinBytes(bytesOf(m[1]), Uint8Array.of(10), raw))).subarray(0, 4));
  if (id !== m[2]) throw new Err("the key's id is not that of its name and bytes");
  const pub = raw.slice(1);
  return { text, name: m[1], id, public: pub, keyid: "sha256:" + toHex(await sha256(pub)), key: await importPublic(pub) };
}

/* {text, origin, size, root, signatures: [{name, id, sig}]} */
function parseCheckpoint(note) {
  const at = note.lastIndexOf("\n\n");
  if (at < 0 || !note.endsWith("\n")) throw new Err("the checkpoint is not a signed note");
  const text = note.slice(0, at + 1);
  const [origin, size, root, ...more] = text.split("\n");
  if (!KEY_NAME.test(origin) || !/^(0|[1-9][0-9]{0,18})$/.test(size) || more.length < 1)
    throw new Err("the checkpoint has no origin, size and root");
  const rootBytes = fromBase64(root);
  if (rootBytes.length !== 32) throw new Err("the checkpoint's root is no SHA-256 digest");
  const signatures = note.slice(at + 2, -1).split("\n").map((line) => {
    const m = /^(\S+) (\S+)$/.exec(line.startsWith(NOTE_DASH) ? line.slice(NOTE_DASH.length) : "");
    if (!m) throw new Err("the checkpoint has a line that is no signature");
    const raw = fromBase64(m[2]);
    if (raw.length < 5) throw new Err("the checkpoint has a signature that is too short");
    return { name: m[1], id: toHex(raw.subarray(0, 4)), sig: raw.slice(4) };
  });
  return { text, origin, size: BigInt(size), root: rootBytes, signatures };
}

/* The keys of these that signed the checkpoint. A bad signature of one of them spoils the note. */
async function checkpointSigners(checkpoint, vkeys) {
  const good = [];
  for (const s of checkpoint.signatures)
    for (const k of vkeys) {
      if (k.name !== s.name || k.id !== s.id) continue;
      if (!(await signatureGood(k.key, s.sig, bytesOf(checkpoint.text))))
        throw new Err("the checkpoint's signature by " + k.name + " does not verify");
      good.push(k);
    }
  return good;
}
