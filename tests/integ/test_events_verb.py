# SPDX-License-Identifier: MIT
"""cellctl events: filters, the merging of logs, the timeline, and -f: with real runs, and with forged logs where time matters."""
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import pytest

import forge
from conftest import wait_for

HOUR = 3600 * 1000


def shown(user, *args, env=None):
    r = user.ctl("events", *args, env=env)
    assert r.returncode == 0, r.stderr
    return r.stdout


def as_json(user, *args):
    return [json.loads(l) for l in shown(user, *args, "--json").splitlines()]


def short(events):
    return [e["type"].rsplit(".", 1)[1] for e in events]


@pytest.fixture
def place(world):
    """A directory that other users can look into."""
    path = Path(tempfile.mkdtemp(prefix="logs-", dir=world))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def logs(place):
    """Three runs: web (two hours ago, ended), db (one hour ago, overlapping in time with the third), web again."""
    base = place
    now = int(time.time() * 1000)
    key, made = forge.Key(), []
    for cell, at, deny in (("web", now - 2 * HOUR, 1), ("db", now - HOUR, 0), ("web", now - HOUR + 5, 2)):
        log = forge.Log(key, at)
        run = forge.uuid7(at, len(made) + 1)
        forge.started(log, run, cell=cell)
        forge.query(log, run, cell=cell)
        for i in range(deny):
            forge.query(log, run, "evil%d.test" % i, "deny", cell=cell)
        forge.ended(log, run, cell=cell, outcome="failed" if deny == 2 else "succeeded")
        log.write(base / run, run)
        made.append(run)
    return base, made


def test_the_newest_run_and_any_other(ordinary, logs):
    base, (first, second, third) = logs
    r = ordinary.ctl("events", base)
    assert r.stdout.startswith("run %s  cell web" % third) and first not in r.stdout and "the newest of 3 logs" in r.stderr
    for word in (first, first[-12:]):
        assert {e["runid"] for e in as_json(ordinary, base, "--run", word)} == {first}
    assert {e["runid"] for e in as_json(ordinary, base, "--run", "web")} == {third}
    assert {e["runid"] for e in as_json(ordinary, base, "--run", "db")} == {second}
    r = ordinary.ctl("events", base, "--run", "nothing")
    assert r.returncode == 2 and "no run or cell nothing" in r.stderr


def test_all_of_them_in_the_order_of_time(ordinary, logs):
    base, runs = logs
    events = as_json(ordinary, base, "--all")
    assert [e["id"] for e in events] == sorted(e["id"] for e in events)
    second = [i for i, e in enumerate(events) if e["runid"] == runs[1]]
    assert second != list(range(second[0], second[-1] + 1))  # they really alternate
    lines = sum((p.read_text().splitlines() for p in sorted(base.glob("*/*.jsonl"))), [])
    assert sorted(shown(ordinary, base, "--all", "--json").splitlines()) == sorted(lines)
    text = shown(ordinary, base, "--all")
    assert text.count("\nrun ") + text.startswith("run ") == 3 and text.count(" after ") == 3
    assert re.search("(?m)^%s +=  failed after" % runs[2][-6:], text) and "1 allowed, 2 denied" in text


def test_filters_combine(ordinary, logs):
    base, (first, second, third) = logs
    assert {e["runid"] for e in as_json(ordinary, base, "--cell", "web")} == {first, third}
    assert {e["runid"] for e in as_json(ordinary, base, "--cell", "d?")} == {second}
    denied = as_json(ordinary, base, "--all", "--deny")
    assert len(denied) == 3 and all(e["data"]["action"] == "deny" for e in denied)
    assert len(as_json(ordinary, base, "--cell", "web", "--deny", "--since", "90m")) == 2
    assert as_json(ordinary, base, "--cell", "db", "--deny") == []
    assert short(as_json(ordinary, base, "--run", first, "--type", "started", "--type", "dns_*")) == ["started", "dns_query", "dns_query"]
    assert short(as_json(ordinary, base, "--run", first, "--type", "lifecycle.v1.*,completed")) == ["started", "completed", "destroyed"]
    assert short(as_json(ordinary, base, "--run", first, "--type", "dev.cellos.events.cell.command.v1.completed")) == ["completed"]


