/* SPDX-License-Identifier: MIT */
/* The time picture: lanes of marks over the run's time. Allowed and denied differ in colour and in shape. */

const PICTURE = { left: 116, right: 16, lane: 38, top: 14, width: 1040, column: 8, marks: 400 };

const LANES = [
  ["DNS", (r) => r.kind.startsWith("DNS")],
  ["Connections", (r) => r.kind === "connection"],
  ["Packets", (r) => r.kind.startsWith("packets")],
];

const MARKED = { "lifecycle.v1.started": "started", "command.v1.completed": "command ended", "lifecycle.v1.destroyed": "destroyed",
  "lifecycle.v1.policy_changed": "policy changed", "observability.v1.gap": "gap", "lifecycle.v1.rejected": "rejected" };

function niceStep(span) {
  const rough = span / 8, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
}

function axis(span, x, height) {
  const step = niceStep(span), out = [];
  for (let t = 0; t <= span * 1.0001; t += step)
    out.push(svg("line", { x1: x(t), x2: x(t), y1: PICTURE.top, y2: height - 22, class: "grid" }),
      svg("text", { x: x(t), y: height - 6, class: "tick" }, tickText(t, step)));
  return out;
}

function tickText(ms, step) {
  return step >= 60000 ? Math.round(ms / 60000) + " min" : step >= 1000 ? Math.round(ms / 1000) + " s"
    : (ms / 1000).toFixed(step >= 100 ? 1 : step >= 10 ? 2 : 3) + " s";
}

function mark(p, x, y) {
  const denied = p.row.action === "deny", d = 5;
  const label = [p.row.action, p.row.kind, p.row.name || p.row.address, p.row.port && ":" + p.row.port, p.row.reason].filter(Boolean).join(" ");
  const shape = denied
    ? svg("path", { d: `M${x - d} ${y - d}L${x + d} ${y + d}M${x + d} ${y - d}L${x - d} ${y + d}`, class: "deny" })
    : svg("circle", { cx: x, cy: y, r: 4, class: p.row.internal ? "allow internal" : "allow" });
  return svg("a", { href: "#row-" + p.row.sequence }, shape, svg("title", {}, label + ", +" + secondsText(p.at)));
}

/* More marks than can be told apart: columns whose height is the count, denials on top. */
function columns(points, x, y, width) {
  const bins = new Map();
  for (const p of points) {
    const b = Math.floor(x(p.at) / PICTURE.column), have = bins.get(b) || [0, 0];
    have[p.row.action === "deny" ? 1 : 0]++;
    bins.set(b, have);
  }
  const top = Math.max(...[...bins.values()].map(([a, b]) => a + b)), full = PICTURE.lane - 12, out = [];
  for (const [b, [allow, deny]] of bins) {
    const ha = (allow / top) * full, hd = (deny / top) * full, at = b * PICTURE.column, base = y + full / 2;
    out.push(svg("g", {}, svg("rect", { x: at, width: width - 1, y: base - ha, height: ha, class: "allow" }),
      svg("rect", { x: at, width: width - 1, y: base - ha - hd, height: hd, class: "deny" }),
      svg("title", {}, allow + " allowed, " + deny + " denied")));
  }
  return out;
}

function lifecycle(events, t0, x, y) {
  const out = [], at = (suffix) => events.find((e) => suffixOf(e) === suffix);
  const from = at("lifecycle.v1.started"), to = at("command.v1.completed");
  if (from && to) out.push(svg("rect", { x: x(millis(from) - t0), y: y - 5, width: Math.max(2, x(millis(to) - t0) - x(millis(from) - t0)), height: 10, rx: 3, class: "run" },
    svg("title", {}, "the command ran")));
  let last = -100;
  for (const e of events) {
    const name = MARKED[suffixOf(e)];
    if (!name) continue;
    const cx = x(millis(e) - t0);
    out.push(svg("g", {}, svg("line", { x1: cx, x2: cx, y1: y - 10, y2: y + 10, class: "life" }), svg("title", {}, name)));
    if (cx - last > 90) out.push(svg("text", { x: cx + 4, y: y - 8, class: "note" + (cx > PICTURE.width - 90 ? " end" : "") }, name));
    last = Math.max(last, cx - last > 90 ? cx : last);
  }
  return out;
}

/* The whole picture, or null when there is nothing to draw. */
function timePicture(events, rows) {
  const times = events.map(millis), t0 = Math.min(...times.slice(0, 1)), t1 = times.reduce((a, b) => Math.max(a, b), t0);
  if (events.length === 0) return null;
  const span = Math.max(t1 - t0, 1), inner = PICTURE.width - PICTURE.left - PICTURE.right;
  const x = (ms) => PICTURE.left + Math.min(Math.max(ms / span, 0), 1) * inner;
  const lanes = LANES.map(([name, of]) => [name, rows.filter(({ row }) => of(row)).map(({ row, event }) => ({ row, at: Math.max(millis(event) - t0, 0) }))])
    .filter(([, points]) => points.length > 0);
  const height = PICTURE.top + (lanes.length + 1) * PICTURE.lane + 26;
  const label = (name, y) => svg("text", { x: 0, y: y + 4, class: "lane" }, name);
  const middle = (i) => PICTURE.top + 8 + (i + 0.5) * PICTURE.lane;
  const denied = rows.filter(({ row }) => row.action === "deny").length;
  return svg("svg", { viewBox: `0 0 ${PICTURE.width} ${height}`, class: "picture", role: "img",
    "aria-label": "Decisions over time: " + (rows.length - denied) + " allowed, " + denied + " denied" },
    axis(span, x, height), label("Run", middle(0)), lifecycle(events, t0, x, middle(0)),
    lanes.map(([name, points], i) => [label(name, middle(i + 1)),
      svg("line", { x1: PICTURE.left, x2: PICTURE.width - PICTURE.right, y1: middle(i + 1), y2: middle(i + 1), class: "rail" }),
      points.length > PICTURE.marks ? columns(points, x, middle(i + 1), PICTURE.column)
        : [...points].sort((a, b) => (a.row.action === "deny") - (b.row.action === "deny")).map((p) => mark(p, x(p.at), middle(i + 1)))]));
}
