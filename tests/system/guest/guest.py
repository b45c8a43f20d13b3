# SPDX-License-Identifier: MIT
"""What the cases share: the register of cases, users who run cellctl, and looking at what is left on the machine."""
import json
import os
import pathlib
import signal
import subprocess
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
PREFIX = "dev.cellos.events.cell."
PATIENCE_S = 60
CASES = []


def case(f):
    """Registers a case: (name, function)."""
    CASES.append((f.__name__, f))
    return f


def case_for_all(f):
    """The case once for root and once for an ordinary user without any cgroup of its own."""
    for user in (ROOT, TESTER):
        CASES.append(("%s[%s]" % (f.__name__, user.name), lambda user=user: f(user)))
    return f


def case_for_limits(f):
    """The case once for everybody who gets all controllers."""
    for user in (ROOT, SERVICE, SCOPE):
        CASES.append(("%s[%s]" % (f.__name__, user.name), lambda user=user: f(user)))
    return f


class Failed(Exception):
    pass


def want(condition, *what):
    if not condition:
        raise Failed(" ".join(map(str, what)))


def equal(got, expected, what):
    want(got == expected, what, "is", repr(got), "and not", repr(expected))


def document(limits, *argv, ttl=60):
    return json.dumps({"apiVersion": "cellos.io/v1", "kind": "ExecutionCell",
                       "spec": {"id": "limits-%d" % time.monotonic_ns(), "authority": {"secretRefs": []},
                                "lifetime": {"ttlSeconds": ttl}, "run": {"argv": argv, "limits": limits}}})


class User:
    """Somebody who runs cellctl, by a command that comes before it."""

    def __init__(self, name, home, prefix):
        self.name, self.prefix = name, prefix
        self.state = pathlib.Path(home) / ".local/state/cellos"
        self.env = {"HOME": home, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8",
                    "XDG_RUNTIME_DIR": "/run/user/1000"}

    def popen(self, *args, **kw):
        return subprocess.Popen([*self.prefix, "cellctl", *map(str, args)], env=self.env, cwd="/", **kw)

    def ctl(self, *args, input=None):
        kw = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([*self.prefix, "cellctl", *map(str, args)], env=self.env, cwd="/", capture_output=True,
                              text=True, timeout=PATIENCE_S, **kw)

    def run_with(self, limits, *argv, ttl=60, status=0):
        """Runs argv with these limits; the outcome and the events."""
        r = self.ctl("run", "-", input=document(limits, *argv, ttl=ttl))
        equal(r.returncode, status, "the status of cellctl run (%s)" % r.stderr.strip())
        return r, self.events()

    def logs(self):
        return sorted((self.state / "log").iterdir())

    def events(self, log=None):
        log = log or self.logs()[-1]
        return [json.loads(line) for part in sorted(log.glob("*.jsonl")) for line in part.read_text().splitlines()]

    def verified(self, log=None):
        r = self.ctl("verify", log or self.logs()[-1])
        equal(r.returncode, 0, "the status of cellctl verify (%s)" % (r.stdout + r.stderr).strip())


AS_TESTER = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]
ROOT = User("root", "/root", [])
TESTER = User("ordinary", "/home/tester", AS_TESTER)
SERVICE = User("delegated service", "/home/tester",
               ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--uid=1000", "-p", "Delegate=yes",
                "-E", "HOME=/home/tester", "-E", "PATH=/usr/local/bin:/usr/bin:/bin"])
SCOPE = User("delegated scope", "/home/tester",
             [*AS_TESTER, "systemd-run", "--user", "--quiet", "--scope", "-p", "Delegate=yes"])


def of_type(events, suffix):
    return [e["data"] for e in events if e["type"] == PREFIX + suffix]


def one(events, suffix):
    found = of_type(events, suffix)
    equal(len(found), 1, "the number of events " + suffix)
    return found[0]


def wait_for(what, describe, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        want(time.monotonic() < end, "not in time:", describe, "(%s)" % suite_processes())
        time.sleep(0.05)


# ---- processes and cgroups of the machine ----

def processes():
    """{pid: (parent, name, command line)} of all processes that are not zombies or the kernel's."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path("/proc", pid, "stat").read_text()
            line = pathlib.Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        name, rest = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2:].split()
        if rest[0] != "Z" and line:
            found[int(pid)] = (int(rest[1]), name, line)
    return found


def pid_of(daemon):
    """The one daemon of this name, which the one running suite has."""
    all_of_them = processes()
    # cell init is a fork of the zygote and looks like it
    pids = [p for p, (parent, _, line) in all_of_them.items() if program(line) == daemon and
            (parent not in all_of_them or program(all_of_them[parent][2]) != daemon)]
    equal(len(pids), 1, "the number of processes " + daemon)
    return pids[0]


def program(line):
    return line.split(" ")[0].rsplit("/", 1)[-1]


def suite_processes():
    """{pid: command line} of daemons and of workloads that call themselves IN-THE-CELL."""
    return {p: line for p, (_, _, line) in processes().items()
            if program(line).startswith(("cellos-", "IN-THE-CELL"))}


def end_suites():
    """After a case that failed in its middle."""
    for pid in suite_processes():
        try:
            kill(pid)
        except ProcessLookupError:
            pass


def suite_cgroups():
    """Directories of suites and cells that exist now, wherever they are."""
    return [str(p.relative_to(CGROUPS)) for place in [*CGROUPS.rglob("cellos"), *CGROUPS.rglob("cellos-1000")]
            for p in place.rglob("*") if p.is_dir()]


def nothing_left():
    wait_for(lambda: not suite_processes(), "the end of every process")
    equal(suite_cgroups(), [], "what is left in the cgroup tree")


def kill(pid):
    os.kill(pid, signal.SIGKILL)
