# SPDX-License-Identifier: MIT
"""Mode routed, in a world of its own: a namespace "host" in which the suite runs, linked to a namespace "net" with nginx
and dnsmasq at addresses that are global there. Nothing of the machine's own network changes."""
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from conftest import User, kept, of_type, types, wait_for
from test_policy import Shell

NET4, NET6, HOST4, HOST6 = "11.0.0.2", "2a0f:1::2", "11.0.0.1", "2a0f:1::1"
POOL = "100.72.0.0/16,fd00:c0de::/48"


def sh(*args, **kw):
    return subprocess.run(list(map(str, args)), check=True, capture_output=True, text=True, **kw).stdout


class Place:
    """The two namespaces and the servers in "net"."""

    def __init__(self, world):
        self.host, self.net = "celloshost%d" % os.getpid(), "cellosnet%d" % os.getpid()
        self.dir = Path(tempfile.mkdtemp(prefix="routed-", dir=world))
        self.processes = []
        for ns in (self.host, self.net):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        sh("ip", "-n", self.host, "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", self.net)
        for ns, link, four, six in ((self.host, "up0", HOST4, HOST6), (self.net, "down0", NET4, NET6)):
            sh("ip", "-n", ns, "addr", "add", four + "/24", "dev", link)
            sh("ip", "-n", ns, "addr", "add", six + "/64", "dev", link, "nodad")
            sh("ip", "-n", ns, "link", "set", link, "up")
        for a in ("11.0.0.3/24", "169.254.169.254/32"):
            sh("ip", "-n", self.net, "addr", "add", a, "dev", "down0")
        sh("ip", "-n", self.host, "route", "add", "default", "via", NET4)
        sh("ip", "-n", self.host, "route", "add", "169.254.169.254/32", "via", NET4)
        self.forward(True)

    def forward(self, on):
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.run("sysctl", "-qw", "%s=%d" % (key, on))

    def run(self, *args, ns=None):
        return sh("ip", "netns", "exec", ns or self.host, *args)

    def start(self, *args, ns=None, **kw):
        p = subprocess.Popen(["ip", "netns", "exec", ns or self.net, *map(str, args)], stderr=subprocess.DEVNULL, **kw)
        self.processes.append(p)
        return p

    def serve(self):
        (self.dir / "html").mkdir()
        (self.dir / "html/index.html").write_text("hello from nginx\n")
        (self.dir / "nginx.conf").write_text("""
daemon off; pid nginx.pid; error_log error.log; worker_processes 1; user root; events { worker_connections 512; }
http { log_format a '$remote_addr'; access_log access.log a; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
  uwsgi_temp_path t4; scgi_temp_path t5; keepalive_timeout 300; keepalive_requests 100000;
  server { listen 80; listen [::]:80; listen 81; root html; } }
""")
        self.start("nginx", "-p", self.dir, "-c", "nginx.conf")
        self.start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--conf-file=/dev/null",
                   "--pid-file=" + str(self.dir / "pid"), "--listen-address=" + NET4, "--bind-interfaces", "--no-daemon",
                   "--local-ttl=1", "--address=/allowed.test/" + NET4, "--address=/allowed.test/" + NET6,
                   "--address=/other.test/11.0.0.3", "--address=/private.test/10.9.9.9", "--address=/many.test/" + NET4,
                   stdout=subprocess.DEVNULL)
        wait_for(lambda: self.answers(NET4, 80) and self.answers(NET4, 53))

    def answers(self, address, port):
        r = subprocess.run(["ip", "netns", "exec", self.host, "bash", "-c", "exec 3<>/dev/tcp/%s/%d" % (address, port)],
                           capture_output=True)
        return r.returncode == 0

    def clients(self):
        return (self.dir / "access.log").read_text().split() if (self.dir / "access.log").exists() else []

    def rules(self):
        return self.run("nft", "list", "ruleset")

    def links(self):
        return [l["ifname"] for l in json.loads(self.run("ip", "-j", "link")) if l["ifname"].startswith("ce")]

    def stop(self):
        for p in self.processes:
            p.terminate()
            p.wait(10)
        for ns in (self.host, self.net):
            subprocess.run(["ip", "netns", "del", ns])


@pytest.fixture(scope="module")
def place(world):
    p = Place(world)
    try:
        p.serve()
        yield p
    finally:
        p.stop()


