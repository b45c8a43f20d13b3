# SPDX-License-Identifier: MIT
"""Every process of a running suite, looked at from outside: who it is, what it may, what it holds. The tables here are
written from the design, not read from the code."""
import ctypes
import os
import re
import stat as st
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, SANITIZED, wait_for
from running import DAEMONS, Running, status

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
# Of cell init: to signal the workload, and to see in /proc whose a socket is.
CELL_INIT_CAPS = 1 << 5 | 1 << 19 | 1 << 2  # KILL, SYS_PTRACE, DAC_READ_SEARCH

# What each process holds in the middle of a run of one cell, beyond 0, 1 and 2. "line": a connected Unix SEQPACKET socket,
# "listener": one that listens;
# "cell": a socket inside the cell's network.
HOLDS = {
    "signerd": {"line": 3, "dir": 3, "file": 2, "eventpoll": 1, "eventfd": 1},
    "supervisor": {"line": 6, "listener": 1, "dir": 2, "file": 1, "eventpoll": 1, "pidfd": 2, "net": 1, "user": 1},
    "netd": {"line": 3, "eventpoll": 1, "eventfd": 1, "user": 1, "cell netlink": 2},
    "proxyd": {"line": 4, "eventpoll": 1, "eventfd": 1, "cell udp": 2, "cell tcp": 2, "cell raw": 2},
    "zygote": {"line": 1, "user": 1, "signalfd": 1},
    "init": {"line": 2, "dir": 1, "cell netlink": 1, "signalfd": 1, "timerfd": 1, "seccomp": 1},
}
# The libraries' and the loop's own: there or not, by kernel and timing.
MAYBE = {
    "signerd": {"timerfd": 1, "file": 2},  # the checkpoint, and the next one
    "supervisor": {"eventfd": 1, "timerfd": 1, "dir": 4},  # four directories of cgroups, where there is a cgroup v2
    "netd": {"timerfd": 1},
    "proxyd": {"timerfd": 1, "pipe": 512, "file": 1},  # the CA bundle, where the host has one
    "zygote": {"file": 1},  # the lock on root's range of ids
    "init": {},
}


@pytest.fixture(scope="module", params=["root", "ordinary"])
def running(request, world):
    from conftest import User, kept
    for u in kept(User(request.param, 0 if request.param == "root" else ORDINARY_UID, world)):
        with Running(u, "--allow", "example.org", "--secret", "token", "--", "sh", "-c", "echo up; sleep 300",
                     env={"CELLOS_SECRET_TOKEN": "very-secret-value", "CALLERS_OWN": "callers-value"}) as r:
            assert set(r.names) == {"cellctl", *DAEMONS, "zygote", "init"} and r.workload, r.names
            yield r


def each(*names):
    return pytest.mark.parametrize("name", names or (*DAEMONS, "zygote", "init"))


@each()
def test_uid_gid_groups(running, name):
    s = status(running.names[name])
    assert s["Uid"].split() == [str(running.user.uid)] * 4
    assert s["Gid"].split() == [str(running.user.uid)] * 4
    assert s["Groups"] == ""


@each(*DAEMONS)
def test_no_capability(running, name):
    s = status(running.names[name])
    for which in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(s[which], 16) == 0, which
    if running.user.uid == 0:  # without CAP_SETPCAP an ordinary user's bounding set stays; no_new_privs empties its meaning
        assert int(s["CapBnd"], 16) == 0


def test_init_may_only_signal(running):
    s = status(running.names["init"])
    for which in ("CapPrm", "CapEff", "CapBnd"):
        assert int(s[which], 16) == CELL_INIT_CAPS, which
    assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0


def test_zygote_is_root_of_its_own_user_namespace_only(running):
    s = status(running.names["zygote"])
    assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0
    ns = os.readlink("/proc/%d/ns/user" % running.names["zygote"])
    assert ns != os.readlink("/proc/self/ns/user")
    rows = Path("/proc/%d/uid_map" % running.names["zygote"]).read_text().split()
    if running.user.uid == 0:  # two rows: the caller, and a range in which no host user is
        assert rows[:3] == ["0", "0", "1"] and rows[3] == "1" and int(rows[4]) >= 65536 and len(rows) == 6
    else:
        assert rows == ["0", str(running.user.uid), "1"]


@each()
def test_no_new_privileges(running, name):
    assert status(running.names[name])["NoNewPrivs"] == "1"


@each(*DAEMONS, "init")
def test_seccomp_filter(running, name):
    assert status(running.names[name])["Seccomp"] == "2"


PTRACE_SEIZE = 0x4206
TRY_PTRACE = """
import ctypes, errno, sys
c = ctypes.CDLL(None, use_errno=True)
c.ptrace.argtypes = [ctypes.c_long] * 4
r = c.ptrace(%d, int(sys.argv[1]), 0, 0)
print("attached" if r == 0 else errno.errorcode[ctypes.get_errno()])
""" % PTRACE_SEIZE


