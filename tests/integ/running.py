# SPDX-License-Identifier: MIT
"""A run under way: its processes as the host sees them, and their end."""
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from conftest import PATIENCE

DAEMONS = ("signerd", "supervisor", "netd", "proxyd")


def stat(pid):
    """(state, parent, start time), or None when there is no such process."""
    try:
        text = Path("/proc/%d/stat" % pid).read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2:].split()
    return fields[0], int(fields[1]), int(fields[19])


def children():
    """{parent: [child, ...]} of the whole host, in one look."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        s = stat(int(name))
        if s:
            found.setdefault(s[1], []).append(int(name))
    return found


def argv0(pid):
    """The program's name as it was started; "" when it has ended."""
    try:
        return os.path.basename(Path("/proc/%d/cmdline" % pid).read_bytes().split(b"\0")[0].decode())
    except OSError:
        return ""


def status(pid):
    """/proc/PID/status as a dict of texts."""
    lines = Path("/proc/%d/status" % pid).read_text().splitlines()
    return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}


class Running:
    """`cellctl run ARGS`. The workload's first line on stdout must be "up"; what follows stays in the pipe."""

    def __init__(self, user, *args, env=None, wait=True, **kw):
        self.user = user
        self.err = tempfile.TemporaryFile()
        kw = {"stdin": subprocess.DEVNULL, "stderr": self.err, **kw}
        self.p = user.popen("run", *args, env=env, stdout=subprocess.PIPE, **kw)
        self.seen = {}  # pid -> start time: everything this run ever consisted of, as far as somebody looked
        if wait:
            self.wait_up()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.p.poll() is None:
            self.look()
            self.p.kill()
            self.p.wait(PATIENCE)
        self.p.stdout.close()
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def line(self, timeout=PATIENCE):
        """The next line of the workload, without waiting for ever."""
        data = b""
        end = time.monotonic() + timeout
        while not data.endswith(b"\n"):
            if not select.select([self.p.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("nothing more from the workload; it said %r; %s" % (data, self.stderr()))
            more = os.read(self.p.stdout.fileno(), 1)
            if not more:
                raise AssertionError("the run ended after %r: %s" % (data, self.stderr()))
            data += more
        return data.decode().rstrip("\n")

    def wait_up(self):
        assert self.line() == "up", self.stderr()
        self.look()

    def stderr(self):
        self.err.seek(0)
        return self.err.read().decode(errors="replace")

    def _note(self, pid):
        s = stat(pid)
        if s:
            self.seen[pid] = s[2]

    def look(self):
        """{name: pid} of cellctl, the four daemons, zygote and init, and the list of the workload's processes."""
        below = children()
        names = {"cellctl": self.p.pid}
        for pid in below.get(self.p.pid, []):
            name = argv0(pid).removeprefix("cellos-")  # cellctl's own until the exec
            if name in DAEMONS:
                names[name] = pid
        for name, parent in (("zygote", "supervisor"), ("init", "zygote")):
            for pid in below.get(names.get(parent), []):
                names[name] = pid
        workload = []
        todo = list(below.get(names.get("init"), []))
        while todo:
            pid = todo.pop()
            workload.append(pid)
            todo += below.get(pid, [])
        for pid in [*names.values(), *workload]:
            self._note(pid)
        self.names, self.workload = names, sorted(workload)
        return names

    def left(self):
        """Processes of this run that are still there (a zombie is nothing but a number)."""
        return [pid for pid, start in self.seen.items() if (s := stat(pid)) and s[2] == start and s[0] not in "ZX"]

    def kill(self, name, signum=signal.SIGKILL):
        os.kill(self.names[name], signum)

    def end(self, timeout=PATIENCE):
        """Waits for the end. (exit status, the rest of stdout, stderr)"""
        out, _ = self.p.communicate(timeout=timeout)
        return self.p.returncode, out.decode(errors="replace"), self.stderr()

    def gone(self, timeout=10):
        """Whether nothing of the run is left, waiting a little for what is just being reaped."""
        end = time.monotonic() + timeout
        while self.left() and time.monotonic() < end:
            time.sleep(0.02)
        return [(pid, Path("/proc/%d/cmdline" % pid).read_bytes()) for pid in self.left()] or True
