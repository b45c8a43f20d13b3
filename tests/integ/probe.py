# SPDX-License-Identifier: MIT
"""Python that runs inside a cell and says in JSON what it could do."""
import json
import os

import pytest

PRELUDE = '''
import ctypes, errno, fcntl, json, os, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
out = {}
def name(e): return errno.errorcode.get(e, str(e))
def sc(nr, *args):
    """A raw system call: "ok", or the name of the error."""
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return "ok" if r >= 0 else name(ctypes.get_errno())
def attempt(f, *args, **kw):
    try: f(*args, **kw)
    except OSError as e: return name(e.errno) if e.errno else str(e)
    except Exception as e: return type(e).__name__
    return "ok"
def read(path):
    try:
        with open(path, "rb") as f: return f.read(4096).decode("latin1")
    except OSError as e: return "<" + name(e.errno) + ">"
def listing(path):
    try: return sorted(os.listdir(path))
    except OSError as e: return "<" + name(e.errno) + ">"
'''

# x86-64: the numbers of <asm/unistd_64.h>
NR = {"ptrace": 101, "setpriority": 141, "sched_setaffinity": 203, "add_key": 248, "request_key": 249, "keyctl": 250,
      "ioprio_set": 251, "unshare": 272, "perf_event_open": 298, "prlimit64": 302, "open_by_handle_at": 304, "setns": 308,
      "process_vm_readv": 310, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
      "pidfd_getfd": 438, "open_tree": 428, "fsopen": 430, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
      "init_module": 175, "reboot": 169, "kexec_load": 246, "swapon": 167, "settimeofday": 164, "syslog": 103, "acct": 163,
      "iopl": 172, "quotactl": 179, "mknod": 133, "clone": 56}

x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls here are x86-64's")


def script(text):
    return PRELUDE + "NR = %r\n" % NR + text + "\nprint(json.dumps(out))\n"


def inside(user, text, *flags, check=True, **kw):
    """Runs the text in a cell of this user; what it put into `out`."""
    r = user.ctl("run", *flags, "--", "python3", "-c", script(text), **kw)
    if check:
        assert r.returncode == 0, r.stdout + r.stderr
    return json.loads(r.stdout.splitlines()[-1])
