# SPDX-License-Identifier: MIT
"""The machine is what it should be, and a cell works on it."""
import pathlib

from guest import CGROUPS, ROOT, TESTER, case, case_for_all, equal, nothing_left, of_type, one, want


@case
def debian_12_as_it_is():
    want(pathlib.Path("/proc/version").read_text().startswith("Linux version 6.1."), "not Debian 12's kernel")
    equal(pathlib.Path("/proc/1/comm").read_text(), "systemd\n", "PID 1")
    want({"memory", "cpu", "pids"} <= set((CGROUPS / "cgroup.controllers").read_text().split()), "controllers are missing")


@case
def a_service_keeps_its_cgroup():
    """Root's cells go to the top of the tree: the unit that starts them is not delegated, so nothing in it changes."""
    unit = CGROUPS / pathlib.Path("/proc/self/cgroup").read_text().strip().removeprefix("0::/")
    r = ROOT.ctl("run", "--", "true")
    equal(r.returncode, 0, "the status (%s)" % r.stderr)
    equal((unit / "cgroup.type").read_text(), "domain\n", "the type")
    equal((unit / "cgroup.subtree_control").read_text().split(), [], "what it hands on")
    equal([p.name for p in unit.iterdir() if p.is_dir()], [], "the directories in it")
    want((CGROUPS / "cellos").is_dir(), "there is no directory of suites")


@case_for_all
def doctor(user):
    r = user.ctl("doctor")
    equal(r.returncode, 0, "the status (%s)" % r.stdout)
    lines = {line[9:31].strip(): line.split()[0] for line in r.stdout.splitlines() if line[:1] not in ("", " ")}
    want("ABI 2" in r.stdout, "the Landlock ABI is not 2:", r.stdout)
    missing = sorted(name for name, status in lines.items() if status == "missing")
    equal(missing, [] if user is ROOT else ["cgroup limits"], "what is missing")
    if user is TESTER:
        want("Delegate=yes" in r.stdout, "no remedy:", r.stdout)


@case_for_all
def true_runs(user):
    r = user.ctl("run", "--", "true")
    equal(r.returncode, 0, "the status (%s)" % r.stderr)
    events = user.events()
    isolation = one(events, "lifecycle.v1.started")["isolation"]
    equal(isolation["landlock"], "abi 2", "landlock")
    equal(isolation["seccomp"], "core+baseline", "seccomp")
    equal(isolation["cgroup"], "v2: cpu memory pids" if user is ROOT else "none", "cgroup")
    equal(sorted(isolation["namespaces"]), ["cgroup", "ipc", "mount", "net", "pid", "user", "uts"], "the namespaces")
    end = one(events, "lifecycle.v1.destroyed")
    equal((end["outcome"], end["terminalState"], end["residueClass"]), ("succeeded", "clean", "none"), "the end")
    usage = one(events, "command.v1.completed").get("usage")
    equal(sorted(usage or {}), ["cpuMicros", "memoryPeakBytes", "pidsPeak"] if user is ROOT else [], "the measures")
    user.verified()
    nothing_left()


@case_for_all
def status_and_stdio(user):
    r = user.ctl("run", "--", "sh", "-c", "cat; echo err >&2; exit 42", input="through\n")
    equal((r.returncode, r.stdout, r.stderr), (42, "through\n", "err\n"), "the outcome")


@case_for_all
def inside_a_cell(user):
    """What the kernel shows a workload."""
    script = """
        cat /proc/self/cgroup; id -u; echo $(ls /proc | grep -c '^[0-9]'); grep -c . /proc/self/uid_map
        grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t\\n' '  '; echo
        for i in /sys/fs/cgroup/* /root/* /home/*; do [ -e "$i" ] && echo "$i"; done
        echo x 2>&1 >/usr/x; ls /proc/1/fd 2>&1; cat /proc/1/environ 2>&1; exit 0"""
    r = user.ctl("run", "--", "sh", "-c", script)
    equal(r.returncode, 0, "the status (%s)" % r.stderr)
    lines = r.stdout.splitlines()
    equal(lines[0], "0::/", "the cgroup")
    want(int(lines[1]) > 0, "the workload is root")
    want(int(lines[2]) <= 5, "foreign processes are seen:", lines[2])
    equal(lines[4].split(), ["CapEff:", "0000000000000000", "CapBnd:", "0000000000000000", "NoNewPrivs:", "1",
                             "Seccomp:", "2"], "the rights")
    want(not any(line.startswith(("/sys/fs", "/root", "/home")) for line in lines[5:]), "the host is seen:", lines[5:])
    want(not any(line.isdigit() for line in lines[5:]), "cell init's fds are seen:", lines[5:])


@case_for_all
def denied_calls_are_answered(user):
    """The user notification of the core filter: what is refused gets its error, and the log says so."""
    r = user.ctl("run", "--", "sh", "-c", "unshare -U true; python3 -c 'import socket; socket.socket(17, 3)'; exit 7")
    equal(r.returncode, 7, "the status (%s)" % r.stderr)
    denied = {(d["syscall"], d.get("family")) for d in of_type(user.events(), "observability.v1.syscall_denied")}
    want({"unshare", "socket"} <= {name for name, _ in denied}, "not in the log:", denied)


@case_for_all
def ttl_ends_everything(user):
    user.run_with({"gracefulShutdownSeconds": 1}, "bash", "-c",
                  "trap '' TERM; (exec -a IN-THE-CELL sleep 99) & sleep 99", ttl=1, status=124)
    nothing_left()
