# SPDX-License-Identifier: MIT
"""cellctl verify of a range, of exported events, of standard input; its status line and Ctrl-C."""
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from longlog import FIRST
from witness import Witness


@pytest.mark.parametrize("span", [(0, 0), (0, 702), (5, 300), (255, 256), (256, 511), (700, 702), (600, None), (None, 10)])
def test_range(quiet, long_log, span):
    flags = [f for name, n in zip(("--from", "--to"), span) if n is not None for f in (name, n)]
    first, last = span[0] or 0, 702 if span[1] is None else span[1]
    for log in (long_log.log, long_log.at(703)):  # with tiles and without
        r = quiet("verify", log, *flags, "--key", long_log.vkey)
        assert r.returncode == 0 and "events %d to %d of 703" % (first, last) in r.stdout, r.stdout + r.stderr


def test_range_sees_what_is_in_it(quiet, long_log):
    log = long_log.whole()
    segment = next(log.glob("*.jsonl"))
    lines = segment.read_bytes().split(b"\n")
    lines[400] = lines[400].replace(b"allow", b"ALLOW", 1)
    segment.write_bytes(b"\n".join(lines))
    assert quiet("verify", log, "--from", 100, "--to", 399, "--key", long_log.vkey).returncode == 0
    r = quiet("verify", log, "--from", 100, "--to", 400, "--key", long_log.vkey)
    assert r.returncode == 4 and "event 400" in r.stdout, r.stdout


def test_range_leads_to_the_signed_root(quiet, long_log):
    """Good lines of another history: their tiles are theirs, the checkpoint is not."""
    log = long_log.at(600)
    (log / "checkpoint").write_text(long_log.note(600, os.urandom(32)))
    r = quiet("verify", log, "--from", 10, "--to", 20, "--key", long_log.vkey)
    assert r.returncode == 4 and "no path" in r.stdout, r.stdout


def test_range_with_damaged_tiles(quiet, long_log):
    log = long_log.whole()
    (log / "tile/0/000").write_bytes(os.urandom(8192))
    assert quiet("verify", log, "--from", 300, "--to", 310, "--key", long_log.vkey).returncode == 0


def test_range_usage(quiet, long_log):
    for flags in (("--from", "-1"), ("--from", "5", "--to", "4"), ("--from", "x"), ("--to",)):
        assert quiet("verify", long_log.log, *flags).returncode == 1, flags
    assert quiet("verify", long_log.log, "--from", 703, "--key", long_log.vkey).returncode == 4


def test_one_event_in_a_file(quiet, long_log, tmp_path):
    for end in (b"\n", b""):
        file = tmp_path / "event"
        file.write_bytes(long_log.lines[5] + end)
        r = quiet("verify", file, "--key", long_log.vkey)
        assert r.returncode == 0 and "1 event, sequence 5 to 5" in r.stdout, r.stdout + r.stderr
    file.write_bytes(long_log.lines[5].replace(b"claims-1", b"claims-2", 1))
    r = quiet("verify", file, "--key", long_log.vkey)
    assert r.returncode == 4 and "line 1" in r.stdout
    assert quiet("verify", file).returncode in (1, 4), "no key, no verdict"


def stream(lines):
    return b"".join(l + b"\n" for l in lines).decode()


def test_standard_input(quiet, long_log):
    r = quiet("verify", "-", "--key", long_log.vkey, input=stream(long_log.lines))
    assert r.returncode == 0 and "703 events, sequence 0 to 702\n" in r.stdout, r.stdout + r.stderr
    r = quiet("verify", "-", "--key", long_log.vkey, input=stream(long_log.lines[::7]))
    assert r.returncode == 0 and "with gaps" in r.stdout
    r = quiet("verify", "-", "--key", long_log.vkey, input=stream(long_log.lines[:5] + long_log.lines[2:4]))
    assert r.returncode == 0 and "not in order" in r.stdout
    r = quiet("verify", "-", "--key", long_log.vkey, input=stream(long_log.lines[:50] + [b"{}", b"x"] + long_log.lines[50:]))
    assert r.returncode == 4 and "line 51:" in r.stdout and "2 of 705 lines" in r.stdout, r.stdout
    assert quiet("verify", "-", "--key", long_log.vkey, input="").returncode == 4
    assert quiet("verify", "-", "--key", long_log.vkey, input="x" * 300000).returncode == 4