class Inside(User):
    """root, in the namespace "host"."""

    def __init__(self, world, place):
        super().__init__("routed", 0, world)
        self.place = place
        self.config = self.file("cellos.json", json.dumps({
            "apiVersion": "cellos.io/v1", "kind": "OperatorConfig",
            "spec": {"network": {"mode": "routed", "routedPool": POOL}}}))

    def command(self, *args):
        return ["ip", "netns", "exec", self.place.host, *super().command(*args)]


@pytest.fixture
def user(world, place):
    yield from kept(Inside(world, place))


def flags(user, *more):
    return ["--config", user.config, "--network", "routed", "--dns", NET4, *more]


ALLOWED = ("--allow", "allowed.test:80/http")


def curl(where, *more):
    return " ".join(["curl", "-sS", "-m", "5", *more, where])


def flows(user):
    return {(f["chain"], f["rule"]): f["packets"] for f in of_type(user.events(), "observability.v1.network_flow_decision")
            if "source" not in f}


def test_reaches_what_is_allowed_by_both_families(user, place):
    before = len(place.clients())
    with Shell(user, *flags(user, *ALLOWED)) as cell:
        for family in ("-4", "-6"):
            assert cell.do(curl("http://allowed.test/", family)) == (0, "hello from nginx\n")
        assert place.links() and "masquerade" in place.rules()
        assert cell.leave() == 0
    assert place.clients()[before:] == [HOST4, HOST6]  # masqueraded
    seen = flows(user)
    assert seen[("forward", "allowed.test:80/http")] > 0
    assert seen[("forward", "unlisted")] == 0  # zero rows too
    assert of_type(user.events(), "observability.v1.network_enforcement")[0]["mode"] == "routed"
    assert user.verify().returncode == 0
    assert not place.links() and "cellos" not in place.rules()


def test_drops_what_is_not(user, place):
    before = len(place.clients())
    with Shell(user, *flags(user, *ALLOWED)) as cell:
        for where in ("http://11.0.0.3/", "http://%s:81/" % NET4, "http://[%s]:81/" % NET6, "http://169.254.169.254/"):
            assert cell.do(curl(where))[0] in (7, 28)
        assert cell.do(curl("http://%s/" % NET4))[0] == 7  # no name has led there yet
        assert cell.do(curl("http://other.test/"))[0] == 6
        assert cell.leave() == 0
    assert len(place.clients()) == before
    assert flows(user)[("forward", "unlisted")] >= 5


def test_metadata_and_private_addresses_of_a_wide_rule(user, place):
    with Shell(user, *flags(user, "--allow", "0.0.0.0/0:1-65535/tcp")) as cell:
        assert cell.do(curl("http://11.0.0.3/"))[0] == 0
        assert cell.do(curl("http://169.254.169.254/"))[0] in (7, 28)
        assert cell.do(curl("http://10.9.9.9/"))[0] in (7, 28)
        assert cell.leave() == 0


def test_the_address_is_there_before_the_answer(user, place):
    """A new name each time: its first connection is made at once, with nothing in between."""
    with Shell(user, *flags(user, "--allow", "*.many.test:80/http")) as cell:
        script = "for i in $(seq 50); do curl -4 -sS -m 5 -o /dev/null http://n$i.many.test/ || echo lost $i; done"
        assert cell.do(script) == (0, "")
        assert cell.leave() == 0


def test_the_host_is_out_of_reach(user, place):
    place.start("nginx", "-p", place.dir, "-c", "nginx.conf", "-g", "pid host.pid;", ns=place.host)
    with Shell(user, *flags(user, "--allow", "%s:1-65535/tcp" % HOST4)) as cell:
        for where in (HOST4, "169.254.1.1"):
            assert cell.do(curl("http://%s/" % where))[0] in (7, 28)
        assert cell.leave() == 0
    assert flows(user)[("input", "to_host")] > 0


def test_cells_do_not_reach_each_other(user, world, place):
    other = next(iter(kept(Inside(world, place))))
    with Shell(user, *flags(user)) as one, Shell(other, *flags(other, "--allow", "100.72.0.0/16:1-65535/tcp")) as two:
        address = [a for l in json.loads(place.run("ip", "-j", "-4", "route")) for a in [l["dst"]] if a.startswith("100.72.")]
        assert len(address) == 2
        one.do("python3 -m http.server 8080 >/dev/null 2>&1 &")
        assert one.do("curl -sS --retry 50 --retry-connrefused --retry-delay 1 -o /dev/null http://127.0.0.1:8080/")[0] == 0
        for a in address:
            got = two.do(curl("http://%s:8080/" % a))[0]
            assert got in (7, 28)
        assert one.leave() == 0 and two.leave() == 0


