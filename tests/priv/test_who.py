# SPDX-License-Identifier: MIT
"""A proxyd that turned bad, on the line to PID 1 of a cell: the cell goes on, and its deadlines are kept."""
import shutil
import tempfile
from pathlib import Path

import pytest

from conftest import User, kept, wait_for
from running import Running

BAD_PROXYD = Path(__file__).with_name("bad_proxyd")
CUT = ["no_hello", "garbage", "fds", "oversized", "other_side", "deaf"]
ATTACKS = ["silent", "hangs_up", "storm", *CUT]


@pytest.fixture(scope="module")
def user(world):
    """Runs the programs of the tree, with another proxyd among them."""
    base = Path(tempfile.mkdtemp(prefix="cellos-bad-", dir=world))
    base.chmod(0o755)
    shutil.copytree(world / "bin", base / "bin")
    (base / "bin" / "cellos-proxyd").unlink()
    shutil.copy2(BAD_PROXYD, base / "bin" / "cellos-proxyd")
    for u in kept(User("root", 0, base)):
        yield u


def attack(user, word):
    (user.world / "bin" / "attack").write_text(word)
    (user.world / "bin" / "outcome").unlink(missing_ok=True)


def outcome(user):
    """What PID 1 did about it so far."""
    path = user.world / "bin" / "outcome"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("word,want", [("storm", "answered"), *((word, "cut") for word in CUT)])
def test_the_line_ends_and_not_the_cell(user, word, want):
    """Who asks in order is answered; everybody else loses the line, while the cell lives."""
    attack(user, word)
    with Running(user, "--allow", "example.org", "--", "sh", "-c", "echo up; sleep 300") as r:
        wait_for(lambda: outcome(user) == want)
        assert r.p.poll() is None


@pytest.mark.parametrize("word", ATTACKS)
def test_the_cell_goes_on(user, word):
    """Its output, its children and its status: PID 1 still reaps and reports."""
    attack(user, word)
    r = user.ctl("run", "--allow", "example.org", "--", "sh", "-c",
                 "for i in 1 2 3 4 5 6 7 8; do (sleep 0.05; echo $i) & done; wait; exit 7")
    assert r.returncode == 7, r.stderr
    assert sorted(r.stdout.split()) == [str(i) for i in range(1, 9)]
    v = user.verify()
    assert v.returncode == 0, v.stdout + v.stderr


@pytest.mark.parametrize("word", ATTACKS)
def test_the_deadline_is_kept(user, word):
    attack(user, word)
    r = user.ctl("run", "--allow", "example.org", "--timeout-ms", "300", "--", "sleep", "3600")
    assert r.returncode == 124, r.stderr


@pytest.mark.parametrize("word", ["deaf", "storm"])
def test_signals_are_passed_on(user, word):
    attack(user, word)
    workload = "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"
    with Running(user, "--allow", "example.org", "--", "sh", "-c", workload) as r:
        r.p.terminate()
        assert r.p.wait(60) == 9
