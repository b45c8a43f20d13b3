# SPDX-License-Identifier: MIT
"""cellctl report: the page in a real browser, as it is and after every kind of tampering; audit.json against its schema."""
import base64
import hashlib
import http.server
import json
import re
import shlex
import shutil
import threading
import time
from pathlib import Path

import jsonschema
import pytest

import evidence
import forge
from browser import Browser
from conftest import TREE, User, free_port, kept, of_type

SCHEMA = json.loads((TREE / "docs/audit.schema.json").read_text())
HOSTILE = ['<script>window.owned=1</script>', '</script><script>window.owned=2</script>', '<!--<script>', '"onload="window.owned=3',
           "'><img src=x onerror=window.owned=4>", "\u202egnp.exe", "&lt;b&gt;", "it's"]


@pytest.fixture(scope="module")
def browser():
    b = Browser(free_port())
    yield b
    b.close()


@pytest.fixture(scope="module")
def owner(world):
    yield from kept(User("root", 0, world))


@pytest.fixture(scope="module")
def log(owner, web, dns, pki):
    """A run with something of everything: allowed and denied names, addresses, ports, packets; hostile arguments; exit 3."""
    curl = "curl -sS -m 5 --cacert %s" % pki.ca
    script = "\n".join([
        "%s https://example.test:%d/" % (curl, web.tls),
        "%s https://other.test:%d/" % (curl, web.tls),
        "%s -k https://203.0.113.7:%d/" % (curl, web.tls),
        "%s --resolve other.test:%d:127.0.0.1 https://other.test:%d/" % (curl, web.tls, web.tls),
        "%s --resolve example.test:9:203.0.113.7 https://example.test:9/" % curl,
        "cp /usr/bin/curl %s; ./%s -sS -m 5 -k https://203.0.113.8:%d/" % (shlex.quote(HOSTILE[4]), shlex.quote(HOSTILE[4]), web.tls),
        "exit 3"])
    flags = ["--allow", "example.test:%d" % web.tls, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer", "example.test:127.0.0.1",
             "--allow-answer", "example.test:::1", "--ro", pki.ca]
    r = owner.ctl("run", *flags, "--", "sh", "-c", "cd /tmp; " + script, *HOSTILE)
    assert r.returncode == 3, r.stderr
    return owner.last_log()


def write_report(user, *args, name="report.html"):
    path = user.home / name
    r = user.ctl("report", *args, "-o", path)
    assert r.returncode == 0, r.stderr
    return path


@pytest.fixture(scope="module")
def page(owner, log):
    return write_report(owner, log).read_text()


def check(browser, url, trusted="", seconds=60):
    """Opens the page, presses the button, and gives what it then says."""
    browser.go(url)
    browser.js("document.getElementById('trusted-key').value = arguments[0]; document.getElementById('verify-button').click()", trusted)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = browser.js("return document.getElementById('verify').dataset.state")
        if state != "none":
            break
        time.sleep(0.05)
    return {
        "state": state,
        "text": browser.js("return document.getElementById('verdict').innerText"),
        "details": browser.js("return document.getElementById('verdict-details').innerText"),
        "problems": browser.js("return [...document.querySelectorAll('.problems li')].map((x) => x.innerText)"),
        "verdicts": browser.js("return [...document.querySelectorAll('.events .verdict')].map((x) => x.textContent)"),
        "class": browser.js("return document.getElementById('verify').className"),
    }


def tampered(browser, tmp_path, content):
    path = tmp_path / "tampered.html"
    path.write_text(content)
    result = check(browser, path.as_uri())
    assert result["state"] == "bad" and result["class"] == "verify bad" and result["text"].startswith("WRONG"), result
    return result


def entries(page):
    """Where the events are in the page, and the events."""
    m = re.search(r'<script type="application/x-ndjson" id="report-events">\n(.*?)</script>', page, re.S)
    return m.span(1), m.group(1).splitlines()


