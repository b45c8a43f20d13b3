# SPDX-License-Identifier: MIT
"""Real servers, real users: every test drives the built cellctl from outside, as root and as an ordinary user, against
nginx (TLS and HTTP) and dnsmasq on loopback ports above 1024. Whatever a test starts, its fixture stops."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import evidence
import pytest

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
BIN = Path(os.environ.get("CELLOS_BIN", TREE / "build" / "bin"))
ORDINARY_UID = 61000
SANITIZED = os.environ.get("CELLOS_SANITIZE") == "1"
PATIENCE = 60 if not SANITIZED else 180

# A shell's background ignores them, and what is ignored stays so in every program that is started from here.
for number, action in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, action)

if os.geteuid() != 0:
    sys.exit("tests/integ needs root: it runs the suite as root and, with setpriv, as an ordinary user")


if not (BIN / "cellctl").exists():
    sys.exit("no programs in %s: run make first, or set CELLOS_BIN" % BIN)


def free_port(kind=socket.SOCK_STREAM):
    """A port that is free on both loopbacks right now."""
    while True:
        with socket.socket(socket.AF_INET6, kind) as s6, socket.socket(socket.AF_INET, kind) as s4:
            s6.bind(("::1", 0))
            port = s6.getsockname()[1]
            try:
                s4.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def host_addresses():
    """Addresses of this machine that are not loopback."""
    found = []
    for target, family in (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            try:
                s.connect((target, 9))
                found.append(s.getsockname()[0])
            except OSError:
                pass
    return [a for a in found if a != "::1" and not a.startswith("127.")]


def wait_for(what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.02)
    raise AssertionError("not in time: %s" % what)


def listening(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 0.5).close()
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A directory everybody may enter, with a copy of the programs (a clone may lie where other users cannot look)."""
    base = Path(tempfile.mkdtemp(prefix="cellos-test-"))
    base.chmod(0o755)
    (base / "bin").mkdir()
    for program in BIN.iterdir():
        shutil.copy2(program, base / "bin" / program.name)
    yield base
    shutil.rmtree(base, ignore_errors=True)


class User:
    """Who runs the suite, with a home and a state directory of its own."""

    def __init__(self, name, uid, world):
        self.name, self.uid, self.world = name, uid, world
        self.home = Path(tempfile.mkdtemp(prefix="home-%s-" % name, dir=world))
        os.chown(self.home, uid, uid)
        self.env = {"HOME": str(self.home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
        self.cellctl = str(world / "bin" / "cellctl")

    def command(self, *args):
        prefix = [] if self.uid == 0 else ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups"]
        return prefix + [self.cellctl, *map(str, args)]

    def popen(self, *args, env=None, **kw):
        return subprocess.Popen(self.command(*args), env={**self.env, **(env or {})}, cwd="/", **kw)

    def ctl(self, *args, env=None, input=None, timeout=PATIENCE, stdin=None, text=True):
        kw = {"input": input} if input is not None else {"stdin": stdin or subprocess.DEVNULL}
        return subprocess.run(self.command(*args), env={**self.env, **(env or {})}, cwd="/", capture_output=True,
                              text=text, timeout=timeout, **kw)

    @property
    def state(self):
        return self.home / ".local/state/cellos"

    def logs(self):
        return sorted((self.state / "log").iterdir())

    def last_log(self):
        return self.logs()[-1]

    def events(self, log=None):
        """Of a log under way too: a write of it may be half done at this moment, or a closed segment change its form."""
        log = log or self.last_log()
        for left in reversed(range(50)):
            try:
                return [json.loads(line) for line in evidence.lines_of(log, min(evidence.segments_of(log), default=0))]
            except (AssertionError, FileNotFoundError):
                if not left:
                    raise
                time.sleep(0.02)

    def verify(self, log=None, *flags):
        return self.ctl("verify", *flags, log or self.last_log())

    def file(self, name, content, mode=0o644):
        path = self.home / name
        path.write_text(content)
        path.chmod(mode)
        os.chown(path, self.uid, self.uid)
        return path


def types(events):
    """In order, without residue_removed: that one tells of other, killed suites, whenever there were any."""
    suffixes = [e["type"].removeprefix("dev.cellos.events.cell.") for e in events]
    return [s for s in suffixes if s != "lifecycle.v1.residue_removed"]


def of_type(events, suffix):
    return [e["data"] for e in events if e["type"] == "dev.cellos.events.cell." + suffix]


def kept(u):
    """The user, and afterwards the end of what a failed test left running: known by the home on its command line."""
    yield u
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(u.home).encode() in Path("/proc/%s/cmdline" % pid).read_bytes():
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
    shutil.rmtree(u.home, ignore_errors=True)


@pytest.fixture(params=["root", "ordinary"])
def user(request, world):
    yield from kept(User(request.param, 0 if request.param == "root" else ORDINARY_UID, world))


@pytest.fixture
def ordinary(world):
    yield from kept(User("ordinary", ORDINARY_UID, world))


@pytest.fixture
def root_user(world):
    yield from kept(User("root", 0, world))


class Pki:
    """A CA and one certificate for the allowed and one for the other name."""

    def __init__(self, world):
        self.dir = world / "pki"
        self.dir.mkdir()
        self.ca = self.dir / "ca.pem"
        run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.dir / "ca.key",
            "-out", self.ca, "-days", "2", "-subj", "/CN=cellos test CA")
        for name in ("example.test", "other.test"):
            key, csr, crt = (self.dir / (name + s) for s in (".key", ".csr", ".pem"))
            ext = self.dir / (name + ".ext")
            ext.write_text("subjectAltName=DNS:%s\n" % name)
            run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
                "-subj", "/CN=" + name)
            run("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.dir / "ca.key", "-CAcreateserial", "-out", crt,
                "-days", "2", "-extfile", ext)
            crt.chmod(0o644)
        self.ca.chmod(0o644)


