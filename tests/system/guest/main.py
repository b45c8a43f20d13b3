# SPDX-License-Identifier: MIT
"""Runs every case and says "PASS name" or "FAIL name: why" for each on standard output, which the host reads."""
import subprocess
import sys
import time
import traceback

import guest

import basics, network, limits, evidence, faults  # noqa: E401,F401 in this order


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def diagnose(why):
    """For the console: everything about a failure that the one line has no room for."""
    sys.stderr.write(why + "\n")
    for command in (["dmesg"], ["journalctl", "-b", "-p", "warning", "--no-pager"], ["systemd-cgls", "--no-pager"]):
        output = subprocess.run(command, capture_output=True, text=True).stdout
        sys.stderr.write("%s:\n%s\n" % (" ".join(command), "\n".join(output.splitlines()[-40:])))
    sys.stderr.flush()


def run(name, function):
    began = time.monotonic()
    try:
        function()
    except Exception as e:  # any kind of failure is this case's
        text = " ".join(("%s: %s" % (type(e).__name__, e)).split()).removeprefix("Failed: ")
        say("FAIL %s: %s" % (name, text[:900]))
        diagnose("FAIL %s\n%s" % (name, traceback.format_exc()))
        guest.end_suites()
        return False
    say("PASS %s (%.1f s)" % (name, time.monotonic() - began))
    return True


def main():
    # A user manager for the ordinary user, as after logging in.
    subprocess.run(["loginctl", "enable-linger", "tester"], check=True)
    subprocess.run(["systemctl", "start", "user@1000.service"], check=True)
    # The first cell has the kernel load its nft modules, which takes longer than a suite waits when the machine is emulated and
    # its host busy. What becomes of it is not judged: the cases are.
    subprocess.run(["cellctl", "run", "--", "true"], env=guest.ROOT.env, cwd="/", stdin=subprocess.DEVNULL, timeout=120,
                   stdout=subprocess.DEVNULL, stderr=sys.stderr)
    only = [w.removeprefix("cellos.only=") for w in open("/proc/cmdline").read().split() if w.startswith("cellos.only=")]
    cases = [(n, f) for n, f in guest.CASES if not only or any(o in n for o in only[0].split(","))]
    say("BOOTED in %s s" % open("/proc/uptime").read().split()[0])
    results = [run(name, function) for name, function in cases]
    say("DONE %d passed, %d failed" % (results.count(True), results.count(False)))


main()
