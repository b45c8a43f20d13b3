# SPDX-License-Identifier: MIT
"""What every part of the benchmark needs: CPU time of processes, servers that are started and stopped, a suite with many
cells, runs of cellctl with a client inside."""
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(os.path.realpath(sys.argv[1]))
LOAD = BIN.parent / "bench" / "load"
STATE = Path(tempfile.mkdtemp(prefix="cellos-bench-"))
ENV = dict(os.environ, XDG_STATE_HOME=str(STATE), XDG_RUNTIME_DIR=str(STATE))
started = []
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_ns(pids):
    """User and system time of all threads of these processes, in nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path("/proc/%d/task" % pid).iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def memory(pids):
    """Proportional set size, bytes."""
    total = 0
    for pid in pids:
        for line in Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def children(pid):
    """The process and everything below it."""
    found = [pid]
    for task in Path("/proc/%d/task" % pid).iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def name_of(pid):
    return os.path.basename(Path("/proc/%d/cmdline" % pid).read_bytes().split(b"\0")[0].decode())


def start(*command, **kw):
    p = subprocess.Popen([str(c) for c in command], env=ENV, **{"stdin": subprocess.DEVNULL, **kw})
    started.append(p)
    return p


def wait_port(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit("nothing listens on port %d" % port)


def stop(p):
    p.terminate()
    try:
        p.wait(10)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()


def stop_all():
    for p in started:
        if p.poll() is None:
            stop(p)
    shutil.rmtree(STATE, ignore_errors=True)


def expect(p, word):
    line = p.stdout.readline().strip()
    if not line.startswith(word):
        sys.exit("expected %r, got %r" % (word, line))
    return line.split()[1:]


class Run:
    """cellctl run with a program inside that follows the protocol of load.c, and the pids of the suite around it."""

    def __init__(self, flags, argv, first="ready"):
        self.p = start(BIN / "cellctl", "run", "--ttl", "600", "--ro", LOAD.parent, *flags, "--", *argv, stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, text=True)
        self.first = expect(self.p, first)
        self.pids = {name_of(c): c for c in children(self.p.pid) if name_of(c).startswith("cellos-") and c != self.p.pid}

    def go(self):
        self.p.stdin.write("go\n")
        self.p.stdin.flush()
        micros, failed = expect(self.p, "done")
        if int(failed):
            sys.exit("%s connections failed" % failed)
        return int(micros)

    def daemons(self, *names):
        return [self.pids["cellos-" + n] for n in names]

    def stop(self):
        self.p.stdin.close()
        self.p.wait(60)


class Suite:
    """tests/bench/cells: one suite, many cells."""

    def __init__(self, *options):
        self.p = start(BIN / "bench-cells", *options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pids = dict(zip(("signerd", "supervisor", "netd", "proxyd"), map(int, expect(self.p, "pids"))))
        self.n = 0

    def spec(self, argv, authority=None):
        self.n += 1
        path = STATE / ("spec-%d.json" % self.n)
        path.write_text(json.dumps({"apiVersion": "cellos.io/v1", "kind": "ExecutionCell", "spec": {
            "id": "bench-%d" % self.n, "authority": {"secretRefs": [], **(authority or {})}, "lifetime": {"ttlSeconds": 3600},
            "run": {"argv": [str(a) for a in argv]}}}))
        return path

    def begin(self, path):
        self.p.stdin.write("%s\n" % path)
        self.p.stdin.flush()

    def run(self, path):
        """Microseconds from request to answer."""
        self.begin(path)
        micros, result = expect(self.p, "ended")
        if result != "exited":
            sys.exit("a cell ended as " + result)
        return int(micros)

    def daemons(self):
        return list(self.pids.values())

    def stop(self):
        self.p.stdin.close()
        self.p.wait(120)


def table(title, header, rows):
    print("\n" + title)
    widths = [max(len(str(r[i])) for r in [header, *rows]) for i in range(len(header))]
    for row in (header, *rows):
        print("  " + "  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(row, widths))))
    sys.stdout.flush()
