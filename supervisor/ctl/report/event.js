/* SPDX-License-Identifier: MIT */
/* One line of the log: a CloudEvent in exactly one spelling, and the DSSE signature in it (docs/evidence.md). */

const TYPE_PREFIX = "dev.cellos.events.cell.";
const SUBJECT = "urn:cellos:cell:";
const PAYLOAD_TYPE = "https://cloudevents.io/verifiability/dsse/v0.1";
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const ATTRIBUTE = /^[!#-[\]-~]{1,512}$/;
const DIGITS = /^\d{20}$/;
const HIDDEN = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/; /* signerd escapes these */
const MATERIAL = ',"dssematerial":"';

/* Takes what stands between two fixed texts. */
class Taker {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }
  has(key) {
    return this.text.startsWith(key, this.at);
  }
  value(key, form) {
    if (!this.has(key)) throw new Err("the line is not an event in the form of this log");
    const from = this.at + key.length, to = this.text.indexOf('"', from);
    const value = to < 0 ? "" : this.text.slice(from, to);
    if (!form.test(value)) throw new Err("the line is not an event in the form of this log");
    this.at = to;
    return value;
  }
}

/* {line, bare, id, source, type, subject, time, sequence, cellsequence, runid, dataText, data, material}; absent is "".
 * bare is the line without dssematerial. */
function parseEvent(line) {
  const t = new Taker(line);
  const e = { line, subject: "", cellsequence: "", runid: "", material: "" };
  e.id = t.value('{"specversion":"1.0","id":"', UUID7);
  e.source = t.value('","source":"', ATTRIBUTE);
  e.type = t.value('","type":"', ATTRIBUTE);
  if (t.has('","subject":"')) e.subject = t.value('","subject":"', ATTRIBUTE);
  e.time = t.value('","time":"', TIME);
  e.sequence = t.value('","datacontenttype":"application/json","sequence":"', DIGITS);
  if (e.subject) {
    e.cellsequence = t.value('","cellsequence":"', DIGITS);
    e.runid = t.value('","runid":"', UUID7);
  }
  const from = t.at + '","data":'.length;
  if (!t.has('","data":') || !line.endsWith("}")) throw new Err("the line is not an event in the form of this log");
  let to = line.length - 1;
  const cut = line.lastIndexOf(MATERIAL);
  if (cut >= from && line.endsWith('"}') && line.indexOf('"', cut + MATERIAL.length) === line.length - 2) {
    e.material = line.slice(cut + MATERIAL.length, -2);
    to = cut;
  }
  e.dataText = line.slice(from, to);
  if (HIDDEN.test(e.dataText)) throw new Err("data shows characters that should be escaped");
  e.bare = line.slice(0, to) + "}";
  try {
    e.data = JSON.parse(e.dataText);
  } catch {
    throw new Err("data is not JSON");
  }
  if (typeof e.data !== "object" || e.data === null || Array.isArray(e.data)) throw new Err("data is not one JSON object");
  return e;
}

async function digestOfDigests(texts) {
  return sha256(joinBytes(...(await Promise.all(texts))));
}

/* VERIFICATION_MATERIAL of the CloudEvents verifiability extension, as this event should have it. */
async function materialOf(e) {
  const core = await digestOfDigests([sha256(bytesOf(e.id)), sha256Text(e.source), sha256Text("1.0"), sha256Text(e.type),
    sha256Text("application/json"), sha256Text(""), sha256Text(e.subject), sha256Text(e.time), sha256(bytesOf(e.dataText))]);
  const ext = await digestOfDigests([sha256(bytesOf(e.sequence)), sha256(bytesOf(e.cellsequence)), sha256Text(e.runid)]);
  return '{"core":"' + toBase64(core) + '","ext":"' + toBase64(ext) + '","signedextattrs":["sequence","cellsequence","runid"]}';
}

/* The event's own signature under one of these keys. */
async function checkSignature(e, vkeys) {
  const dsse = new TextDecoder().decode(fromBase64(e.material));
  const m = /^\{"payload":"([^"]*)","payloadType":"([^"]*)","signatures":\[\{"keyid":"([^"]*)","sig":"([^"]*)"\}\]\}$/.exec(dsse);
  if (!m || m[2] !== PAYLOAD_TYPE) throw new Err("the signature is not a DSSE envelope in the form of this log");
  const body = fromBase64(m[1]);
  const key = vkeys.find((k) => k.keyid === m[3]);
  if (!key) throw new Err("signed under another key (" + m[3] + ")");
  const pae = joinBytes(bytesOf("DSSEv1 " + PAYLOAD_TYPE.length + " " + PAYLOAD_TYPE + " " + body.length + " "), body);
  checkKeyCounts(key, e.time);
  if (!(await signatureGood(key.key, fromBase64(m[4]), pae))) throw new Err("the signature does not verify");
  if (!sameBytes(body, bytesOf(await materialOf(e)))) throw new Err("the signed digests are not those of this event");
}

/* The data speak of the cell and the run of their envelope. */
function checkStamps(e) {
  if (!e.subject) return;
  const cell = e.subject.slice(SUBJECT.length);
  if (!e.subject.startsWith(SUBJECT) ||
      !e.dataText.startsWith('{"cellId":"' + cell + '","specId":"' + cell + '","runId":"' + e.runid + '"'))
    throw new Err("data does not speak of the cell and run of its envelope");
}
