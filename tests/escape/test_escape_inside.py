# SPDX-License-Identifier: MIT
"""Out of the cell by what was handed in: standard fds, the terminal, paths of the spec, the uid shared with the suite."""
import json
import os
import pty
import resource
import shutil
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, PATIENCE, User, of_type, types
from probe import inside, script, x86_64
from running import Running


@pytest.fixture
def shared():
    path = Path(tempfile.mkdtemp(prefix="cellos-escape-"))
    os.chown(path, ORDINARY_UID, ORDINARY_UID)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


# ---- standard fds ----

@pytest.mark.parametrize("flags", [os.O_RDONLY | os.O_DIRECTORY, os.O_PATH | os.O_DIRECTORY, os.O_PATH])
@pytest.mark.parametrize("fd", [0, 1, 2])
def test_a_directory_as_a_standard_fd_is_no_way_out(ordinary, fd, flags):
    """openat(0, "..") would need no path of the cell; an O_PATH fd is opened again with more rights."""
    assert ordinary.ctl("run", "--", "true").returncode == 0
    target = ordinary.state if flags & os.O_DIRECTORY else ordinary.state / "keys/signing.key"
    opened = os.open(target, flags)
    fds = [subprocess.DEVNULL] * 3
    fds[fd] = opened
    logs = len(ordinary.logs())
    r = subprocess.run(ordinary.command("run", "--", "sh", "-c", "cat /proc/self/fd/%d/keys/signing.key /proc/self/fd/%d >&%d"
                                        % (fd, fd, 1 if fd != 1 else 2)),
                       stdin=fds[0], stdout=fds[1], stderr=fds[2], env=ordinary.env, cwd="/", timeout=PATIENCE)
    os.close(opened)
    assert r.returncode == 125
    assert len(ordinary.logs()) == logs + 1 and "lifecycle.v1.started" not in types(ordinary.events())
    assert ordinary.verify().returncode == 0


def test_standard_files_are_not_opened_with_more_rights(ordinary, shared):
    """A file passed for reading belongs to the uid the workload has, too."""
    source, sink = shared / "in", shared / "out"
    source.write_text("in\n")
    sink.write_text("")
    for f in (source, sink):
        os.chown(f, ORDINARY_UID, ORDINARY_UID)
    with open(source) as stdin, open(sink, "a") as stdout:
        r = subprocess.run(ordinary.command("run", "--", "python3", "-c", script("""
for what, path, flags in (("write in", "/proc/self/fd/0", os.O_WRONLY), ("cut in", "/dev/stdin", os.O_RDWR | os.O_TRUNC),
                          ("read out", "/proc/self/fd/1", os.O_RDONLY), ("append out", "/dev/stdout", os.O_WRONLY)):
    out[what] = attempt(lambda: os.close(os.open(path, flags)))
out["beside"] = attempt(os.stat, "/proc/self/fd/0/../out")
out["link"] = attempt(os.link, "/proc/self/fd/0", "/tmp/x", follow_symlinks=True)
""")), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=ordinary.env, cwd="/", timeout=PATIENCE)
    out = json.loads(sink.read_text())
    assert r.returncode == 0 and source.read_text() == "in\n"
    assert out["append out"] == "ok"
    for what in ("write in", "cut in", "read out", "beside", "link"):
        assert out[what] != "ok", out


# ---- the state directory ----

@pytest.mark.parametrize("place", ["/usr/local", "/etc"])
def test_state_below_a_system_folder_is_refused(world, place):
    """Every cell has these folders whole: a key there would lie open to a workload of the same uid."""
    home = Path(tempfile.mkdtemp(prefix="cellos-escape-", dir=place))
    try:
        home.chmod(0o755)
        user = User("placed", ORDINARY_UID, world)
        os.chown(home, ORDINARY_UID, ORDINARY_UID)
        r = user.ctl("run", "--", "sh", "-c", "cat %s/cellos/keys/signing.key" % home, env={"XDG_STATE_HOME": str(home)})
        assert r.returncode == 125 and r.stdout == "", r.stdout
        assert "every cell sees" in r.stderr and "XDG_STATE_HOME" in r.stderr
    finally:
        shutil.rmtree(home, ignore_errors=True)


