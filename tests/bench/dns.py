# SPDX-License-Identifier: MIT
"""200 allowed names, cached, asked by dnsperf from inside a cell; beside dnsmasq, unbound and dnsdist with its packet cache,
each with one thread, asked from outside. Ours carries an event for each query (evidence: async)."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

from measure import BIN, STATE, children, cpu_ns, free_port, name_of, start, stop, table

SECONDS = int(os.environ.get("DNS_SECONDS", "5"))
NAMES = ["n%03d.bench.test" % i for i in range(200)]


def records():
    return ["--host-record=%s,192.0.2.%d" % (n, i + 1) for i, n in enumerate(NAMES)]


def dnsmasq():
    port = free_port(socket.SOCK_DGRAM)
    return start("dnsmasq", "--keep-in-foreground", "--no-daemon", "--no-resolv", "--no-hosts", "--user=root", "--conf-file=/dev/null",
                 "--pid-file=%s/dnsmasq-%d" % (STATE, port), "--listen-address=127.0.0.1", "--bind-interfaces", "--port=%d" % port,
                 "--local-ttl=3600", *records(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), port


def unbound():
    port = free_port(socket.SOCK_DGRAM)
    config = STATE / "unbound.conf"
    data = "".join('  local-data: "%s 3600 A 192.0.2.%d"\n' % (n, i + 1) for i, n in enumerate(NAMES))
    config.write_text("""server:
  interface: 127.0.0.1
  port: %d
  num-threads: 1
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: "%s/unbound.pid"
  use-syslog: no
  logfile: "/dev/null"
  access-control: 127.0.0.0/8 allow
%s""" % (port, STATE, STATE, data))
    return start("unbound", "-d", "-p", "-c", config, stderr=subprocess.DEVNULL), port


def dnsdist(behind):
    port = free_port(socket.SOCK_DGRAM)
    config = STATE / "dnsdist.conf"
    config.write_text("""setLocal("127.0.0.1:%d")
newServer({address="127.0.0.1:%d", healthCheckMode="up"})
pc = newPacketCache(10000)
getPool(""):setCache(pc)
""" % (port, behind))
    return start("dnsdist", "--supervised", "-C", config, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), port


def perf(server, port):
    """The arguments; dnsperf's one thread asks as fast as it is answered."""
    return ["dnsperf", "-s", server, "-p", str(port), "-d", str(STATE / "queries"), "-l", str(SECONDS), "-c", "8", "-q", "100"]


def result(text):
    for line in text.splitlines():
        if "Queries per second" in line:
            return float(line.split()[-1])
    sys.exit("dnsperf said: " + text)


def beside(p, port):
    subprocess.run(perf("127.0.0.1", port), capture_output=True)  # warm caches
    before = cpu_ns(children(p.pid))
    out = subprocess.run(perf("127.0.0.1", port), capture_output=True, text=True)
    qps = result(out.stdout)
    return qps, (cpu_ns(children(p.pid)) - before) / (qps * SECONDS)


def ours(upstream, evidence):
    flags = []
    for n in NAMES:
        flags += ["--allow", n]
    flags += ["--allow-answer", "*.bench.test:192.0.2.0/24"]
    script = "dnsperf -s 192.0.2.53 %s >/dev/null; echo ready; read x; exec %s" % (
        " ".join(perf("192.0.2.53", 53)[3:-2] + ["-q", "20"]), " ".join(perf("192.0.2.53", 53)))
    config = STATE / "operator.json"
    config.write_text(json.dumps({"apiVersion": "cellos.io/v1", "kind": "OperatorConfig", "spec": {
        "network": {"quota": {"maxDnsPerSecond": 1000000}}}}))
    p = start(BIN / "cellctl", "run", "--config", config, "--ttl", "600", "--evidence", evidence, "--dns", "127.0.0.1:%d" % upstream, "--ro", STATE / "queries",
              *flags, "--", "sh", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if p.stdout.readline().strip() != "ready":
        sys.exit("the cell did not start")
    pids = {name_of(c): c for c in children(p.pid) if name_of(c).startswith("cellos-")}
    before = cpu_ns([pids["cellos-proxyd"]]), cpu_ns([pids["cellos-signerd"]])
    p.stdin.write("go\n")
    p.stdin.flush()
    time.sleep(SECONDS - 0.5)
    after = cpu_ns([pids["cellos-proxyd"]]), cpu_ns([pids["cellos-signerd"]])
    out, _ = p.communicate()
    qps = result(out)
    done = qps * (SECONDS - 0.5)
    return qps, (after[0] - before[0]) / done, (after[1] - before[1]) / done


def measure():
    (STATE / "queries").write_text("".join("%s A\n" % n for n in NAMES))
    (STATE / "queries").chmod(0o644)
    upstream, upstream_port = dnsmasq()
    time.sleep(0.5)
    found = {"dnsmasq": beside(upstream, upstream_port)}
    for name, make in (("unbound", unbound), ("dnsdist, packet cache", lambda: dnsdist(upstream_port))):
        if not shutil.which(name.split(",")[0]):
            continue
        p, port = make()
        time.sleep(1)
        found[name] = beside(p, port)
        stop(p)
    base = found.get("unbound", found["dnsmasq"])[0]
    rows = [(n, "%.0f" % q, "%.1f" % (c / 1e3), "%.2f" % (q / base)) for n, (q, c) in found.items()]
    for evidence in ("async", "strict"):
        qps, proxy, log = ours(upstream_port, evidence)
        rows.append(("proxyd, evidence " + evidence, "%.0f" % qps, "%.1f" % (proxy / 1e3), "%.2f" % (qps / base)))
        rows.append(("  and signerd: sealing, the log", "", "%.1f" % (log / 1e3), ""))
    stop(upstream)
    table("DNS, 200 allowed names, cached", ("", "queries/s", "us CPU a query", "x unbound"), rows)
    print("  targets: >= 1.0 x unbound with one event a query in async, >= 1.3 x dnsmasq")
