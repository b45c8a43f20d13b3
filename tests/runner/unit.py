# SPDX-License-Identifier: MIT
"""cmocka programs, side by side; every test function is a case."""
import os
import re
from concurrent.futures import ThreadPoolExecutor

from . import process
from .report import Report, say

TIMEOUT_S = 600
RUN = re.compile(r"^\[ RUN      \] (.*)$")
END = re.compile(r"^\[ *(OK|FAILED|SKIPPED) *\] ")
GROUP = re.compile(r"^\[==========\] Running (\d+) test")


def cases(text):
    """(name, OK|FAILED|SKIPPED) of each test that ended, and how many there should have been."""
    found, current, announced = [], None, 0
    for line in text.splitlines():
        if m := GROUP.match(line):
            announced += int(m[1])
        elif m := RUN.match(line):
            current = m[1]
        elif (m := END.match(line)) and current:  # the list of failures at the end has no RUN before it
            found.append((current, m[1]))
            current = None
    return found, announced


def run_program(path, under):
    """(Report, text when something failed); under: the command that runs it"""
    name, report = os.path.basename(path), Report()
    log_path = f"{path}{'.' + under[0] if under else ''}.log"
    with open(log_path, "wb") as log:
        status = process.run([*under, path], log=log, timeout=TIMEOUT_S)
    with open(log_path, errors="replace") as log:
        text = log.read()
    found, announced = cases(text)
    passed = {test for test, end in found if end == "OK"}
    for test, end in found:
        if end == "SKIPPED" and test in passed:
            continue  # a program that runs its tests as several users: it passed as the one it is for
        if end == "SKIPPED":
            report.skipped.append((f"{name}:{test}", reason(text, test)))
        else:
            report.case(f"{name}:{test}", end == "OK")
    if len(found) < announced or not announced:
        report.failed.append(f"{name}: ended after {len(found)} of {announced} tests")
    elif status != 0 and not report.failed:
        why = "ran into its deadline" if status is None else f"exit status {status}"
        report.failed.append(f"{name}: {why}")
    return report, text if report.failed else ""


def reason(text, test):
    """The line a test printed right before it was skipped: its reason."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("[  SKIPPED ]") and line.endswith(" " + test) and not lines[i - 1].startswith("["):
            return lines[i - 1]
    return "no reason printed"


def run(paths, jobs, under=()):
    total = Report()
    with ThreadPoolExecutor(jobs) as pool:
        for path, (report, text) in zip(paths, pool.map(lambda p: run_program(p, under), paths)):
            total.add(report)
            say(f"  {'FAIL' if report.failed else 'ok  '}  {os.path.basename(path)}: {report.brief()}")
            for line in text.splitlines():
                say(f"        {line}")
    return total
