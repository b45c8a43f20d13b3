# SPDX-License-Identifier: MIT
"""Workloads that do too much of everything: the suite stays within bounds, says what it left out, and others go on."""
import json
import os
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, PATIENCE, SANITIZED, User, kept, of_type, wait_for
from probe import PRELUDE
from running import DAEMONS, Running, status
from servers import Tcp, hello, sink

RSS_MAX_KB = 192 << 10 if not SANITIZED else 2 << 20
DENIES_PER_SECOND = 100  # of events; the rest of a second is one gap
TCP_OPEN = 1024

# In the cell: a real ClientHello for a name, made by the ssl module without a connection.
HELLO = PRELUDE + '''
import ssl, threading
def client_hello(name):
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    o = ssl.MemoryBIO(); s = c.wrap_bio(ssl.MemoryBIO(), o, server_hostname=name)
    try: s.do_handshake()
    except ssl.SSLWantReadError: pass
    return o.read()
def connect(port, address="203.0.113.9", timeout=10):
    return socket.create_connection((address, port), timeout)
'''


class Watch:
    """Looks at the daemons of a run while something happens; afterwards what they grew to."""

    def __init__(self, running):
        self.pids = {n: running.names[n] for n in DAEMONS}
        self.rss, self.fds, self.threads = Counter(), Counter(), Counter()
        self.stop = threading.Event()
        self.t = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self.stop.is_set():
            for name, pid in self.pids.items():
                try:
                    s = status(pid)
                    self.rss[name] = max(self.rss[name], int(s["VmRSS"].split()[0]))
                    self.threads[name] = max(self.threads[name], int(s["Threads"]))
                    self.fds[name] = max(self.fds[name], len(os.listdir("/proc/%d/fd" % pid)))
                except (OSError, KeyError):
                    pass
            self.stop.wait(0.05)

    def __enter__(self):
        self.t.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.t.join(5)

    def within(self):
        assert self.rss and max(self.rss.values()) < RSS_MAX_KB, self.rss
        assert self.fds["proxyd"] < 4 * TCP_OPEN + 600, self.fds
        assert all(self.fds[n] < 64 for n in ("signerd", "supervisor", "netd")), self.fds


def flags_for(web, dns, *more):
    return ["--allow", "example.test:%d" % web.tls, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer", "example.test:127.0.0.1",
            "--allow-answer", "example.test:::1", *more]


def flood(user, text, *args, flags=(), ttl=60, wait_up=True):
    """A Running whose workload is this Python text with sys.argv[1:] = args."""
    return Running(user, "--ttl", ttl, *flags, "--", "python3", "-c", text, *map(str, args), wait=wait_up)


def ended(r, *codes):
    code, out, err = r.end()
    assert code in codes, (code, out[-500:], err[-2000:])
    assert r.gone() is True, r.gone()
    v = r.user.verify()
    assert v.returncode == 0, v.stdout
    return out, r.user.events()


def gaps(events):
    """The proxy's: what netd leaves out of its account of flows is a matter of test_flows."""
    found = of_type([e for e in events if e["source"].startswith("/cellos/proxyd/")], "observability.v1.gap")
    assert all(g["lost"] > 0 and g["since"] <= g["until"] and g["cause"] for g in found), found
    return found


@pytest.fixture
def neighbour(world, web, dns, pki):
    """Another suite, of another user: must be served at once, whatever somebody else's cell does."""
    for u in kept(User("neighbour", ORDINARY_UID + 1, world)):
        def fine():
            t = time.monotonic()
            r = u.ctl("run", *flags_for(web, dns), "--ro", pki.ca, "--", "curl", "-sS", "--cacert", pki.ca, "--max-time", "20",
                      "https://example.test:%d/" % web.tls)
            assert (r.returncode, r.stdout) == (0, "hello from nginx\n"), r.stderr
            assert time.monotonic() - t < (20 if not SANITIZED else 60)
            return True
        yield fine


# ---- processes ----