@each(*DAEMONS)
def test_not_dumpable(running, name):
    """Another process of the same uid, without capabilities, can neither attach nor read its memory. (Zygote and init live
    in U1, whose owner is that uid: user_namespaces(7) gives the owner every right there. A workload is not the owner and
    has none: tests/integ/test_confinement.py.)"""
    pid, uid = running.names[name], running.user.uid
    me = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"]
    if uid == 0:  # exec gives root its bounding set: it must be empty
        me.append("--no-new-privs")
    r = subprocess.run([*me, sys.executable, "-c", TRY_PTRACE, str(pid)], capture_output=True, text=True)
    assert r.stdout == "EPERM\n", (r.stdout, r.stderr)
    r = subprocess.run([*me, "cat", "/proc/%d/environ" % pid, "/proc/%d/maps" % pid], capture_output=True, text=True)
    assert r.returncode != 0 and r.stdout == ""


@each()
def test_environment_has_nothing_of_the_callers(running, name):
    raw = Path("/proc/%d/environ" % running.names[name]).read_bytes()
    left = [v.split(b"=")[0].decode() for v in raw.split(b"\0") if v]
    assert [v for v in left if not v.startswith("LISTEN_")] == []
    assert b"very-secret-value" not in raw


@each()
def test_working_directory_is_the_root(running, name):
    assert os.readlink("/proc/%d/cwd" % running.names[name]) == "/"
    assert os.readlink("/proc/%d/root" % running.names[name]) == "/"


@each()
def test_one_thread_but_signerds_disk_thread(running, name):
    if SANITIZED:
        pytest.skip("the sanitizers start threads of their own")
    assert int(status(running.names[name])["Threads"]) == (2 if name == "signerd" else 1)


@each()
def test_no_core_dump(running, name):
    text = Path("/proc/%d/limits" % running.names[name]).read_text()
    if name in DAEMONS:
        assert re.search(r"Max core file size +0 +0 ", text)


def inodes(net):
    """{inode: "tcp"...} of a process's network namespace."""
    found = {}
    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "netlink"):
        for line in Path(net, name).read_text().splitlines()[1:]:
            found[line.split()[-1] if name == "netlink" else line.split()[9]] = name.rstrip("6")
    return found


def unix_types():
    return {l.split()[6]: (l.split()[4], l.split()[5], l.split()[3]) for l in Path("/proc/net/unix").read_text().splitlines()[1:]}


def kind_of(link, path, cell, host, unix):
    anon = re.match(r"anon_inode:\[?(\w+)\]?", link)
    ns = re.match(r"(\w+):\[(\d+)\]", link)
    if anon:
        return anon[1]
    if ns and ns[1] == "socket":
        if ns[2] in unix:
            kind, state, flags = unix[ns[2]]
            return {("0005", "03"): "line", ("0005", "01"): "listener"}.get((kind, state), "unix %s %s" % (kind, state))
        return "cell " + cell[ns[2]] if ns[2] in cell else "HOST " + host.get(ns[2], "?")
    if ns:
        return ns[1]
    mode = os.stat(path).st_mode
    return "dir" if st.S_ISDIR(mode) else "file" if st.S_ISREG(mode) else "null" if link == "/dev/null" else link


def held(running, name):
    pid = running.names[name]
    cell, host, unix = inodes("/proc/%d/net" % running.workload[0]), inodes("/proc/self/net"), unix_types()
    kinds = Counter()
    for fd in os.listdir("/proc/%d/fd" % pid):
        if int(fd) > 2:
            path = "/proc/%d/fd/%s" % (pid, fd)
            kinds[kind_of(os.readlink(path), path, cell, host, unix)] += 1
    return kinds


@each()
def test_open_fds_are_those_of_the_role(running, name):
    kinds = held(running, name)
    missing = Counter(HOLDS[name]) - kinds
    extra = kinds - Counter(HOLDS[name]) - Counter(MAYBE[name])
    assert not missing and not extra, (dict(kinds), "missing", missing, "extra", extra)


@each()
def test_standard_fds_are_not_the_callers(running, name):
    """Input and output lead nowhere; messages go where cellctl's go, except from inside the cell."""
    for fd in (0, 1, 2) if name == "init" else (0, 1):
        assert os.readlink("/proc/%d/fd/%d" % (running.names[name], fd)) == "/dev/null"


@each()
def test_fds_close_on_exec(running, name):
    for fd in os.listdir("/proc/%d/fdinfo" % running.names[name]):
        if int(fd) > 2:
            text = Path("/proc/%d/fdinfo/%s" % (running.names[name], fd)).read_text()
            flags = int(re.search(r"flags:\s+0*([0-7]+)", text)[1], 8)
            assert flags & os.O_CLOEXEC, os.readlink("/proc/%d/fd/%s" % (running.names[name], fd))


