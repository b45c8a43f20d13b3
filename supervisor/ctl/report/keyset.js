/* SPDX-License-Identifier: MIT */
/* The trust keyset of a log: a chain of signed versions that says which keys count, and when (docs/evidence.md, "Keys"). */

const KEYSET_PREFIX = "CellOS trust keyset v1\n";
const MAY_SIGN = ["active", "standby"];
const MAY_BECOME = { active: ["active", "retired", "revoked"], standby: ["standby", "active", "retired", "revoked"], retired: ["retired", "revoked"], revoked: ["revoked"] };

/* {keys, digests: Map(version -> "sha256:..."), signers: Set(keyid)}; keys are vkeys (note.js) with notBefore, notAfter,
 * revokedAt as texts, "" where there is none. */
async function openKeyset(file) {
  const lines = file.split("\n");
  if (lines.pop() !== "" || lines.length === 0) throw new Err("the keyset has no version, or ends in the middle of one");
  const chain = { keys: [], digests: new Map(), signers: new Set() };
  let prev = null;
  for (const line of lines) {
    const k = await openVersion(line);
    if (prev) checkFollows(prev, k);
    await checkVersionSigned(prev, k, chain.signers);
    chain.digests.set(k.version, k.digest);
    prev = k;
  }
  chain.keys = prev.keys;
  return chain;
}

async function openVersion(line) {
  const cut = line.indexOf(',"signatures":[');
  let o;
  try {
    o = JSON.parse(line);
  } catch {
    throw new Err("a version of the keyset is not JSON");
  }
  if (cut < 0 || !o || o.keyset !== "cellos.keyset/v1" || !Number.isInteger(o.version) || !Array.isArray(o.keys) || !Array.isArray(o.signatures))
    throw new Err("a version of the keyset is not in its form");
  const keys = await Promise.all(o.keys.map(openKeysetKey));
  return { version: o.version, previous: text(o.previous), created: text(o.created), keys, signatures: o.signatures,
    signed: bytesOf(KEYSET_PREFIX + line.slice(0, cut)), digest: "sha256:" + toHex(await sha256(bytesOf(line))) };
}

async function openKeysetKey(k) {
  const vkey = await openVkey(text(k && k.vkey));
  if (k.keyid !== vkey.keyid || !(text(k.state) in MAY_BECOME)) throw new Err("a key of the keyset is not in its form");
  return { ...vkey, state: k.state, notBefore: text(k.notBefore), notAfter: text(k.notAfter), revokedAt: text(k.revokedAt) };
}

/* An end may be set or become earlier, never later. */
function mayEnd(from, to) {
  return from === "" || (to !== "" && to <= from);
}

function checkFollows(prev, k) {
  if (k.version !== prev.version + 1 || k.previous !== prev.digest) throw new Err("version " + k.version + " of the keyset does not follow the one before it");
  const stay = prev.keys.every((was, i) => {
    const is = k.keys[i];
    return is && is.text === was.text && is.notBefore === was.notBefore && mayEnd(was.notAfter, is.notAfter) && mayEnd(was.revokedAt, is.revokedAt) &&
      MAY_BECOME[was.state].includes(is.state);
  });
  if (!stay || k.created < prev.created || k.keys.slice(prev.keys.length).some((is) => is.notBefore < k.created))
    throw new Err("version " + k.version + " of the keyset changes what no version may change");
}

/* By a key that may sign it (of the version before) and by its own active key; no other signature may be there. */
async function checkVersionSigned(prev, k, signers) {
  const active = k.keys.filter((x) => x.state === "active"), wrong = (why) => new Err("version " + k.version + " of the keyset " + why);
  if (active.length !== 1) throw wrong("has not exactly one active key");
  let authority = prev === null, possession = false;
  for (const s of k.signatures) {
    const key = k.keys.find((x) => x.keyid === s.keyid), own = s.keyid === active[0].keyid;
    const may = prev !== null && prev.keys.some((x) => x.keyid === s.keyid && MAY_SIGN.includes(x.state));
    if (!key || (prev !== null && !own && !may) || !(await signatureGood(key.key, fromBase64(text(s.sig)), k.signed)))
      throw wrong("has a signature that does not verify, or of a key that may not sign it");
    authority = authority || may;
    possession = possession || own;
    signers.add(key.keyid);
  }
  if (!authority || !possession) throw wrong("is not signed by a key that could sign it");
}

/* Whether what a key signed as of that time counts; times are RFC 3339 in whole seconds, which sort as texts. */
function checkKeyCounts(key, time) {
  if (key.revokedAt && time >= key.revokedAt) throw new Err("its key was revoked as of " + key.revokedAt);
  if ((key.notBefore && time < key.notBefore) || (key.notAfter && time > key.notAfter)) throw new Err("its time is outside the validity of its key");
}
