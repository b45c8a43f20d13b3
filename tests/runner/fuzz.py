# SPDX-License-Identifier: MIT
"""libFuzzer programs, two at a time; each is a case. The corpus in git is read, never written."""
import os
import re
from concurrent.futures import ThreadPoolExecutor

from . import process
from .report import Report, say


def command(build, name, seconds):
    """tests/fuzz/fuzz_X.options may hold more options, tests/fuzz/X.dict a dictionary."""
    short = name.removeprefix("fuzz_")
    found, crashes = f"{build}/corpus/{short}", f"{build}/crashes"
    os.makedirs(found, exist_ok=True)
    os.makedirs(crashes, exist_ok=True)
    argv = [f"{build}/fuzz/{name}", f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
            f"-artifact_prefix={crashes}/{name}-", "-print_final_stats=1"]
    if os.path.exists(f"tests/fuzz/{name}.options"):
        with open(f"tests/fuzz/{name}.options") as f:
            argv += f.read().split()
    if os.path.exists(f"tests/fuzz/{short}.dict"):
        argv.append(f"-dict=tests/fuzz/{short}.dict")
    argv.append(found)
    if os.path.isdir(f"tests/fuzz/corpus/{short}"):
        argv.append(f"tests/fuzz/corpus/{short}")
    return argv


def run_fuzzer(build, name, seconds):
    """(ok, text)"""
    path = f"{build}/{name}.log"
    with open(path, "wb") as log:
        status = process.run(command(build, name, seconds), log=log, timeout=seconds * 3 + 120)
    with open(path, errors="replace") as log:
        text = log.read()
    runs = re.search(r"number_of_executed_units: (\d+)", text)
    if status == 0 and runs:
        return True, f"{int(runs[1])} inputs"
    return False, "\n".join(text.splitlines()[-80:])


def run(build, names, seconds):
    report = Report()
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda name: run_fuzzer(build, name, seconds), names)
        for name, (ok, text) in zip(names, results):
            report.case(name, ok)
            say(f"  {'ok  ' if ok else 'FAIL'}  {name}: {text}")
    return report
