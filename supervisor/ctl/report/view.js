/* SPDX-License-Identifier: MIT */
/* The sections of the page, each made from the embedded events alone; only "remedies" come from cellctl. */

const PAGE_ROWS = 200;

function viewHeader(events, meta) {
  const f = new Map(factsOf(events)), end = dataOf(events, "lifecycle.v1.destroyed"), done = dataOf(events, "command.v1.completed");
  const rejected = events.some((e) => suffixOf(e) === "lifecycle.v1.rejected");
  const outcome = end.outcome === "succeeded" ? ["good", "succeeded"] : end.outcome === "failed" ? ["bad", rejected ? "refused" : "failed"] : ["open", "not ended"];
  document.title = "CellOS run report: " + visible(f.get("Cell"));
  const first = events.find((e) => e.runid), last = events[events.length - 1];
  put("title", el("p", { class: "kicker" }, "CellOS run report"), el("h1", {}, f.get("Cell") || meta.cellId || "unknown cell"),
    el("p", { class: "state " + outcome[0] }, "Run " + outcome[1]),
    f.get("Command") && el("pre", { class: "command" }, f.get("Command")),
    facts([["Run", el("code", {}, f.get("Run"))], ["Began", first && first.time], ["Last event", last && last.time],
      ["Took", typeof done.durationMs === "number" && secondsText(done.durationMs)],
      ["Exit status", f.get("Exit status") + (f.get("Signal") && ", ended by signal " + f.get("Signal"))],
      ["Reason", f.get("Reason")], ["Not started because", f.get("Not started because")],
      ["Teardown", [f.get("Teardown"), f.get("Residue") && f.get("Residue") !== "none" && "residue: " + f.get("Residue"), text(end.residueException)].filter(Boolean).join(", ")]]
      .filter(([, v]) => v)));
}

function viewAuthority(events) {
  const scope = dataOf(events, "observability.v1.network_scope"), started = dataOf(events, "lifecycle.v1.started"),
    summary = dataOf(events, "compliance.v1.summary"), net = dataOf(events, "observability.v1.network_enforcement");
  const iso = started.isolation || {}, secrets = events.filter((e) => suffixOf(e) === "identity.v1.materialized").flatMap((e) => listOf(e.data.secrets));
  const rules = listOf(scope.egressRules).map((r) => el("tr", {}, el("td", {}, part(r, "host")), el("td", {}, part(r, "port")), el("td", {}, part(r, "protocol"))));
  const changes = events.filter((e) => suffixOf(e) === "lifecycle.v1.policy_changed");
  const violations = events.filter((e) => suffixOf(e) === "lifecycle.v1.rejected").flatMap((e) => listOf(e.data.violations));
  return section("authority", "What it asked for",
    violations.length > 0 && el("table", {}, el("caption", {}, "The spec was refused"), head(["Where", "Rule", "What is wrong"]),
      el("tbody", {}, violations.map((v) => el("tr", { class: "deny" }, el("td", {}, part(v, "path")), el("td", {}, part(v, "rule")), el("td", {}, part(v, "message")))))),
    el("div", { class: "two" },
      el("div", {}, rules.length > 0
        ? el("table", {}, el("caption", {}, "Egress rules"), head(["Host", "Port", "Protocol"]), el("tbody", {}, rules))
        : el("p", {}, "No egress rule: nothing outside may be reached."),
        scope.egressRulesTruncated === true && el("p", { class: "small" }, "The list is longer: " + text(scope.egressRulesCount) + " rules, " + text(scope.egressRulesDigest) + ".")),
      facts([["Network mode", text(scope.mode)], ["Names that may be asked", listOf(scope.hostnameAllowlist).join(", ")],
        ["Query types", listOf(scope.allowedQueryTypes).join(", ")],
        ["Resolvers", listOf(scope.resolvers).map((r) => part(r, "endpoint") + " (" + part(r, "protocol") + (r.dnssecValidate ? ", DNSSEC" : "") + ")").join(", ")],
        ["Private answers allowed", listOf(scope.responseIpAllowlist).join(", ")],
        ["Kernel rules", net.applied === true ? text(net.rules) + " applied, " + text(net.ruleSetDigest).slice(0, 23) + "…" : net.applied === false ? "not applied: " + text(net.error) : ""],
        ["Secrets", secrets.join(", ")], ["Time limit", typeof started.ttlSeconds === "number" ? secondsText(1000 * started.ttlSeconds) : ""],
        ["Backend", text(started.backend)], ["Isolation", listOf(iso.namespaces).join(", ")], ["System calls", text(iso.seccomp)],
        ["Landlock", text(iso.landlock)], ["cgroup", text(iso.cgroup)], ["User map", text(iso.uidMap)],
        ["Evidence", text(started.evidence)], ["Redacted fields", listOf(started.redacted).join(", ")], ["Spec digest", text(started.specDigest)], ["Policy digest", text(started.policyDigest)],
        ["Correlation", text((summary.correlation || {}).correlationId) || text(started.correlationId)]])),
    changes.length > 0 && el("table", {}, el("caption", {}, "Changed while it ran"), head(["When", "Added", "Removed", "By uid"]),
      el("tbody", {}, changes.map((e) => el("tr", {}, el("td", {}, e.time), el("td", {}, listOf(e.data.added).join(", ")), el("td", {}, listOf(e.data.removed).join(", ")), el("td", {}, text(e.data.requestedByUid)))))));
}