@pytest.mark.parametrize("name", ["root", "ordinary"])
def test_no_daemon_can_wait_for_a_reader_of_stderr(world, name):
    """The workload has the same pipe and may fill it at any moment: it waits then, as cellctl does, but no daemon."""
    from conftest import User
    u = User(name, 0 if name == "root" else ORDINARY_UID, world)
    r, w = os.pipe()
    os.fchown(w, u.uid, u.uid)
    with Running(u, "--", "sh", "-c", "echo up; sleep 300", stderr=w) as run:
        os.close(w)
        for name, pid in (("cellctl", run.p.pid), *((d, run.names[d]) for d in DAEMONS)):
            flags = int(re.search(r"flags:\s+0*([0-7]+)", Path("/proc/%d/fdinfo/2" % pid).read_text())[1], 8)
            assert bool(flags & os.O_NONBLOCK) == (name != "cellctl"), name
    os.close(r)


def namespaces(pid):
    return {n: os.readlink("/proc/%s/ns/%s" % (pid, n)) for n in NAMESPACES}


def test_namespaces(running):
    host, zygote, init = namespaces("self"), namespaces(running.names["zygote"]), namespaces(running.names["init"])
    for name in DAEMONS:
        assert namespaces(running.names[name]) == host, name
    assert zygote["user"] != host["user"] and zygote["net"] == host["net"] and zygote["pid"] == host["pid"]
    assert init["user"] == zygote["user"]  # U1 owns the cell's other namespaces
    for n in set(NAMESPACES) - {"user"}:
        assert init[n] != host[n] and init[n] != zygote[n], n
    workload = namespaces(running.workload[0])
    assert workload["user"] not in (host["user"], init["user"])
    assert {n: workload[n] for n in NAMESPACES if n != "user"} == {n: init[n] for n in NAMESPACES if n != "user"}


def test_no_daemon_listens_on_the_host(running):
    host = inodes("/proc/self/net")
    for name in (*DAEMONS, "zygote", "init"):
        for fd in os.listdir("/proc/%d/fd" % running.names[name]):
            link = os.readlink("/proc/%d/fd/%s" % (running.names[name], fd))
            inode = re.match(r"socket:\[(\d+)\]", link)
            assert not inode or inode[1] not in host, (name, link, host.get(inode[1]))


def test_each_line_has_exactly_two_ends(running):
    """No daemon holds a copy of another one's line: a peer's death must be an end of file."""
    seen = Counter()
    unix = unix_types()
    for name in ("cellctl", *DAEMONS, "zygote", "init"):
        for fd in os.listdir("/proc/%d/fd" % running.names[name]):
            inode = re.match(r"socket:\[(\d+)\]", os.readlink("/proc/%d/fd/%s" % (running.names[name], fd)))
            if inode and inode[1] in unix:
                seen[inode[1]] += 1
    assert seen and set(seen.values()) == {1}, seen
    # 3 to signerd, netd, proxyd, control, zygote, init, pin, who: ten lines; and where operators come in
    assert len(seen) == 21, seen


def test_secret_is_in_the_workload_alone(running):
    raw = Path("/proc/%d/environ" % running.workload[0]).read_bytes()
    assert sorted(v.split(b"=")[0] for v in raw.split(b"\0") if v) == [b"PATH", b"token"]


@each(*DAEMONS, "zygote", "init")
def test_secret_is_not_in_memory_any_more(running, name):
    """After the workload has it. The supervisor keeps what the environment gave it, in memory nobody can dump."""
    if name == "supervisor":
        pytest.skip("the env broker's store is in the supervisor by design")
    needle = b"very-secret-" + b"value"
    for line in Path("/proc/%d/maps" % running.names[name]).read_text().splitlines():
        span, perms = line.split()[:2]
        if "r" not in perms or "[v" in line:
            continue
        start, end = (int(x, 16) for x in span.split("-"))
        if SANITIZED and end - start > 1 << 26:
            continue
        try:
            with open("/proc/%d/mem" % running.names[name], "rb", buffering=0) as mem:
                mem.seek(start)
                data = mem.read(end - start)
        except OSError:
            continue
        assert needle not in (data or b""), line


def test_limits_of_open_files(running):
    """In-flight fds are counted per uid: a workload may hold at most a quarter of what the supervisor may."""
    def soft_hard(pid):
        m = re.search(r"Max open files +(\d+) +(\d+)", Path("/proc/%d/limits" % pid).read_text())
        return int(m[1]), int(m[2])
    soft, _ = soft_hard(running.names["supervisor"])
    assert soft_hard(running.workload[0])[1] <= soft // 4


def test_daemons_have_no_writable_executable_memory(running):
    if SANITIZED:
        pytest.skip("the sanitizers' shadow")
    for name in (*DAEMONS, "zygote", "init"):
        for line in Path("/proc/%d/maps" % running.names[name]).read_text().splitlines():
            assert "wx" not in line.split()[1], (name, line)
