# SPDX-License-Identifier: MIT
"""Who did it: every decision names the process in the cell, or says unknown; never a guess. On a busy machine an answer may
come too late, which is unknown: what is tried is tried several times, must be named at least once, and never wrongly."""
from conftest import of_type
from probe import inside

TRIES = 8
DIAL = """
def dial(port, address="198.51.100.1"):
    s = socket.create_connection((address, port))
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n")
    return s
out["pid"], out["exe"] = os.getpid(), os.readlink("/proc/self/exe")
"""


def named(user, **want):
    """The processes of the decisions that fit, without unknown ones."""
    found = [d for d in of_type(user.events(), "observability.v1.l7_egress_decision")
             if all(str(d[k]).startswith(v) for k, v in want.items())]
    assert found, want
    return [d["process"] for d in found if d["process"] != "unknown"]


def test_an_allowed_connection_names_its_program(user, allow, web, pki):
    get = "curl -sS --cacert %s https://example.test:%d/;" % (pki.ca, web.tls)
    r = user.ctl("run", *allow, "--", "sh", "-c", get * TRIES + "true")
    assert r.returncode == 0, r.stderr
    processes = named(user, action="allow")
    assert processes and all(p["exe"] == "/usr/bin/curl" and p["pid"] > 1 for p in processes), processes
    assert len({p["pid"] for p in processes}) == len(processes)  # each curl is a process of its own


def test_denials_name_the_process_too(user, allow, web):
    """TCP by its first bytes, UDP; IPv4 and IPv6: the pid is the one the process has in the cell."""
    out = inside(user, DIAL + """
held = []
for i in range(%d):
    held += [dial(%d), dial(%d, "2001:db8::1")]
    for s in held[-2:]: s.recv(100)
    for family, address in ((socket.AF_INET, "198.51.100.2"), (socket.AF_INET6, "2001:db8::2")):
        u = socket.socket(family, socket.SOCK_DGRAM); u.settimeout(5); u.connect((address, 4000 + i)); u.send(b"x")
        try: u.recv(1)
        except OSError: pass
        held.append(u)
time.sleep(0.5)
""" % (TRIES, web.tls, web.tls), *allow)
    for destination in ("198.51.100.1:", "[2001:db8::1]:", "198.51.100.2:", "[2001:db8::2]:"):
        processes = named(user, action="deny", originalDestination=destination)
        assert processes and all(p == {"pid": out["pid"], "exe": out["exe"]} for p in processes), (destination, processes)


def test_a_socket_of_two_processes_is_nobodys(user, allow, web):
    inside(user, DIAL + """
for i in range(3):
    s = socket.socket()
    child = os.fork()
    if child == 0:
        time.sleep(30); os._exit(0)
    s.connect(("198.51.100.1", %d)); s.sendall(b"GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n"); s.recv(100)
    time.sleep(0.3); os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
""" % web.tls, *allow)
    assert named(user, action="deny") == []


def test_a_process_that_hides_itself_is_named_or_unknown(user, allow, web):
    """Not dumpable: /proc/PID/fd is root's then. With ids of its own the cell has a root whose rights PID 1 holds; in an
    ordinary user's cell nobody has them, and nobody is named rather than somebody else."""
    out = inside(user, DIAL + """
PR_SET_DUMPABLE = 4
assert libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
held = [dial(%d) for _ in range(%d)]
for s in held: s.recv(100)
time.sleep(0.5)
""" % (web.tls, TRIES), *allow)
    processes = named(user, action="deny")
    assert processes == [] if user.uid else processes and {p["pid"] for p in processes} == {out["pid"]}, processes