def test_standard_input_against_a_checkpoint(quiet, long_log):
    good = long_log.file(600)
    r = quiet("verify", "-", "--key", long_log.vkey, "--checkpoint", good, input=stream(long_log.lines[:600]))
    assert r.returncode == 0 and "the 600 events that the checkpoint" in r.stdout, r.stdout
    for lines in (long_log.lines[:599], long_log.lines[1:600], long_log.lines[:300] + long_log.lines[301:600]):
        r = quiet("verify", "-", "--key", long_log.vkey, "--checkpoint", good, input=stream(lines))
        assert r.returncode == 4, r.stdout
    bad = long_log.file(600, os.urandom(32))
    assert quiet("verify", "-", "--key", long_log.vkey, "--checkpoint", bad, input=stream(long_log.lines[:600])).returncode == 4


def test_events_of_a_batch_log_are_a_stream_too(user, quiet):
    """`events --json` prints sealed events whatever the log holds, and the checkpoint still is about them."""
    assert user.ctl("run", "--seal", "batch", "--", "true").returncode == 0
    log = user.last_log()
    out = [user.ctl("prove", n, log) for n in range(len(user.events()))]
    lines = [json.loads(o.stdout)["line"].encode() for o in out]
    r = quiet("verify", "-", "--key", log / "vkey", "--checkpoint", log / "checkpoint", input=stream(lines))
    assert r.returncode == 0, r.stdout
    bare = (log / FIRST).read_bytes().decode()
    r = quiet("verify", "-", "--key", log / "vkey", input=bare)
    assert r.returncode == 4, "a bare line proves nothing outside its log"


class Terminal:
    """cellctl with a terminal on its standard error, and a pipe into it."""

    def __init__(self, user, *args):
        self.ours, theirs = pty.openpty()
        self.process = user.popen(*args, env={"TERM": "xterm"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)

    def seen(self, seconds, until):
        text, end = b"", time.monotonic() + seconds
        while time.monotonic() < end and until not in text:
            if select.select([self.ours], [], [], 0.1)[0]:
                try:
                    text += os.read(self.ours, 65536)
                except OSError:
                    break
        return text

    def done(self):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.ours)