def test_times(ordinary, logs):
    base, (first, second, third) = logs
    everything = as_json(ordinary, base, "--all")
    assert {e["runid"] for e in as_json(ordinary, base, "--since", "90m")} == {second, third}
    assert {e["runid"] for e in as_json(ordinary, base, "--until", "1h30m ago")} == {first}
    assert as_json(ordinary, base, "--since", "now") == []
    assert as_json(ordinary, base, "--since", "2000-01-01") == everything
    start = next(e for e in everything if e["runid"] == first)["time"]
    assert {e["runid"] for e in as_json(ordinary, base, "--since", start, "--until", start)} <= {first}
    assert as_json(ordinary, base, "--since", start, "--until", start)
    for bad in ("10", "tomorrow", "2026-02-30", "25:00", "1y", "2026-11-29T10:00"):
        r = ordinary.ctl("events", base, "--since", bad)
        assert r.returncode == 1 and bad in r.stderr, bad
    assert ordinary.ctl("events", base, "--since", "1h", "--until", "2h").returncode == 1


def test_words_that_are_wrong(ordinary, logs):
    base, _ = logs
    r = ordinary.ctl("events", base, "--type", "dns_qery")
    assert r.returncode == 1 and 'did you mean "dns_query"' in r.stderr
    assert ordinary.ctl("events", base, "--type", "xyz*").returncode == 1
    for args in (["--nonsense"], ["--type"], [base, base], ["--run", "a", "--all"]):
        assert ordinary.ctl("events", *args).returncode == 1, args


def test_only_what_the_checkpoint_covers(ordinary, place):
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    forge.ended(log, run)
    log.write(place / run, run, size=2)
    assert len(as_json(ordinary, place / run)) == 2


# ---- the timeline ----

def test_a_log_is_foreign_text(ordinary, place):
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    forge.query(log, run, "\u001b]0;owned\u0007.test", "deny")
    log.add("observability.v1.from_the_future", {"\u001b[31m": "\u001b[2J", "list": ["\u001b[0m"]}, run)
    forge.ended(log, run, ["sh", "-c", "\u001b[31m" + "x" * 5000])
    log.write(place / run, run)
    for args in ([], ["--all"], ["--deny"]):
        text = shown(ordinary, place, *args)
        assert "\x1b" not in text and "\x07" not in text and "\\x1b]0;owned" in text


def on_terminal(user, *args, columns=100, env=None):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    p = user.popen("events", *args, env={"TERM": "xterm", **(env or {})}, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 65536):
            out += chunk
    except OSError:
        pass  # the other side is closed
    os.close(master)
    assert p.wait(30) == 0, out
    return out.decode()


def plain(text):
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_the_width_of_a_terminal_and_its_colours(ordinary, place):
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    forge.query(log, run, "a-very-long-name-" + "x" * 60 + ".example.test", "deny")
    forge.query(log, run, "b\u00fccher.example.test")
    forge.ended(log, run, ["sh", "-c", "y" * 3000])
    log.write(place / run, run)
    for columns in (80, 100, 200):
        text = on_terminal(ordinary, place / run, columns=columns)
        assert max(len(l) for l in plain(text).splitlines()) <= columns and "..." in text
        assert "\x1b[31mdeny" in text and "\x1b[32mallow" in text
    assert "\x1b" not in on_terminal(ordinary, place / run, env={"NO_COLOR": "1"})
    assert "\x1b" not in shown(ordinary, place / run) and "x" * 60 in shown(ordinary, place / run)


# ---- -f ----

class Follower:
    def __init__(self, user, *args):
        self.out = user.home / ("follow-%d" % time.monotonic_ns())
        self.file = self.out.open("wb")
        self.p = user.popen("events", *args, "-f", "--json", stdin=subprocess.DEVNULL, stdout=self.file, stderr=subprocess.PIPE)

    def events(self):
        return [json.loads(l) for l in self.out.read_text().split("\n")[:-1]]  # whole lines

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait(10)
        self.p.stderr.close()
        self.file.close()