function head(names) {
  return el("thead", {}, el("tr", {}, names.map((n) => el("th", { scope: "col" }, n))));
}

function egressRow({ row, event }, t0) {
  const td = (v, c) => el("td", { class: c }, v);
  return el("tr", { id: "row-" + row.sequence, class: row.action, "data-sequence": row.sequence },
    td("+" + ((millis(event) - t0) / 1000).toFixed(3), "num"), el("td", {}, el("span", { class: "badge " + row.action }, row.action === "deny" ? "denied" : "allowed")),
    td(row.kind), td(row.name, "name"), td(row.port, "num"), td(row.protocol), td(row.address, "name"), td(row.rule, "name"), td(row.reason, "code"), td(row.process, "name"), td(row.count, "num"));
}

/* The table and its filter. */
function viewEgress(events, rows) {
  const t0 = events.length ? millis(events[0]) : 0, table = el("table", { class: "wide" }, head(["s", "Decision", "What", "Name", "Port", "Protocol", "Address", "Rule", "Reason", "Process", "Count"]));
  const search = el("input", { type: "search", placeholder: "name, address, reason, process", "aria-label": "Filter", id: "filter-text" });
  const action = el("select", { "aria-label": "Decision", id: "filter-action" }, el("option", { value: "" }, "allowed and denied"), el("option", { value: "deny" }, "denied only"), el("option", { value: "allow" }, "allowed only"));
  const internal = el("input", { type: "checkbox", id: "filter-internal" }), count = el("span", { class: "small", id: "filter-count" }), more = el("div");
  const apply = () => {
    const want = search.value.toLowerCase();
    const shown = rows.filter(({ row }) => (!action.value || row.action === action.value) && (internal.checked || !row.internal) &&
      (!want || COLUMNS.some((c) => row[c].toLowerCase().includes(want))));
    const body = el("tbody");
    table.querySelectorAll("tbody").forEach((b) => b.remove());
    table.append(body);
    more.replaceChildren(paged(shown.length, PAGE_ROWS, (i) => egressRow(shown[i], t0), body));
    count.textContent = shown.length + " of " + rows.length;
  };
  for (const c of [search, action, internal]) c.addEventListener("input", apply);
  apply();
  const denied = rows.filter(({ row }) => row.action === "deny").length, seen = rows.filter(({ row }) => !row.internal).length;
  return section("egress", "What it reached for",
    el("p", {}, seen === 0 ? "It asked for nothing outside." : (seen - denied) + " decisions allowed, " + denied + " denied."),
    rows.length > 0 && timePicture(events, rows),
    rows.length > 0 && el("p", { class: "legend small" }, svg("svg", { viewBox: "0 0 12 12", class: "key" }, svg("circle", { cx: 6, cy: 6, r: 4, class: "allow" })), " allowed ",
      svg("svg", { viewBox: "0 0 12 12", class: "key" }, svg("path", { d: "M1 1L11 11M11 1L1 11", class: "deny" })), " denied; seconds since the first event, by the time in the events' ids"),
    rows.length > 0 && [el("div", { class: "filter noprint" }, search, action, el("label", {}, internal, " packets on their way to the cell's proxy"), count), el("div", { class: "scroll" }, table), more],
    viewCounters(events));
}

/* The kernel's totals a rule, at the end of the run. */
function viewCounters(events) {
  const totals = events.filter((e) => suffixOf(e) === "observability.v1.network_flow_decision" && text(e.data.destination) === "");
  if (totals.length === 0) return null;
  return el("details", {}, el("summary", {}, "Packet totals of the kernel's rules (" + totals.length + ")"),
    el("table", {}, head(["Rule", "Chain", "Decision", "Packets", "Bytes"]), el("tbody", {}, totals.map(({ data: d }) =>
      el("tr", { class: d.action === "deny" && d.packets > 0 ? "deny" : "" }, el("td", {}, text(d.rule)), el("td", {}, text(d.chain)), el("td", {}, text(d.action)), el("td", { class: "num" }, text(d.packets)), el("td", { class: "num" }, text(d.bytes)))))));
}

