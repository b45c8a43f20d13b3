/* SPDX-License-Identifier: MIT */
/* What the page shows of an event, as plain texts. report_rows.c derives the same ones for the tables that are read
 * without a script, and verify.js compares the two. */

function suffixOf(e) {
  return e.type.startsWith(TYPE_PREFIX) ? e.type.slice(TYPE_PREFIX.length) : e.type;
}

function roleOf(e) {
  const m = /^\/cellos\/([^/]*)\//.exec(e.source);
  return m ? m[1] : e.source;
}

/* Milliseconds of the event's UUIDv7: when it arrived at signerd. `time` has whole seconds only. */
function millis(e) {
  return parseInt(e.id.slice(0, 8) + e.id.slice(9, 13), 16);
}

function text(v) {
  return typeof v === "string" ? v : typeof v === "number" ? String(v) : "";
}

function listOf(v) {
  return Array.isArray(v) ? v : [];
}

/* A member of an entry; an entry may have been redacted whole. */
function part(entry, name) {
  return entry && typeof entry === "object" ? text(entry[name]) : text(entry);
}

function portOf(address) {
  const m = /:(\d+)$/.exec(address);
  return m ? m[1] : "";
}

function processText(p) {
  return p && typeof p === "object" ? text(p.exe) + " (pid " + text(p.pid) + ")" : text(p);
}

function quoteWord(word) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'";
}

function commandText(argv) {
  return listOf(argv).map((w) => quoteWord(text(w))).join(" ");
}

/* Packets that only reached the cell's own proxy or itself: the decision about them is another row. */
const INTERNAL = ["flow_proxy_accept", "flow_loopback_accept"];

const DECISIONS = {
  "observability.v1.dns_query": (d) => ({
    kind: text(d.origin) === "" || d.origin === "cell" ? "DNS question" : "DNS question (" + d.origin + ")",
    name: text(d.queryName), protocol: text(d.queryType), address: listOf(d.answers).map((a) => part(a, "data")).join(", "),
    action: text(d.action), reason: text(d.reasonCode), count: "1",
  }),
  "observability.v1.dns_answer": (d) => listOf(d.removed).length === 0 ? null : {
    kind: "DNS answer", name: text(d.queryName), protocol: text(d.queryType),
    address: d.removed.map((a) => part(a, "data")).join(", "), action: "deny", reason: text(d.removed[0].reasonCode),
    count: String(d.removed.length),
  },
  "observability.v1.l7_egress_decision": (d) => ({
    kind: "connection", name: text(d.host), port: text(d.port), protocol: text(d.protocol),
    address: text(d.dialedAddress) || text(d.originalDestination), action: text(d.action), reason: text(d.reasonCode),
    rule: text(d.rule), process: processText(d.process), count: "1",
  }),
  "observability.v1.network_flow_decision": (d) => text(d.destination) === "" || d.ended === true ? null : {
    kind: INTERNAL.includes(d.reasonCode) ? "packets to the proxy" : "packets", name: "", port: portOf(d.destination),
    protocol: text(d.protocol), address: d.destination, action: text(d.action), reason: text(d.reasonCode),
    rule: text(d.rule), count: text(d.packets), internal: INTERNAL.includes(d.reasonCode),
  },
};

const COLUMNS = ["time", "action", "kind", "name", "port", "protocol", "address", "rule", "reason", "process", "count"];

/* The egress row of an event, or null when it is no decision about egress. */
function decisionRow(e) {
  const make = DECISIONS[suffixOf(e)];
  const row = make ? make(e.data) : null;
  return row && { name: "", port: "", rule: "", process: "", internal: false, ...row, time: e.time, sequence: String(BigInt(e.sequence)) };
}

/* The data of the first event of this type, or {}. */
function dataOf(events, suffix) {
  const e = events.find((x) => suffixOf(x) === suffix);
  return e ? e.data : {};
}

/* The facts at the top: [label, text] pairs. */
function factsOf(events) {
  const cell = events.find((e) => e.runid);
  const started = dataOf(events, "lifecycle.v1.started"), done = dataOf(events, "command.v1.completed"),
    end = dataOf(events, "lifecycle.v1.destroyed");
  return [
    ["Run", cell ? cell.runid : ""],
    ["Cell", cell ? cell.subject.slice(SUBJECT.length) : ""],
    ["Outcome", text(end.outcome) || "the run has not ended"],
    ["Reason", text(end.reason)],
    ["Teardown", text(end.terminalState)],
    ["Residue", text(end.residueClass)],
    ["Command", commandText(done.argv)],
    ["Exit status", text(done.exitCode)],
    ["Signal", text(done.signal)],
    ["Not started because", text(done.spawnError)],
    ["Backend", text(started.backend)],
    ["Spec digest", text(started.specDigest)],
  ];
}