# ---- links that an earlier cell has laid ----

@pytest.mark.parametrize("how", ["flags", "document"])
def test_a_link_laid_by_an_earlier_cell_is_not_followed(ordinary, shared, how):
    ordinary.file("diary", "private\n", 0o600)
    (shared / "config").mkdir()
    os.chown(shared / "config", ORDINARY_UID, ORDINARY_UID)
    document = ordinary.ctl("run", "--print-spec", "--rw", shared, "--ro", shared / "config", "--", "cat",
                            shared / "config/diary").stdout
    first = ordinary.ctl("run", "--rw", shared, "--", "sh", "-c", "cd %s && rmdir config && ln -s %s config" % (shared, ordinary.home))
    assert first.returncode == 0, first.stderr
    if how == "flags":
        r = ordinary.ctl("run", "--ro", shared / "config", "--rw", shared, "--", "cat", shared / "config/diary")
        assert "symbolic link" in r.stderr
    else:
        r = ordinary.ctl("run", "-", input=document)
        assert "lifecycle.v1.started" not in types(ordinary.events())
    assert r.returncode == 125 and "private" not in r.stdout, r.stdout


# ---- the terminal ----

def on_terminal(user, text, control, *flags):
    """Runs the text with a terminal as all three standard fds; what it put into out, and the terminal."""
    ours, theirs = pty.openpty()

    def own():
        os.setsid()
        if control:
            import fcntl
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    p = subprocess.Popen(user.command("run", *flags, "--", "python3", "-c", script(text)), stdin=theirs, stdout=theirs, stderr=theirs,
                         env=user.env, cwd="/", preexec_fn=own)
    got, end = b"", time.monotonic() + PATIENCE
    os.set_blocking(ours, False)
    while time.monotonic() < end:
        try:
            got += os.read(ours, 65536)
        except BlockingIOError:
            if p.poll() is not None:
                break
            time.sleep(0.02)
        except OSError:
            break
    assert p.wait(PATIENCE) == 0, got
    return json.loads(got.decode().splitlines()[-1]), ours, theirs


@pytest.mark.parametrize("control", [True, False])
def test_the_callers_terminal_keeps_its_kind_and_its_keys(user, control):
    out, ours, theirs = on_terminal(user, """
for what, number, argument in (("sti", 0x5412, b"x"), ("linux", 0x541c, b"\\2"), ("discipline 27", 0x5423, struct.pack("i", 27)),
                               ("discipline 2", 0x5423, struct.pack("i", 2)), ("console", 0x541d, b""), ("vhangup", 0x5437, b"")):
    out[what] = attempt(fcntl.ioctl, 0, number, argument)
for high in (1, 0xffffffff):
    out["high %d sti" % high] = sc(16, 0, high << 32 | 0x5412, b"x")
    out["high %d discipline" % high] = sc(16, 0, high << 32 | 0x5423, struct.pack("i", 27))
""", control)
    assert set(out.values()) <= {"EPERM", "EIO"}, out
    assert out["sti"] == out["discipline 27"] == out["high 1 sti"] == out["high 1 discipline"] == "EPERM"
    os.write(ours, b"still a terminal\n")
    assert os.read(theirs, 100) == b"still a terminal\n"
    denied = of_type(user.events(), "observability.v1.syscall_denied")
    assert sum(e["count"] for e in denied if e["syscall"] == "ioctl") >= 7
    os.close(ours)
    os.close(theirs)


# ---- the uid of the suite ----

def test_core_dumps_reach_no_handler(user):
    """core(5): a handler behind a pipe gets the dump at a limit of 0, too; only 1 prevents it."""
    r = user.ctl("run", "--", "sh", "-c", "grep 'core file' /proc/self/limits")
    assert r.stdout.split()[-3:-1] == ["1", "1"], r.stdout


FILL = """
import array, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
fds, keep, sent = array.array("i", [os.dup(0) for _ in range(250)]), [], 0
try:
    while True:
        keep.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        for _ in range(8):
            keep[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]); sent += 250
except OSError as e:
    assert e.errno in (errno.ETOOMANYREFS, errno.EMFILE), e
print("up", flush=True)
print(sent, flush=True)
time.sleep(60)
"""


