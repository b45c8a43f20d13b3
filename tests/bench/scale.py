# SPDX-License-Identifier: MIT
"""Many cells in one suite: the cost of a further one beside 1, 100 and 1 000 live ones, and the memory of 10 000 idle
proxied connections."""
import os
import statistics
import subprocess
import time

from measure import FILES, LOAD, Suite, expect, memory, table
from tls import NAME, server

LIVE = [int(n) for n in os.environ.get("LIVE", "1,100,1000").split(",")]
# Ten idle connections a cell, where the machine gives proxyd that many fds: eight a cell, two a connection.
PER_CELL = min(10, (min(FILES, 65536) - 64 - 8 * LIVE[-1]) // (2 * LIVE[-1]) - 1)
ROUNDS = int(os.environ.get("SCALE_ROUNDS", "100"))


def p99(values):
    return sorted(values)[max(0, len(values) - 1 - len(values) // 100)]


def fill(suite, n, authority, argv, word):
    for _ in range(n):
        suite.begin(suite.spec(argv, authority))
        expect(suite.p, word)


def starts():
    suite, live, rows, base = Suite(), 0, [], None
    for want in LIVE:
        fill(suite, want - live, None, ["/bin/sh", "-c", "echo up; exec sleep 3600"], "up")
        live = want
        true = suite.spec(["/bin/true"])
        times = [suite.run(true) / 1000 for _ in range(ROUNDS)]
        base = base or p99(times)
        rows.append((live, "%.2f" % statistics.median(times), "%.2f" % p99(times), "%.2f" % (p99(times) / base),
                     "%.1f" % (memory(suite.daemons()) / 1024 / live)))
    suite.stop()
    table("a further cell beside live ones", ("live cells", "median ms", "p99 ms", "x p99 at first", "KiB a cell, all daemons"), rows)
    print("  targets: p99 at 1000 <= 1.5 x p99 at 1; <= 64 KiB a cell over all daemons")


def idle(dns_port):
    p, to = server(0)
    cells = LIVE[-1]
    authority = {
        "egressRules": [{"host": NAME, "port": to, "protocol": "tls"}], "filesystem": {"root": "host", "readOnly": [str(LOAD.parent)]},
        "dnsAuthority": {"resolvers": [{"resolverId": "bench", "protocol": "do53-udp", "endpoint": "127.0.0.1:%d" % dns_port}],
                         "hostnameAllowlist": [NAME], "rebindingPolicy": {"responseIpAllowlist": [NAME + ":127.0.0.1"]}}}
    suite = Suite()
    fill(suite, cells, authority, [LOAD, "hold", "198.51.100.1", to, NAME, 1], "held")
    time.sleep(1)
    one = memory([suite.pids["proxyd"]])
    all_one = memory(suite.daemons())
    suite.stop()
    suite = Suite()
    fill(suite, cells, authority, [LOAD, "hold", "198.51.100.1", to, NAME, 1 + PER_CELL], "held")
    time.sleep(1)
    ten = memory([suite.pids["proxyd"]])
    suite.stop()
    p.terminate()
    n = cells * PER_CELL
    table("idle proxied connections", ("", "value"), [
        ("connections", n), ("cells", cells), ("KiB of proxyd a connection", "%.2f" % ((ten - one) / 1024 / n)),
        ("KiB of all daemons a cell (with one connection)", "%.1f" % (all_one / 1024 / cells))])
    print("  targets: <= 12 KiB of proxyd a connection, <= 64 KiB a cell over all daemons")


def measure(dns_port):
    starts()
    idle(dns_port)
