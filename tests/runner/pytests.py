# SPDX-License-Identifier: MIT
"""pytest over every folder of tests/ that has test_*.py; every test function with its parameters is a case."""
import glob
import os
import re
import xml.etree.ElementTree as ET

from . import process
from .report import Report, say

TIMEOUT_S = 3000
SUMMARY = re.compile(r"^=+ .*\d+ (passed|failed|error|skipped).*=+$|^=+ .*no tests ran.*=+$")


def read(xml, report):
    for case in ET.parse(xml).getroot().iter("testcase"):
        name = f"{case.get('classname')}:{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            report.failed.append(name)
        elif skipped is not None:
            report.skipped.append((name, " ".join((skipped.get("message") or "").split())))
        else:
            report.passed += 1


def run(build, log_path, env, leave_out=()):
    report = Report()
    folders = sorted({os.path.dirname(path) for path in glob.glob("tests/*/test_*.py")})
    if not folders:
        report.failed.append("no tests/*/test_*.py")
        return report
    xml = log_path.removesuffix(".log") + ".xml"
    with open(log_path, "w") as log:

        def line(text):
            log.write(text + "\n")
            if not SUMMARY.match(text):  # only one line of the whole run counts cases
                say("  " + text)

        status = process.run(
            ["/usr/bin/python3", "-B", "-m", "pytest", "-v", "-ra", "--no-header", "--tb=short", "--color=no",
             "-p", "no:cacheprovider", f"--junitxml={xml}", *("--ignore=" + path for path in leave_out), *folders],
            on_line=line, timeout=TIMEOUT_S, env={"CELLOS_BIN": f"{build}/bin", "PYTHONUNBUFFERED": "1", **env})
    try:
        read(xml, report)
    except (OSError, ET.ParseError):
        report.failed.append("pytest wrote no results")
    if status is None:
        report.failed.append("pytest ran into its deadline")
    elif status not in (0, 1) or (status == 1 and not report.failed):
        report.failed.append(f"pytest: exit status {status}")
    return report
