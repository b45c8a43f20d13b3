# SPDX-License-Identifier: MIT
"""Limits that the kernel holds: memory, processes, processor time; for root and for a user with a delegated cgroup."""
import subprocess

from guest import PATIENCE_S, ROOT, SCOPE, SERVICE, TESTER, case, case_for_limits, document, equal, nothing_left, one, want

MIB = 1 << 20
HOG = "b = bytearray(400 << 20); print(len(b))"


@case_for_limits
def memory_limit(user):
    """The kernel kills the process that takes too much, in the cell only; here it is the workload itself."""
    r, events = user.run_with({"memoryMaxBytes": 48 * MIB}, "python3", "-c", HOG, status=137)
    done = one(events, "command.v1.completed")
    equal((done["exitCode"], done["signal"]), (-1, 9), "the end")
    why = "run.limits.memoryMaxBytes of %d bytes reached, the kernel ended 1 process of the cell" % (48 * MIB)
    equal(done["spawnError"], why, "the reason")
    want(why in r.stderr, "the caller reads", r.stderr)
    want(32 * MIB < done["usage"]["memoryPeakBytes"] <= 48 * MIB, "the peak is", done["usage"])
    balance = one(events, "observability.v1.homeostasis")
    equal(balance["memoryMaxBytes"], 48 * MIB, "the declared limit")
    nothing_left()


@case
def memory_limit_hits_only_the_hog():
    r, events = ROOT.run_with({"memoryMaxBytes": 48 * MIB}, "sh", "-c", "python3 -c '%s'; echo $?" % HOG)
    equal(r.stdout, "137\n", "what the shell saw")
    want("spawnError" not in one(events, "command.v1.completed"), "the command itself ended well")
    want("memoryMaxBytes" in one(events, "lifecycle.v1.destroyed")["reason"], "no word of the process that was killed")


@case
def files_of_the_cell_count():
    """Its /tmp is memory. dd is killed or gets no more; the cell's own init survives and reports."""
    r, events = ROOT.run_with({"memoryMaxBytes": 24 * MIB}, "dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=60", status=137)
    want(one(events, "command.v1.completed")["usage"]["memoryPeakBytes"] <= 24 * MIB, "the peak is too high", r.stderr)
    nothing_left()


FORKS = """
import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0:
            time.sleep(30); os._exit(0)
        n += 1
except OSError as e:
    print(n, e.strerror)
"""


@case_for_limits
def process_limit(user):
    r, events = user.run_with({"pidsMax": 20}, "python3", "-c", FORKS)
    words = r.stdout.split(" ", 1)
    want(10 <= int(words[0]) < 20 and words[1] == "Resource temporarily unavailable\n", "forking went on:", r.stdout)
    equal(one(events, "command.v1.completed")["usage"]["pidsPeak"], 20, "the peak")
    nothing_left()


@case_for_limits
def fork_bomb_is_killed(user):
    """Processes that fork faster than one could kill them one by one."""
    _, events = user.run_with({"pidsMax": 60, "gracefulShutdownSeconds": 1}, "bash", "-c",
                              "trap '' TERM; f() { trap '' TERM; f | f & f | f & }; f; sleep 99", ttl=2, status=124)
    want(one(events, "command.v1.completed")["usage"]["pidsPeak"] <= 60, "the limit did not hold")
    equal(one(events, "lifecycle.v1.destroyed")["residueClass"], "none", "the residue")
    nothing_left()


@case_for_limits
def processor_limit(user):
    busy = ["timeout", "2", "sh", "-c", "while :; do :; done"]
    _, events = user.run_with({"cpuMax": {"quotaMicros": 20000, "periodMicros": 100000}}, *busy, status=124)
    done = one(events, "command.v1.completed")
    share = done["usage"]["cpuMicros"] / (done["durationMs"] * 1000)
    want(0.02 < share < 0.3, "a fifth of a processor became", share)


@case
def without_a_limit_it_takes_a_processor():
    """What the case above would see if the kernel did not hold the limit."""
    _, events = ROOT.run_with({}, "timeout", "2", "sh", "-c", "while :; do :; done", status=124)
    done = one(events, "command.v1.completed")
    share = done["usage"]["cpuMicros"] / (done["durationMs"] * 1000)
    want(share > 0.4, "an unlimited loop got", share)


@case
def refused_without_delegation():
    for limits, controller in (({"memoryMaxBytes": MIB}, "memory"), ({"pidsMax": 5}, "pids"),
                               ({"cpuMax": {"quotaMicros": 1000}}, "cpu")):
        r = TESTER.ctl("run", "-", input=document(limits, "true"))
        want(r.returncode == 3 and 'needs the cgroup v2 controller "%s"' % controller in r.stderr, r.returncode, r.stderr)
        rejected = one(TESTER.events(), "lifecycle.v1.rejected")["violations"]
        equal([(v["path"], v["rule"]) for v in rejected], [("spec.run.limits", "unenforceable")], "the violations")


@case
def doctor_in_a_delegated_scope():
    for user in (SERVICE, SCOPE):
        r = user.ctl("doctor")
        want(r.returncode == 0 and "missing" not in r.stdout, user.name, r.stdout)


@case
def a_shell_in_a_delegated_service():
    """One cgroup, several runs, two of them at once: each gets all controllers."""
    before = len(TESTER.logs())
    script = "cellctl run -- true && { cellctl run -- sleep 1 & cellctl run -- sleep 1; } && wait $!"
    r = subprocess.run([*SERVICE.prefix, "bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE_S)
    equal(r.returncode, 0, "the status (%s)" % r.stderr)
    logs = TESTER.logs()[before:]
    equal([one(TESTER.events(log), "lifecycle.v1.started")["isolation"]["cgroup"] for log in logs],
          ["v2: cpu memory pids"] * 3, "the cgroups")


@case
def root_in_a_delegated_service():
    """The suite stays in the unit it was started in, as a system service does."""
    script = "cellctl run -- true && ls -d /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/../cellos"
    r = subprocess.run([*(word for word in SERVICE.prefix if word != "--uid=1000"), "-E", "HOME=/root", "sh", "-c", script],
                       capture_output=True, text=True, timeout=PATIENCE_S)
    equal(r.returncode, 0, "the status (%s)" % r.stderr)
    equal(one(ROOT.events(), "lifecycle.v1.started")["isolation"]["cgroup"], "v2: cpu memory pids", "the cgroup")


@case
def what_is_not_delegated_stays_as_it_is():
    """A shell in a scope of the user's own systemd: nobody is moved, the limit is refused by name, the run without one works."""
    script = """before=$(cat /proc/self/cgroup); printf %s "$0" | cellctl run -; echo $?; cellctl run -- true; echo $?
        [ "$(cat /proc/self/cgroup)" = "$before" ] && cat /sys/fs/cgroup${before#0::}/cgroup.type"""
    prefix = [word for word in SCOPE.prefix if word not in ("-p", "Delegate=yes")]
    r = subprocess.run([*prefix, "sh", "-c", script, document({"pidsMax": 20}, "true")], env=SCOPE.env, cwd="/",
                       capture_output=True, text=True, timeout=PATIENCE_S)
    equal(r.stdout.split(), ["3", "0", "domain"], "the outcome (%s)" % r.stderr)
