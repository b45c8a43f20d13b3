/* SPDX-License-Identifier: MIT */
/* Bytes, base64, hex and SHA-256. Texts are compared and hashed as UTF-8. Nothing of the page's own
 * cryptography is written here: digests and signatures are the browser's (WebCrypto). */

const utf8 = new TextEncoder();

/* What cannot be read, or not in one way only, is an Err with a sentence for the reader. */
class Err extends Error {}

function bytesOf(text) {
  return utf8.encode(text);
}

function sameBytes(a, b) {
  return a.length === b.length && a.every((v, i) => v === b[i]);
}

function joinBytes(...parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

function toBase64(bytes) {
  let s = "";
  for (const b of bytes) s += String.fromCharCode(b);
  return btoa(s);
}

/* Strict: padded, no blanks, unused bits zero; that is, exactly what toBase64 writes. */
function fromBase64(text) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw new Err("base64 is broken");
  const raw = atob(text);
  if (btoa(raw) !== text) throw new Err("base64 is not in its one form");
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function toHex(bytes) {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/* Most attributes of a log are the same few texts in every event. */
const digestsOfTexts = new Map();
const DIGESTS_KEPT = 4096;

async function sha256Text(text) {
  const known = digestsOfTexts.get(text);
  if (known) return known;
  const d = await sha256(bytesOf(text));
  if (digestsOfTexts.size < DIGESTS_KEPT) digestsOfTexts.set(text, d);
  return d;
}

/* Ed25519 came late to browsers: true, or the sentence that says what is missing. */
async function cryptoMissing() {
  if (!globalThis.isSecureContext || !globalThis.crypto || !crypto.subtle)
    return "This page was not opened in a secure context, so the browser offers it no cryptography. " +
      "Open it as a file (file://), or from https:// or http://localhost.";
  try {
    await crypto.subtle.importKey("raw", new Uint8Array(32), { name: "Ed25519" }, false, ["verify"]);
  } catch (e) {
    if (e.name === "NotSupportedError")
      return "This browser has no Ed25519 in WebCrypto (Chromium and Edge since 137, Firefox since 129, Safari since 17 have it).";
  }
  return null;
}

async function importPublic(bytes) {
  return crypto.subtle.importKey("raw", bytes, { name: "Ed25519" }, false, ["verify"]);
}

async function signatureGood(key, sig, message) {
  return sig.length === 64 && crypto.subtle.verify({ name: "Ed25519" }, key, sig, message);
}