def test_follow_a_run_to_its_end(ordinary, place):
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    path = log.write(place / run, run)
    with Follower(ordinary, place, "--run", run) as f:
        wait_for(lambda: len(f.events()) == 2)
        for i in range(5):
            forge.query(log, run, "n%d.test" % i)
            log.write(path, run)
            wait_for(lambda: len(f.events()) == 3 + i)
        forge.query(log, run)
        log.write(path, run, size=7)  # written, not covered
        time.sleep(0.3)
        assert len(f.events()) == 7 and f.p.poll() is None
        forge.ended(log, run)
        log.write(path, run)
        assert f.p.wait(20) == 0
        assert [int(e["sequence"]) for e in f.events()] == list(range(10))


def test_follow_a_run_that_is_over(ordinary, logs):
    base, runs = logs
    with Follower(ordinary, base, "--run", runs[0]) as f:
        assert f.p.wait(20) == 0 and len(f.events()) == 6


def test_follow_notices_new_runs_and_ends_on_ctrl_c(ordinary, logs):
    base, runs = logs
    with Follower(ordinary, base) as f:
        wait_for(lambda: len(f.events()) == 7)  # the newest one
        assert {e["runid"] for e in f.events()} == {runs[2]}
        now = int(time.time() * 1000)
        log, run = forge.Log(start_ms=now), forge.uuid7(now, 9)
        forge.started(log, run, cell="later")
        log.write(base / run, run)
        wait_for(lambda: len(f.events()) == 9)
        forge.ended(log, run, cell="later")
        log.write(base / run, run)
        wait_for(lambda: len(f.events()) == 11)
        f.p.send_signal(signal.SIGINT)
        assert f.p.wait(20) == 0 and f.p.stderr.read() == b""


def test_follow_a_real_run(user):
    """From before the first run on: the directory is there, the log is not yet."""
    (user.state / "log").mkdir(parents=True)
    for p in (user.state / "log", user.state, user.state.parent, user.state.parent.parent):
        os.chown(p, user.uid, user.uid)
        p.chmod(0o700)
    with Follower(user) as f:
        time.sleep(0.3)
        assert user.ctl("run", "--", "true").returncode == 0
        want = [e["id"] for e in user.events()]
        wait_for(lambda: [e["id"] for e in f.events()] == want)
        f.p.send_signal(signal.SIGTERM)
        assert f.p.wait(20) == 0


def test_follow_filters(ordinary, logs):
    base, runs = logs
    with Follower(ordinary, base, "--deny") as f:
        wait_for(lambda: len(f.events()) == 2)
        now = int(time.time() * 1000)
        log, run = forge.Log(start_ms=now), forge.uuid7(now, 9)
        forge.started(log, run)
        forge.query(log, run, "evil.test", "deny")
        log.write(base / run, run)
        wait_for(lambda: len(f.events()) == 3)
        assert f.events()[-1]["data"]["queryName"] == "evil.test"


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_following_ends_with_its_reader(ordinary, logs, flags):
    """`events -f | head -1`: nobody reads any more, nothing comes any more."""
    base, _ = logs
    p = ordinary.popen("events", base, "-f", *flags, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline()
    p.stdout.close()
    try:
        assert p.wait(20) in (0, 2) and p.stderr.read() == b""
    finally:
        p.kill()
        p.stderr.close()


def test_a_full_disk_is_told(ordinary, logs):
    base, runs = logs
    with open("/dev/full", "w") as full:
        for args in (["events", base, "--all"], ["events", base, "--all", "--json"], ["events", base, "-f", "--run", runs[0]], ["verify", "--help"], ["--help"],
                     ["report", base / runs[0], "-o", "-"], ["prove", "0", base / runs[0]], ["ship", "--help"]):
            p = ordinary.popen(*args, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True)
            _, said = p.communicate(timeout=20)
            assert p.returncode == 2 and "standard output" in said or "cannot write" in said, (args, p.returncode, said)


def test_following_a_log_that_is_rolled_back(ordinary, place):
    log, run = forge.Log(), forge.uuid7(1790000000000, 1)
    forge.started(log, run)
    for i in range(5):
        forge.query(log, run, "n%d.test" % i)
    path = log.write(place / run, run)
    with Follower(ordinary, place) as f:
        wait_for(lambda: len(f.events()) == 7)
        log.write(path, run, size=3)
        time.sleep(0.5)
        f.p.send_signal(signal.SIGINT)
        assert f.p.wait(20) == 4 and b"verify" in f.p.stderr.read() and len(f.events()) == 7
