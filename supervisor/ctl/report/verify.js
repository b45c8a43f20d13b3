/* SPDX-License-Identifier: MIT */
/* The check behind the button: everything is computed again from the embedded lines, proofs, checkpoint and keys. */

const BATCH = 256; /* events under way at once */

/* entries: what the page embeds, [{text}] with {event} or {broken}. Returns {state, problems, events, ...}:
 * state "good", "bad" or "unable"; problems: [{place, why}] in order; events: one {ok, why, own} per entry, where own
 * says whether the event has a signature of its own (seal: batch makes them later). */
async function verifyAll(meta, entries, trusted, printed, progress) {
  const result = { state: "unable", problems: [], events: [], signed: 0, proven: 0, signers: [] };
  const missing = await cryptoMissing();
  if (missing) return { ...result, unable: missing };
  const head = await checkHead(meta, trusted, result);
  for (let i = 0; i < entries.length; i += BATCH) {
    const some = entries.slice(i, i + BATCH);
    result.events.push(...(await Promise.all(some.map((x) => checkEntry(x, meta, head)))));
    await progress(Math.min(i + BATCH, entries.length), entries.length);
  }
  checkExtent(meta, entries, head, result);
  checkOrder({ ...meta, whole: meta.whole || isLogOfOneRun(head) }, entries, head, result);
  checkSigners(entries, head, result);
  checkPrinted(entries, printed, result);
  entries.forEach((x, i) => {
    const r = result.events[i];
    if (!r.ok) result.problems.push({ place: placeOf(x, i), index: i, why: r.why });
    result.signed += r.ok && r.own ? 1 : 0;
    result.proven += r.ok ? 1 : 0;
  });
  result.state = result.problems.length ? "bad" : "good";
  return result;
}

function placeOf(entry, i) {
  return entry.event
    ? "event " + BigInt(entry.event.sequence) + " (" + suffixOf(entry.event) + ")"
    : "embedded event number " + (i + 1);
}

/* Keys and checkpoint. {vkeys, checkpoint}; what is wrong goes to result.problems. */
async function checkHead(meta, trusted, result) {
  const head = { vkeys: [], checkpoint: null, keyset: null };
  const wrong = (place, why) => result.problems.push({ place, why });
  let vouchers = null;
  for (const t of listOf(meta.vkeys)) {
    try {
      head.vkeys.push(await openVkey(t));
    } catch (e) {
      wrong("a key of the log", e.message);
    }
  }
  try {
    if (text(meta.keyset)) {
      const own = head.vkeys;
      head.keyset = await openKeyset(meta.keyset);
      head.vkeys = head.keyset.keys;
      vouchers = head.keyset.signers;
      if (own.some((k) => !head.vkeys.some((x) => x.keyid === k.keyid))) wrong("the keyset", "the log's own key is not in it");
    }
  } catch (e) {
    head.vkeys = [];
    wrong("the keyset", e.message);
  }
  try {
    head.checkpoint = parseCheckpoint(text(meta.checkpoint));
    result.checkpoint = head.checkpoint;
    result.signers = await checkpointSigners(head.checkpoint, head.vkeys);
    if (result.signers.length === 0) wrong("the checkpoint", "it is not signed by a key of this log");
    if (head.checkpoint.origin !== meta.origin) wrong("the checkpoint", "it is of another log than this page says");
  } catch (e) {
    wrong("the checkpoint", e.message);
  }
  result.trust = await checkTrusted(trusted, vouchers || new Set(head.vkeys.map((k) => k.keyid)), wrong);
  return head;
}

/* The key that is trusted must be the log's, or have signed a version of its keyset, and so what came after it.
 * "none": nothing was given; "match"; "other" is a problem. */
async function checkTrusted(trusted, vouchers, wrong) {
  const given = trusted.trim().split(/\s+/).filter((w) => w !== "");
  if (given.length === 0) return "none";
  const known = await Promise.all(given.map(async (w) => {
    if (/^sha256:[0-9a-f]{64}$/.test(w)) return w;
    try {
      return (await openVkey(w)).keyid;
    } catch {
      return null;
    }
  }));
  if (known.includes(null)) {
    wrong("the key you trust", "it is neither a verifier key (name+id+base64) nor a key id (sha256:...)");
    return "other";
  }
  if (known.some((k) => vouchers.has(k))) return "match";
  wrong("the key you trust", "this page is signed under another key");
  return "other";
}

async function checkEntry(entry, meta, head) {
  if (entry.broken) return { ok: false, own: false, why: entry.broken };
  const e = entry.event;
  try {
    if (!e.material && !entry.bare) throw new Err("the event has no signature");
    if (e.material) await checkSignature(e, head.vkeys);
    checkStamps(e);
    checkKeysetChanged(e, head.keyset);
    if (!head.checkpoint) throw new Err("without a checkpoint nothing proves its place");
    const leaf = await leafHash(entry.bare ? e.bare : e.line);
    const root = await rootFromProof(leaf, BigInt(e.sequence), head.checkpoint.size, fromBase64(entry.proof));
    if (!sameBytes(root, head.checkpoint.root)) throw new Err("its inclusion proof does not lead to the checkpoint's root");
    return { ok: true, own: e.material !== "", why: "" };
  } catch (x) {
    return { ok: false, own: false, why: x instanceof Err ? x.message : "it cannot be read: " + x.message };
  }
}

