# SPDX-License-Identifier: MIT
"""make check-vm: the cases of tests/system, as the virtual machine says them."""
import re

from . import process
from .report import Report, say

TIMEOUT_S = 2400
VM_S = 900  # of these, for the machine itself: it has no KVM
CASE = re.compile(r"^ *(PASS|FAIL) (.*?)( \(.*\))?$")
COUNTS = re.compile(r"^(  DONE )?\d+ passed, \d+ failed")


def run(build, log_path):
    report = Report()
    with open(log_path, "w") as log:

        def line(text):
            log.write(text + "\n")
            if m := CASE.match(text):
                report.case(m[2], m[1] == "PASS")
            if not COUNTS.match(text):
                say("  " + text)

        status = process.run(["make", "--no-print-directory", f"B={build}", "check-vm"], on_line=line, timeout=TIMEOUT_S,
                             env={"CELLOS_VM_SECONDS": str(VM_S)})
    if status != 0 and not report.failed:
        report.failed.append("ran into its deadline" if status is None else f"exit status {status}")
    return report
