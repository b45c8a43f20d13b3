# SPDX-License-Identifier: MIT
"""TLS pass-through by SNI: CPU for each new connection and for each gigabyte, beside haproxy, nginx and sniproxy, each one
process with one thread. The client and the server are the same for all; only what lies between differs. Ours carries a
decision event for each connection, sealed before the dial (strict)."""
import os
import shutil
import subprocess
import sys

from measure import LOAD, STATE, Run, children, cpu_ns, expect, free_port, start, stop, table, wait_port

NAME = "example.test"
CONNECTIONS = int(os.environ.get("CONNECTIONS", "10000"))
BULK = 1 << 30


def server(size):
    port = free_port()
    p = start(LOAD, "server", "127.0.0.1", port, size, stdout=subprocess.PIPE, text=True)
    expect(p, "ready")
    return p, port


def haproxy(to):
    port = free_port()
    config = STATE / "haproxy.cfg"
    config.write_text("""
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:%d
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend out if { req.ssl_sni -i %s }
backend out
  server s 127.0.0.1:%d
""" % (port, NAME, to))
    return start("haproxy", "-db", "-f", config, stderr=subprocess.DEVNULL), port


def nginx(to):
    port = free_port()
    config = STATE / "nginx.conf"
    module = next((p for p in ("/usr/lib/nginx/modules/ngx_stream_module.so",) if os.path.exists(p)), None)
    config.write_text("""
%s
daemon off; worker_processes 1; pid %s/nginx.pid; error_log /dev/null; user root;
events { worker_connections 20000; }
stream {
  map $ssl_preread_server_name $to { %s 127.0.0.1:%d; default ""; }
  server { listen 127.0.0.1:%d; ssl_preread on; proxy_pass $to; }
}
""" % ("load_module %s;" % module if module else "", STATE, NAME, to, port))
    return start("nginx", "-p", STATE, "-c", config, stderr=subprocess.DEVNULL), port


def sniproxy(to):
    port = free_port()
    config = STATE / "sniproxy.conf"
    config.write_text("user root\npidfile %s/sniproxy.pid\nlistener 127.0.0.1:%d {\n  proto tls\n  table t\n}\ntable t {\n  %s 127.0.0.1:%d\n}\n"
                      % (STATE, port, NAME.replace(".", "\\\\."), to))
    return start("sniproxy", "-f", "-c", config, stderr=subprocess.DEVNULL), port


PEERS = {"haproxy, mode tcp": haproxy, "nginx, ssl_preread": nginx, "sniproxy": sniproxy}


def beside(make, to, count, parallel):
    """CPU nanoseconds of a peer for one measured round, after one to warm up."""
    p, port = make(to)
    wait_port(port)
    client = start(LOAD, "connect", "127.0.0.1", port, NAME, count, parallel, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    expect(client, "ready")
    pids, cpu = children(p.pid), []
    for _ in range(2):
        before = cpu_ns(pids)
        client.stdin.write("go\n")
        client.stdin.flush()
        _, failed = expect(client, "done")
        if int(failed):
            sys.exit("%s connections failed" % failed)
        cpu.append(cpu_ns(pids) - before)
    client.stdin.close()
    client.wait(20)
    stop(p)
    return cpu[1]


def ours(to, count, parallel, dns_port, evidence):
    run = Run(["--allow", "%s:%d/tls" % (NAME, to), "--dns", "127.0.0.1:%d" % dns_port, "--allow-answer", NAME + ":127.0.0.1",
               "--evidence", evidence], [LOAD, "connect", "198.51.100.1", to, NAME, count, parallel])
    both = []
    for _ in range(2):
        proxy, log = run.daemons("proxyd"), run.daemons("signerd")
        before = cpu_ns(proxy), cpu_ns(log)
        run.go()
        both.append((cpu_ns(proxy) - before[0], cpu_ns(log) - before[1]))
    run.stop()
    return both[1]


def measure(dns_port):
    for title, size, count, parallel, unit, scale in (
            ("TLS pass-through, new connections", 100, CONNECTIONS, 64, "us a connection", 1e-3 / CONNECTIONS),
            ("TLS pass-through, bulk", BULK // 4, 4, 2, "ms a GB", 1e-6)):
        p, to = server(size)
        cpu = {n: beside(make, to, count, parallel) for n, make in PEERS.items() if shutil.which(make.__name__)}
        rows = [(n, "%.1f" % (c * scale), "%.2f" % (c / min(cpu.values()))) for n, c in cpu.items()]
        for evidence in ("strict", "async"):
            proxy, log = ours(to, count, parallel, dns_port, evidence)
            rows.append(("proxyd, evidence " + evidence, "%.1f" % (proxy * scale), "%.2f" % (proxy / min(cpu.values()))))
            rows.append(("  and signerd: sealing, the log", "%.1f" % (log * scale), "%.2f" % (log / min(cpu.values()))))
        stop(p)
        table(title, ("CPU", unit, "x best peer"), rows)
    print("  targets: proxyd with its events <= 0.8 x a new connection, <= 1.0 x bulk")