/* The log itself says which keysets it was signed with: no older one can be put in their place. */
function checkKeysetChanged(e, keyset) {
  if (!keyset || e.subject || suffixOf(e) !== "log.v1.keyset_changed") return;
  const version = e.data.version, first = Math.min(...keyset.digests.keys());
  if (version >= first && keyset.digests.get(version) !== e.data.digest) throw new Err("version " + text(version) + " of the keyset is missing, or another one is in its place");
}

/* What the page itself says of how much it holds is nobody's signed word: where it excuses what is missing it must be plausible. */
const CUT_LEAST = 1536; /* report_data.h: no page that leaves events out holds fewer */

function checkExtent(meta, entries, head, result) {
  const wrong = (why) => result.problems.push({ place: "the page", why });
  if (meta.cut && entries.length < CUT_LEAST) wrong("it says that it leaves events out for want of room, and holds no more than " + entries.length);
  if (!entries.some((x) => x.event && x.event.runid)) wrong("it holds no event of a run");
  if (isLogOfOneRun(head) && head.checkpoint.origin.split("/").pop() !== meta.runId) wrong("it is about another run than its log");
}

/* The signed name of such a log has the run behind the key. */
function isLogOfOneRun(head) {
  return head.checkpoint !== null && UUID7.test(head.checkpoint.origin.split("/").pop());
}

/* No event of the run is missing, repeated or moved; every event is of this run or of the log itself. */
function checkOrder(meta, entries, head, result) {
  const wrong = (i, why) => result.problems.push({ place: placeOf(entries[i], i), index: i, why });
  let sequence = -1n, due = 1n, ended = false;
  const pruned = prunedTo(entries);
  entries.forEach((x, i) => {
    if (!x.event) return;
    const s = BigInt(x.event.sequence), c = BigInt(x.event.cellsequence || "0");
    if (sequence === -1n && s <= pruned) sequence = s - 1n;
    if (due === 1n && s >= pruned && pruned > 0n && x.event.runid) due = c;
    if (s <= sequence) wrong(i, "it is repeated or moved: sequence " + s + " comes after " + sequence);
    if (meta.whole && !meta.cut && s > sequence + 1n) wrong(i, missingText("the log", "sequence", sequence + 1n, s));
    sequence = s;
    if (!x.event.runid) return;
    if (x.event.runid !== meta.runId) wrong(i, "it is of another run");
    if (!meta.cut && c !== due) wrong(i, c > due ? missingText("the run", "cellsequence", due, c) : "it is repeated or moved: cellsequence " + c + " where " + due + " is due");
    due = c + 1n;
    ended = suffixOf(x.event) === "lifecycle.v1.destroyed";
  });
  if (meta.whole && !meta.cut && head.checkpoint && head.checkpoint.size > sequence + 1n)
    result.problems.push({ place: "the end of the log", why: missingText("the log", "sequence", sequence + 1n, head.checkpoint.size) });
  if (entries.length !== meta.embedded)
    result.problems.push({ place: "the page", why: "it says that it holds " + meta.embedded + " events, and holds " + entries.length });
  result.ended = ended;
}

/* A checkpoint has no time of its own; it is as old as the last line it covers, or younger: its key must not have ended, nor been
 * revoked, by then, nor by the time of a line that nothing else signs. */
function checkSigners(entries, head, result) {
  if (!head.checkpoint) return;
  entries.forEach(({ event: e }, i) => {
    if (!e || (e.material && BigInt(e.sequence) + 1n !== head.checkpoint.size)) return;
    for (const k of result.signers) {
      try {
        checkKeyCounts({ ...k, notBefore: "" }, e.time);
      } catch (x) {
        result.problems.push({ place: "the checkpoint", why: x.message + ", when " + placeOf(entries[i], i) + " was made" });
      }
    }
  });
}

/* How far retention took the log's beginning away, by the log's own sealed word. */
function prunedTo(entries) {
  let to = 0n;
  for (const { event: e } of entries)
    if (e && suffixOf(e) === "log.v1.pruned" && Number.isInteger(e.data.firstIndex) && Number.isInteger(e.data.lines)) {
      const end = BigInt(e.data.firstIndex) + BigInt(e.data.lines);
      if (end > to) to = end;
    }
  return to;
}

function missingText(whose, name, from, to) {
  return "an event of " + whose + " is missing before it: " + name + " " + (to - from === 1n ? String(from) : from + " to " + (to - 1n));
}

/* The tables for readers without a script say the same as the lines. printed: {facts: [[label, text]], rows: [{sequence, cells}]}. */
function checkPrinted(entries, printed, result) {
  const events = entries.filter((x) => x.event).map((x) => x.event);
  const wrong = (place, why, index) => result.problems.push({ place, why, index });
  const facts = new Map(factsOf(events).filter(([, v]) => v !== ""));
  for (const [label, value] of printed.facts)
    if (facts.get(label) !== value) wrong("the printed summary", '"' + label + '" is not what the events say');
  if (printed.facts.length !== facts.size) wrong("the printed summary", "it leaves something out or adds something");
  const rows = new Map();
  entries.forEach((x, i) => {
    const row = x.event && decisionRow(x.event);
    if (row) rows.set(row.sequence, { row, i });
  });
  for (const p of printed.rows) {
    const have = rows.get(p.sequence);
    if (!have) wrong("the printed table", "it has a row for event " + p.sequence + ", which is no decision about egress");
    else if (COLUMNS.some((c, k) => have.row[c] !== p.cells[k]))
      wrong("the printed table", "its row for event " + p.sequence + " is not what the event says", have.i);
  }
  if (printed.rows.length !== Math.min(rows.size, printed.max)) wrong("the printed table", "it has " + printed.rows.length + " rows where " + Math.min(rows.size, printed.max) + " are due");
}