def with_entries(page, lines):
    (a, b), _ = entries(page)
    return page[:a] + "".join(x + "\n" for x in lines) + page[b:]


def flip(text, at):
    """Another base64 digit in that place."""
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:]


# ---- as it is ----

def test_all_is_verified_from_a_file(browser, owner, log, page):
    browser.go("about:blank")
    browser.console(), browser.requests()  # those of the browser's own first page
    path = owner.home / "report.html"
    assert oct(path.stat().st_mode)[-3:] == "600"
    r = check(browser, path.as_uri())
    n = len(owner.events(log))
    assert r["state"] == "good" and r["class"] == "verify good" and r["problems"] == [], r
    assert "All %d events: %d signatures, %d inclusion proofs" % (n, n, n) in r["text"]
    assert r["verdicts"] == ["verified"] * n
    assert browser.console() == []
    assert set(u.split("#")[0] for u in browser.requests() if not u.startswith("data:")) == {path.as_uri()}


def test_it_asks_a_server_for_nothing_else(browser, owner, page):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = page.encode() if self.path == "/report.html" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *unused):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            browser.console()
            assert check(browser, "http://127.0.0.1:%d/report.html" % server.server_port)["state"] == "good"
            assert asked == ["/report.html"] and browser.console() == []
        finally:
            server.shutdown()


def test_what_it_shows(browser, owner, log, page):
    browser.go((owner.home / "report.html").as_uri())
    events = owner.events(log)
    shown = browser.js("return document.body.innerText")
    done = of_type(events, "command.v1.completed")[0]
    assert done["argv"][:2] == ["sh", "-c"] and "Run failed" in shown and "Exit status\n3" in shown
    denied = [e for e in of_type(events, "observability.v1.l7_egress_decision") if e["action"] == "deny"]
    assert denied
    count = lambda: browser.js("return document.querySelectorAll('#egress tbody tr[data-sequence]').length")
    everything = count()
    browser.js("const s = document.getElementById('filter-action'); s.value = 'deny'; s.dispatchEvent(new Event('input'))")
    rows = browser.js("return [...document.querySelectorAll('#egress tbody tr[data-sequence]')].map((r) => r.className)")
    assert 0 < len(rows) < everything and set(rows) == {"deny"}
    browser.js("const s = document.getElementById('filter-text'); s.value = 'l7_port_denied'; s.dispatchEvent(new Event('input'))")
    assert count() == 1
    marks = browser.js("return [document.querySelectorAll('.picture path.deny').length, document.querySelectorAll('.picture circle.allow').length]")
    assert marks[0] >= len(denied) and marks[1] > 0
    assert "--allow other.test:443" in shown  # the remedy of `why`
    usage = done.get("usage", {})
    bars = browser.js("return [...document.querySelectorAll('.bars tr')].map((r) => [r.children[0].innerText, r.children[2].innerText])")
    for name, field in (("Memory, peak", "memoryPeakBytes"), ("Processes, peak", "pidsPeak"), ("CPU time", "cpuMicros")):
        assert (dict(bars)[name] == "not measured") == (field not in usage), (bars, usage)


def test_nothing_hostile_becomes_markup(browser, owner, log, page):
    browser.go((owner.home / "report.html").as_uri())
    assert browser.js("return window.owned") is None
    assert browser.js("return document.querySelectorAll('img, iframe, object, embed, form, [onload], [onerror]').length") == 0
    assert browser.js("return document.scripts.length") == 4
    command = browser.js("return document.querySelector('.command').textContent")
    assert HOSTILE[0] in command and "\u202e" not in command and "\u27e8202e\u27e9gnp.exe" in command
    assert page.count("</script") == 4 and page.count("<script") == 4 + page.split("<script type")[0].count("<script")


