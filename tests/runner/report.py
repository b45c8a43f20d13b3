# SPDX-License-Identifier: MIT
"""What every part reports: passed, failed and skipped cases, and the one last line."""
import os
import sys


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = []  # names
        self.skipped = []  # (name, reason)

    def case(self, name, ok):
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)

    def add(self, other, prefix=""):
        self.passed += other.passed
        self.failed += [prefix + name for name in other.failed]
        self.skipped += [(prefix + name, why) for name, why in other.skipped]

    def line(self):
        """The line a machine reads."""
        text = f"{self.passed} passed, {len(self.failed)} failed"
        return text + (f", {len(self.skipped)} skipped" if self.skipped else "")

    def brief(self):
        """For one part of a whole: worded unlike the last line."""
        cases = self.passed + len(self.failed) + len(self.skipped)
        text = f"{cases} cases" + (f", {len(self.failed)} FAILED" if self.failed else "")
        return text + (f", {len(self.skipped)} left out" if self.skipped else "")

    def finish(self):
        """Names what was skipped and what failed, then says the line (into $CELLOS_RESULT when that is set: make
        itself may still print something). Returns the exit status."""
        for name, why in self.skipped:
            say(f"skipped: {name}: {why}")
        for name in self.failed:
            say(f"FAILED: {name}")
        result = os.environ.get("CELLOS_RESULT")
        if result:
            with open(result, "w") as f:
                f.write(self.line() + "\n")
        else:
            say(self.line())
        return 1 if self.failed or self.passed == 0 else 0


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
