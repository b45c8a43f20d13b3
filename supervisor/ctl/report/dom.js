/* SPDX-License-Identifier: MIT */
/* Elements from texts. No text ever becomes markup: there is no innerHTML in this page. */

const SVG = "http://www.w3.org/2000/svg";

/* Foreign text that could hide or turn what stands beside it becomes visible: control, bidirectional and invisible characters. */
function visible(s) {
  return String(s).replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
    (c) => "\u27e8" + c.codePointAt(0).toString(16).padStart(4, "0") + "\u27e9");
}

function fill(node, attrs, children) {
  for (const [k, v] of Object.entries(attrs || {})) {
    if (k === "on") for (const [event, fn] of Object.entries(v)) node.addEventListener(event, fn);
    else if (v !== null && v !== undefined && v !== false) node.setAttribute(k, v === true ? "" : v);
  }
  for (const c of children.flat(Infinity))
    if (c !== null && c !== undefined && c !== false) node.append(typeof c === "object" ? c : visible(c));
  return node;
}

function el(tag, attrs, ...children) {
  return fill(document.createElement(tag), attrs, children);
}

function svg(tag, attrs, ...children) {
  return fill(document.createElementNS(SVG, tag), attrs, children);
}

function byId(id) {
  return document.getElementById(id);
}

function put(id, ...children) {
  const node = byId(id);
  node.replaceChildren();
  return fill(node, {}, children);
}

function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": id + "-title" }, el("h2", { id: id + "-title" }, title), ...children);
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, v]) => v !== "" && v !== null && v !== undefined)
    .map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}

/* Long lists come in pages, so that fifty thousand rows do not stand in the document at once. */
function paged(count, size, make, into) {
  let shown = 0;
  const more = el("button", { type: "button", class: "more" });
  const step = () => {
    const to = Math.min(count, shown + size);
    for (; shown < to; shown++) into.append(make(shown));
    more.hidden = shown === count;
    more.textContent = "Show " + Math.min(size, count - shown) + " more of " + (count - shown);
  };
  more.addEventListener("click", step);
  step();
  return more;
}

function bytesText(n) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i === 0 ? String(n) : n.toFixed(n < 10 ? 2 : 1)) + " " + units[i];
}

function secondsText(ms) {
  if (ms < 1000) return ms + " ms";
  if (ms < 60000) return (ms / 1000).toFixed(2) + " s";
  const s = Math.round(ms / 1000);
  return Math.floor(s / 3600) > 0 ? Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min" : Math.floor(s / 60) + " min " + (s % 60) + " s";
}
