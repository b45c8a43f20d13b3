# SPDX-License-Identifier: MIT
"""Children in sessions of their own, with a deadline, that never outlive us: not on Ctrl-C, and not when they
leave processes behind. We are their subreaper: whatever loses its parent comes to us, is reaped when it ends, as
by a real init, and is killed when its part of the tests is over."""
import ctypes
import glob
import os
import signal
import subprocess
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10
REAP_S = 0.05

_running = set()
_lock = threading.RLock()  # stop_all comes from a signal handler
_stopped = threading.Event()


def become_subreaper():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    threading.Thread(target=_reap_for_ever, daemon=True).start()


def _orphans():
    """Our children that we did not start. With the lock held."""
    pids = set()
    for path in glob.glob("/proc/self/task/*/children"):
        try:
            with open(path) as f:
                pids.update(int(pid) for pid in f.read().split())
        except (FileNotFoundError, ProcessLookupError):  # the thread has just ended
            pass
    return pids - {child.pid for child in _running}


def _reap_for_ever():
    while True:
        time.sleep(REAP_S)
        with _lock:
            for pid in _orphans():
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass


def _kill_group(pid, number):
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _end(child):
    """INT first, so that a test can tidy up; then KILL."""
    _kill_group(child.pid, signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    _kill_group(child.pid, signal.SIGKILL)
    child.wait()


def run(argv, *, log=None, on_line=None, timeout=600, env=None):
    """The exit status (negative: a signal), or None when the deadline ended it. Output goes to the file log, or
    line by line to on_line."""
    with _lock:
        if _stopped.is_set():
            raise KeyboardInterrupt
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if on_line else log, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, **(env or {})}, text=bool(on_line) or None,
            errors="replace" if on_line else None)
        _running.add(child)
    try:
        if on_line:
            reader = threading.Thread(target=lambda: [on_line(x.rstrip("\n")) for x in child.stdout], daemon=True)
            reader.start()
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            _end(child)
            status = None
        _kill_group(child.pid, signal.SIGKILL)  # what it left behind in its group
        if on_line:
            reader.join(GRACE_S)
        if _stopped.is_set():
            raise KeyboardInterrupt
        return status
    finally:
        if child.returncode is None:
            _end(child)
        with _lock:
            _running.discard(child)


def stop_all():
    """After Ctrl-C: ends every child, also of the other threads."""
    _stopped.set()
    with _lock:
        children = list(_running)
    for child in children:
        _kill_group(child.pid, signal.SIGINT)
    end = time.monotonic() + GRACE_S
    while any(c.poll() is None for c in children) and time.monotonic() < end:
        time.sleep(0.05)
    for child in children:
        _kill_group(child.pid, signal.SIGKILL)
    kill_orphans()


def kill_orphans():
    """Between parts: ends what children that have ended left behind. Returns the names of what still ran."""
    names = set()
    for _ in range(100):
        with _lock:
            left = _orphans()
            for pid in left:
                try:
                    with open(f"/proc/{pid}/stat") as f:
                        name, state = f.read().rsplit(")", 1)
                    if state.split()[0] != "Z":
                        names.add(name.split("(", 1)[1])
                        os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (OSError, ChildProcessError):
                    pass
        if not left:
            break
    return sorted(names)