class Limited(User):
    """At most 400 processes, so that the test itself is safe on a host without a pids controller."""

    def command(self, *args):
        return ["prlimit", "--nproc=400:400", *super().command(*args)]


BOMB = """
import os, signal, sys
if sys.argv[1] == "stubborn":
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
print("up", flush=True)
while True:
    try: os.fork()
    except OSError: pass
"""


@pytest.mark.parametrize("uid,kind", [(0, "plain"), (ORDINARY_UID + 2, "plain"), (ORDINARY_UID + 3, "stubborn")])
def test_fork_bomb_ends_with_its_time(world, neighbour, uid, kind):
    for user in kept(Limited("bomb", uid, world)):
        doc = json.loads(user.ctl("run", "--print-spec", "--ttl", "3", "--", "python3", "-c", BOMB, kind).stdout)
        doc["spec"]["run"].setdefault("limits", {})["gracefulShutdownSeconds"] = 1
        t = time.monotonic()
        with Running(user, user.file("bomb.json", json.dumps(doc))) as r, Watch(r) as w:
            wait_for(lambda: r.look() and len(r.workload) > 50, 3)  # the bomb has gone off
            assert neighbour()
            _, events = ended(r, 124)
            w.within()
        assert time.monotonic() - t < (25 if not SANITIZED else 60)
        done = of_type(events, "command.v1.completed")[0]
        assert done["exitCode"] == -1 and "ttlSeconds" in done["spawnError"]
        left = [p for p in filter(str.isdigit, os.listdir("/proc")) if b"stubborn" in cmdline(p) or b"os.fork()" in cmdline(p)]
        assert left == []


def cmdline(pid):
    try:
        return Path("/proc/%s/cmdline" % pid).read_bytes()
    except OSError:
        return b""


def test_exhausted_threads_and_memory_maps_of_the_workload_do_not_matter(world):
    """A workload that spends its own limits cannot keep its PID 1 from ending it."""
    text = PRELUDE + """
import resource
fds = []
try:
    while True: fds.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e: print(name(e.errno))
print("up", flush=True)
while True: time.sleep(1)
"""
    for user in kept(Limited("greedy", ORDINARY_UID + 4, world)):
        r = Running(user, "--ttl", "1", "--", "python3", "-c", text, wait=False)
        with r:
            assert r.line() == "EMFILE"
            r.wait_up()
            ended(r, 124)


# ---- DNS ----

def test_dns_flood(user, web, dns, pki, neighbour):
    """Tens of thousands of queries for what is denied, and half-hearted nonsense; an allowed name still resolves in between."""
    text = HELLO + """
def query(i, qname):
    q = struct.pack(">HHHHHH", i & 0xffff, 0x0100, 1, 0, 0, 0)
    for label in qname.split("."): q += bytes([len(label)]) + label.encode()
    return q + b"\\0" + struct.pack(">HH", 1, 1)
print("up", flush=True)
end = time.monotonic() + 3
sent = 0
def send():
    global sent
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setblocking(False)
    while time.monotonic() < end:
        for i in range(200):
            try: s.sendto(query(i, "n%d.denied.test" % sent) if i % 8 else os.urandom(i), ("9.9.9.9", 53)); sent += 1
            except OSError: pass
        try:
            while True: s.recv(4096)
        except OSError: pass
        time.sleep(0.005)
ts = [threading.Thread(target=send) for _ in range(3)]
for t in ts: t.start()
good = 0
while time.monotonic() < end:
    try: socket.getaddrinfo("example.test", 443); good += 1
    except OSError: pass
    time.sleep(0.2)
for t in ts: t.join()
try: socket.getaddrinfo("example.test", 443); good += 1
except OSError: pass
print(sent, good)
"""
    asked = len(dns.asked("denied.test"))
    with flood(user, text, flags=flags_for(web, dns)) as r, Watch(r) as w:
        assert neighbour()
        out, events = ended(r, 0)
        w.within()
    sent, good = map(int, out.split()[-2:])
    assert sent > 5000 and good >= 1, (sent, good)
    denied = [e for e in of_type(events, "observability.v1.dns_query") if e["action"] == "deny"]
    lost = sum(g["lost"] for g in gaps(events))
    assert 0 < len(denied) <= DENIES_PER_SECOND * 10
    assert lost > 0 and lost + len(denied) <= sent + 100
    assert not any("denied.test" in q for q in dns.queries()), asked