@pytest.fixture(scope="session")
def pki(world):
    return Pki(world)


class Web:
    """nginx on 127.0.0.1 and [::1]: TLS for both names on one port, plain HTTP on another, an access log to look at."""

    def __init__(self, world, pki):
        self.dir = Path(tempfile.mkdtemp(prefix="web-", dir=world))
        self.tls, self.http = free_port(), free_port()
        (self.dir / "html").mkdir()
        (self.dir / "html/index.html").write_text("hello from nginx\n")
        (self.dir / "html/big").write_bytes(os.urandom(1 << 20) * 10)
        self.access = self.dir / "access.log"
        servers = "".join("""
  server { listen 127.0.0.1:%d ssl; listen [::1]:%d ssl; server_name %s; ssl_certificate %s; ssl_certificate_key %s; root html; }"""
                          % (self.tls, self.tls, n, pki.dir / (n + ".pem"), pki.dir / (n + ".key"))
                          for n in ("example.test", "other.test"))
        (self.dir / "nginx.conf").write_text("""
daemon off; pid nginx.pid; error_log error.log; worker_processes 1; user root;
events { worker_connections 4096; }
http { access_log access.log; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen 127.0.0.1:%d; listen [::1]:%d; root html; }%s }
""" % (self.http, self.http, servers))
        self.process = subprocess.Popen(["nginx", "-p", str(self.dir), "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(self.tls) and listening(self.http))

    def requests(self):
        return self.access.read_text().splitlines() if self.access.exists() else []

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def web(world, pki):
    w = Web(world, pki)
    yield w
    w.stop()


class Dns:
    """dnsmasq: example.test, other.test and www.wild.test on loopback, own.test on the host's other addresses; every query is in its log."""

    def __init__(self, world):
        self.dir = Path(tempfile.mkdtemp(prefix="dns-", dir=world))
        self.port = free_port(socket.SOCK_DGRAM)
        self.log = self.dir / "log"
        hosts = ["--address=/%s/127.0.0.1" % n for n in ("example.test", "other.test", "wild.test")]
        hosts += ["--address=/%s/::1" % n for n in ("example.test", "other.test", "wild.test")]
        hosts += ["--address=/own.test/%s" % a for a in host_addresses()]
        self.process = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--conf-file=/dev/null",
             "--pid-file=" + str(self.dir / "pid"), "--listen-address=127.0.0.1,::1", "--bind-interfaces", "--no-daemon",
             "--port=%d" % self.port, "--log-queries", "--log-facility=" + str(self.log), "--address=/public.test/93.184.216.34",
             "--address=/metadata.test/169.254.169.254", "--address=/private.test/10.1.2.3",
             "--cname=alias.test,example.test", *hosts],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(self.port))

    def queries(self):
        return [l for l in self.log.read_text().splitlines() if "query[" in l] if self.log.exists() else []

    def asked(self, name):
        return [l for l in self.queries() if " %s " % name in l]

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def dns(world):
    d = Dns(world)
    yield d
    d.stop()


@pytest.fixture
def allow(web, dns, pki):
    """The flags of the common case: example.test:TLS allowed, resolved by our dnsmasq, loopback answers listed."""
    return ["--allow", "example.test:%d" % web.tls, "--dns", "127.0.0.1:%d" % dns.port,
            "--allow-answer", "example.test:127.0.0.1", "--allow-answer", "example.test:::1", "--ro", pki.ca]


@pytest.fixture(scope="session")
def long_log(world):
    """Not to be changed: tests take copies."""
    from longlog import LongLog
    return LongLog(world, 700)


@pytest.fixture
def quiet(root_user):
    """cellctl of a user who has no key of his own: what is trusted is only what a test says."""
    return lambda *args, **kw: root_user.ctl(*args, **kw)
