# SPDX-License-Identifier: MIT
"""What a workload sees of the host and may do to it, as the workload itself finds out."""
import json
import os
import pty
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, TREE, host_addresses, of_type, types
from probe import NR, inside, script, x86_64
from running import Running, status
from servers import Tcp

RANGE_BASE = 1879048192


@pytest.fixture
def shared():
    """A directory of the host that everybody may enter and write, below /tmp."""
    path = Path(tempfile.mkdtemp(prefix="cellos-shared-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


# ---- files ----

def test_no_secret_of_the_host_can_be_read(user):
    user.file("note", "private", 0o644)
    assert user.ctl("run", "--", "true").returncode == 0  # now there are keys and a log
    key = user.state / "keys/signing.key"
    assert key.exists() and stat.S_IMODE(key.stat().st_mode) == 0o600
    paths = [key, user.state, user.state / "log", user.home, user.home / "note", user.world, "/root/.profile", "/root/.ssh",
             "/home", "/var/log", "/var/lib", "/run/cellos", "/run/systemd", "/boot", "/opt", "/srv", "/media", "/mnt",
             "/sys/fs/cgroup", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd",
             "/etc/sudoers", "/etc/ssl/private", TREE, "/proc/1/root", "/proc/1/cwd", "/proc/kcore", "/proc/kmsg"]
    paths += list(map(str, Path("/etc/ssh").glob("ssh_host_*"))) if Path("/etc/ssh").exists() else []
    seen = inside(user, """
for path in %r:
    got = listing(path) if os.path.isdir(path) else read(path)
    out[path] = got
""" % list(map(str, paths)))
    for path, got in seen.items():
        if path == "/sys/fs/cgroup":
            assert got == [] or got.startswith("<"), got
        elif path == "/home" or path == "/root":
            assert got == []
        else:
            assert isinstance(got, str) and got.startswith("<E") or got in ([], ""), (path, got)


def test_no_private_key_below_etc(user):
    """Whatever of /etc is visible holds no private key, also where the host's modes would let this user read it."""
    out = inside(user, """
found = []
for base, dirs, files in os.walk("/etc"):
    for f in files:
        if "PRIVATE KEY" in read(os.path.join(base, f)): found.append(os.path.join(base, f))
out["found"] = found""")
    assert out["found"] == []


def test_root_file_system_is_read_only(user):
    out = inside(user, """
for path in ("/x", "/usr/x", "/etc/x", "/bin/x", "/var/x", "/home/x", "/root/x", "/dev/x", "/sys/x", "/proc/x"):
    out[path] = attempt(open, path, "w")
out["chmod"] = attempt(os.chmod, "/etc/passwd", 0o666)
out["over"] = attempt(open, "/etc/passwd", "a")
out["remove"] = attempt(os.remove, "/usr/bin/env")
out["rename"] = attempt(os.rename, "/etc", "/etc2")
out["shm"] = attempt(open, "/dev/shm/x", "w")
out["tmp"] = attempt(open, "/tmp/x", "w")""")
    assert out.pop("shm") == out.pop("tmp") == "ok"
    assert "ok" not in out.values(), out
    assert set(out.values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT", "EXDEV", "EBUSY"}


def test_private_tmp_dev_run(user, shared):
    marker = shared / "marker"
    marker.write_text("host")
    devices = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd", "stdin", "stdout", "stderr"}
    out = inside(user, """
out["tmp"], out["run"], out["shm"], out["vartmp"] = map(listing, ("/tmp", "/run", "/dev/shm", "/var/tmp"))
out["dev"], out["pts"], out["marker"] = listing("/dev"), listing("/dev/pts"), read(%r)
""" % str(marker))
    assert out["tmp"] == out["run"] == out["shm"] == out["vartmp"] == []
    assert set(out["dev"]) <= devices and {"null", "zero", "full", "random", "urandom"} <= set(out["dev"])
    assert set(out["pts"]) <= {"ptmx"}
    assert out["marker"].startswith("<")
    assert marker.read_text() == "host"


def test_tmpfs_is_bounded(user):
    out = inside(user, """
f = open("/tmp/big", "wb", buffering=0)
n = 0
try:
    for _ in range(100): n += f.write(bytes(1 << 20))
except OSError as e: out["error"] = name(e.errno)
out["n"] = n""")
    assert out["error"] == "ENOSPC" and out["n"] <= 64 << 20


def test_dev_null_works_and_devices_cannot_be_made(user):
    out = inside(user, """
out["null"] = attempt(lambda: open("/dev/null", "w").write("x"))
out["zero"] = open("/dev/zero", "rb").read(4) == bytes(4)
out["random"] = len(open("/dev/urandom", "rb").read(16))
import stat
out["mknod"] = attempt(os.mknod, "/tmp/mem", 0o666 | stat.S_IFCHR, os.makedev(1, 1))
out["mem"], out["kmsg"] = read("/dev/mem"), read("/dev/kmsg")""")
    assert out["null"] == "ok" and out["zero"] and out["random"] == 16
    assert out["mknod"] in ("EPERM", "EACCES") and out["mem"].startswith("<") and out["kmsg"].startswith("<")


def test_proc_shows_the_cell_alone(user):
    out = inside(user, """
out["pids"] = [p for p in os.listdir("/proc") if p.isdigit()]
out["me"] = os.getpid()
out["mine"] = read("/proc/self/status")
out["one"] = {f: read("/proc/1/" + f) for f in ("environ", "mem", "maps", "auxv", "syscall", "stack", "io")}
out["links"] = {f: attempt(os.readlink, "/proc/1/" + f) for f in ("root", "cwd", "exe", "ns/net", "ns/user", "ns/mnt")}
out["fds"] = listing("/proc/1/fd")
out["writes"] = {p: attempt(open, p, "w") for p in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
    "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward", "/proc/1/oom_score_adj")}
""")
    assert str(out["me"]) in out["pids"] and len(out["pids"]) <= 3
    assert all(v.startswith("<") for v in out["one"].values()), out["one"]
    assert "ok" not in out["links"].values(), out["links"]
    assert isinstance(out["fds"], str), out["fds"]
    assert "ok" not in out["writes"].values(), out["writes"]


def test_read_only_paths(user, shared):
    (shared / "sub").mkdir()
    (shared / "sub").chmod(0o777)
    (shared / "file").write_text("content")
    (shared / "file").chmod(0o666)
    out = inside(user, """
d = %r
out["read"] = read(d + "/file")
out["writes"] = [attempt(open, d + "/file", "r+"), attempt(open, d + "/new", "w"), attempt(open, d + "/sub/new", "w"),
    attempt(os.chmod, d + "/file", 0o600), attempt(os.remove, d + "/file"), attempt(os.rename, d + "/file", d + "/other"),
    attempt(os.mkdir, d + "/dir"), attempt(os.utime, d + "/file"), attempt(os.truncate, d + "/file", 0),
    attempt(os.setxattr, d + "/file", "user.x", b"1"), attempt(os.link, d + "/file", "/tmp/link")]
out["up"] = listing(d + "/..")
out["up2"] = listing("/tmp")
""" % str(shared), "--ro", shared)
    assert out["read"] == "content"
    assert "ok" not in out["writes"], out["writes"]
    assert out["up"] == out["up2"] == [shared.name]
    assert sorted(p.name for p in shared.iterdir()) == ["file", "sub"] and (shared / "file").read_text() == "content"


def test_read_write_paths(user, shared):
    """A write reaches the host; the file belongs to whom the workload is outside."""
    inside(user, "open(%r + '/made', 'w').write('by the cell')" % str(shared), "--rw", shared)
    made = shared / "made"
    assert made.read_text() == "by the cell"
    assert made.stat().st_uid == ORDINARY_UID if user.uid else made.stat().st_uid >= RANGE_BASE or made.stat().st_uid >= 65536
    assert not made.stat().st_mode & stat.S_ISUID


def test_a_relative_path_and_a_single_file(user, shared):
    (shared / "one").write_text("1")
    (shared / "two").write_text("2")
    out = inside(user, "out['dir'], out['one'] = listing(%r), read(%r)" % (str(shared), str(shared / "one")), "--ro",
                 shared / "one")
    assert out == {"dir": ["one"], "one": "1"}


# ---- the suite's own directories ----

def test_state_directory_is_refused(user):
    assert user.ctl("run", "--", "true").returncode == 0
    for flag in ("--ro", "--rw"):
        for path in (user.state, user.state / "keys", user.state / "keys/signing.key", user.state / "log"):
            r = user.ctl("run", flag, path, "--", "cat", user.state / "keys/signing.key")
            assert r.returncode == 3 and "spec.authority.filesystem" in r.stderr, (flag, path, r.stderr)
            assert types(user.events()) == ["lifecycle.v1.rejected"]


def test_state_directory_by_its_parents(user):
    key = (user.state / "keys/signing.key")
    assert user.ctl("run", "--", "true").returncode == 0
    for path in (user.home, user.home / ".local", user.home / ".local/state", user.world):
        r = user.ctl("run", "--ro", path, "--", "cat", key)
        assert r.returncode in (3, 125) and r.stdout == "", (path, r.returncode, r.stdout)
        assert user.verify().returncode == 0


def document(user, argv, **fs):
    doc = json.loads(user.ctl("run", "--print-spec", "--", *argv).stdout)
    doc["spec"]["authority"]["filesystem"] = {**doc["spec"]["authority"].get("filesystem", {}), **fs}
    return json.dumps(doc)


@pytest.mark.parametrize("key", ["readOnly", "readWrite"])
def test_state_directory_through_symlinks(user, shared, key):
    """A document is not normalised by cellctl: its path may be a link, or lead through one."""
    assert user.ctl("run", "--", "true").returncode == 0
    (shared / "link").symlink_to(user.state / "keys")
    (shared / "home").symlink_to(user.home)
    (shared / "loop").symlink_to("loop")
    for path in (shared / "link", shared / "home/.local/state/cellos/keys", shared / "home", shared / "loop"):
        r = user.ctl("run", "-", input=document(user, ["cat", str(path / "signing.key")], **{key: [str(path)]}))
        assert r.returncode in (3, 125) and r.stdout == "", (path, r.returncode, r.stdout)
    for path in (str(shared) + "/../" + shared.name, str(shared) + "/.", "//tmp", "/tmp/", "relative", "/", "/proc", "/proc/1",
                 "/sys/fs", "/dev", "/dev/shm", "\x00"):
        r = user.ctl("run", "-", input=document(user, ["true"], **{key: [path]}))
        assert r.returncode == 3, (path, r.returncode, r.stderr)


def test_symlinks_inside_shared_directories_lead_nowhere(user, shared):
    """A link that the workload or the host puts into a shared directory is followed in the cell's tree."""
    (shared / "shadow").symlink_to("/etc/shadow")
    (shared / "root").symlink_to("/root")
    (shared / "up").symlink_to("../../../../../../..")
    out = inside(user, """
d = %r
out["shadow"], out["root"] = read(d + "/shadow"), listing(d + "/root")
out["up"], out["top"] = listing(d + "/up"), listing("/")
os.symlink("/etc/passwd", d + "/mine")
""" % str(shared), "--rw", shared)
    assert out["shadow"].startswith("<") and out["root"] == []
    assert out["up"] == out["top"] and "boot" not in out["up"]
    assert (shared / "mine").is_symlink()


def test_a_directory_swapped_for_a_link_during_the_run(user, shared):
    """The bind holds the directory it took: what the path means later does not matter."""
    (shared / "d").mkdir()
    (shared / "d/f").write_text("mine")
    with Running(user, "--ro", shared / "d", "--", "sh", "-c",
                 "echo up; read x; ls %s; cat %s/signing.key" % (shared / "d", shared / "d"), stdin=subprocess.PIPE) as r:
        (shared / "d").rename(shared / "old")
        (shared / "d").symlink_to(user.state / "keys")
        r.p.stdin.write(b"go\n")
        r.p.stdin.close()
        r.p.stdin = None
        code, out, _ = r.end()
        assert out == "f\n" and code != 0


# ---- sockets and FIFOs of the host ----

class HostSocket:
    """A listener of the host that counts who came."""

    def __init__(self, address):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(address)
        self.s.listen(8)
        if isinstance(address, str) and address[0] != "\0":
            os.chmod(address, 0o777)
        self.came = 0
        self.t = threading.Thread(target=self.serve, daemon=True)
        self.t.start()

    def serve(self):
        try:
            while True:
                c, _ = self.s.accept()
                self.came += 1
                c.close()
        except OSError:
            pass

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        self.t.join(5)


@pytest.mark.parametrize("flag", ["--ro", "--rw"])
def test_host_sockets_and_fifos_are_out_of_reach(user, shared, flag):
    deep = shared / "a/b"
    deep.mkdir(parents=True)
    for p in (shared / "a", deep):
        p.chmod(0o777)
    places = [shared / "s", deep / "s"]
    servers = [HostSocket(str(p)) for p in places]
    fifos = [shared / "f", deep / "f"]
    ends = []
    for f in fifos:
        os.mkfifo(f)
        f.chmod(0o666)
        ends.append(os.open(f, os.O_RDWR | os.O_NONBLOCK))
    try:
        out = inside(user, """
for p in %r:
    s = socket.socket(socket.AF_UNIX); s.settimeout(3)
    out[p] = attempt(s.connect, p)
    d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out[p + " dgram"] = attempt(d.sendto, b"x", p)
for p in %r:
    out[p] = attempt(lambda: os.write(os.open(p, os.O_WRONLY | os.O_NONBLOCK), b"from the cell"))
    out[p + " unlink"] = attempt(os.unlink, p)
""" % (list(map(str, places)), list(map(str, fifos))), flag, shared)
        assert "ok" not in out.values(), out
        for fd in ends:
            with pytest.raises(BlockingIOError):
                os.read(fd, 100)
    finally:
        for fd in ends:
            os.close(fd)
        for s in servers:
            s.close()
    assert [s.came for s in servers] == [0, 0]
    assert all(p.exists() for p in places + fifos)


def test_abstract_sockets_of_the_host_are_out_of_reach(user):
    name = "\0cellos-test-%d" % os.getpid()
    server = HostSocket(name)
    try:
        out = inside(user, """
s = socket.socket(socket.AF_UNIX)
out["connect"] = attempt(s.connect, %r)
s = socket.socket(socket.AF_UNIX); s.bind("\\0mine"); s.listen(1)
c = socket.socket(socket.AF_UNIX)
out["own"] = attempt(c.connect, "\\0mine")
s = socket.socket(socket.AF_UNIX); s.bind("/tmp/own"); s.listen(1)
c = socket.socket(socket.AF_UNIX)
out["own path"] = attempt(c.connect, "/tmp/own")""" % name)
    finally:
        server.close()
    assert out == {"connect": "ECONNREFUSED", "own": "ok", "own path": "ok"} and server.came == 0


def test_system_v_ipc_of_the_host_is_not_there(user):
    made = subprocess.run(["ipcmk", "-M", "4096", "-p", "0666"], capture_output=True, text=True)
    assert made.returncode == 0
    number = made.stdout.split()[-1]
    try:
        assert "0x" not in user.ctl("run", "--", "ipcs", "-m").stdout.split("bytes")[-1]
    finally:
        subprocess.run(["ipcrm", "-m", number], check=True)


def test_no_inherited_fds(user):
    a, b = socket.socketpair()
    with tempfile.TemporaryFile() as f:
        f.write(b"secret of the caller")
        f.flush()
        os.set_inheritable(f.fileno(), True)
        p = user.popen("run", "--", "sh", "-c", "ls /proc/self/fd", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       pass_fds=(a.fileno(), f.fileno()))
        out, _ = p.communicate(timeout=60)
    a.close()
    b.close()
    assert out.split() == [b"0", b"1", b"2", b"3"]


# ---- identity ----

def test_capabilities_filters_namespaces(user):
    host = {n: os.readlink("/proc/self/ns/" + n) for n in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")}
    out = inside(user, """
out["status"] = dict(l.split(":", 1) for l in read("/proc/self/status").splitlines())
out["ns"] = {n: os.readlink("/proc/self/ns/" + n) for n in os.listdir("/proc/self/ns")}
out["ids"] = [os.getresuid(), os.getresgid(), os.getgroups()]
out["hostname"] = os.uname().nodename""", "--name", "who-am-i")
    st = {k: v.strip() for k, v in out["status"].items()}
    for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(st[which], 16) == 0, which
    assert st["NoNewPrivs"] == "1" and st["Seccomp"] == "2"
    for n, link in host.items():
        assert out["ns"][n] != link, n
    uid = user.uid or 1000
    assert out["ids"] == [[uid] * 3, [uid] * 3, []]
    assert out["hostname"] == "who-am-i"


def test_uid_from_outside(user):
    with Running(user, "--", "sh", "-c", "echo up; sleep 60") as r:
        for pid in r.workload:
            ids = set(map(int, status(pid)["Uid"].split() + status(pid)["Gid"].split()))
            assert 0 not in ids and len(ids) == 1
            assert ids == {user.uid} if user.uid else min(ids) >= 65536, ids
            assert status(pid)["Groups"] == ""
        started = of_type(user.events(), "lifecycle.v1.started")[0]
        assert started["isolation"]["uidMap"].endswith("host %d" % ids.pop())


def test_a_name_for_the_uid(user):
    """getpwuid() works, so that tools that insist on a user name run."""
    r = user.ctl("run", "--", "id", "-un")
    assert r.returncode == 0, r.stderr
    assert r.stdout.strip() == "cell" or user.uid == 0


def test_supplementary_groups_are_reported(world):
    from conftest import User, kept

    class InGroup(User):
        def command(self, *args):
            return ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--groups", "61007", self.cellctl,
                    *map(str, args)]

    for u in kept(InGroup("grouped", ORDINARY_UID, world)):
        assert u.ctl("run", "--", "true").returncode == 0
        assert of_type(u.events(), "lifecycle.v1.started")[0]["isolation"]["supplementaryGroups"] == "61007"


def test_setuid_programs_raise_nothing(user, shared):
    tool = shared / "id"
    shutil.copy("/usr/bin/id", tool)
    os.chown(tool, 0, 0)
    tool.chmod(0o6755)
    r = user.ctl("run", "--ro", shared, "--", "sh", "-c", "%s -u; %s -g; id -u" % (tool, tool))
    uid = str(user.uid or 1000)
    assert r.stdout.split() == [uid] * 3, r.stderr
    assert subprocess.run(["setpriv", "--reuid", "61000", "--regid", "61000", "--clear-groups", str(tool), "-u"],
                          capture_output=True, text=True).stdout == "0\n", "this test's own premise"
    r = user.ctl("run", "--", "su", "-c", "id -u", "root")
    assert r.returncode != 0 and "0" not in r.stdout.split()


def test_the_suites_own_program_is_not_run(user):
    """/proc/self/exe before the exec is the zygote: the cell must not get hold of it."""
    r = user.ctl("run", "--", "/proc/self/exe", "--version")
    assert r.returncode in (126, 127) and "cellos" not in r.stdout, (r.returncode, r.stdout, r.stderr)
    r = user.ctl("run", "--", "/proc/1/exe", "--version")
    assert r.returncode in (126, 127) and "cellos" not in r.stdout, (r.returncode, r.stdout, r.stderr)
    r = user.ctl("run", "--", "/proc/self/fd/3")
    assert r.returncode in (126, 127), (r.returncode, r.stdout, r.stderr)


# ---- PID 1 ----

@x86_64
def test_init_is_out_of_reach(user):
    t = time.monotonic()
    out = inside(user, """
libc.ptrace.argtypes = [ctypes.c_long] * 4
def ptrace(request):
    ctypes.set_errno(0)
    return "ok" if libc.ptrace(request, 1, 0, 0) == 0 else name(ctypes.get_errno())
out["attach"], out["seize"] = ptrace(16), ptrace(0x4206)
buf = ctypes.create_string_buffer(16)
iov = struct.pack("QQ", ctypes.addressof(buf), 16)
out["vm"] = sc(NR["process_vm_readv"], 1, iov, 1, iov, 1, 0)
pidfd = libc.syscall(NR["pidfd_open"], 1, 0)
out["getfd"] = sc(NR["pidfd_getfd"], pidfd, 0, 0) if pidfd >= 0 else "no pidfd"
out["setns"] = sc(NR["setns"], pidfd, 0x40000000) if pidfd >= 0 else "no pidfd"
out["prlimit"] = sc(NR["prlimit64"], 1, 7, struct.pack("QQ", 0, 0), None)
out["nice"] = sc(NR["setpriority"], 0, 1, 19)
out["nice group"] = sc(NR["setpriority"], 1, 1, 19)
out["nice user"] = sc(NR["setpriority"], 2, 0, 19)
out["affinity"] = sc(NR["sched_setaffinity"], 1, 8, struct.pack("Q", 1))
out["ioprio"] = sc(NR["ioprio_set"], 1, 1, 3 << 13)
for s in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGCHLD, signal.SIGUSR1, 34):
    attempt(os.kill, 1, s)
attempt(os.kill, -1, signal.SIGCONT)
time.sleep(0.3)
out["alive"] = os.path.isdir("/proc/self")
out["me"] = attempt(os.setpriority, os.PRIO_PROCESS, 0, 5)  # its own it may
import resource
out["own limit"] = attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (64, 64))
""")
    for what in ("me", "own limit"):
        assert out.pop(what) == "ok"
    assert out.pop("alive") is True
    assert "ok" not in out.values(), out
    assert time.monotonic() - t < 30
    done = of_type(user.events(), "command.v1.completed")[0]
    assert done["exitCode"] == 0


def test_killing_everything_ends_the_command_only(user):
    """kill -9 -1 from inside spares PID 1 and the killer; the end is an ordinary one."""
    r = user.ctl("run", "--", "sh", "-c", "sleep 50 & kill -9 -1; echo still; exit 7")
    assert (r.returncode, r.stdout) == (7, "still\n"), r.stderr
    assert user.verify().returncode == 0


# ---- system calls ----

@x86_64
def test_core_denials_become_evidence(user):
    out = inside(user, """
for f in (17, 40, 38, 44, 15, 31, 29): out["family %d" % f] = sc(41, f, 3, 0)
out["netlink netfilter"] = sc(41, 16, 3, 12)
out["netlink audit"] = sc(41, 16, 3, 9)
out["netlink route"] = sc(41, 16, 3, 0)
out["raw"] = sc(41, 2, 3, 1)
out["raw6"] = sc(41, 10, 3, 58)
out["sctp"] = sc(41, 2, 1, 132)
out["high bits"] = sc(41, (1 << 32) | 17, 3, 0)
out["io_uring"] = sc(NR["io_uring_setup"], 8, ctypes.create_string_buffer(120))
out["bpf"] = sc(NR["bpf"], 0, ctypes.create_string_buffer(120), 120)
out["keyctl"] = sc(NR["keyctl"], 0, -3, 1)
out["add_key"] = sc(NR["add_key"], b"user\\0", b"x\\0", b"y", 1, -3)
out["request_key"] = sc(NR["request_key"], b"user\\0", b"x\\0", 0, 0)
out["userfaultfd"] = sc(NR["userfaultfd"], 0)
out["perf"] = sc(NR["perf_event_open"], ctypes.create_string_buffer(128), 0, -1, -1, 0)
out["user namespace"] = sc(NR["unshare"], 0x10000000)
out["clone user"] = sc(NR["clone"], 0x10000000 | 17, 0, 0, 0, 0)
out["setns"] = sc(NR["setns"], os.open("/proc/self/ns/net", os.O_RDONLY), 0)
""")
    assert out.pop("netlink route") == "ok"
    assert "ok" not in out.values(), out
    assert out["family 40"] == "EAFNOSUPPORT" and out["raw"] == "EPERM"
    denied = of_type(user.events(), "observability.v1.syscall_denied")
    told = {(d["syscall"], d.get("family")) for d in denied}
    for want in [("socket", "AF_PACKET"), ("socket", "AF_VSOCK"), ("socket", "AF_ALG"), ("socket", "AF_XDP"),
                 ("socket", "AF_NETLINK"), ("socket", "AF_INET"), ("socket", "AF_INET6"), ("io_uring_setup", None),
                 ("bpf", None), ("keyctl", None), ("add_key", None), ("request_key", None), ("userfaultfd", None),
                 ("perf_event_open", None), ("unshare", None), ("clone", None), ("setns", None)]:
        assert want in told, (want, told)
    assert all(d["count"] >= 1 for d in denied)
    assert user.verify().returncode == 0


@x86_64
def test_other_dangerous_calls_are_refused(user):
    out = inside(user, """
p = b"/tmp\\0"
out["mount"] = sc(NR["mount"], b"none\\0", p, b"tmpfs\\0", 0, 0)
out["remount"] = sc(NR["mount"], b"none\\0", b"/\\0", 0, 32 | 4096, 0)
out["bind"] = sc(NR["mount"], b"/etc\\0", p, 0, 4096, 0)
out["umount"] = sc(NR["umount2"], p, 2)
out["pivot_root"] = sc(NR["pivot_root"], p, p)
out["chroot"] = sc(NR["chroot"], p)
out["open_tree"] = sc(NR["open_tree"], -100, b"/\\0", 1)
out["fsopen"] = sc(NR["fsopen"], b"tmpfs\\0", 0)
out["new mount ns"] = sc(NR["unshare"], 0x20000)
out["new net ns"] = sc(NR["unshare"], 0x40000000)
out["init_module"] = sc(NR["init_module"], 0, 0, b"\\0")
out["reboot"] = sc(NR["reboot"], 0xfee1dead, 672274793, 0x89abcdef, 0)
out["kexec"] = sc(NR["kexec_load"], 0, 0, 0, 0)
out["swapon"] = sc(NR["swapon"], p, 0)
out["clock"] = sc(NR["settimeofday"], struct.pack("qq", 0, 0), 0)
out["syslog"] = sc(NR["syslog"], 3, ctypes.create_string_buffer(64), 64)
out["acct"] = sc(NR["acct"], 0)
out["iopl"] = sc(NR["iopl"], 3)
out["handle"] = sc(NR["open_by_handle_at"], -100, ctypes.create_string_buffer(16), 0)
out["clone3"] = sc(NR["clone3"], ctypes.create_string_buffer(88), 88)
out["unknown"] = sc(600)
""")
    assert out.pop("clone3") == out.pop("unknown") == "ENOSYS"
    assert set(out.values()) == {"EPERM"}, {k: v for k, v in out.items() if v != "EPERM"}


@x86_64
def test_foreign_abis_are_killed(user):
    """x32 (bit 30 of the number) and 32-bit calls by int 0x80 pass by a filter written for 64 bits."""
    r = user.ctl("run", "--", "python3", "-c", script("libc.syscall(0x40000000 + 39)\nprint('alive')"))
    assert r.returncode == 128 + 31 and "alive" not in r.stdout, (r.returncode, r.stdout)
    r = user.ctl("run", "--", "python3", "-c", script("""
import mmap
code = b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3"  # mov eax, getpid of i386; int 0x80; ret
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(code)
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
print("alive")"""))
    assert r.returncode in (128 + 31, 128 + 11) and "alive" not in r.stdout, (r.returncode, r.stdout)


def test_keys_cannot_be_pushed_into_the_callers_terminal(user):
    """TIOCSTI on the terminal the caller lent."""
    master, slave = pty.openpty()
    os.chown(os.ttyname(slave), user.uid, user.uid)
    p = user.popen("run", "--", "python3", "-c", script("""
out["sti"] = attempt(fcntl.ioctl, 0, 0x5412, b"x")
out["linux"] = attempt(fcntl.ioctl, 0, 0x541C, b"\\3")
out["high"] = sc(16, 0, (1 << 32) | 0x5412, b"x")
out["session"] = [os.getsid(0) == os.getpid(), attempt(open, "/dev/tty")]
out["steal"] = attempt(fcntl.ioctl, 0, 0x540E, 1)
out["size"] = attempt(fcntl.ioctl, 0, 0x5413, b"12345678")"""), stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text, err = p.communicate(timeout=60)
    os.close(slave)
    os.set_blocking(master, False)
    try:
        typed = os.read(master, 10)
    except OSError:
        typed = b""
    os.close(master)
    out = json.loads(text)
    assert out["sti"] == "EPERM" and out["linux"] == "EPERM" and out["high"] == "EPERM", (out, err)
    assert out["session"][0] and out["session"][1] != "ok"
    assert out["size"] == "ok"
    assert typed == b""
    assert any(d["syscall"] == "ioctl" for d in of_type(user.events(), "observability.v1.syscall_denied"))


# ---- the cell's network from inside ----

@pytest.mark.parametrize("argv", [["ip", "link", "add", "d0", "type", "dummy"], ["ip", "link", "set", "lo", "down"],
                                  ["ip", "addr", "add", "192.0.2.1/24", "dev", "lo"], ["ip", "route", "add", "10.0.0.0/8", "dev", "lo"],
                                  ["ip", "route", "del", "local", "default", "dev", "lo"], ["ip", "netns", "add", "x"],
                                  ["nft", "list", "ruleset"], ["nft", "flush", "ruleset"], ["sysctl", "-w", "net.ipv4.ip_forward=1"]],
                         ids=lambda a: "_".join(a[:3]))
def test_network_cannot_be_changed(user, argv):
    tool = shutil.which(argv[0], path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not tool:
        pytest.skip(argv[0] + " is not installed")
    r = user.ctl("run", "--", tool, *argv[1:])
    assert r.returncode not in (0, 125, 126, 127), (r.returncode, r.stdout, r.stderr)


def test_only_a_loopback_and_no_way_out(user):
    out = inside(user, """
out["links"] = sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else ["lo"]
out["dev"] = [l.split(":")[0].strip() for l in read("/proc/net/dev").splitlines()[2:]]""")
    assert out["dev"] == ["lo"] and out["links"] in (["lo"], [])


def test_cells_of_one_user_do_not_see_each_other(user):
    with Running(user, "--", "sh", "-c", "echo up; exec sleep 61") as a:
        out = inside(user, """
out["cmdlines"] = [read("/proc/%s/cmdline" % p) for p in os.listdir("/proc") if p.isdigit()]
out["kill"] = [attempt(os.kill, p, 9) for p in range(3, 400) if p != os.getpid()].count("ok")""")
        assert not any("sleep" in c for c in out["cmdlines"]) and out["kill"] == 0
        assert a.left() and a.p.poll() is None


# ---- what the proxy lets a connection say ----

class Recorder:
    """An HTTP server that keeps every byte it was sent."""

    def __init__(self, hosts=("127.0.0.1", "::1")):
        self.seen = []
        self.server = Tcp(self.talk, hosts)
        self.port = self.server.port

    def talk(self, c):
        data = b""
        c.settimeout(1)
        try:
            while more := c.recv(65536):
                data += more
                if data.count(b"\r\n\r\n") == 1 and data.endswith(b"\r\n\r\n"):
                    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
        except OSError:
            pass
        self.seen.append(data)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.close()


EX, OTHER = b"Host: example.test:PORT\r\n", b"Host: other.test:PORT\r\n"
END = b"\r\n"
SMUGGLED = {  # requests that an allowed host must not get, or only without what names the other one
    "other host": b"GET / HTTP/1.1\r\n" + OTHER + END,
    "no host": b"GET / HTTP/1.1\r\n" + END,
    "two hosts": b"GET / HTTP/1.1\r\n" + EX + OTHER + END,
    "two hosts, the other first": b"GET / HTTP/1.1\r\n" + OTHER + EX + END,
    "the same host twice": b"GET / HTTP/1.1\r\n" + EX + EX + END,
    "absolute form": b"GET http://other.test:PORT/ HTTP/1.1\r\n" + EX + END,
    "absolute form, other host": b"GET http://example.test:PORT/ HTTP/1.1\r\n" + OTHER + END,
    "authority form": b"CONNECT other.test:443 HTTP/1.1\r\n" + EX + END,
    "connect to itself": b"CONNECT example.test:PORT HTTP/1.1\r\n" + EX + END,
    "another port": b"GET / HTTP/1.1\r\nHost: example.test:1\r\n" + END,
    "userinfo": b"GET / HTTP/1.1\r\nHost: example.test:PORT@other.test\r\n" + END,
    "a list": b"GET / HTTP/1.1\r\nHost: example.test:PORT, other.test\r\n" + END,
    "folded": b"GET / HTTP/1.1\r\nHost:\r\n other.test\r\n" + EX + END,
    "blank before the colon": b"GET / HTTP/1.1\r\nHost : other.test\r\n" + EX + END,
    "bare carriage return": b"GET / HTTP/1.1\r\nX: a\rHost: other.test\r\n" + EX + END,
    "bare line feed": b"GET / HTTP/1.1\nX: a\nHost: other.test\n" + EX + END,
    "nul": b"GET / HTTP/1.1\r\nHost: example.test\0.other.test\r\n" + END,
    "suffix": b"GET / HTTP/1.1\r\nHost: example.test.other.test\r\n" + END,
    "prefix": b"GET / HTTP/1.1\r\nHost: notexample.test\r\n" + END,
    "length and chunks": b"POST / HTTP/1.1\r\n" + EX + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n" + OTHER + END,
    "two lengths": b"POST / HTTP/1.1\r\n" + EX + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\nGET /2 HTTP/1.1\r\n" + OTHER + END,
    "odd encoding": b"POST / HTTP/1.1\r\n" + EX + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n" + OTHER + END,
    "pipelined": b"GET /1 HTTP/1.1\r\n" + EX + END + b"GET /2 HTTP/1.1\r\n" + OTHER + END,
    "behind a body": b"POST /1 HTTP/1.1\r\n" + EX + b"Content-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\n" + OTHER + END,
    "behind chunks": b"POST /1 HTTP/1.1\r\n" + EX + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n" + OTHER + END,
    "upgrade": b"GET / HTTP/1.1\r\n" + EX + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n" + END + b"GET /2 HTTP/1.1\r\n" + OTHER + END,
    "http/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "http/0.9": b"GET /\r\n",
    "endless head": b"GET / HTTP/1.1\r\n" + EX + b"X: " + b"a" * 40000,
}


def test_http_says_one_thing_only(user, dns):
    """Each over a connection of its own, written whole and in two pieces: nothing that names another host gets through."""
    text = """
from concurrent.futures import ThreadPoolExecutor
port, requests = int(sys.argv[1]), %r
def one(request, cut):
    s = socket.create_connection(("203.0.113.9", port), 5); s.settimeout(3)
    got = b""
    try:
        if cut: s.sendall(request[:cut]); time.sleep(0.01)
        s.sendall(request[cut:])
        while more := s.recv(4096): got += more
    except OSError: pass
    s.close()
    return got[:200].decode("latin1")
with ThreadPoolExecutor(24) as pool:
    for label, request in requests.items():
        out[label] = [pool.submit(one, request, cut) for cut in (0, 17, len(request) // 2)]
out = {label: [f.result() for f in fs] for label, fs in out.items()}
"""
    with Recorder() as r:
        port = str(r.port).encode()
        requests = {k: v.replace(b"PORT", port) for k, v in {"good": b"GET /good HTTP/1.1\r\n" + EX + END, **SMUGGLED}.items()}
        flags = ["--allow", "example.test:%d/http" % r.port, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
                 "example.test:127.0.0.1", "--allow-answer", "example.test:::1"]
        doc = user.ctl("run", *flags, "--", "python3", "-c", script(text % requests), r.port, timeout=180)
        assert doc.returncode == 0, doc.stderr
        out = json.loads(doc.stdout.splitlines()[-1])
        time.sleep(1.2)
    assert all(g.startswith("HTTP/1.1 200") for g in out["good"]), out["good"]
    assert sum(b"GET /good" in s for s in r.seen) == 3
    wrong = [s for s in r.seen if b"other.test" in s or b"/2 HTTP" in s or b"CONNECT" in s or b"PRI *" in s or b"notexample" in s]
    assert wrong == []
    # of these the first request is a good one: it alone is forwarded, without the upgrade
    served = {label for label in SMUGGLED if any(g.startswith("HTTP/1.1 200") for g in out[label])}
    assert served <= {"pipelined", "upgrade", "behind a body", "behind chunks"}, served
    assert not any(b"upgrade" in s.lower() for s in r.seen)
    assert user.verify().returncode == 0


def test_the_hosts_own_addresses(user, dns):
    """A name that resolves to the machine itself reaches it only when the spec lists that address."""
    own = host_addresses()
    if not own:
        pytest.skip("this machine has only loopback addresses")
    address = own[0]
    with Recorder(hosts=(address,)) as r:
        flags = ["--allow", "own.test:%d/http" % r.port, "--dns", "127.0.0.1:%d" % dns.port]
        get = ["curl", "-sSf", "--max-time", "4", "http://own.test:%d/" % r.port]
        shown = "[%s]" % address if ":" in address else address
        assert user.ctl("run", *flags, "--", *get).returncode != 0
        forced = [*get, "--resolve", "own.test:%d:%s" % (r.port, address)]
        assert user.ctl("run", *flags, "--", *forced).returncode != 0
        assert user.ctl("run", "--", "curl", "-sSf", "--max-time", "4", "http://%s:%d/" % (shown, r.port)).returncode != 0
        assert r.server.peers == []
        listed = user.ctl("run", *flags, "--allow-answer", "own.test:" + address, "--", *get)
        assert (listed.returncode, listed.stdout) == (0, "yes"), listed.stderr
        assert len(r.server.peers) == 1
