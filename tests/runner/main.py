# SPDX-License-Identifier: MIT
"""make check: every part one after the other, then what failed, what was skipped, and the counts of all."""
import argparse
import glob
import os
import shutil
import signal
import sys
import threading
import time

from . import fuzz, process, pytests, unit, vm
from .report import Report, say

MAKE_TIMEOUT_S = 2400
# Programs of one process without filters, one at least of each folder.
VALGRIND = ["common_channel", "common_envelope", "common_keyset", "proto_*", "proxyd_dns_cell", "proxyd_relay",
            "signerd_dispatch", "signerd_event", "signerd_log", "signerd_quota", "supervisor_spec", "supervisor_spec_bad"]
LIMIT_S = 90 * 60
# Not once more with sanitizers: most of their time passes in browsers, servers and waiting; `make check-asan` leaves them out
# too, `pytest` with a sanitized CELLOS_BIN does not.
OTHERS_WORK = ["tests/integ/test_work.py", "tests/integ/test_ship.py", "tests/integ/test_report.py", "tests/integ/test_tlog_go.py",
               "tests/integ/test_many_cells.py", "tests/escape/test_escape_table.py"]
SANITIZE = {
    "ASAN_OPTIONS": "abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "CELLOS_SANITIZE": "1",
}


class Check:
    """The parts. Each method returns a Report; make targets count as one case."""

    def __init__(self, build, jobs, seconds):
        self.build = os.path.abspath(build)
        self.jobs, self.seconds = jobs, seconds
        self.logs = f"{self.build}/check"
        self.built = {}  # build directory -> it could be built
        self.parts = []  # what will be run
        self.aside = {}  # target -> (thread, its report in a list)
        os.makedirs(self.logs, exist_ok=True)

    def make(self, name, *words, before=(), jobs=None):
        """One case: the target succeeds. Its output goes to a log, the end of it here when it fails."""
        report, path, began = Report(), f"{self.logs}/{name}.log", time.monotonic()
        with open(path, "wb") as log:
            status = process.run([*before, "make", "--no-print-directory", f"-j{jobs or self.jobs}", *words], log=log,
                                 timeout=MAKE_TIMEOUT_S)
        report.case(name, status == 0)
        say(f"  {'ok  ' if status == 0 else 'FAIL'}  make {' '.join(words)} ({time.monotonic() - began:.0f} s)")
        if status != 0:
            with open(path, errors="replace") as log:
                for line in log.read().splitlines()[-60:]:
                    say(f"        {line}")
        return report

    def start_aside(self):
        """pytest leaves most of one processor idle: what builds in directories of its own is made meanwhile, at the
        lowest priority, and counted in its own part."""
        def one(target, results, after):
            if after:
                after.join()
            results.append(self.make(target, f"B={self.build}", target, before=("nice", "-n", "19"), jobs=1))

        before = None
        for target in ("check-clang", "fuzz-build"):
            results = []
            thread = threading.Thread(target=one, args=(target, results, before), daemon=True)
            thread.start()
            self.aside[target] = (thread, results)
            before = thread

    def made_aside(self, target):
        """What start_aside() made of it; made now where that was not called."""
        if target not in self.aside:
            return self.make(target, f"B={self.build}", target)
        thread, results = self.aside.pop(target)
        thread.join()
        return results[0] if results else not_built()

    def _build(self, name, build, *words):
        report = self.make(name, f"B={build}", *words)
        self.built[build] = not report.failed
        return report

    def ready(self, build):
        return self.built.get(build, os.path.isdir(f"{build}/bin"))

    def build_gcc(self):
        return self._build("build", self.build, "all", "unit-build", "bench-build")

    def build_asan(self):
        return self._build("build-asan", self.build + "-asan", "SAN=1", "all", "unit-build", "bench-build")

    def _unit(self, build):
        names = sorted(os.path.basename(p)[:-2] for p in glob.glob("tests/unit/test_*.c"))
        if not self.ready(build):
            return not_built()
        return unit.run([f"{build}/unit/{n}" for n in names], self.jobs)

    def unit(self):
        return self._unit(self.build)

    def valgrind(self):
        """Uninitialised values, which ASan does not see."""
        if not self.ready(self.build):
            return not_built()
        paths = sorted(p for name in VALGRIND for p in glob.glob(f"{self.build}/unit/test_{name}")
                       if os.path.exists(f"tests/unit/{os.path.basename(p)}.c"))
        return unit.run(paths, self.jobs, ["valgrind", "-q", "--leak-check=full", "--error-exitcode=99",
                                           "--child-silent-after-fork=yes"])

    def unit_asan(self):
        return self._unit(self.build + "-asan")

    def pytest(self):
        if not self.ready(self.build):
            return not_built()
        if {"clang", "fuzz"} <= set(self.parts):
            self.start_aside()
        return pytests.run(self.build, f"{self.logs}/pytest.log", {})

    def pytest_asan(self):
        build = self.build + "-asan"
        if not self.ready(build):
            return not_built()
        return pytests.run(build, f"{self.logs}/pytest-asan.log", SANITIZE, OTHERS_WORK)

    def install(self):
        """The installed tree works: cellctl answers and finds the daemons beside itself."""
        to = f"{self.logs}/installed"
        shutil.rmtree(to, ignore_errors=True)
        report = self.make("install", f"B={self.build}", f"DESTDIR={to}", "PREFIX=/usr", "install")
        wanted = {"bin/cellctl", *("libexec/cellos/cellos-" + d for d in "supervisor netd proxyd signerd".split())}
        there = {os.path.relpath(p, to + "/usr") for p in glob.glob(to + "/usr/**", recursive=True)
                 if os.path.isfile(p) and os.access(p, os.X_OK)}
        report.case("installed files", there == wanted)
        with open(f"{self.logs}/installed.log", "wb") as log:
            report.case("installed cellctl version", "bin/cellctl" in there and
                        process.run([to + "/usr/bin/cellctl", "version"], log=log, timeout=60) == 0)
        return report

    def source(self):
        report = Report()
        for target in ("check-layers", "check-cleanup", "check-protocol", "format-check"):
            report.add(self.make(target, f"B={self.build}", target))
        return report

    def lint(self):
        report = self.make("cppcheck", f"B={self.build}", "cppcheck")
        report.add(self.make("clang-tidy", "-k", f"B={self.build}", "tidy"))
        return report

    def vm(self):
        for thread, _ in self.aside.values():  # the emulated machine wants both processors
            thread.join()
        return vm.run(self.build, f"{self.logs}/vm.log") if self.ready(self.build) else not_built()

    def demo(self):
        return self.make("demo", f"B={self.build}", "demo")

    def clang(self):
        return self.made_aside("check-clang")

    def fuzz(self):
        report = self.made_aside("fuzz-build")
        if report.failed:
            return report
        names = sorted(os.path.basename(p)[:-2] for p in glob.glob("tests/fuzz/fuzz_*.c"))
        report.add(fuzz.run(self.build + "-fuzz", names, self.seconds))
        return report