def test_dns_over_tcp_many_and_silent(user, web, dns):
    text = HELLO + """
print("up", flush=True)
cs = []
for i in range(300):
    try: cs.append(socket.create_connection(("9.9.9.9", 53), 2))
    except OSError: pass
for c in cs[::2]:
    try: c.sendall(b"\\xff\\xff" + os.urandom(100))
    except OSError: pass
time.sleep(0.5)
for c in cs: c.close()
q = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7example\\4test\\0\\0\\1\\0\\1"
got = b""
for _ in range(50): # until the daemon has seen all of them close, it may turn another one away
    try:
        c = socket.create_connection(("9.9.9.9", 53), 5)
        for b in struct.pack(">H", len(q)) + q: c.sendall(bytes([b]))
        got = c.recv(512)
        break
    except ConnectionError: time.sleep(0.1)
print(len(cs), len(got) > 20)
"""
    with flood(user, text, flags=flags_for(web, dns)) as r, Watch(r) as w:
        out, _ = ended(r, 0)
        w.within()
    assert out.split()[-1] == "True", out


# ---- connections ----

def test_ten_thousand_connections(user, web, dns, pki, neighbour):
    """Opened as fast as possible, as many at once as the limit of fds lets it; nothing is sent."""
    text = HELLO + """
import resource
port = int(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
keep = min(hard - 50, 9000)
print("up", flush=True)
open_, opened, failed = [], 0, 0
end = time.monotonic() + 20
while opened + failed < 10000 and time.monotonic() < end:
    s = socket.socket(); s.setblocking(False)
    e = s.connect_ex(("203.0.113.%d" % (opened % 250), port))
    if e in (0, errno.EINPROGRESS): open_.append(s); opened += 1
    else: s.close(); failed += 1
    if len(open_) > keep:
        for o in open_[:500]: o.close()
        del open_[:500]
time.sleep(1)
for s in open_: s.close()
time.sleep(0.5)
s = connect(port)
h = client_hello("example.test"); s.sendall(h); s.settimeout(10)
print(opened, failed, len(s.recv(100)) > 0)
"""
    with flood(user, text, web.tls, flags=flags_for(web, dns)) as r, Watch(r) as w:
        assert neighbour()
        out, events = ended(r, 0)
        w.within()
    opened, failed, after = out.split()[-3:]
    assert int(opened) + int(failed) == 10000 and int(opened) > 1000, out
    assert after == "True", "served again afterwards"
    l7 = of_type(events, "observability.v1.l7_egress_decision")
    denied = [e for e in l7 if e["action"] == "deny"]
    lost = sum(g["lost"] for g in gaps(events))
    assert lost > 0 and len(denied) <= DENIES_PER_SECOND * 40
    assert [e["host"] for e in l7 if e["action"] == "allow"] == ["example.test"]


def test_hellos_cut_in_the_middle(user, web, dns):
    text = HELLO + """
port = int(sys.argv[1])
h = client_hello("example.test")
print("up", flush=True)
for i in range(300):
    s = connect(port)
    s.sendall(h[:i % len(h)])
    if i % 3 == 0: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if i % 3 == 1: s.shutdown(socket.SHUT_WR)
    s.close()
s = connect(port); s.sendall(h); s.settimeout(10)
print(len(s.recv(100)) > 0)
"""
    before = len(web.requests())
    with flood(user, text, web.tls, flags=flags_for(web, dns)) as r, Watch(r) as w:
        out, events = ended(r, 0)
        w.within()
    assert out.endswith("True\n")
    l7 = of_type(events, "observability.v1.l7_egress_decision")
    assert sum(e["action"] == "allow" for e in l7) == 1 and len(web.requests()) == before
    assert len([e for e in l7 if e["action"] == "deny"]) + sum(g["lost"] for g in gaps(events)) <= 300