def feed(terminal, lines, seconds):
    """Slowly, for that long, so that there is a status line."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        terminal.process.stdin.write(b"".join(l + b"\n" for l in lines))
        terminal.process.stdin.flush()
        time.sleep(0.05)


def test_status_line_and_interrupt(root_user, long_log):
    t = Terminal(root_user, "verify", "-", "--key", long_log.vkey)
    try:
        feed(t, long_log.lines[:256], 1.5)
        text = t.seen(10, b"/s")
        assert b"events, " in text and b"/s" in text, text
        t.process.send_signal(signal.SIGINT)
        assert t.process.wait(10) == 130
        assert (text + t.seen(1, b"\0")).endswith(b"\r\x1b[K"), "no half line stays behind"
    finally:
        t.done()


def test_no_status_line_without_a_terminal(quiet, long_log):
    r = quiet("verify", long_log.log, "--key", long_log.vkey, env={"TERM": "xterm"}, text=False)
    assert b"\x1b" not in r.stderr + r.stdout


def test_a_flag_that_would_mean_nothing_is_refused(quiet, long_log, tmp_path):
    """Who demands witnesses, a checkpoint or a range gets them checked, or an error: never a plain "ok"."""
    events, proof, tlog, check = tmp_path / "events", tmp_path / "proof", tmp_path / "tlog", long_log.file(600)
    events.write_bytes(b"".join(l + b"\n" for l in long_log.lines[:600]))
    assert quiet("prove", 3, long_log.log, "-o", proof).returncode == 0
    assert quiet("prove", 3, long_log.log, "-o", tlog, "--tlog-proof").returncode == 0
    w = Witness()
    for what, flags in ((events, ("--from", 1)), (events, ("--witness", w.vkey)), (events, ("--event", events)), (proof, ("--checkpoint", check)),
                        (proof, ("--to", 5)), (proof, ("--event", events)), (tlog, ("--event", events, "--checkpoint", check)),
                        (long_log.log, ("--event", events)), (long_log.log, ("--witness", w.vkey, "--witness", w.vkey))):
        r = quiet("verify", what, *flags, "--key", long_log.vkey)
        assert r.returncode == 1 and " ok " not in r.stdout, (what, flags, r.stdout + r.stderr)
    r = quiet("verify", events, "--checkpoint", check, "--witness", w.vkey, "--key", long_log.vkey)
    assert r.returncode == 4 and "0 of 1 witnesses" in r.stdout, r.stdout
    cosigned = tmp_path / "cosigned"
    cosigned.write_text(check.read_text() + w.cosign(check.read_text()))
    r = quiet("verify", events, "--checkpoint", cosigned, "--witness", w.vkey, "--key", long_log.vkey)
    assert r.returncode == 0 and "600 events, cosigned" in r.stdout, r.stdout + r.stderr


def test_more_events_than_the_checkpoint_signs(quiet, long_log):
    r = quiet("verify", "-", "--key", long_log.vkey, "--checkpoint", long_log.file(600), input=stream(long_log.lines))
    assert r.returncode == 0 and "the first of these are the 600 events" in r.stdout and "nothing of the others" in r.stdout, r.stdout


def test_a_range_of_a_log_that_is_not_whole(quiet, long_log):
    """Exit status 4 and a sentence about the log, not an errno."""
    for damage, words in ((lambda log: (log / "checkpoint").unlink(), "no checkpoint"), (lambda log: (log / "origin").write_text("other\n"), "origin"),
                          (lambda log: (log / FIRST).write_bytes(stream(long_log.lines[:100]).encode()), "checkpoint signs"),
                          (lambda log: (log / FIRST).rename(log / FIRST.replace("0000.j", "0600.j")), "begins with event 600")):
        log = long_log.at(600)
        damage(log)
        r = quiet("verify", log, "--from", 300, "--to", 400, "--key", long_log.vkey)
        assert r.returncode == 4 and words in r.stdout, (words, r.stdout + r.stderr)


def test_a_log_that_may_not_be_read_is_not_passed_over(ordinary):
    """Of several logs one that cannot be looked into is not a good one."""
    for _ in range(2):
        assert ordinary.ctl("run", "--", "true").returncode == 0
    first = ordinary.logs()[0]
    first.chmod(0)
    r = ordinary.ctl("verify", ordinary.state / "log")
    assert r.returncode == 2 and str(first) in r.stderr and "2 logs" in r.stdout, r.stdout + r.stderr
    first.chmod(0o700)
    assert ordinary.ctl("verify", ordinary.state / "log").returncode == 0


def test_a_proof_of_another_machine_says_whose_it_is(user, quiet, long_log, tmp_path):
    """Who has keys of his own is told what to do with a proof of somebody else."""
    assert user.ctl("run", "--", "true").returncode == 0
    proof = tmp_path / "proof"
    assert quiet("prove", 3, long_log.log, "-o", proof).returncode == 0
    r = user.ctl("verify", "-", input=proof.read_text())
    assert r.returncode == 4 and "--key " + long_log.vkey.read_text().strip() in r.stdout, r.stdout + r.stderr