def test_the_key_one_trusts(browser, owner, log):
    url = (owner.home / "report.html").as_uri()
    vkey = (log / "vkey").read_text().strip()
    r = check(browser, url, vkey)
    assert r["state"] == "good" and "the one you trust" in r["details"]
    keyid = "sha256:" + evidence.sha256(evidence.Vkey(vkey).public).hex()
    assert check(browser, url, keyid)["state"] == "good"
    r = check(browser, url, "sha256:" + "0" * 64)
    assert r["state"] == "bad" and any("signed under another key" in p for p in r["problems"]), r
    assert check(browser, url, "nonsense")["state"] == "bad"


# ---- tampered with ----

def find(lines, word):
    return next(i for i, x in enumerate(lines) if word in x)


def test_a_changed_word(browser, tmp_path, page):
    lines = entries(page)[1]
    i = find(lines, "l7_sni_allowlist_miss")
    lines[i] = lines[i].replace("other.test", "otter.test")
    r = tampered(browser, tmp_path, with_entries(page, lines))
    assert any(p.startswith("event %d (observability.v1.l7_egress_decision)" % i) and "digests" in p for p in r["problems"]), r
    assert [k for k, v in enumerate(r["verdicts"]) if v == "WRONG"] == [i]


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_denial_made_an_allowance_in_any_event(browser, tmp_path, page, place):
    lines = entries(page)[1]
    i = {"first": 0, "middle": len(lines) // 2, "last": len(lines) - 1}[place]
    lines[i] = lines[i].replace('\\"time\\":\\"2', '\\"time\\":\\"1')
    r = tampered(browser, tmp_path, with_entries(page, lines))
    assert [k for k, v in enumerate(r["verdicts"]) if v == "WRONG"] == [i]


def test_a_changed_proof(browser, tmp_path, page):
    lines = entries(page)[1]
    at = lines[5].index('"proof":"') + 20
    lines[5] = flip(lines[5], at)
    r = tampered(browser, tmp_path, with_entries(page, lines))
    assert len(r["problems"]) == 1 and r["problems"][0].startswith("event 5 ") and "inclusion proof" in r["problems"][0], r


def test_a_changed_signature(browser, tmp_path, page):
    """The same bytes in the tree would need another leaf; here the leaf's proof fails as well as the signature."""
    lines = entries(page)[1]
    o = json.loads(lines[7])
    m = re.search(r'"dssematerial":"([^"]*)"', o["line"])
    dsse = json.loads(base64.b64decode(m.group(1)))
    dsse["signatures"][0]["sig"] = flip(dsse["signatures"][0]["sig"], 10)
    material = base64.b64encode(json.dumps(dsse, separators=(",", ":")).encode()).decode()
    o["line"] = o["line"].replace(m.group(1), material)
    lines[7] = json.dumps(o)
    r = tampered(browser, tmp_path, with_entries(page, lines))
    assert r["problems"][0].startswith("event 7 ") and "signature does not verify" in r["problems"][0], r


@pytest.mark.parametrize("line", [1, 2, 4])
def test_a_changed_checkpoint(browser, tmp_path, page, line):
    m = re.search(r'"checkpoint":"([^"]*)"', page)
    parts = m.group(1).split("\\n")
    parts[line] = {1: lambda s: str(int(s) + 1), 2: lambda s: flip(s, 3), 4: lambda s: flip(s, len(s) - 8)}[line](parts[line])
    r = tampered(browser, tmp_path, page[:m.start(1)] + "\\n".join(parts) + page[m.end(1):])
    assert any(p.startswith("the checkpoint") for p in r["problems"]), r


@pytest.mark.parametrize("which", [0, 6, -1])
def test_a_removed_event(browser, tmp_path, page, which):
    lines = entries(page)[1]
    n = len(lines)
    gone = which % n
    del lines[gone]
    r = tampered(browser, tmp_path, with_entries(page, lines).replace('"embedded":%d' % n, '"embedded":%d' % (n - 1)))
    assert any("missing" in p and "sequence %d" % gone in p for p in r["problems"]), r


@pytest.mark.parametrize("excuse", ['"cut":true', '"whole":false', '"cut":true,"whole":false'])
def test_a_removed_event_with_an_excuse(browser, tmp_path, page, excuse):
    """The page says itself whether it is of a log of many runs, and whether it left events out: no excuse for a log of one run."""
    lines = entries(page)[1]
    for gone in (find(lines, "l7_sni_allowlist_miss"), len(lines) - 1):
        kept = lines[:gone] + lines[gone + 1:]
        content = with_entries(page, kept).replace('"embedded":%d' % len(lines), '"embedded":%d' % len(kept))
        for one in excuse.split(","):
            name, value = one.split(":")
            content = re.sub(name + ":(true|false)", one, content)
        row = re.search(r'<tr class="[^"]*" data-sequence="%d">.*?</tr>\n' % gone, content)
        r = tampered(browser, tmp_path, content[:row.start()] + content[row.end():] if row else content)
        assert any("missing" in p or "leaves events out" in p for p in r["problems"]), r


def test_no_event_at_all(browser, tmp_path, page):
    n = len(entries(page)[1])
    r = tampered(browser, tmp_path, with_entries(page, []).replace('"embedded":%d' % n, '"embedded":0').replace('"whole":true', '"whole":false'))
    assert any("no event of a run" in p for p in r["problems"]), r


def test_a_repeated_and_a_moved_event(browser, tmp_path, page):
    lines = entries(page)[1]
    r = tampered(browser, tmp_path, with_entries(page, lines[:4] + lines[3:]))
    assert any(p.startswith("event 3 ") and "repeated" in p for p in r["problems"]), r
    r = tampered(browser, tmp_path, with_entries(page, lines[:3] + [lines[4], lines[3]] + lines[5:]))
    assert any(p.startswith("event 3 ") for p in r["problems"]), r


def test_a_line_that_is_no_event(browser, tmp_path, page):
    lines = entries(page)[1]
    lines[2] = lines[2][:-40]
    r = tampered(browser, tmp_path, with_entries(page, lines))
    assert any(p.startswith("embedded event number 3") for p in r["problems"]), r


def test_an_edited_table(browser, tmp_path, page):
    row = re.search(r'<tr class="deny" data-sequence="(\d+)"><td>[^<]*</td><td>deny</td>', page)
    edited = page[:row.start()] + row.group(0).replace("<td>deny</td>", "<td>allow</td>") + page[row.end():]
    r = tampered(browser, tmp_path, edited)
    assert r["problems"] == ["the printed table: its row for event %s is not what the event says" % row.group(1)], r
    r = tampered(browser, tmp_path, page.replace("<th>Exit status</th><td>3<", "<th>Exit status</th><td>0<"))
    assert r["problems"] == ['the printed summary: "Exit status" is not what the events say'], r
    whole = re.search(r'<tr class="deny" data-sequence="\d+">.*?</tr>\n', page)
    r = tampered(browser, tmp_path, page[:whole.start()] + page[whole.end():])
    assert any(p.startswith("the printed table: it has") for p in r["problems"]), r


def test_another_key_in_its_place(browser, tmp_path, page):
    """Every key of the page replaced by one that is well formed: nothing is signed under it."""
    public = b"\x01" + bytes(range(32))
    name = "cellos.local/0123456789abcdef"
    text = "%s+%s+%s" % (name, hashlib.sha256(name.encode() + b"\n" + public).hexdigest()[:8], base64.b64encode(public).decode())
    other = re.sub(r'"vkeys":\["[^"]*"\]', lambda _: '"vkeys":["%s"]' % text, page)
    assert "the keyset: the log's own key is not in it" in tampered(browser, tmp_path, other)["problems"]
    r = tampered(browser, tmp_path, re.sub(r'"keyset":"(?:[^"\\]|\\.)*"', '"keyset":""', other))
    assert any("not signed by a key" in p for p in r["problems"]) and set(r["verdicts"]) == {"WRONG"}, r


def test_a_changed_script_does_not_run(browser, tmp_path, page):
    """The policy names the script by its digest: another one is refused, and nothing becomes green."""
    path = tmp_path / "script.html"
    path.write_text(page.replace('result.state = result.problems.length ? "bad" : "good";', 'result.state = "good";'))
    browser.go(path.as_uri())
    assert browser.js("return document.getElementById('app').hidden") is True
    browser.console()


# ---- where a browser cannot ----

def test_without_ed25519_nothing_is_green(browser, owner, page):
    made = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source="""
        const real = SubtleCrypto.prototype.importKey;
        SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {
          if (algorithm.name === 'Ed25519') return Promise.reject(new DOMException('Unrecognized name.', 'NotSupportedError'));
          return real.call(this, format, key, algorithm, ...rest);
        };""")
    try:
        r = check(browser, (owner.home / "report.html").as_uri())
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=made["identifier"])
    assert r["state"] == "unable" and r["class"] == "verify open" and "NOT VERIFIED" in r["text"] and "Ed25519" in r["text"], r
    assert set(r["verdicts"]) == {"not checked"}


