# SPDX-License-Identifier: MIT
"""Children in sessions of their own, with a deadline, that never outlive us: not on Ctrl-C, and not when they
leave processes behind (we are their subreaper)."""
import ctypes
import os
import signal
import subprocess
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10

_running = set()
_lock = threading.RLock()  # stop_all comes from a signal handler
_stopped = threading.Event()


def become_subreaper():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


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
    reap_orphans()


def _children():
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as f:
        return [int(pid) for pid in f.read().split()]


def reap_orphans():
    """Kills and reaps what was left behind by children that have ended. Only between parts: then we have no
    child of our own. Returns the names."""
    names = []
    for _ in range(100):
        left = _children()
        if not left:
            break
        for pid in left:
            try:
                with open(f"/proc/{pid}/comm") as f:
                    names.append(f.read().strip())
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (OSError, ChildProcessError):
                pass
    return names