KEEP = """
import http.client, time
c = http.client.HTTPConnection("allowed.test", 80, timeout=5)
n = 0
try:
    for n in range(600):
        c.request("GET", "/"); c.getresponse().read(); time.sleep(0.05)
        if c.sock is None: break
    print("never ended", n)
except OSError as e:
    print("ended", n > 0)
"""


def test_another_source_address_does_not_leave(user, place):
    """Root of the host gives the cell an address that is not its own; the rules on the host do not let it out."""
    with Shell(user, *flags(user, "--allow", "11.0.0.3:80/tcp")) as cell:
        cell.look()
        inside = lambda *a: subprocess.run(["nsenter", "--net=/proc/%d/ns/net" % cell.workload[0], *a], capture_output=True).returncode
        assert inside("ip", "addr", "add", "100.72.99.99/32", "dev", "eth0") == 0
        assert inside("curl", "-sS", "-m", "2", "http://11.0.0.3/") == 0
        assert inside("curl", "-sS", "-m", "2", "--interface", "100.72.99.99", "http://11.0.0.3/") in (7, 28)
        assert cell.leave() == 0
    assert flows(user)[("forward", "spoofed")] > 0


def test_a_removed_rule_ends_its_flows(user, place):
    """A connection that goes on asking, until its rule is taken away under it."""
    with Shell(user, *flags(user, *ALLOWED, "--allow", "other.test:80/http")) as cell:
        before = len(place.clients())
        cell.p.stdin.write(b"python3 -c \"exec(bytes.fromhex('%s'))\"\n" % KEEP.encode().hex().encode())
        cell.p.stdin.flush()
        wait_for(lambda: len(place.clients()) >= before + 3)
        r = user.ctl("policy", cell.run_id, "--remove", "allowed.test:80/http", "--json")
        assert r.returncode == 0, r.stderr
        assert cell.p.stdout.readline() == b"ended True\n"
        assert cell.p.stdout.readline() == b"=0\n"
        assert cell.do(curl("http://%s/" % NET4))[0] == 7
        assert cell.do(curl("http://other.test/"))[0] == 0
        assert cell.leave() == 0


def test_nothing_opens_when_netd_is_killed_and_the_next_run_cleans_up(user, place):
    with Shell(user, *flags(user, *ALLOWED)) as cell:
        names = cell.look()
        netd = next(p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if comm(p) == "cellos-netd" and in_home(p, user))
        os.kill(netd, signal.SIGKILL)
        wait_for(lambda: cell.p.poll() is not None or "_alive" not in place.rules())
        left = place.rules()
        assert "cellos_r" in left and "_alive" not in left  # the rules outlive netd
    with Shell(user, *flags(user, *ALLOWED)) as cell:
        assert cell.leave() == 0
    removed = of_type(user.events(), "lifecycle.v1.residue_removed")
    assert "nft" in {r["kind"] for r in removed}
    assert "cellos" not in place.rules()


def comm(pid):
    try:
        return Path("/proc/%d/comm" % pid).read_text().strip()
    except OSError:
        return ""


def in_home(pid, user):
    """Is it of a run of this user's? Its parent is a cellctl with this home on its command line."""
    try:
        parent = int(Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[1])
        return str(user.home).encode() in Path("/proc/%d/cmdline" % parent).read_bytes()
    except OSError:
        return False


def test_without_forwarding_it_says_so(user, place):
    place.forward(False)
    try:
        r = user.ctl("run", *flags(user), "--", "true")
        assert r.returncode == 125 and "does not forward" in r.stderr
    finally:
        place.forward(True)


def test_an_ordinary_user_is_refused(world, place):
    for u in kept(User("ordinary-routed", 61000, world)):
        config = u.file("cellos.json", json.dumps({
            "apiVersion": "cellos.io/v1", "kind": "OperatorConfig",
            "spec": {"network": {"mode": "routed", "routedPool": POOL}}}))
        r = u.ctl("run", "--config", config, "--", "true")
        assert r.returncode == 125 and "needs root" in r.stderr