def test_an_insecure_place_and_no_script(owner, page):
    """Over plain http from another host the browser offers no cryptography; without scripts the tables are there."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (http.server.BaseHTTPRequestHandler,), {
            "do_GET": lambda self: (self.send_response(200), self.send_header("Content-Type", "text/html; charset=utf-8"), self.end_headers(),
                                    self.wfile.write(page.encode())), "log_message": lambda *a: None})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        b = Browser(free_port(), ["--host-resolver-rules=MAP reports.test 127.0.0.1"])
        try:
            r = check(b, "http://reports.test:%d/" % server.server_port)
            assert r["state"] == "unable" and "secure context" in r["text"] and "file://" in r["text"], r
        finally:
            b.close()
            server.shutdown()
    b = Browser(free_port(), prefs={"profile.managed_default_content_settings.javascript": 2})
    try:
        b.go((owner.home / "report.html").as_uri())
        tree = b.cdp("DOM.getDocument", depth=-1)
        assert '"noscript"' in json.dumps(tree) and "l7_sni_allowlist_miss" in json.dumps(tree)
    finally:
        b.close()


# ---- the verb ----

def test_names_of_a_run(owner, log, tmp_path):
    run = log.name
    for word in (run, run[-8:], "run-" + run[-12:], str(log)):
        r = owner.ctl("report", word, "-o", "-")
        assert r.returncode == 0 and r.stdout.startswith("<!DOCTYPE html>") and run in r.stdout, r.stderr
    assert owner.ctl("report", "nothing-like-it").returncode == 2
    for args in (["--nonsense"], [run, run], ["-o"], ["-o", "x", "--audit", "x"]):
        r = owner.ctl("report", *args)
        assert r.returncode == 1 and r.stderr, args
    r = owner.ctl("report", run, "-o", "/nonexistent/x.html")
    assert r.returncode == 2 and "/nonexistent/x.html" in r.stderr
    assert not list(Path("/").glob("report.html*"))


def test_a_log_that_does_not_verify(browser, owner, log, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(log, bad)
    segment = next(bad.glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"exitCode":3', b'"exitCode":0'))
    out = tmp_path / "bad.html"
    r = owner.ctl("report", bad, "-o", out, "--audit", tmp_path / "bad.json")
    assert r.returncode == 4 and "did not verify" in r.stderr, r.stderr
    audit = json.loads((tmp_path / "bad.json").read_text())
    jsonschema.validate(audit, SCHEMA)
    assert audit["verification"]["result"] == "bad" and audit["verification"]["why"]
    shown = check(browser, out.as_uri())
    assert shown["state"] == "bad" and any("command.v1.completed" in p for p in shown["problems"]), shown


def audit_of(user, *args):
    r = user.ctl("report", *args, "--audit", "-")
    assert r.returncode == 0, r.stderr
    doc = json.loads(r.stdout)
    jsonschema.validate(doc, SCHEMA)
    return doc


def test_audit_says_what_the_events_say(owner, log):
    a, events = audit_of(owner, log), owner.events(log)
    assert a["run"]["runId"] == log.name and a["run"]["outcome"] == "failed" and a["run"]["ended"]
    assert a["command"]["argv"] == of_type(events, "command.v1.completed")[0]["argv"] and a["command"]["exitCode"] == 3
    assert a["authority"]["egressRules"] == of_type(events, "observability.v1.network_scope")[0]["egressRules"]
    l7 = of_type(events, "observability.v1.l7_egress_decision")
    listed = [d for d in a["decisions"]["list"] if d["kind"] == "connection"]
    assert [(d["action"], d["reason"], d["port"]) for d in listed] == [(e["action"], e["reasonCode"], e["port"]) for e in l7]
    assert sum(g["count"] for g in a["decisions"]["groups"] if g["kind"] == "connection") == len(l7)
    assert a["verification"] == {"result": "good", "key": "state", "goodEvents": len(events)}
    assert a["evidence"]["checkpoint"] == (log / "checkpoint").read_text() and a["evidence"]["keys"] == [(log / "vkey").read_text().strip()]
    assert sum(c["count"] for c in a["evidence"]["counts"]) == a["evidence"]["events"] == len(events)
    assert any(d.get("flag") == "--allow other.test:443" for d in a["denials"])
    use = of_type(events, "command.v1.completed")[0].get("usage", {})
    for name in ("cpuMicros", "memoryPeakBytes", "pidsPeak"):
        assert (name in a["usage"]) == (name in use)


def test_a_run_that_never_began(browser, ordinary):
    spec = ordinary.file("bad.json", json.dumps({"apiVersion": "cellos.io/v1", "kind": "ExecutionCell", "spec": {"id": "nope-1", "nonsense": 1}}))
    assert ordinary.ctl("run", spec).returncode == 3
    if not (ordinary.state / "log").exists():
        pytest.fail("a refused document leaves no log: this test needs another refusal")
    a = audit_of(ordinary)
    assert a["run"]["violations"] and a["command"] == {}
    path = write_report(ordinary)
    r = check(browser, path.as_uri())
    assert r["state"] == "good", r
    assert "The spec was refused" in browser.js("return document.body.innerText")


def test_seal_batch(browser, ordinary):
    """Lines without signatures of their own: the leaf is the bare line, the page shows the sealed form."""
    assert ordinary.ctl("run", "--seal", "batch", "--", "true").returncode == 0
    path = write_report(ordinary)
    r = check(browser, path.as_uri())
    n = len(ordinary.events())
    assert r["state"] == "good" and len(r["verdicts"]) == n and set(r["verdicts"]) <= {"verified", "in the tree"}, r
    assert r["verdicts"].count("verified") == n, r  # the suite signs what is left before it ends


# ---- logs that no cell brings forth in a test's time ----

def forged(owner, tmp_path, log, run=None, *args):
    path = log.write(tmp_path / "log", run)
    out = tmp_path / "forged.html"
    r = owner.ctl("report", path, "--key", log.key.vkey, "-o", out, *args)
    assert r.returncode == 0, r.stderr
    audit = json.loads(owner.ctl("report", path, "--key", log.key.vkey, "--audit", "-", *args).stdout)
    jsonschema.validate(audit, SCHEMA)
    return out, audit


def test_hostile_values_in_every_place(browser, owner, tmp_path):
    """Whatever text an event holds, it stays text: in both tables, the picture, the denials, the evidence."""
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    for word in HOSTILE + ["\u0001\u0085\u2028", "a\nb\tc", "\\u003c", "]]>", "--><b>"]:
        forge.query(log, run, word, "deny")
        log.add("observability.v1.l7_egress_decision", {"action": "deny", "reasonCode": word, "protocol": word, "host": word, "port": 1,
                "originalDestination": word, "rule": word, "process": {"pid": 1, "exe": word}}, run, role="proxyd")
        log.add("observability.v1.dns_answer", {"queryName": word, "queryType": word, "responseRcode": word, "reasonCode": word, "answers": [],
                "removed": [{"type": word, "data": word, "reasonCode": word, "why": word}], "resolverId": word, "latencyMicros": 1}, run, role="proxyd")
        log.add("observability.v1.gap", {"lost": 1, "since": word, "until": word, "cause": word}, run)
        log.add("observability.v1." + "unknown", {word: word, "list": [word, {word: word}]}, run)
    forge.ended(log, run, HOSTILE)
    path, _ = forged(owner, tmp_path, log, run)
    browser.console()
    r = check(browser, path.as_uri())
    assert r["state"] == "good", r
    assert browser.js("return window.owned") is None and browser.console() == []
    assert browser.js("return document.querySelectorAll('img, iframe, b, form, [onload], [onerror]').length") == 0
    browser.js("for (const d of document.querySelectorAll('details')) d.open = true")
    time.sleep(0.2)
    assert browser.js("return window.owned") is None and browser.js("return document.scripts.length") == 4
    assert not any(c in browser.js("return document.body.innerText") for c in "\u202e\u0001\u0085\u2028")


def test_a_run_among_others(browser, owner, tmp_path):
    """One log of many runs: only this run's events, proved in the tree of all; a missing one is seen by cellsequence."""
    log = forge.Log()
    first, second = forge.uuid7(1790000000000, 1), forge.uuid7(1790000000001, 2)
    log.add("log.v1.recovered", {"previousSize": 0, "previousRoot": "sha256:" + hashlib.sha256(b"").hexdigest(), "bootId": "0" * 36, "tornBytes": 0}, role="signerd")
    forge.started(log, first, cell="a")
    forge.started(log, second, cell="b")
    for i in range(300):
        forge.query(log, first, "a%d.test" % i, cell="a")
        forge.query(log, second, "b%d.test" % i, cell="b")
    log.add("log.v1.claim_refused", {"role": "proxyd", "type": "observability.v1.dns_query", "reason": "no such cell", "count": 2}, role="signerd")
    forge.ended(log, second, cell="b")
    forge.ended(log, first, cell="a")
    for word, run in (("a", first), (second, second)):
        path, audit = forged(owner, tmp_path, log, None, "--run", word)
        assert audit["run"]["runId"] == run and audit["evidence"]["logSize"] == 610
        r = check(browser, path.as_uri())
        assert r["state"] == "good" and "610 in the log" in browser.js("return document.body.innerText"), r
        assert len(entries(path.read_text())[1]) == 305 and "refused 2 claims" in browser.js("return document.body.innerText")
    lines = entries(path.read_text())[1]
    r = tampered(browser, tmp_path, with_entries(path.read_text(), lines[:50] + lines[51:]).replace('"embedded":305', '"embedded":304'))
    assert any("cellsequence 51" in p for p in r["problems"]), r
    assert owner.ctl("report", path.parent / "log", "--run", "nothing", "--key", log.key.vkey).returncode == 2


