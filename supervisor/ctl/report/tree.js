/* SPDX-License-Identifier: MIT */
/* RFC 6962 section 2.1: leaf and node hashes, and the root that an inclusion proof leads to (RFC 9162, 2.1.3.2). */

const DIGEST = 32;

async function leafHash(text) {
  return sha256(joinBytes(Uint8Array.of(0), bytesOf(text)));
}

/* Neighbours' proofs meet in the same nodes: each is computed once. Only equal children share a result. */
const nodes = new Map();
const NODES_KEPT = 1 << 17;

function nodeHash(left, right) {
  const key = String.fromCharCode(...left, ...right);
  let hash = nodes.get(key);
  if (!hash) {
    hash = sha256(joinBytes(Uint8Array.of(1), left, right));
    if (nodes.size >= NODES_KEPT) nodes.clear();
    nodes.set(key, hash);
  }
  return hash;
}

/* index, size: BigInt; proof: the hashes one after the other. */
async function rootFromProof(leaf, index, size, proof) {
  if (index >= size) throw new Err("the event is behind the checkpoint");
  if (proof.length % DIGEST !== 0) throw new Err("the inclusion proof is broken");
  let fn = index, sn = size - 1n, r = leaf;
  for (let at = 0; at < proof.length; at += DIGEST) {
    const p = proof.subarray(at, at + DIGEST);
    if (sn === 0n) throw new Err("the inclusion proof is too long");
    if (fn & 1n || fn === sn) {
      r = await nodeHash(p, r);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      r = await nodeHash(r, p);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) throw new Err("the inclusion proof is too short");
  return r;
}