function viewDenials(advice) {
  if (!advice) return null;
  const list = listOf(advice.denials);
  return section("denials", "What was denied, and what would allow it",
    el("p", { class: "small" }, "Explanations and remedies are advice that ", el("code", {}, "cellctl why"), " computed when this page was written; they are not part of the signed evidence."),
    list.length === 0 ? el("p", {}, "Nothing was denied.") : el("ol", { class: "denials" }, list.map((d) => el("li", {},
      el("p", {}, el("strong", {}, text(d.what)), d.count > 1 ? " \u00d7 " + d.count : "", el("span", { class: "small" }, " first " + text(d.first))),
      facts([["Refused by", text(d.by) + ": " + text(d.reason) + (d.reasonCode ? " (" + text(d.reasonCode) + ")" : "")], ["Asked by", listOf(d.processes).join(", ")],
        ["Add", d.flag ? el("code", {}, text(d.flag)) : ""], ["In a spec", d.spec ? el("code", {}, text(d.spec.path) + ": " + JSON.stringify(d.spec.entry)) : ""],
        ["No rule", text(d.never)]])))),
    advice.further > 0 && el("p", {}, advice.further + " further denials are not listed."));
}

/* A bar of use against its limit. What was not measured is said to be so: it is never 0. */
function bar(name, used, limit, show, note) {
  const measured = typeof used === "number", share = measured && typeof limit === "number" && limit > 0 ? used / limit : null;
  const value = !measured ? (used === "[redacted]" ? "redacted" : "not measured") : show(used) + (typeof limit === "number" ? " of " + show(limit) + (limit > 0 ? " (" + Math.round(100 * share) + " %)" : "") : note ?? ", no limit declared");
  const box = measured && share === null ? null : svg("svg", { viewBox: "0 0 200 10", preserveAspectRatio: "none", class: "bar" + (measured ? "" : " unmeasured"), role: "img", "aria-label": name + ": " + value },
    svg("rect", { x: 0, y: 0, width: 200, height: 10, class: "track" }),
    share !== null && svg("rect", { x: 0, y: 0, width: Math.min(200, 200 * share), height: 10, class: share >= 0.9 ? "full" : "used" }));
  return el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "barcell" }, box), el("td", { class: measured ? "" : "unmeasured" }, value));
}

function viewUse(events) {
  const done = dataOf(events, "command.v1.completed"), home = dataOf(events, "observability.v1.homeostasis"), started = dataOf(events, "lifecycle.v1.started");
  const use = { ...(done.usage || {}), ...(home.peak || {}) }, plain = (n) => String(n), unused = listOf(home.unusedEgressRules), secrets = listOf(home.unusedSecrets);
  const apexes = listOf(home.dnsApexes).filter((a) => a.suspicious === true);
  return section("use", "What it used, against its limits",
    el("table", { class: "bars" }, el("tbody", {}, bar("Time", done.durationMs, typeof started.ttlSeconds === "number" ? 1000 * started.ttlSeconds : undefined, secondsText),
      bar("Memory, peak", use.memoryPeakBytes, home.memoryMaxBytes, bytesText), bar("Processes, peak", use.pidsPeak, home.pidsMax, plain),
      bar("CPU time", use.cpuMicros, undefined, (n) => secondsText(Math.round(n / 1000))),
      bar("Sent", home.bytesSent, undefined, bytesText, ""), bar("Received", home.bytesReceived, undefined, bytesText, ""))),
    facts([["Egress rules", typeof home.declaredEgressRules === "number" ? home.declaredEgressRules + " declared, " + text(home.exercisedEgressConnections) + " connections" : ""],
      ["Rules never used", unused.join(", ")], ["Secrets never read", secrets.join(", ")],
      ["Suspicious DNS", apexes.map((a) => text(a.apex) + ": " + text(a.queries) + " questions, " + text(a.distinctNames) + " names").join("; ")]]));
}