CHECK = ["build_gcc", "unit", "source", "install", "demo", "pytest", "vm", "clang", "lint", "fuzz", "valgrind", "build_asan",
         "unit_asan", "pytest_asan"]
ASAN = ["build_asan", "unit_asan", "pytest_asan"]


def not_built():
    report = Report()
    report.failed.append("not run: the build failed")
    return report


def run_parts(check, parts):
    total, began = Report(), time.monotonic()
    check.parts = parts
    for part in parts:
        say(f"== {part} ==")
        at = time.monotonic()
        report = getattr(check, part)()
        left = process.kill_orphans()
        if left:
            say(f"  left behind and killed: {' '.join(left)}")
        total.add(report, f"{part}: ")
        say(f"  {part}: {report.brief()}, {time.monotonic() - at:.0f} s")
    say(f"logs: {os.path.relpath(check.logs)}; {(time.monotonic() - began) / 60:.1f} minutes")
    return total


def parse(argv):
    p = argparse.ArgumentParser(prog="tests/run")
    p.add_argument("--build", default="build")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--seconds", type=int, default=20, help="of each fuzzer")
    p.add_argument("what", choices=["check", "asan", "unit", "fuzz", "parts"])
    p.add_argument("names", nargs="*")
    return p.parse_args(argv)


def interrupted(number, frame):
    """Children first: threads wait for theirs."""
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(again, signal.SIG_IGN)
    say("hard limit reached" if number == signal.SIGALRM else "interrupted: ending what runs")
    process.stop_all()
    raise KeyboardInterrupt


def main():
    args = parse(sys.argv[1:])
    os.chdir(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # the makes we start have a job server of their own
        os.environ.pop(name, None)
    process.become_subreaper()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, interrupted)
    try:
        if args.what == "unit":
            return unit.run(args.names, args.jobs).finish()
        if args.what == "fuzz":
            return fuzz.run(args.build + "-fuzz", args.names, args.seconds).finish()
        signal.alarm(LIMIT_S)
        check = Check(args.build, args.jobs, args.seconds)
        parts = {"check": CHECK, "asan": ASAN, "parts": args.names}[args.what]
        return run_parts(check, parts).finish()
    except KeyboardInterrupt:
        return 130