def test_one_byte_at_a_time(user, web, dns, pki):
    """Slow but whole within five seconds is served; too slow is cut off and said to be."""
    text = HELLO + """
port = int(sys.argv[1])
h = client_hello("example.test")
print("up", flush=True)
s = connect(port); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for b in h: s.sendall(bytes([b])); time.sleep(0.001)
s.settimeout(10)
print("slow", s.recv(5)[:1] == b"\\x16")
s = connect(port); t = time.monotonic(); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.settimeout(0.02)
got = None
for b in h:
    try:
        s.sendall(bytes([b]))
        got = s.recv(100); break
    except socket.timeout: pass
    except OSError as e: got = b"reset"; break
print("slower", got is not None and got[:1] != b"\\x16", 4 < time.monotonic() - t < 20)
"""
    with flood(user, text, web.tls, flags=flags_for(web, dns)) as r:
        out, events = ended(r, 0)
    assert out.splitlines() == ["slow True", "slower True True"], out
    l7 = of_type(events, "observability.v1.l7_egress_decision")
    assert [(e["action"], e["reasonCode"]) for e in l7] == [("allow", "l7_sni_allowlist_match"), ("deny", "l7_peek_timeout")]


def test_never_reads(user, web, dns, pki):
    """Fifty downloads of ten megabytes that nobody reads: the proxy holds no more than its pipes."""
    text = HELLO + """
port, host = int(sys.argv[1]), "example.test:" + sys.argv[1]
print("up", flush=True)
cs = []
for i in range(50):
    s = connect(port)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"GET /big HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % host.encode())
    cs.append(s)
time.sleep(2)
print(sum(len(s.recv(10)) == 10 for s in cs))
"""
    flags = ["--allow", "example.test:%d/http" % web.http, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
             "example.test:127.0.0.1", "--allow-answer", "example.test:::1"]
    with flood(user, text, web.http, flags=flags) as r, Watch(r) as w:
        out, events = ended(r, 0)
        w.within()
        assert w.rss["proxyd"] < (64 << 10 if not SANITIZED else RSS_MAX_KB), w.rss
    assert out == "50\n"


def test_half_closed(user, dns):
    """The client has said all it wants and closes its side; the answer still comes."""
    with Tcp(hello) as server:
        text = HELLO + """
print("up", flush=True)
s = connect(int(sys.argv[1]))
s.sendall(b"GET / HTTP/1.1\\r\\nHost: example.test:%s\\r\\nConnection: close\\r\\n\\r\\n" % sys.argv[1].encode())
s.shutdown(socket.SHUT_WR)
s.settimeout(10)
data = b""
while True:
    more = s.recv(1000)
    if not more: break
    data += more
print(data.endswith(b"hello\\n"))
"""
        flags = ["--allow", "example.test:%d/http" % server.port, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
                 "example.test:127.0.0.1", "--allow-answer", "example.test:::1"]
        with flood(user, text, server.port, flags=flags) as r:
            out, _ = ended(r, 0)
    assert out == "True\n"


def test_a_gigabyte_of_garbage_denied(user, web, dns):
    """To an allowed port, but it is no protocol: cut off at the first bytes, again and again."""
    text = HELLO + """
port = int(sys.argv[1])
junk = os.urandom(1 << 20)
print("up", flush=True)
offered = taken = 0
end = time.monotonic() + 10
while offered < 1 << 30 and time.monotonic() < end:
    try: s = connect(port, timeout=3)
    except OSError: time.sleep(0.05); continue
    s.settimeout(3)
    offered += len(junk)
    try:
        s.sendall(junk); taken += len(junk)
    except OSError: pass
    s.close()
print(offered >> 20, taken >> 20)
"""
    with flood(user, text, web.tls, flags=flags_for(web, dns)) as r, Watch(r) as w:
        out, events = ended(r, 0)
        w.within()
    assert int(out.split()[0]) >= 100, "some hundred megabytes at least were offered: " + out
    l7 = of_type(events, "observability.v1.l7_egress_decision")
    assert l7 and {e["action"] for e in l7} == {"deny"} and len(l7) <= DENIES_PER_SECOND * 15
    assert not any("dialedAddress" in e for e in l7)