def test_a_pruned_beginning(browser, owner, tmp_path):
    """What retention took away is accounted for by the log itself; without that word it is missing."""
    for told in (True, False):
        log, run = forge.Log(), forge.uuid7(1790000000000, 1)
        forge.started(log, run)
        for i in range(4):
            forge.query(log, run, "n%d.test" % i)
        if told:
            log.add("log.v1.pruned", {"firstIndex": 0, "lines": 3, "root": "sha256:" + evidence.root([evidence.leaf(l) for l in log.lines[:3]]).hex(),
                    "reason": "age"}, role="signerd")
        forge.ended(log, run)
        path, _ = forged(owner, tmp_path, log, run)
        page, n = path.read_text(), len(log.lines)
        cut = with_entries(page, entries(page)[1][3:]).replace('"embedded":%d' % n, '"embedded":%d' % (n - 3))
        problems = tampered(browser, tmp_path, cut)["problems"]
        assert any("missing" in p for p in problems) != told, problems


def test_more_events_than_a_page_takes(browser, owner, tmp_path):
    """Counted in full, embedded as far as it goes, every denial among them; and said so."""
    log, run = forge.Log(bare=True), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    for i in range(50500):
        forge.query(log, run, "n%d.example.test" % (i % 1000), "deny" if i % 100 == 99 else "allow", after=3)
    forge.ended(log, run)
    begin = time.monotonic()
    path, audit = forged(owner, tmp_path, log, run)
    assert time.monotonic() - begin < 120
    assert audit["evidence"]["events"] == 50504 and audit["decisions"]["denied"] == 505 and audit["decisions"]["allowed"] == 49995
    lines = entries(path.read_text())[1]
    assert len(lines) == 50000 and sum('\\"action\\":\\"deny\\"' in l for l in lines) == 505
    r = check(browser, path.as_uri(), seconds=400)
    assert r["state"] == "good" and "50000 of 50504 events are embedded" in r["details"], r
    assert len(r["verdicts"]) == 200 and set(r["verdicts"]) == {"in the tree"}
    browser.go("about:blank")