function viewEvidence(entries, events, meta, advice) {
  const of = (suffix) => events.filter((e) => suffixOf(e) === suffix), bundle = dataOf(events, "evidence_bundle.v1.emitted");
  const gaps = of("observability.v1.gap"), refused = of("log.v1.claim_refused"), recovered = of("log.v1.recovered");
  const redacted = events.filter((e) => e.dataText.includes('"[redacted]"')).length;
  const notes = ["Rollback is not excluded: this page cannot know whether the log once was longer. Compare the checkpoint with one that was kept elsewhere (cellctl run --checkpoint, cellctl verify --checkpoint).",
    meta.cut && "This run has " + meta.total + " events; " + meta.embedded + " of them are embedded here, every denial first. The others are counted below and were checked by cellctl when this page was written, but this page cannot check them, and cannot see that none is missing.",
    !meta.whole && "The log holds other runs too: that no event of this run is missing is seen by its own count (cellsequence).",
    ...gaps.map((e) => text(e.data.lost) + " events were left out from " + text(e.data.since) + " to " + text(e.data.until) + ": " + text(e.data.cause) + ". The count is sealed."),
    ...refused.map((e) => "signerd refused " + text(e.data.count) + " claims of " + text(e.data.role) + " (" + text(e.data.type) + "): " + text(e.data.reason) + "."),
    ...recovered.map((e) => "signerd started again on this log at " + e.time + (Number(e.data.tornBytes) > 0 ? " and put aside " + text(e.data.tornBytes) + " unfinished bytes." : ".")),
    ...of("log.v1.pruned").map((e) => "Retention took away the lines " + text(e.data.firstIndex) + " to " + (Number(e.data.firstIndex) + Number(e.data.lines) - 1) + " of the log at " + e.time + "."),
    redacted > 0 && redacted + " events have fields that were redacted before they were sealed.", text(meta.note)].filter(Boolean);
  return section("evidence", "Evidence",
    facts([["Log", el("code", {}, text(meta.origin))], ["Events", meta.total + " of this run, " + text(meta.logSize) + " in the log at this checkpoint"],
      ["Keys", listOf(meta.vkeys).map((k) => el("code", { class: "block" }, k))],
      ["Bundle", listOf(bundle.events).map((r) => part(r, "type") + " (" + part(r, "sequence") + ")").join(", ")],
      ["cellctl", text(meta.cellctl) + ", " + text(meta.written) + ": " + text(meta.verdict)]]),
    el("details", {}, el("summary", {}, "Checkpoint (signed note)"), el("pre", {}, text(meta.checkpoint))),
    el("ul", { class: "notes" }, notes.map((n) => el("li", {}, n))),
    meta.cut && el("table", {}, el("caption", {}, "All events of the run, counted by cellctl"), head(["Type", "Decision", "Events", "Embedded"]),
      el("tbody", {}, listOf(meta.counts).map((c) => el("tr", {}, el("td", {}, text(c.type)), el("td", {}, text(c.action)), el("td", { class: "num" }, text(c.count)), el("td", { class: "num" }, text(c.embedded)))))),
    el("p", { class: "noprint" }, save("Save the events (.jsonl)", "events.jsonl", () => entries.filter((x) => x.event).map((x) => (x.bare ? x.event.bare : x.event.line) + "\n").join("")), " ", save("Save the checkpoint", "checkpoint", () => text(meta.checkpoint))),
    advice && advice.lostEvents > 0 && el("p", {}, advice.lostEvents + " events were left out by a rate limit."));
}

function save(label, name, make) {
  return el("button", { type: "button", on: { click: () => {
    const url = URL.createObjectURL(new Blob([make()], { type: "application/octet-stream" }));
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  } } }, label);
}

function eventItem(entry, i) {
  const e = entry.event, id = "event-" + (e ? BigInt(e.sequence) : "broken-" + i), denied = e && e.data.action === "deny" && e.data.packets !== 0;
  const summary = el("summary", {}, el("span", { class: "verdict", "data-index": i }, "not checked"), " ",
    e ? [el("span", { class: "num" }, String(BigInt(e.sequence))), " ", e.time, " ", roleOf(e), " ", el("strong", { class: denied ? "deny" : "" }, suffixOf(e))] : "not an event: " + entry.broken);
  const box = el("details", { id }, summary);
  box.addEventListener("toggle", () => {
    if (box.childElementCount > 1 || !box.open) return;
    box.append(e ? el("pre", {}, JSON.stringify(e.data, null, 2).split("\n").map((l) => visible(l)).map((l) => document.createTextNode(l + "\n"))) : "", el("p", { class: "small" }, "The exact line:"), el("pre", { class: "raw" }, entry.raw));
  });
  return el("li", {}, box);
}

function viewEvents(entries, refresh) {
  const list = el("ol", { class: "events" }), more = paged(entries.length, PAGE_ROWS, (i) => eventItem(entries[i], i), list);
  more.addEventListener("click", refresh);
  return section("events", "All events", el("p", { class: "small" }, "Exactly as sealed. What this page shows above is made from these lines."), list, more);
}
