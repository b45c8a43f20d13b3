# SPDX-License-Identifier: MIT
"""The cases of the demo: an allowed name, one that is not, one for another host's address, a bare address."""
import pathlib
import socket
import subprocess
import tempfile

from guest import case_for_all, equal, of_type, wait_for, want

TLS, DNS = 8443, 5353
NAMES = ("example.test", "other.test")


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def make_pki(to):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", to / "ca.key", "-out", to / "ca.pem", "-days", "2", "-subj", "/CN=test CA")
    for name in NAMES:
        (to / "ext").write_text("subjectAltName=DNS:%s\n" % name)
        openssl("req", *key, "-keyout", to / (name + ".key"), "-out", to / "csr", "-subj", "/CN=" + name)
        openssl("x509", "-req", "-in", to / "csr", "-CA", to / "ca.pem", "-CAkey", to / "ca.key", "-CAcreateserial",
                "-out", to / (name + ".pem"), "-days", "2", "-extfile", to / "ext")


def listening(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


class Servers:
    """nginx and dnsmasq on both loopbacks, from the first case that asks until the machine goes off."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="servers-"))
        self.dir.chmod(0o755)
        make_pki(self.dir)
        (self.dir / "index.html").write_text("hello from the allowed host\n")
        hosts = "".join("server { listen 127.0.0.1:%d ssl; listen [::1]:%d ssl; server_name %s; ssl_certificate %s.pem; "
                        "ssl_certificate_key %s.key; root %s; }\n" % (TLS, TLS, n, self.dir / n, self.dir / n, self.dir)
                        for n in NAMES)
        (self.dir / "nginx.conf").write_text("daemon off; pid nginx.pid; error_log error.log; user root; events { }\n"
                                             "http { access_log access.log;\n%s}\n" % hosts)
        subprocess.Popen(["nginx", "-p", self.dir, "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
                          "--user=root", "--bind-interfaces", "--listen-address=127.0.0.1,::1", "--port=%d" % DNS,
                          "--log-queries", "--log-facility=%s" % (self.dir / "dns.log"), "--local=/test/",
                          *("--address=/%s/%s" % (n, a) for n in NAMES for a in ("127.0.0.1", "::1"))],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(TLS) and listening(TLS, "::1") and listening(DNS), "the test servers")
        (self.dir / "ca.pem").chmod(0o644)

    def requests(self):
        log = self.dir / "access.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def asked(self, name):
        return " %s " % name in (self.dir / "dns.log").read_text()


servers = None


def curl(user, *args):
    """curl in a cell that may reach example.test; the outcome and how many requests arrived at the server."""
    global servers
    servers = servers or Servers()
    before = servers.requests()
    r = user.ctl("run", "--allow", "example.test:%d" % TLS, "--dns", "127.0.0.1:%d" % DNS,
                 "--allow-answer", "example.test:127.0.0.1", "--allow-answer", "example.test:::1", "--ro", servers.dir / "ca.pem",
                 "--", "curl", "-sS", "--max-time", "20", "--cacert", servers.dir / "ca.pem", *args)
    return r, servers.requests() - before


def decisions(user):
    return [(d["action"], d["reasonCode"]) for d in of_type(user.events(), "observability.v1.l7_egress_decision")]


@case_for_all
def allowed_name(user):
    for family in ("-4", "-6"):
        r, arrived = curl(user, family, "https://example.test:%d/" % TLS)
        equal((r.returncode, r.stdout, arrived), (0, "hello from the allowed host\n", 1), "the outcome (%s)" % r.stderr)
        equal(decisions(user), [("allow", "l7_sni_allowlist_match")], "the decisions")


@case_for_all
def name_that_is_not_listed(user):
    r, arrived = curl(user, "https://other.test:%d/" % TLS)
    equal((r.returncode, arrived), (6, 0), "the outcome (%s)" % r.stderr)
    want(not servers.asked("other.test"), "the resolver saw the query")


@case_for_all
def name_for_another_address(user):
    r, arrived = curl(user, "--resolve", "other.test:%d:127.0.0.1" % TLS, "https://other.test:%d/" % TLS)
    want(r.returncode != 0 and arrived == 0, "the other host was reached")
    equal(decisions(user), [("deny", "l7_sni_allowlist_miss")], "the decisions")
    r, arrived = curl(user, "--resolve", "example.test:%d:203.0.113.7" % TLS, "https://example.test:%d/" % TLS)
    equal((r.returncode, arrived), (0, 1), "the allowed name by a wrong address (%s)" % r.stderr)


@case_for_all
def bare_address(user):
    for address in ("203.0.113.7", "[2001:db8::7]"):
        r, arrived = curl(user, "-k", "https://%s:%d/" % (address, TLS))
        want(r.returncode != 0 and arrived == 0, "the bare address %s was reached" % address)
        want(decisions(user) and decisions(user)[0][0] == "deny", "the decisions are", decisions(user))


# ---- on this kernel: socket diagnostics, NFLOG, raw rules, every request of a connection ----

@case_for_all
def the_process_is_named(user):
    process = "unknown"
    for _ in range(5):  # an answer that comes too late on this slow machine is unknown
        if process == "unknown":
            r, _ = curl(user, "https://example.test:%d/" % TLS)
            equal(r.returncode, 0, "the outcome (%s)" % r.stderr)
            process = of_type(user.events(), "observability.v1.l7_egress_decision")[0]["process"]
    want(isinstance(process, dict) and process["exe"] == "/usr/bin/curl" and process["pid"] > 1, "the process is", process)


@case_for_all
def a_dropped_packet_has_its_flow_event(user):
    script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('224.0.0.251', 5353))"
    r = user.ctl("run", "--", "python3", "-c", "try:\n %s\nexcept OSError: pass" % script)
    equal(r.returncode, 0, "the outcome (%s)" % r.stderr)
    flows = [f for f in of_type(user.events(), "observability.v1.network_flow_decision") if f.get("destination") == "224.0.0.251:5353"]
    want(flows and flows[0]["action"] == "deny" and flows[0]["protocol"] == "udp", "the flow events are", flows)


@case_for_all
def a_flow_ends_with_its_bytes(user):
    """Accounting is on in the cell's namespace, and nothing of the flow log is missing on this kernel."""
    r, _ = curl(user, "-4", "https://example.test:%d/" % TLS)
    equal(r.returncode, 0, "the outcome (%s)" % r.stderr)
    flows = of_type(user.events(), "observability.v1.network_flow_decision")
    ended = [f for f in flows if f.get("ended") and f["rule"] == "intercept"]
    want(len(ended) == 1 and ended[0]["bytes"] > 1000 and ended[0]["packets"] > 8, "the flow ended as", ended)
    equal(of_type(user.events(), "observability.v1.gap"), [], "the gaps")


@case_for_all
def a_raw_rule_by_name(user):
    """The server speaks first; the name is proved by the cell's own DNS answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(60)
        port = listener.getsockname()[1]
        script = "import socket; s = socket.create_connection((socket.getaddrinfo('example.test', %d, socket.AF_INET)[0][4][0], %d)); print(s.recv(10).decode())" % (port, port)
        curl(user, "--version")  # the servers are there
        p = user.popen("run", "--allow", "example.test:%d/tcp" % port, "--dns", "127.0.0.1:%d" % DNS, "--allow-answer",
                       "example.test:127.0.0.1", "--", "python3", "-c", script, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        c, _ = listener.accept()
        c.sendall(b"welcome\n")
        c.close()
        out, _ = p.communicate(timeout=120)
    equal(out, "welcome\n\n", "what the cell read")
    equal(decisions(user), [("allow", "l7_pinned_address_match")], "the decisions")