def test_a_gigabyte_through_an_allowed_connection(user, dns, neighbour):
    """What an allowed host gets is the business of the two; the suite must not swell."""
    with Tcp(sink) as server:
        text = HELLO + """
port = int(sys.argv[1])
junk = os.urandom(1 << 20)
print("up", flush=True)
s = connect(port); s.settimeout(30)
s.sendall(client_hello("example.test"))
for _ in range(1024): s.sendall(junk)
s.shutdown(socket.SHUT_WR)
print("through", s.recv(1))
"""
        flags = ["--allow", "example.test:%d" % server.port, "--dns", "127.0.0.1:%d" % dns.port, "--allow-answer",
                 "example.test:127.0.0.1", "--allow-answer", "example.test:::1"]
        with flood(user, text, server.port, flags=flags) as r, Watch(r) as w:
            assert neighbour()
            out, events = ended(r, 0)
            w.within()
            assert w.rss["proxyd"] < (64 << 10 if not SANITIZED else RSS_MAX_KB), w.rss
    assert out == "through b''\n"
    assert len(of_type(events, "observability.v1.l7_egress_decision")) == 1


def test_standard_output_flood_and_a_reader_that_is_away(user):
    """stdio is the caller's own: two hundred megabytes pass, and a closed reader is the workload's SIGPIPE."""
    r = user.popen("run", "--", "sh", "-c", "head -c 209715200 /dev/zero", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    n = 0
    while data := r.stdout.read(1 << 20):
        n += len(data)
    assert r.wait(PATIENCE) == 0 and n == 209715200
    p = user.popen("run", "--", "sh", "-c", "head -c 1000000 /dev/zero", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.DEVNULL)
    p.stdout.read(10)
    p.stdout.close()
    assert p.wait(PATIENCE) in (141, 1, 0)
    assert user.verify().returncode == 0


def test_denied_system_calls_in_a_loop(user):
    """A million refusals become a few events with counts, and the run still ends."""
    text = HELLO + """
print("up", flush=True)
end = time.monotonic() + 2
n = 0
while time.monotonic() < end:
    for _ in range(100):
        libc.socket(17, 3, 0); n += 1
print(n)
"""
    with flood(user, text) as r, Watch(r) as w:
        out, events = ended(r, 0)
        w.within()
    denied = [d for d in of_type(events, "observability.v1.syscall_denied") if d["syscall"] == "socket"]
    assert sum(d["count"] for d in denied) == int(out.split()[-1])
    assert len(denied) < 20, len(denied)


def test_fds_in_flight(ordinary):
    """The kernel counts fds on their way per uid, and an ordinary user's suite has the workload's uid: another suite of the
    same user can still pass its own."""
    text = HELLO + """
import array, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
null = os.open("/dev/null", os.O_RDONLY)
pairs, sent, why = [], 0, ""
while not why and sent < 1 << 20:
    a, b = socket.socketpair(); a.setblocking(False)
    pairs.append((a, b))
    try:
        while True:
            a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 253))]); sent += 253
    except BlockingIOError: pass
    except OSError as e: why = name(e.errno)
print(sent, why, flush=True)
print("up", flush=True)
time.sleep(30)
"""
    with flood(ordinary, text, wait_up=False) as r:
        sent, why = r.line().split()
        r.wait_up()
        assert int(sent) > 1000 and why in ("ETOOMANYREFS", "EMFILE"), (sent, why)
        for _ in range(3):
            other = ordinary.ctl("run", "--", "echo", "fine")
            assert (other.returncode, other.stdout) == (0, "fine\n"), other.stderr
        r.p.terminate()
        ended(r, 143)