def test_lines_of_a_revoked_key(browser, owner, tmp_path):
    """seal: batch without the signatures: only the checkpoint signs, and its key had been revoked when the events were made."""
    key, new, run = forge.Key(), forge.Key(), forge.uuid7(1790000000000, 1)
    log = forge.Log(key, bare=True)
    forge.started(log, run)
    log.now -= 2 * 3600 * 1000
    forge.ended(log, run)
    path, at = log.write(tmp_path / "log", run), forge.rfc3339(1790000000000 - 3600 * 1000)
    (path / "keyset").write_bytes(forge.keyset([(key, {"state": "active"})], [(key, {"state": "revoked", "revokedAt": at}),
                                               (new, {"state": "active", "notBefore": at})], created=at))
    out = tmp_path / "revoked.html"
    assert owner.ctl("report", path, "--keyset", path / "keyset", "-o", out).returncode == 4
    r = check(browser, out.as_uri())
    assert r["state"] == "bad" and any("revoked" in p and "event 0 " in p for p in r["problems"]), r


def test_keys_that_changed(browser, ordinary, tmp_path):
    """The page follows the keyset: the key one trusted before the rotation vouches for the new one; a forged chain does not."""
    assert ordinary.ctl("run", "--", "true").returncode == 0
    old = (ordinary.last_log() / "vkey").read_text().strip()
    assert ordinary.ctl("key", "rotate").returncode == 0
    assert ordinary.ctl("run", "--", "true").returncode == 0
    path = write_report(ordinary)
    page = path.read_text()
    r = check(browser, path.as_uri(), old)
    assert r["state"] == "good" and "the one you trust" in r["details"], r
    keys = audit_of(ordinary)["evidence"]["keys"]
    assert len(keys) == 2 and old in keys
    meta = re.search(r'"keyset":"((?:[^"\\]|\\.)*)"', page)
    chain = json.loads('"' + meta.group(1) + '"').splitlines()
    assert len(chain) >= 2
    put = lambda lines: page[:meta.start(1)] + json.dumps("".join(l + "\n" for l in lines))[1:-1] + page[meta.end(1):]
    r = tampered(browser, tmp_path, put(chain[:-1]))
    assert any("the keyset" in p or "checkpoint" in p or "another key" in p for p in r["problems"]), r
    changed = [*chain[:-1], chain[-1].replace('"notBefore":"2', '"notBefore":"1')]
    assert any(p.startswith("the keyset") for p in tampered(browser, tmp_path, put(changed))["problems"])
    assert any(p.startswith("the keyset") for p in tampered(browser, tmp_path, put([chain[0], chain[0]]))["problems"])
    r = check(browser, path.as_uri(), forge.Key().vkey)
    assert r["state"] == "bad" and any("another key" in p for p in r["problems"]), r
