/* SPDX-License-Identifier: MIT */
/* Reads what is embedded, draws the page from it, and serves the button. */

const VERDICTS = { ok: "verified", tree: "in the tree", bad: "WRONG", none: "not checked" };

function readEntries(source) {
  return source.split("\n").filter((l) => l !== "").map((raw) => {
    try {
      const o = JSON.parse(raw);
      return { raw: text(o.line), proof: text(o.proof), bare: o.bare === true, event: parseEvent(text(o.line)) };
    } catch (e) {
      return { raw, proof: "", broken: e instanceof Err ? e.message : "it cannot be read" };
    }
  });
}

function readJson(id) {
  try {
    return JSON.parse(byId(id).textContent);
  } catch {
    return null;
  }
}

/* The tables in <noscript>, as texts. */
function readPrinted() {
  const doc = new DOMParser().parseFromString(byId("printed").textContent, "text/html");
  const cells = (tr) => [...tr.children].map((c) => c.textContent);
  return {
    facts: [...doc.querySelectorAll("#printed-facts tr")].map((tr) => cells(tr)),
    rows: [...doc.querySelectorAll("#printed-rows tbody tr")].map((tr) => ({ sequence: tr.dataset.sequence, cells: cells(tr) })),
    max: Number(doc.querySelector("#printed-rows")?.dataset.max ?? 0),
  };
}

/* A line that was tampered with may hold any JSON: it makes no row, and the check says why it is wrong. */
function rowsOf(entries) {
  return entries.filter((x) => x.event).map(({ event }) => {
    try {
      return { event, row: decisionRow(event) };
    } catch {
      return { event, row: null };
    }
  }).filter(({ row }) => row);
}

let verdicts = [];

function showVerdicts() {
  for (const node of document.querySelectorAll(".verdict")) {
    const v = verdicts[Number(node.dataset.index)], kind = !v ? "none" : !v.ok ? "bad" : v.own ? "ok" : "tree";
    node.className = "verdict " + kind;
    node.textContent = VERDICTS[kind];
    node.title = v ? v.why : "";
  }
}

function problemItem(p) {
  const node = el("li", {}, el("strong", {}, p.place), ": " + p.why);
  return node;
}

function showResult(r, meta, entries) {
  const box = byId("verify"), state = r.state === "good" ? "good" : r.state === "bad" ? "bad" : "open";
  box.dataset.state = r.state;
  box.className = "verify " + state;
  if (r.state === "unable") {
    put("verdict", el("strong", {}, "NOT VERIFIED"), " " + r.unable + " Or check the log with cellctl verify.");
    put("verdict-details");
    return;
  }
  const own = r.signed, tree = r.proven - r.signed;
  put("verdict", r.state === "good"
    ? [el("strong", {}, "VERIFIED"), " All " + entries.length + " events: " + own + " signatures, " + r.proven + " inclusion proofs, the numbering, the checkpoint and the printed tables." +
        (tree > 0 ? " " + tree + " events have no signature of their own yet (seal: batch); the signed checkpoint covers them." : "")]
    : [el("strong", {}, "WRONG"), " " + r.problems.length + (r.problems.length === 1 ? " thing is" : " things are") + " not as sealed. " + r.proven + " of " + entries.length + " events are good."]);
  put("verdict-details",
    r.problems.length > 0 && el("ul", { class: "problems" }, r.problems.slice(0, 100).map(problemItem)),
    r.problems.length > 100 && el("p", {}, "and " + (r.problems.length - 100) + " more"),
    el("ul", { class: "notes" },
      r.trust === "match" && el("li", {}, "The key is the one you trust."),
      r.trust === "none" && el("li", {}, "The key is the log's own word: paste the key you trust to know whose log it is."),
      !r.ended && el("li", {}, "The run had not ended at this checkpoint, or its end is missing here."),
      meta.cut && el("li", {}, meta.embedded + " of " + meta.total + " events are embedded: the others were not checked here."),
      r.checkpoint && r.checkpoint.signatures.length > r.signers.length && el("li", {}, (r.checkpoint.signatures.length - r.signers.length) + " further signatures on the checkpoint (witnesses) are not checked here."),
      el("li", {}, "A page can be made to say anything: who does not trust this copy's script saves the events and checks them with cellctl verify.")));
}

async function runCheck(meta, entries) {
  const button = byId("verify-button"), bar = byId("verify-progress");
  button.disabled = true;
  bar.hidden = false;
  let shown = 0;
  const progress = async (done, all) => {
    bar.max = all;
    bar.value = done;
    if (performance.now() - shown < 100) return;
    shown = performance.now();
    await new Promise((r) => setTimeout(r));
  };
  try {
    const r = await verifyAll(meta, entries, byId("trusted-key").value, readPrinted(), progress);
    verdicts = r.events;
    showVerdicts();
    showResult(r, meta, entries);
  } catch (e) {
    showResult({ state: "unable", unable: "The check itself failed: " + e.message + "." }, meta, entries);
  } finally {
    button.disabled = false;
    bar.hidden = true;
  }
}

function main() {
  const meta = readJson("report-meta") || {}, advice = readJson("report-advice"), entries = readEntries(byId("report-events").textContent);
  const events = entries.filter((x) => x.event).map((x) => x.event), rows = rowsOf(entries);
  byId("app").hidden = false;
  viewHeader(events, meta);
  put("sections", viewAuthority(events), viewEgress(events, rows), viewDenials(advice), viewUse(events), viewEvidence(entries, events, meta, advice), viewEvents(entries, showVerdicts));
  byId("verify-button").addEventListener("click", () => runCheck(meta, entries));
  showVerdicts();
}

main();