def test_fds_in_flight_stop_no_other_suite(ordinary):
    """They are counted per uid, and every suite must pass fds to start a cell."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))  # as a login shell has it
    try:
        with Running(ordinary, "--", "python3", "-c", script(FILL)) as run:
            assert int(run.line()) > 1024
            r = ordinary.ctl("run", "--allow", "example.test", "--dns", "127.0.0.1", "--", "sh", "-c", "ulimit -Sn")
            assert (r.returncode, r.stdout) == (0, "1024\n"), r.stderr
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_no_signal_leaves_the_cell(ordinary):
    """kill(-1), process groups, SIGIO owners, queued signals, pidfds: with the uid of every process of the suite."""
    with Running(ordinary, "--", "python3", "-c", script("""
print("up", flush=True)
import signal
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
for target in (-1, 0, 1, -os.getpgrp(), -1 << 31):
    for s in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, 64):
        if (target, s) == (0, signal.SIGKILL) or target == 0 and s == signal.SIGSTOP or target == -os.getpgrp() and s in (9, 19): continue
        attempt(os.kill, target, s)
for pid in range(0, 400):
    if pid in (0, os.getpid()): continue
    attempt(os.kill, pid, signal.SIGKILL)
    try: fd = os.pidfd_open(pid)
    except OSError: continue
    attempt(signal.pidfd_send_signal, fd, signal.SIGKILL)
for owner in (1, -1, -2, 2):
    attempt(fcntl.fcntl, 1, fcntl.F_SETOWN, owner)
print("survived", flush=True)
time.sleep(0.3)
""")) as run:
        assert run.line() == "survived"
        assert set(run.look()) >= {"signerd", "supervisor", "netd", "proxyd", "zygote", "init"}
        status, _, err = run.end()
    assert status == 0, err
    assert ordinary.verify().returncode == 0


def test_a_tracer_of_its_own_choice_tells_no_end(ordinary):
    """PTRACE_TRACEME makes PID 1 the tracer: a stop is no exit with the signal's number."""
    r = ordinary.ctl("run", "--ttl", "1", "--", "python3", "-c", script("""
libc.ptrace(0, 0, 0, 0)
os.kill(os.getpid(), signal.SIGWINCH)
sys.exit(3)
"""))
    done = of_type(ordinary.events(), "command.v1.completed")[0]
    assert (r.returncode, done["exitCode"]) in ((124, -1), (3, 3)), done


@x86_64
def test_doors_of_newer_kernels_stay_shut(user):
    """Everything above the last call the tables know, pidfd ioctls into namespaces, namespace ioctls upwards."""
    out = inside(user, """
out["new"] = [n for n in range(451, 600) if sc(n, 0, 0, 0, 0, 0, 0) == "ok"]
one = os.pidfd_open(1)
out["pidfd"] = [attempt(fcntl.ioctl, one, 0xff00 | n, 0) for n in range(1, 11)]
out["up"] = [attempt(fcntl.ioctl, os.open("/proc/self/ns/" + n, os.O_RDONLY), 0xb700 | i, 0) for n in ("user", "net", "pid", "mnt", "uts")
             for i in (1, 2)]
out["unshare"] = [sc(272, f) for f in (0x20000, 0x40000000, 0x10000000, 0x110000000, 0x20000000, 0x8000000, 0x4000000, 0x2000000, 0x80)]
out["writable"] = []
for top in ("/proc", "/sys"):
    for d, dirs, files in os.walk(top):
        if d.count("/") == 1 and top == "/proc": dirs[:] = [x for x in dirs if not x.isdigit() and "self" not in x]
        for f in files:
            try: os.close(os.open(d + "/" + f, os.O_WRONLY)); out["writable"].append(d + "/" + f)
            except OSError: pass
out["keys"] = read("/proc/keys")
""", timeout=120)
    assert out["new"] == []
    assert "ok" not in out["pidfd"] + out["up"] + out["unshare"], out
    assert {os.path.dirname(p) for p in out["writable"]} <= {"/proc/pressure"}, out["writable"]
    assert out["keys"] == ""
