# SPDX-License-Identifier: MIT
"""kill -9 in the middle of a run: nothing runs on, the log verifies, what is left is removed and said at the next start."""
import subprocess

from guest import ROOT, case_for_all, equal, kill, nothing_left, of_type, one, pid_of, suite_cgroups, suite_processes
from guest import wait_for, want


def start(user):
    """A run in its middle."""
    p = user.popen("run", "--", "bash", "-c", "echo up; exec -a IN-THE-CELL sleep 99", stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(p.stdout.readline(), b"up\n", "the first output")
    return p


def end(p, status):
    _, error = p.communicate(timeout=60)
    equal(p.returncode, status, "the status (%s)" % error.decode(errors="replace"))


def killed(user, daemon):
    p = start(user)
    kill(pid_of(daemon))
    end(p, 125)
    wait_for(lambda: not suite_processes(), "the end of every process")


@case_for_all
def supervisor_killed(user):
    killed(user, "cellos-supervisor")
    run_id, left = user.logs()[-1].name, suite_cgroups()
    equal(len(left), 2 if user is ROOT else 0, "the number of directories in %s" % left)
    equal(user.ctl("run", "--", "true").returncode, 0, "the status of the next run")
    removed = of_type(user.events(), "lifecycle.v1.residue_removed")
    equal([r["kind"] for r in removed], ["cgroup", "cell-id"] if user is ROOT else ["cell-id"], "what the next run removed")
    want(all(r["name"].endswith("/" + run_id) for r in removed if r["kind"] == "cgroup"), "the names are", removed)
    nothing_left()


@case_for_all
def zygote_killed(user):
    p = start(user)
    kill(pid_of("cellos-zygote"))
    end(p, 125)
    nothing_left()


@case_for_all
def netd_killed(user):
    killed(user, "cellos-netd")
    nothing_left()


@case_for_all
def proxyd_killed(user):
    killed(user, "cellos-proxyd")
    nothing_left()


@case_for_all
def signerd_killed(user):
    killed(user, "cellos-signerd")
    nothing_left()


@case_for_all
def cellctl_killed(user):
    p = start(user)
    kill(p.pid)
    p.communicate(timeout=60)
    nothing_left()
    equal(one(user.events(), "lifecycle.v1.destroyed")["outcome"], "failed", "the outcome")


@case_for_all
def every_log_verifies(user):
    user.verified(user.state / "log")
    want(len(user.logs()) > (20 if user is ROOT else 30), "only %d logs" % len(user.logs()))


